use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::crm::{FieldKey, FieldValue, PersonId};
use crate::email::EmailHash;
use crate::id::{ProjectId, Slug, SyncJobId};
use crate::sync::{Claim, Dossier, JobStatus, Lease, PlannedWrite, Settlement, Step, SyncJob, Wanted};
use crate::time::Timestamp;

/// The queue of sync jobs: leases, attempts, and the ledger of what was written.
///
/// `now` is always the store's clock ([`Clock`](super::Clock)). Every call with a [`Lease`] answers `LeaseLost` when
/// the lease was given back ([`settle`](Self::settle), [`release`](Self::release)) or the job has been claimed again
/// since; a lease that merely ran out still counts while nobody else has claimed the job.
#[async_trait]
pub trait SyncJobs: Send + Sync {
    /// The queues that hold claimable jobs at `now`, the one with the oldest due job first. Counted without regard to
    /// who must wait for another job of the same person.
    ///
    /// # Errors
    /// `Transient` when the store is out of reach.
    async fn due_queues(&self, now: Timestamp) -> Result<Vec<DueQueue>, StoreError>;

    /// Claims pending jobs of a queue that are due at `now` and not leased beyond it, oldest due first, `limit` at most.
    /// Two claimers never get the same job, nor two jobs of one person (project and e-mail) at a time: while one is
    /// leased the person's others wait, in whichever queue, and one claim takes one of each person.
    ///
    /// A row that cannot be read never holds up the others: it ends as `error`, and its `last_error` names the column.
    ///
    /// # Errors
    /// `Transient` when the store is out of reach.
    async fn claim(
        &self,
        queue: &Queue,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Claim>, StoreError>;

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

    /// How often the person of an e-mail was written at `since` or later: jobs with at least one write in the ledger.
    ///
    /// # Errors
    /// `Transient`.
    async fn updates_since(
        &self,
        project: ProjectId,
        email: &EmailHash,
        since: Timestamp,
    ) -> Result<Updates, StoreError>;

    /// Does what a human wants of a job, and records it as an attempt with this note. `false` where the job is not in a
    /// state for it ([`JobAction`]), is not there, or is being worked on while it shall be replayed.
    ///
    /// A lease on it ends: whoever holds it is refused from then on.
    ///
    /// # Errors
    /// `Transient`.
    async fn act(
        &self,
        project: ProjectId,
        id: SyncJobId,
        action: JobAction,
        at: Timestamp,
        note: &str,
    ) -> Result<bool, StoreError>;

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

    /// What a job wrote, by time, person and field.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn writes(&self, project: ProjectId, id: SyncJobId) -> Result<Vec<LedgerEntry>, StoreError>;

    /// How many jobs a filter means; its `before` is not looked at.
    ///
    /// # Errors
    /// `Transient`.
    async fn count(&self, project: ProjectId, filter: &JobFilter) -> Result<u64, StoreError>;

    /// How many jobs stand where: of a project, or of all.
    ///
    /// # Errors
    /// `Transient`.
    async fn counts(&self, project: Option<ProjectId>, now: Timestamp) -> Result<JobCounts, StoreError>;

    /// How the jobs ended that ended at `since` or later: of a project, or of all. Statuses with no job are absent.
    ///
    /// # Errors
    /// `Transient`.
    async fn outcomes(
        &self,
        project: Option<ProjectId>,
        since: Timestamp,
    ) -> Result<BTreeMap<JobStatus, u64>, StoreError>;
}

/// The jobs of a project for one CRM connection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Queue {
    /// The project.
    pub project_id: ProjectId,
    /// The name of the connection ([`SyncJob::account`]).
    pub account: Slug,
}

/// A queue with claimable jobs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueQueue {
    /// Which.
    pub queue: Queue,
    /// How many jobs of it are due and not leased.
    pub due: u64,
    /// When the oldest of them became due.
    pub oldest_due_at: Timestamp,
}

/// How often a person was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Updates {
    /// By how many jobs.
    pub count: u64,
    /// When the oldest of them did.
    pub oldest_at: Option<Timestamp>,
}

/// What a human may want of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobAction {
    /// Again, at once and built anew: from any status but `erased`, unless it is being worked on. Its leads' events
    /// show `pending`.
    Replay,
    /// Not now: from `pending`.
    Hold,
    /// Never: from `pending` and `held`. Its leads' events show `skipped`.
    Skip,
}

impl JobAction {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Hold => "hold",
            Self::Skip => "skip",
        }
    }

    /// Whether a job that stands so is in a state for it.
    pub fn takes(self, status: JobStatus) -> bool {
        match self {
            Self::Replay => status != JobStatus::Erased,
            Self::Hold => status == JobStatus::Pending,
            Self::Skip => matches!(status, JobStatus::Pending | JobStatus::Held),
        }
    }
}

/// One field of one person, as a job wrote it.
#[derive(Clone, PartialEq, Debug)]
pub struct LedgerEntry {
    /// When the write was recorded.
    pub at: Timestamp,
    /// The CRM connection.
    pub account: Slug,
    /// The person.
    pub person: PersonId,
    /// The field.
    pub field: FieldKey,
    /// What the person had before; `None` where the field was empty.
    pub before: Option<FieldValue>,
    /// What was written.
    pub after: FieldValue,
}

/// Whether a recorded write may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planned {
    /// It may.
    Go,
    /// A newer job of the same person and connection is synced or has written already: it may not, and nothing was
    /// recorded.
    Superseded,
    /// A newer job of the same person and connection is pending with a recorded write, which may have been made: it may
    /// not before that is settled, and nothing was recorded.
    Waits,
}

/// Which jobs are meant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobFilter {
    /// Those with this status.
    pub status: Option<JobStatus>,
    /// Those of this person.
    pub email: Option<EmailHash>,
    /// Those whose form arrived at this instant or later.
    pub since: Option<Timestamp>,
    /// Those whose form arrived before this instant.
    pub until: Option<Timestamp>,
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
    /// What was asked of the CRM and what it answered, in order.
    pub steps: Vec<Step>,
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
