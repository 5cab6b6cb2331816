use async_trait::async_trait;

use super::{Page, StoreError};
use crate::email::EmailHash;
use crate::id::{LeadId, ProjectId, VisitorId};
use crate::lead::Lead;
use crate::reattribute::{History, Revision};

/// Stored pasts, and what is decided of them anew.
#[async_trait]
pub trait Histories: Send + Sync {
    /// A project's visitors by id.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn visitors(
        &self,
        project: ProjectId,
        page: &Page<VisitorId>,
    ) -> Result<Vec<VisitorId>, StoreError>;

    /// What is stored of a visitor, as of one instant, with its earliest `events_max` events; `None` where the project
    /// has no such visitor.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn history(
        &self,
        project: ProjectId,
        visitor: VisitorId,
        events_max: u32,
    ) -> Result<Option<History>, StoreError>;

    /// Gives a visitor the touches of a revision in place of those it has, and the sessions their attributions, in one
    /// step. The visitor's version grows by one.
    ///
    /// # Errors
    /// `Stale` when the visitor's version is not the revision's, or there is no such visitor: read it again;
    /// `Transient`.
    async fn revise(&self, project: ProjectId, revision: &Revision) -> Result<(), StoreError>;

    /// A project's leads by id.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn leads(&self, project: ProjectId, page: &Page<LeadId>) -> Result<Vec<Lead>, StoreError>;

    /// The visitors who gave an e-mail, by id, `limit` at most.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn visitors_of(
        &self,
        project: ProjectId,
        email: &EmailHash,
        limit: u32,
    ) -> Result<Vec<VisitorId>, StoreError>;

    /// Gives a lead the touches of `lead`, and changes nothing else of it. One that is not there is no error.
    ///
    /// # Errors
    /// `Transient`.
    async fn revise_lead(&self, project: ProjectId, lead: &Lead) -> Result<(), StoreError>;
}
