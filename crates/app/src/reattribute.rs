//! Deciding attribution anew from stored events, while the service runs.
//!
//! Visitors come first, in the order of their ids, then leads in that of theirs; each is one small commit that is refused
//! when something changed meanwhile, and then taken again. Whoever stops in between goes on at the last [`Position`], or
//! begins anew: what is done already changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use leadtrail_domain::conversion::{Conversion, ConversionName};
use leadtrail_domain::id::{ConversionId, EventId, LeadId, PixelId, ProjectId, SessionId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Clock, Histories, JobAction, Page, Projects, StoreError, SyncJobs};
use leadtrail_domain::project::{PixelContext, Project};
use leadtrail_domain::reattribute::{HISTORY_EVENTS_MAX, History, Revision, revise, revise_lead};
use leadtrail_domain::sync::JobStatus;
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::{Attribution, RULES_VERSION, Touch};
use serde::Serialize;

/// How many visitors or leads are read at a time.
const PAGE: u32 = 200;
/// How many browsers may have given an e-mail whose leads are decided anew. More have none but test addresses.
pub(crate) const PERSON_VISITORS_MAX: u32 = 100;
/// How often a visitor that changes meanwhile is taken again.
const STALE_RETRIES_MAX: u32 = 10;
/// How many of those that were left alone are named.
const LEFT_ALONE_NAMED_MAX: usize = 20;

/// What is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// Nothing is written.
    pub dry_run: bool,
    /// Changed leads are told to the CRM again where they are what it was told, or is being told. Not those whose job a
    /// human holds or skipped, nor where nobody was written: such a job is replayed by hand.
    pub requeue: bool,
    /// Where to go on; `None`: at the beginning.
    pub from: Option<Position>,
    /// How many changed visitors and leads are described.
    pub details_max: usize,
}

/// How far the work has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Position {
    /// All visitors up to this one are done.
    Visitor(VisitorId),
    /// All visitors, and all leads up to this one, are done; `None`: no lead yet.
    Lead(Option<LeadId>),
}

/// A text that is not a [`Position`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a position such as visitor:ID, lead:ID or leads")]
pub struct PositionError;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Visitor(id) => write!(f, "visitor:{id}"),
            Self::Lead(Some(id)) => write!(f, "lead:{id}"),
            Self::Lead(None) => f.write_str("leads"),
        }
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        match text.split_once(':') {
            Some(("visitor", id)) => id.parse().map(Self::Visitor).map_err(|_no_id| PositionError),
            Some(("lead", id)) => id.parse().map(|id| Self::Lead(Some(id))).map_err(|_no_id| PositionError),
            None if text == "leads" => Ok(Self::Lead(None)),
            Some(_) | None => Err(PositionError),
        }
    }
}

/// What was found and done.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Report {
    /// The rules that were applied.
    pub rules_version: u16,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// How many visitors were looked at.
    pub visitors: u64,
    /// Those whose touches, sessions or conversions differ.
    pub visitors_changed: u64,
    /// Touches that were not there.
    pub touches_added: u64,
    /// Touches that are no more.
    pub touches_removed: u64,
    /// Touches that say something else.
    pub touches_changed: u64,
    /// Sessions that are attributed otherwise.
    pub sessions_changed: u64,
    /// Events that were no conversion of a kind and are one.
    pub conversions_added: u64,
    /// Conversions that are none any more.
    pub conversions_removed: u64,
    /// Conversions with another value or other touches.
    pub conversions_changed: u64,
    /// How many leads were looked at.
    pub leads: u64,
    /// Those whose touches differ.
    pub leads_changed: u64,
    /// Jobs that will tell the CRM again, where no newer one has by then.
    pub requeued: u64,
    /// Jobs that were being worked on and may tell what was before: to be replayed by hand.
    pub worked_on: u64,
    /// How many visitors and leads were left as they are, because a visitor has too many events, a person
    /// too many browsers, or a visitor does not stop changing.
    pub left_alone: u64,
    /// Some of their visitors.
    pub left_alone_visitors: Vec<VisitorId>,
    /// What changed, as far as it is described.
    pub details: Vec<Detail>,
    /// How many changed visitors and leads are not described.
    pub details_left_out: u64,
}

/// One visitor or lead that changed.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Detail {
    /// A visitor.
    Visitor {
        /// Which.
        id: VisitorId,
        /// Its touches that differ, in their order.
        touches: Vec<TouchChange>,
        /// Its sessions that are attributed otherwise.
        sessions: Vec<SessionChange>,
        /// Its conversions that differ, by id.
        conversions: Vec<ConversionChange>,
    },
    /// A lead.
    Lead {
        /// Which.
        id: LeadId,
        /// The event that made it.
        event_id: EventId,
        /// What differs, by the names of the touches that are frozen with a lead.
        touches: Vec<LeadChange>,
    },
}

/// A touch before and after.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TouchChange {
    /// When it occurred.
    pub at: Timestamp,
    /// The event that carried it.
    pub event_id: EventId,
    /// What it said; absent where it was not there.
    pub before: Option<String>,
    /// What it says; absent where it is no more.
    pub after: Option<String>,
}

/// A session before and after.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SessionChange {
    /// Which.
    pub id: SessionId,
    /// What it was attributed to.
    pub before: Attribution,
    /// What it is attributed to.
    pub after: Attribution,
}

/// A conversion before and after.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ConversionChange {
    /// Of which kind.
    pub name: ConversionName,
    /// When it occurred.
    pub at: Timestamp,
    /// The event.
    pub event_id: EventId,
    /// What it was worth and its last touch that is not direct; absent where it was none.
    pub before: Option<String>,
    /// What it is worth and that touch; absent where it is none.
    pub after: Option<String>,
}

/// A touch of a lead before and after.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LeadChange {
    /// `first`, `first_non_direct`, `last_non_direct`, `last` or `session`.
    pub touch: &'static str,
    /// What it said; absent where there was none.
    pub before: Option<String>,
    /// What it says; absent where there is none.
    pub after: Option<String>,
}

/// Decides attribution anew.
pub struct Reattribution {
    histories: Arc<dyn Histories>,
    projects: Arc<dyn Projects>,
    jobs: Arc<dyn SyncJobs>,
    clock: Arc<dyn Clock>,
}

/// What the events of one project are judged by.
struct Judge {
    project: ProjectId,
    pixels: BTreeMap<PixelId, PixelContext>,
}

impl Reattribution {
    /// Over the pasts of a store.
    pub fn new(
        histories: Arc<dyn Histories>,
        projects: Arc<dyn Projects>,
        jobs: Arc<dyn SyncJobs>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { histories, projects, jobs, clock }
    }

    /// Does it for one project. `progress` hears, after each page, how far it is.
    ///
    /// # Errors
    /// Those of the stores; what was done until then stays done.
    pub async fn run(
        &self,
        project: &Project,
        wish: &Wish,
        mut progress: impl FnMut(Position, &Report),
    ) -> Result<Report, StoreError> {
        let judge = self.judge(project).await?;
        let mut report = Report { rules_version: RULES_VERSION, dry_run: wish.dry_run, ..Report::default() };
        let (visitors_after, leads_after) = match wish.from {
            None => (Some(None), None),
            Some(Position::Visitor(id)) => (Some(Some(id)), None),
            Some(Position::Lead(id)) => (None, id),
        };
        if let Some(mut after) = visitors_after {
            loop {
                let page = self.histories.visitors(project.id, &Page { after, limit: PAGE }).await?;
                let Some(last) = page.last().copied() else { break };
                for visitor in page {
                    self.visitor(&judge, visitor, wish, &mut report).await?;
                }
                after = Some(last);
                progress(Position::Visitor(last), &report);
            }
        }
        let mut after = leads_after;
        loop {
            let page = self.histories.leads(project.id, &Page { after, limit: PAGE }).await?;
            let Some(last) = page.last().map(|lead| lead.id) else { return Ok(report) };
            // People come back: each of their visitors is read once a page.
            let mut known = BTreeMap::new();
            for lead in page {
                self.lead(&judge, &lead, wish, &mut known, &mut report).await?;
            }
            after = Some(last);
            progress(Position::Lead(after), &report);
        }
    }

    async fn judge(&self, project: &Project) -> Result<Judge, StoreError> {
        let mut pixels = BTreeMap::new();
        let mut page = Page::first(PAGE);
        loop {
            let some = self.projects.pixels(project.id, &page).await?;
            let Some(last) = some.last() else { return Ok(Judge { project: project.id, pixels }) };
            page.after = Some(last.id.clone());
            pixels.extend(
                some.into_iter()
                    .map(|pixel| (pixel.id.clone(), PixelContext { pixel, project: project.clone() })),
            );
        }
    }

    async fn visitor(
        &self,
        judge: &Judge,
        id: VisitorId,
        wish: &Wish,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        report.visitors += 1;
        for _ in 0..=STALE_RETRIES_MAX {
            let Some((history, revision)) = self.revision(judge, id).await? else { break };
            if revision.is_told_by(&history) {
                return Ok(());
            }
            if !wish.dry_run {
                match self.histories.revise(judge.project, &revision).await {
                    Err(StoreError::Stale) => continue,
                    other => other?,
                }
            }
            report.add_visitor(&history, &revision, wish.details_max);
            return Ok(());
        }
        report.leave_alone(id);
        Ok(())
    }

    /// What a visitor's events mean; `None` where there are too many of them, or none by now.
    async fn revision(
        &self,
        judge: &Judge,
        id: VisitorId,
    ) -> Result<Option<(History, Revision)>, StoreError> {
        let history = self.histories.history(judge.project, id, HISTORY_EVENTS_MAX + 1).await?;
        let is_whole = |history: &History| {
            u32::try_from(history.events.len()).is_ok_and(|events| events <= HISTORY_EVENTS_MAX)
        };
        Ok(history.filter(is_whole).map(|history| {
            let revision = revise(&history, &judge.pixels);
            (history, revision)
        }))
    }

    async fn lead(
        &self,
        judge: &Judge,
        lead: &Lead,
        wish: &Wish,
        known: &mut BTreeMap<VisitorId, Option<Arc<Revision>>>,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        report.leads += 1;
        let mut visitors =
            self.histories.visitors_of(judge.project, &lead.email.hash(), PERSON_VISITORS_MAX + 1).await?;
        if u32::try_from(visitors.len()).is_ok_and(|visitors| visitors > PERSON_VISITORS_MAX) {
            report.leave_alone(lead.visitor_id);
            return Ok(());
        }
        visitors.push(lead.visitor_id);
        let mut revisions = Vec::with_capacity(visitors.len());
        for id in visitors {
            let revision = if let Some(revision) = known.get(&id) {
                revision.clone()
            } else {
                let revision = self.revision(judge, id).await?.map(|(_, revision)| Arc::new(revision));
                known.insert(id, revision.clone());
                revision
            };
            let Some(revision) = revision else {
                report.leave_alone(id);
                return Ok(());
            };
            revisions.push(revision);
        }
        let Some(own) = revisions.pop() else { return Ok(()) };
        let revised = revise_lead(lead, &own, &revisions);
        if revised == *lead {
            return Ok(());
        }
        report.add_lead(lead, &revised, wish.details_max);
        if wish.dry_run {
            return Ok(());
        }
        self.histories.revise_lead(judge.project, &revised).await?;
        if wish.requeue {
            self.requeue(judge.project, lead, report).await?;
        }
        Ok(())
    }

    /// Has the job that was built from a lead tell the CRM anew. One that is not frozen yet will be built from the lead as
    /// it is now; one that a newer lead joined tells of that.
    async fn requeue(&self, project: ProjectId, lead: &Lead, report: &mut Report) -> Result<(), StoreError> {
        let Some(id) = lead.job_id else { return Ok(()) };
        let Some(job) = self.jobs.job(project, id).await? else { return Ok(()) };
        let is_told = matches!(job.status, JobStatus::Synced | JobStatus::Pending);
        if !is_told || job.wanted.as_ref().and_then(|wanted| wanted.lead_id) != Some(lead.id) {
            return Ok(());
        }
        let note = format!("attributed anew by the rules of version {RULES_VERSION}");
        if self.jobs.act(project, id, JobAction::Replay, self.clock.now(), &note).await? {
            report.requeued += 1;
        } else {
            report.worked_on += 1;
        }
        Ok(())
    }
}

impl Report {
    fn add_visitor(&mut self, history: &History, revision: &Revision, details_max: usize) {
        self.visitors_changed += 1;
        let before: BTreeMap<_, &Touch> =
            history.touches.iter().map(|touch| (touch.key(), touch.as_ref())).collect();
        let after: BTreeMap<_, &Touch> =
            revision.touches.iter().map(|touch| (touch.key(), touch.as_ref())).collect();
        let mut touches = Vec::new();
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let (before, after) = (before.get(key), after.get(key));
            match (before, after) {
                (Some(before), Some(after)) if before == after => continue,
                (Some(_), Some(_)) => self.touches_changed += 1,
                (Some(_), None) => self.touches_removed += 1,
                (None, _) => self.touches_added += 1,
            }
            let (at, event_id, _pixel) = *key;
            let [before, after] = [before, after].map(|touch| touch.map(|touch| described(touch)));
            touches.push(TouchChange { at, event_id, before, after });
        }
        let mut sessions = Vec::new();
        for (id, after) in &revision.sessions {
            let before = history.sessions.get(id).map(|session| &session.attribution);
            if let Some(before) = before.filter(|before| *before != after) {
                self.sessions_changed += 1;
                sessions.push(SessionChange { id: *id, before: before.clone(), after: after.clone() });
            }
        }
        let conversions = self.add_conversions(history, revision);
        let detail = Detail::Visitor { id: history.visitor_id, touches, sessions, conversions };
        self.describe(detail, details_max);
    }

    fn add_conversions(&mut self, history: &History, revision: &Revision) -> Vec<ConversionChange> {
        let by_id = |conversions: &[Conversion]| -> BTreeMap<ConversionId, Conversion> {
            conversions.iter().map(|conversion| (conversion.id, conversion.clone())).collect()
        };
        let (before, after) = (by_id(&history.conversions), by_id(&revision.conversions));
        let mut changes = Vec::new();
        let ids: BTreeSet<&ConversionId> = before.keys().chain(after.keys()).collect();
        for id in ids {
            let (before, after) = (before.get(id), after.get(id));
            match (before, after) {
                (Some(before), Some(after)) if before == after => continue,
                (Some(_), Some(_)) => self.conversions_changed += 1,
                (Some(_), None) => self.conversions_removed += 1,
                (None, _) => self.conversions_added += 1,
            }
            let Some(conversion) = after.or(before) else { continue };
            let [before, after] = [before, after].map(|one| one.map(worth));
            changes.push(ConversionChange {
                name: conversion.name.clone(),
                at: conversion.occurred_at,
                event_id: conversion.event_id,
                before,
                after,
            });
        }
        changes
    }

    fn add_lead(&mut self, before: &Lead, after: &Lead, details_max: usize) {
        self.leads_changed += 1;
        let (old, new) = (&before.touches, &after.touches);
        let pairs = [
            ("first", &old.first, &new.first),
            ("first_non_direct", &old.first_non_direct, &new.first_non_direct),
            ("last_non_direct", &old.last_non_direct, &new.last_non_direct),
            ("last", &old.last, &new.last),
            ("session", &before.session_touch, &after.session_touch),
        ];
        let text = |touch: &Option<Arc<Touch>>| touch.as_deref().map(described);
        let touches = (pairs.into_iter())
            .filter(|(_, before, after)| before != after)
            .map(|(touch, before, after)| LeadChange { touch, before: text(before), after: text(after) })
            .collect();
        self.describe(Detail::Lead { id: after.id, event_id: after.event_id, touches }, details_max);
    }

    fn describe(&mut self, detail: Detail, details_max: usize) {
        if self.details.len() < details_max {
            self.details.push(detail);
        } else {
            self.details_left_out += 1;
        }
    }

    fn leave_alone(&mut self, visitor: VisitorId) {
        self.left_alone += 1;
        if self.left_alone_visitors.len() < LEFT_ALONE_NAMED_MAX
            && !self.left_alone_visitors.contains(&visitor)
        {
            self.left_alone_visitors.push(visitor);
        }
    }

    /// Adds what another project's run found.
    pub fn add(&mut self, other: Self, details_max: usize) {
        self.rules_version = other.rules_version;
        self.dry_run = other.dry_run;
        self.visitors += other.visitors;
        self.visitors_changed += other.visitors_changed;
        self.touches_added += other.touches_added;
        self.touches_removed += other.touches_removed;
        self.touches_changed += other.touches_changed;
        self.sessions_changed += other.sessions_changed;
        self.conversions_added += other.conversions_added;
        self.conversions_removed += other.conversions_removed;
        self.conversions_changed += other.conversions_changed;
        self.leads += other.leads;
        self.leads_changed += other.leads_changed;
        self.requeued += other.requeued;
        self.worked_on += other.worked_on;
        self.left_alone += other.left_alone;
        let room = LEFT_ALONE_NAMED_MAX.saturating_sub(self.left_alone_visitors.len());
        self.left_alone_visitors.extend(other.left_alone_visitors.into_iter().take(room));
        self.details_left_out += other.details_left_out;
        for detail in other.details {
            self.describe(detail, details_max);
        }
    }
}

/// What a conversion is worth and where it came from, in a line.
fn worth(conversion: &Conversion) -> String {
    let value = conversion.value.map_or_else(|| "no value".to_owned(), |value| format!("value {value}"));
    let from = conversion.touches.last_non_direct.as_deref().map(described);
    format!("{value}, {}", from.as_deref().unwrap_or("direct"))
}

/// A touch in a line: what decided, source, medium and campaign, the names of its click ids, the rules.
pub fn described(touch: &Touch) -> String {
    let Attribution { source, medium, campaign, channel } = touch.attribution();
    let parts: Vec<String> = [source, medium, campaign].into_iter().flatten().collect();
    let from = if parts.is_empty() { touch.kind.as_str().to_owned() } else { parts.join(" / ") };
    let channel = channel.map(|channel| format!(" [{channel}]")).unwrap_or_default();
    let click_ids: Vec<String> = touch.click_ids.iter().map(|id| format!(" +{}", id.parameter)).collect();
    let click_ids = click_ids.concat();
    format!("{from}{channel}{click_ids} (by {}, rules {})", touch.kind.as_str(), touch.rules_version)
}
