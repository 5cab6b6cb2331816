//! Sync jobs: what must become of a lead in the CRM, and the rules by which it does.

pub mod account;
pub mod fields;
pub mod health;
pub mod mapping;
pub mod matching;
pub mod plan;
pub mod preview;
pub mod schedule;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::crm::{FieldKey, FieldName, FieldValue, Patch, PersonId};
use crate::email::EmailHash;
use crate::event::StoredEvent;
use crate::id::{LeadId, ProjectId, Slug, SyncJobId};
use crate::lead::Lead;
use crate::time::Timestamp;

/// Where a sync job stands. All but the first two are final.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", schemars(rename = "SyncJobStatus"))]
pub enum JobStatus {
    /// It will be worked on when it is due.
    Pending,
    /// A human holds it.
    Held,
    /// The person was written, or had nothing left to write.
    Synced,
    /// No person was found at any look.
    NotFound,
    /// Several persons were found; nothing was written.
    Ambiguous,
    /// It cannot be done; the last error says why.
    Error,
    /// A newer job of the same person was written first.
    Superseded,
    /// A human skipped it.
    Skipped,
    /// The person was erased.
    Erased,
}

impl JobStatus {
    /// Every status.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Held,
        Self::Synced,
        Self::NotFound,
        Self::Ambiguous,
        Self::Error,
        Self::Superseded,
        Self::Skipped,
        Self::Erased,
    ];

    /// Its name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Synced => "synced",
            Self::NotFound => "not_found",
            Self::Ambiguous => "ambiguous",
            Self::Error => "error",
            Self::Superseded => "superseded",
            Self::Skipped => "skipped",
            Self::Erased => "erased",
        }
    }

    /// Whether nothing follows by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Held)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a [`JobStatus`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a status of a sync job")]
pub struct JobStatusError(pub String);

impl FromStr for JobStatus {
    type Err = JobStatusError;

    fn from_str(text: &str) -> Result<Self, JobStatusError> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| JobStatusError(text.to_owned()))
    }
}

/// A sync job as a store knows it.
#[derive(Clone, PartialEq, Debug)]
pub struct SyncJob {
    /// Its id.
    pub id: SyncJobId,
    /// Its project.
    pub project_id: ProjectId,
    /// The CRM connection it goes to.
    pub account: Slug,
    /// The lead that made it; further leads may have joined.
    pub lead_id: LeadId,
    /// The person.
    pub email_hash: EmailHash,
    /// Its place among the person's jobs: a higher one is newer.
    pub sequence: i64,
    /// When the form arrived.
    pub created_at: Timestamp,
    /// Not before this instant is it worked on.
    pub due_at: Timestamp,
    /// Where it stands.
    pub status: JobStatus,
    /// How many looks found nobody so far.
    pub looks: u32,
    /// How many attempts failed in a row for reasons of its own.
    pub failures: u32,
    /// What the person shall be told; frozen when the job first became due.
    pub wanted: Option<Wanted>,
    /// The write that was about to be sent when an attempt last ended without an answer: it may have been made. It is
    /// sent again as it is, unless a human has replayed the job since, which leaves nothing frozen.
    pub planned: Option<PlannedWrite>,
    /// The persons written, or those that made it ambiguous.
    pub persons: Vec<PersonId>,
    /// Why the last attempt failed; without secrets and personal data.
    pub last_error: Option<String>,
    /// When it reached its final status.
    pub ended_at: Option<Timestamp>,
}

impl SyncJob {
    /// The write to send again because its outcome is unknown.
    pub fn write_to_repeat(&self) -> Option<&PlannedWrite> {
        self.planned.as_ref().filter(|_planned| self.wanted.is_some())
    }
}

/// What a person shall be told, by our field names. Empty values are absent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Wanted {
    /// The fields.
    pub fields: BTreeMap<FieldName, FieldValue>,
    /// Some of the same values as numbers and dates, for CRM fields of those types.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub typed: BTreeMap<FieldName, FieldValue>,
    /// The lead it was built from: the newest that had joined.
    pub lead_id: Option<LeadId>,
}

/// One write to one person, recorded before it is sent, so that an unknown outcome is answered by the same write again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PlannedWrite {
    /// The person.
    pub person: PersonId,
    /// What is sent.
    pub patch: Patch,
    /// What the person had in those fields before.
    pub before: BTreeMap<FieldKey, FieldValue>,
}

/// A worker's right to a job for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The job.
    pub job_id: SyncJobId,
    /// Its project.
    pub project_id: ProjectId,
    /// Grows with each claim of the job; who writes with an older one is refused.
    pub number: i64,
    /// Until when nobody else may claim it.
    pub until: Timestamp,
}

/// A claimed job.
#[derive(Clone, PartialEq, Debug)]
pub struct Claim {
    /// The job as it stood when claimed.
    pub job: SyncJob,
    /// The right to it.
    pub lease: Lease,
}

/// What became of one attempt. Recorded together with the job's new state.
#[derive(Clone, PartialEq, Debug)]
pub struct Settlement {
    /// When.
    pub at: Timestamp,
    /// What follows.
    pub next: NextStep,
    /// What was done, in a line without secrets and personal data: kept with the attempt.
    pub note: String,
    /// What was asked of the CRM and what it answered, in order: kept with the attempt.
    pub steps: Vec<Step>,
}

/// One question to the CRM and its answer. Neither holds secrets or personal data: an e-mail is "the e-mail", a value
/// is named by its field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SyncStep"))]
pub struct Step {
    /// As `search by e-mail` or `update person 7: utm_source, gclid`.
    pub asked: String,
    /// As `2 candidates, 1 verified` or `the CRM is unavailable: timeout`.
    pub answered: String,
}

/// What follows an attempt.
#[derive(Clone, PartialEq, Debug)]
pub enum NextStep {
    /// Another one. The write that was planned stays planned.
    PutOff {
        /// Not before this instant.
        due_at: Timestamp,
        /// How many looks found nobody so far. Above zero, the leads' events show `not_found`.
        looks: u32,
        /// How many attempts failed in a row for reasons of the job's own.
        failures: u32,
        /// Whether the planned write is known not to have been made, and is dropped.
        drop_planned: bool,
    },
    /// None. The leads' events show the status.
    End {
        /// A final status.
        status: JobStatus,
        /// The persons written, or those that made it ambiguous.
        persons: Vec<PersonId>,
        /// What was written, for the ledger. When there is some, or the status is [`JobStatus::Synced`] because the person
        /// had everything already, older jobs of the person and connection that still wait are superseded.
        written: Vec<PlannedWrite>,
    },
}

/// Everything a job is built from, read when it first becomes due.
#[derive(Clone, PartialEq, Debug)]
pub struct Dossier {
    /// The newest lead of the job.
    pub lead: Lead,
    /// That lead's event.
    pub event: StoredEvent,
    /// The session the form was sent in.
    pub session: SessionSpan,
    /// When the person's first visitor was first seen.
    pub first_seen_at: Timestamp,
    /// When the visitor's latest event occurred.
    pub last_seen_at: Timestamp,
    /// The addresses of the visitor's page views, newest first, each once; 1,000 at most.
    pub visited_pages: Vec<String>,
    /// How many sessions the visitor has.
    pub visit_count: u64,
    /// How many leads the person made in the project.
    pub lead_count: u64,
}

/// When a session began and ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionSpan {
    /// When its earliest event occurred.
    pub started_at: Timestamp,
    /// When its latest event occurred.
    pub last_event_at: Timestamp,
}
