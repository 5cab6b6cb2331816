use async_trait::async_trait;

use super::StoreError;
use crate::event::StoredEvent;
use crate::id::{EventId, PixelId, ProjectId};
use crate::visit::{Changes, Known, VisitQuery};

/// Visitors, sessions, touches, events and leads.
#[async_trait]
pub trait Visits: Send + Sync {
    /// Everything known of what a batch of events is about.
    ///
    /// An adapter MUST answer from one consistent state, and MAY answer visitors asked for as
    /// [`Freshness::Cached`](crate::visit::Freshness::Cached) from an older one.
    ///
    /// # Errors
    /// `Transient` when the store is out of reach; `Corrupt` for an unreadable row.
    async fn load(&self, query: &VisitQuery) -> Result<Known, StoreError>;

    /// Makes all of `changes` durable, or nothing.
    ///
    /// # Errors
    /// `Stale` when one of the conditions on the fields of [`Changes`] no longer holds; `Transient` when the store is
    /// out of reach, in which case the changes may have been made all the same: load again before deciding anew;
    /// `Rejected` when the store will never take them.
    async fn commit(&self, changes: &Changes) -> Result<(), StoreError>;

    /// One event.
    ///
    /// # Errors
    /// `Transient`, `Corrupt` as for [`load`](Self::load).
    async fn event(
        &self,
        project: ProjectId,
        pixel: &PixelId,
        event: EventId,
    ) -> Result<Option<StoredEvent>, StoreError>;

    /// The events of a project in the order of (event id, pixel id), `limit` at most, beginning after `after`.
    ///
    /// # Errors
    /// `Transient`, `Corrupt` as for [`load`](Self::load).
    async fn events(
        &self,
        project: ProjectId,
        after: Option<(EventId, PixelId)>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError>;
}
