use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::event::StoredEvent;
use crate::id::{EventId, PixelId, ProjectId};
use crate::time::Timestamp;

/// What was collected, for whoever reads all of it.
#[async_trait]
pub trait Events: Send + Sync {
    /// A part of a pixel's events, in the order that it asks for; none where the project has no such pixel. What each
    /// page's last event is followed by is the next page, whatever is collected meanwhile.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn of_pixel(
        &self,
        project: ProjectId,
        pixel: &PixelId,
        page: &EventPage,
    ) -> Result<Vec<StoredEvent>, StoreError>;
}

/// Where an event stands among its pixel's: by when it occurred, then by id.
pub type EventPlace = (Timestamp, EventId);

/// A part of a pixel's events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventPage {
    /// Those that occurred at this instant or later.
    pub since: Timestamp,
    /// Those that occurred before this instant.
    pub until: Timestamp,
    /// Which of them come first.
    pub order: EventOrder,
    /// Those that come after this place in that order.
    pub after: Option<EventPlace>,
    /// So many at most.
    pub limit: u32,
}

/// Which events come first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventOrder {
    /// The earliest: for who wants everything.
    OldestFirst,
    /// The latest: for who stops somewhere.
    NewestFirst,
}

impl EventPage {
    /// When events on this page or a later one may have occurred; empty where there can be none. An adapter that looks
    /// nowhere else begins where the page before ended, however much it passed by.
    pub fn instants(&self) -> RangeInclusive<Timestamp> {
        let last = self.until.minus(Duration::from_micros(1));
        match (self.order, self.after) {
            (EventOrder::OldestFirst, Some((at, _))) => self.since.max(at)..=last,
            (EventOrder::NewestFirst, Some((at, _))) => self.since..=last.min(at),
            (EventOrder::OldestFirst | EventOrder::NewestFirst, None) => self.since..=last,
        }
    }
}
