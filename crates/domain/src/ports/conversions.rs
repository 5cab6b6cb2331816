use async_trait::async_trait;

use super::StoreError;
use crate::conversion::{Conversion, ConversionName};
use crate::id::{ConversionId, EventId, ProjectId};
use crate::time::Timestamp;

/// What was counted as a conversion. [`Visits`](super::Visits) writes it with its event, and
/// [`Histories`](super::Histories) anew.
#[async_trait]
pub trait Conversions: Send + Sync {
    /// A project's conversions, newest first (by id, which begins with the time), `limit` at most.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn conversions(
        &self,
        project: ProjectId,
        filter: &ConversionFilter,
        limit: u32,
    ) -> Result<Vec<Conversion>, StoreError>;

    /// As what an event counts, by id; event ids are unique per pixel only.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn conversions_by_event(
        &self,
        project: ProjectId,
        event: EventId,
    ) -> Result<Vec<Conversion>, StoreError>;
}

/// Which conversions are meant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConversionFilter {
    /// Those of this name.
    pub name: Option<ConversionName>,
    /// Those that occurred at this instant or later.
    pub since: Option<Timestamp>,
    /// Those that occurred before this instant.
    pub until: Option<Timestamp>,
    /// Those before this one in the list.
    pub before: Option<ConversionId>,
}
