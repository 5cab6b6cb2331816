//! What is wrong with the tags of a site's links, in the events that were collected lately.

use std::sync::Arc;
use std::time::Duration;

use leadtrail_domain::event::CLIENT_CLOCK_AHEAD_MAX;
use leadtrail_domain::hygiene::{Finding, Inspection};
use leadtrail_domain::id::{PixelId, ProjectId};
use leadtrail_domain::ports::{EventOrder, EventPage, EventPlace, Events, Page, Projects, StoreError};
use leadtrail_domain::time::Timestamp;
use serde::Serialize;
use tokio::sync::Semaphore;

/// How many days back is looked where nothing else is asked for.
pub const DAYS_DEFAULT: u32 = 30;
/// The most days back that can be asked for: a leap year.
pub const DAYS_MAX: u32 = 366;
/// The most events that are looked at: as many as can be read while somebody waits for the answer.
pub const EVENTS_MAX: u32 = 200_000;
/// The most pixels of a project whose events are looked at.
pub const PIXELS_MAX: u32 = 1_000;
/// How many inspections may run at a time: each keeps one of the store's connections busy.
pub const INSPECTIONS_AT_ONCE: usize = 2;
/// How many events are read at a time.
const PAGE: u32 = 500;

/// What is inspected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The project.
    pub project: ProjectId,
    /// One of its pixels; `None`: all of them, archived ones too.
    pub pixel: Option<PixelId>,
    /// So many days back; [`DAYS_MAX`] at most.
    pub days: u32,
    /// So many of the newest events; [`EVENTS_MAX`] at most.
    pub events_max: u32,
}

/// What an inspection found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "TagHygiene"))]
pub struct Report {
    /// The project.
    pub project_id: ProjectId,
    /// The pixel, where only one was asked about.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub pixel_id: Option<PixelId>,
    /// Events that occurred then or later were looked at.
    pub since: Timestamp,
    /// When that was.
    pub until: Timestamp,
    /// How many events were looked at.
    pub events: u32,
    /// Whether those are all of that time; otherwise they are the newest.
    pub complete: bool,
    /// What is wrong, by kind; empty where nothing is.
    pub findings: Vec<Finding>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum HygieneError {
    /// As many inspections run as may: try again.
    #[error("{INSPECTIONS_AT_ONCE} inspections are being made already")]
    Busy,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Inspects what was collected.
pub struct Hygiene {
    events: Arc<dyn Events>,
    projects: Arc<dyn Projects>,
    room: Semaphore,
}

impl Hygiene {
    /// Of the events of a store.
    pub fn new(events: Arc<dyn Events>, projects: Arc<dyn Projects>) -> Self {
        Self { events, projects, room: Semaphore::new(INSPECTIONS_AT_ONCE) }
    }

    /// Looks at the subject's newest events until `now`. `progress` is told now and then how many there were so far.
    ///
    /// # Errors
    /// As [`HygieneError`] says.
    pub async fn inspect(
        &self,
        subject: &Subject,
        now: Timestamp,
        progress: impl Fn(u32),
    ) -> Result<Report, HygieneError> {
        let _room = self.room.try_acquire().map_err(|_no_room| HygieneError::Busy)?;
        let events_max = subject.events_max.min(EVENTS_MAX);
        let since = now.minus(Duration::from_hours(24) * subject.days.min(DAYS_MAX));
        let (pixels, are_all) = self.pixels(subject).await?;
        let mut inspection = Inspection::default();
        let (mut events, mut complete) = (0, are_all);
        let mut ahead: Vec<(PixelId, Option<EventPlace>)> =
            pixels.into_iter().map(|pixel| (pixel, None)).collect();
        // A page of each in turn, so that a busy pixel does not use up what a quiet one needs.
        while !ahead.is_empty() {
            let mut further = Vec::new();
            for (pixel, after) in ahead {
                let room = events_max - events;
                // Without room for more, one tells whether there are more.
                let limit = room.clamp(1, PAGE);
                let page = EventPage {
                    since,
                    // What a client whose clock is fast dated ahead has arrived all the same.
                    until: now.plus(CLIENT_CLOCK_AHEAD_MAX),
                    order: EventOrder::NewestFirst,
                    after,
                    limit,
                };
                let found = self.events.of_pixel(subject.project, &pixel, &page).await?;
                if room == 0 {
                    complete &= found.is_empty();
                    continue;
                }
                for stored in &found {
                    inspection.take(&stored.event);
                }
                let count = u32::try_from(found.len()).unwrap_or(limit);
                events += count;
                let last = found.last().filter(|_| count == limit);
                further.extend(last.map(|last| (pixel, Some((last.event.occurred_at, last.event.id)))));
            }
            ahead = further;
            progress(events);
        }
        Ok(Report {
            project_id: subject.project,
            pixel_id: subject.pixel.clone(),
            since,
            until: now,
            events,
            complete,
            findings: inspection.into_findings(),
        })
    }

    /// The pixels in question, and whether there are no more of them.
    async fn pixels(&self, subject: &Subject) -> Result<(Vec<PixelId>, bool), StoreError> {
        if let Some(pixel) = &subject.pixel {
            return Ok((vec![pixel.clone()], true));
        }
        let mut pixels = self.projects.pixels(subject.project, &Page::first(PIXELS_MAX + 1)).await?;
        let max = usize::try_from(PIXELS_MAX).unwrap_or(usize::MAX);
        let are_all = pixels.len() <= max;
        pixels.truncate(max);
        Ok((pixels.into_iter().map(|pixel| pixel.id).collect(), are_all))
    }
}
