use async_trait::async_trait;

use super::{Page, StoreError};
use crate::id::{KeyId, ProjectId};
use crate::key::{ApiKey, KeyHash};
use crate::time::Timestamp;

/// API keys. No secret is ever stored.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Stores a key.
    ///
    /// # Errors
    /// `Taken` when its hash is stored already; `Rejected` when its project does not exist; `Transient`.
    async fn create_key(&self, key: &ApiKey) -> Result<(), StoreError>;

    /// Stores a key if there is none at all yet, whoever else tries at the same moment. Whether it did.
    ///
    /// # Errors
    /// `Transient`.
    async fn create_first_key(&self, key: &ApiKey) -> Result<bool, StoreError>;

    /// The key of a presented secret, whatever its state.
    ///
    /// # Errors
    /// `Transient`; `Corrupt` for an unreadable row.
    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StoreError>;

    /// Keys by id; with a project, those bound to it.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn keys(&self, project: Option<ProjectId>, page: &Page<KeyId>) -> Result<Vec<ApiKey>, StoreError>;

    /// One key, whatever its state; with a project, where it is bound to it.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn key(&self, project: Option<ProjectId>, id: KeyId) -> Result<Option<ApiKey>, StoreError>;

    /// Revokes a key; one that is revoked already keeps its time. `false` where there is none; with a project, where
    /// none is bound to it.
    ///
    /// # Errors
    /// `Transient`.
    async fn revoke_key(
        &self,
        project: Option<ProjectId>,
        id: KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Remembers that a key was presented.
    ///
    /// # Errors
    /// `Transient`.
    async fn key_used(&self, id: KeyId, at: Timestamp) -> Result<(), StoreError>;
}
