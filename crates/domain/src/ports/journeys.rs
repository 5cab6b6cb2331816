use async_trait::async_trait;

use super::StoreError;
use crate::email::EmailHash;
use crate::event::StoredEvent;
use crate::id::{EventId, LeadId, PixelId, ProjectId};
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

    /// What the person of a lead did in any browser that gave the e-mail: touches in their order and events in theirs
    /// (by time, id, then pixel), of each the newest `limit` at most.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn journey(&self, project: ProjectId, lead: LeadId, limit: u32) -> Result<Journey, StoreError>;

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

/// What the person of a lead did.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Journey {
    /// From where the person came, each time.
    pub touches: Vec<Touch>,
    /// What the person did.
    pub events: Vec<StoredEvent>,
}
