use std::collections::{BTreeMap, BTreeSet};

use leadtrail_domain::conversion::Conversion;
use leadtrail_domain::crm::{FieldKey, PersonId};
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{
    ConversionId, EventId, KeyId, LeadId, PixelId, ProjectId, SessionId, Slug, SyncJobId, VisitorId,
};
use leadtrail_domain::key::ApiKey;
use leadtrail_domain::lead::{Lead, SubmissionKey};
use leadtrail_domain::ports::{AttemptRecord, LedgerEntry, Queue, SealedConnection};
use leadtrail_domain::project::{Pixel, Project};
use leadtrail_domain::sync::{JobStatus, SyncJob};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::visit::{NewSession, NewSubmission, NewTouch, NewVisitor, PersonKey, VisitorKey};

/// What a database would keep in tables.
#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) projects: BTreeMap<ProjectId, Project>,
    pub(crate) pixels: BTreeMap<PixelId, Pixel>,
    pub(crate) keys: BTreeMap<KeyId, ApiKey>,
    pub(crate) visitors: BTreeMap<VisitorId, VisitorRow>,
    /// The visitors that are recognised by a cookie.
    pub(crate) visitor_of: BTreeMap<VisitorKey, VisitorId>,
    pub(crate) sessions: BTreeMap<SessionId, SessionRow>,
    /// In the order in which they are listed.
    pub(crate) events: BTreeMap<(EventId, PixelId), StoredEvent>,
    pub(crate) leads: BTreeMap<LeadId, Lead>,
    pub(crate) conversions: BTreeMap<ConversionId, Conversion>,
    pub(crate) submissions: BTreeMap<(SubmissionKey, i64), NewSubmission>,
    /// When each visitor first gave the person's e-mail.
    pub(crate) identities: BTreeMap<PersonKey, BTreeMap<VisitorId, Timestamp>>,
    pub(crate) jobs: BTreeMap<SyncJobId, JobRow>,
    /// The fields ever written to a person of a CRM account.
    pub(crate) ever_written: BTreeMap<(ProjectId, Slug, PersonId), BTreeSet<FieldKey>>,
    pub(crate) connections: BTreeMap<ProjectId, SealedConnection>,
}

pub(crate) struct VisitorRow {
    /// As it was written, but for the version, which is the current one.
    pub(crate) visitor: NewVisitor,
    pub(crate) sessions: BTreeSet<SessionId>,
    pub(crate) touches: Vec<NewTouch>,
}

pub(crate) struct SessionRow {
    /// As it was written, but for the start, which may have moved back.
    pub(crate) session: NewSession,
    pub(crate) last_event_at: Timestamp,
}

pub(crate) struct JobRow {
    pub(crate) job: SyncJob,
    /// The number of the latest lease; 0 before the first claim.
    pub(crate) lease_number: i64,
    pub(crate) leased_until: Option<Timestamp>,
    /// What it wrote, in the order in which it was recorded.
    pub(crate) written: Vec<LedgerEntry>,
    pub(crate) attempts: Vec<AttemptRecord>,
}

impl JobRow {
    pub(crate) fn person(&self) -> PersonKey {
        (self.job.project_id, self.job.email_hash)
    }

    pub(crate) fn queue(&self) -> Queue {
        Queue { project_id: self.job.project_id, account: self.job.account.clone() }
    }

    /// Whether nothing but another job of the same person can keep it from being claimed.
    pub(crate) fn is_claimable(&self, now: Timestamp) -> bool {
        self.job.status == JobStatus::Pending
            && self.job.due_at <= now
            && self.leased_until.is_none_or(|until| until <= now)
    }
}
