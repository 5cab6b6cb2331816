use std::collections::BTreeMap;

use async_trait::async_trait;

use super::StoreError;
use crate::email::EmailHash;
use crate::event::StoredEvent;
use crate::id::{EventId, LeadId, PixelId, ProjectId, VisitorId};
use crate::lead::Lead;
use crate::time::Timestamp;
use crate::touch::Touch;

/// What visitors did and what led to a lead, for whoever asks why.
#[async_trait]
pub trait Journeys: Send + Sync {
    /// The leads of a person, newest first (by arrival, then id), `limit` at most.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn leads_of(
        &self,
        project: ProjectId,
        email: &EmailHash,
        limit: u32,
    ) -> Result<Vec<Lead>, StoreError>;

    /// The leads that an event made, or whose submission it repeats, by their ids; event ids are unique per pixel only.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn leads_by_event(&self, project: ProjectId, event: EventId) -> Result<Vec<Lead>, StoreError>;

    /// What the person of a lead did in any browser that ever gave the e-mail: touches in their order and events in
    /// theirs (by time, id, then pixel). Of each there are, within its bound, first the latest up to the lead's own
    /// event and then, where there is room left, the earliest after it. Empty where the project has no such lead.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn journey(
        &self,
        project: ProjectId,
        lead: LeadId,
        bounds: &JourneyBounds,
    ) -> Result<Journey, StoreError>;

    /// When the latest event of a pixel occurred; `None` where it has none.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn last_event_at(
        &self,
        project: ProjectId,
        pixel: &PixelId,
    ) -> Result<Option<Timestamp>, StoreError>;
}

/// How much of a journey is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JourneyBounds {
    /// How many browsers, beside the lead's own: those that gave the e-mail first.
    pub browsers: u32,
    /// How many touches.
    pub touches: u32,
    /// How many events.
    pub events: u32,
}

/// What the person of a lead did.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Journey {
    /// The lead's browser and those that gave its e-mail, each with the earliest event that is stored and has it; `None`
    /// where none is. Which of them count for the lead is what [`Journey::counts_for`] says.
    pub browsers: BTreeMap<VisitorId, Option<(Timestamp, EventId)>>,
    /// From where the person came, each time.
    pub touches: Vec<JourneyTouch>,
    /// What the person did.
    pub events: Vec<StoredEvent>,
    /// Which of these are not all there are.
    pub left_out: LeftOut,
}

impl Journey {
    /// Whether what a browser did counts for a lead: its own, and all that gave the e-mail no later than its event. The
    /// same as in [`revise_lead`](crate::reattribute::revise_lead).
    pub fn counts_for(&self, lead: &Lead, browser: VisitorId) -> bool {
        let until = (lead.occurred_at, lead.event_id);
        let gave = self.browsers.get(&browser).copied().flatten();
        browser == lead.visitor_id || gave.is_some_and(|gave| gave <= until)
    }
}

/// A touch, and whose it is.
#[derive(Clone, PartialEq, Debug)]
pub struct JourneyTouch {
    /// The browser.
    pub visitor_id: VisitorId,
    /// The touch.
    pub touch: Touch,
}

/// What of a journey is more than its bounds allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeftOut {
    /// There are more browsers.
    pub browsers: bool,
    /// There are more touches of these browsers.
    pub touches: bool,
    /// There are more events of these browsers.
    pub events: bool,
}
