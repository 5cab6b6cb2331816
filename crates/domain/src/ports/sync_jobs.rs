use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::crm::{FieldKey, PersonId};
use crate::id::{ProjectId, Slug, SyncJobId};
use crate::sync::{Claim, Dossier, JobStatus, Lease, PlannedWrite, Settlement, SyncJob, Wanted};
use crate::time::Timestamp;

/// The queue of sync jobs: leases, attempts, and the ledger of what was written.
///
/// `now` is always the store's clock ([`Clock`](super::Clock)). Every call with a [`Lease`] answers `LeaseLost` when
/// the lease was given back ([`settle`](Self::settle), [`release`](Self::release)) or the job has been claimed again
/// since; a lease that merely ran out still counts while nobody else has claimed the job.
#[async_trait]
pub trait SyncJobs: Send + Sync {
    /// Claims pending jobs that are due at `now` and not leased beyond it, oldest due first, `limit` at most. Two
    /// claimers never get the same job, nor two jobs of one person (project and e-mail) at a time: while one is leased
    /// the person's others wait, and one claim takes one of each person.
    ///
    /// A row that cannot be read never holds up the others: it ends as `error`, and its `last_error` names the column.
    ///
    /// # Errors
    /// `Transient` when the store is out of reach.
    async fn claim(&self, now: Timestamp, lease: Duration, limit: u32) -> Result<Vec<Claim>, StoreError>;

    /// Extends leases until the given instant.
    ///
    /// # Errors
    /// `LeaseLost`; `Transient`.
    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Lease, StoreError>;

    /// Gives a claimed job back untouched, claimable at once. A lost lease is no error.
    ///
    /// # Errors
    /// `Transient`.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Everything a claimed job is built from.
    ///
    /// # Errors
    /// `LeaseLost`; `Transient`; `Corrupt`.
    async fn dossier(&self, lease: &Lease) -> Result<Dossier, StoreError>;

    /// Freezes what the person shall be told. Leads that come later do not join the job.
    ///
    /// # Errors
    /// `LeaseLost`; `Stale` when a further lead has joined since the dossier was read, named by
    /// [`Wanted::lead_id`]: read it again; `Transient`.
    async fn freeze(&self, lease: &Lease, wanted: &Wanted) -> Result<(), StoreError>;

    /// Records a write that is about to be sent.
    ///
    /// # Errors
    /// `LeaseLost`; `Transient`.
    async fn plan(&self, lease: &Lease, write: &PlannedWrite) -> Result<Planned, StoreError>;

    /// Records an attempt and what follows it, on the job and on its leads' events, and gives the lease back. With
    /// writes, adds them to the ledger and supersedes older pending jobs of the same person.
    ///
    /// # Errors
    /// `LeaseLost`; `Transient`.
    async fn settle(&self, lease: &Lease, settlement: &Settlement) -> Result<(), StoreError>;

    /// The fields that we have ever written to a person.
    ///
    /// # Errors
    /// `Transient`.
    async fn ever_written(
        &self,
        project: ProjectId,
        account: &Slug,
        person: &PersonId,
    ) -> Result<BTreeSet<FieldKey>, StoreError>;

    /// One job.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn job(&self, project: ProjectId, id: SyncJobId) -> Result<Option<SyncJob>, StoreError>;

    /// Jobs, newest first (by id), `limit` at most.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn jobs(
        &self,
        project: ProjectId,
        filter: &JobFilter,
        limit: u32,
    ) -> Result<Vec<SyncJob>, StoreError>;

    /// The attempts of a job, oldest first.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn attempts(&self, project: ProjectId, id: SyncJobId) -> Result<Vec<AttemptRecord>, StoreError>;

    /// How many jobs stand where, over all projects.
    ///
    /// # Errors
    /// `Transient`.
    async fn counts(&self, now: Timestamp) -> Result<JobCounts, StoreError>;
}

/// Whether a recorded write may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planned {
    /// It may.
    Go,
    /// A newer job of the same person has been written already: it may not, and nothing was recorded.
    Superseded,
}

/// Which jobs are meant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobFilter {
    /// Those with this status.
    pub status: Option<JobStatus>,
    /// Those before this one in the list.
    pub before: Option<SyncJobId>,
}

/// One attempt, as recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttemptRecord {
    /// When it was settled.
    pub at: Timestamp,
    /// The status the job had afterwards.
    pub status: JobStatus,
    /// What was done, in a line.
    pub note: String,
}

/// How many jobs stand where.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobCounts {
    /// Pending, due or not.
    pub pending: u64,
    /// Pending and due.
    pub due: u64,
    /// When the oldest due one became due.
    pub oldest_due_at: Option<Timestamp>,
}
