use async_trait::async_trait;

use super::StoreError;
use crate::id::ProjectId;
use crate::time::Timestamp;

/// The projects' own CRM connections, sealed: a store never sees what is in them.
#[async_trait]
pub trait Connections: Send + Sync {
    /// Stores a project's connection in place of the one it had.
    ///
    /// # Errors
    /// `Rejected` when there is no such project; `Transient`.
    async fn put_connection(&self, connection: &SealedConnection) -> Result<(), StoreError>;

    /// A project's connection.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn connection(&self, project: ProjectId) -> Result<Option<SealedConnection>, StoreError>;

    /// Removes a project's connection. `false` where there is none.
    ///
    /// # Errors
    /// `Transient`.
    async fn remove_connection(&self, project: ProjectId) -> Result<bool, StoreError>;
}

/// A connection as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedConnection {
    /// Whose it is.
    pub project_id: ProjectId,
    /// The connection, encrypted; 16 KiB at most.
    pub sealed: Vec<u8>,
    /// When it was set.
    pub set_at: Timestamp,
}

impl std::fmt::Debug for SealedConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedConnection")
            .field("project_id", &self.project_id)
            .field("set_at", &self.set_at)
            .finish_non_exhaustive()
    }
}
