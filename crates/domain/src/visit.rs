//! What is known of visitors when events arrive, and what follows from them: the values that a store loads and
//! commits as one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::conversion::Conversion;
use crate::email::EmailHash;
use crate::event::{StoredEvent, VisitorName};
use crate::id::{EventId, LeadId, PixelId, ProjectId, SessionId, Slug, SyncJobId, VisitorCookie, VisitorId};
use crate::lead::{Lead, SubmissionKey};
use crate::time::Timestamp;
use crate::touch::{Attribution, Touch};

/// A session ends when nothing happened for this long (GA4's default).
pub const SESSION_TIMEOUT: Duration = Duration::from_mins(30);

/// How many sessions of one visitor are known at most; the latest are kept.
pub const SESSIONS_KNOWN_MAX: usize = 200;

/// How many touches of one visitor or person are known at most, beside the first and the first that is not direct; the
/// latest are kept.
pub const TOUCHES_KNOWN_MAX: usize = 64;

/// How a visitor that may already be known is named: by cookie, in one project.
pub type VisitorKey = (ProjectId, VisitorCookie);

/// How an event that may already be stored is named.
pub type EventKey = (PixelId, EventId);

/// A person, as one project knows people.
pub type PersonKey = (ProjectId, EmailHash);

/// What must be known before a batch of events can be decided.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VisitQuery {
    /// Events that may already be stored.
    pub events: BTreeSet<EventKey>,
    /// Visitors that may already be known. Where the value is [`Freshness::Current`], a cache must not answer.
    pub visitors: BTreeMap<VisitorKey, Freshness>,
    /// Submissions that may be repetitions.
    pub submissions: BTreeSet<SubmissionKey>,
    /// People who sent a form or were identified.
    pub people: BTreeSet<PersonKey>,
    /// Sessions that ended before this instant may be left out, but for each visitor's latest.
    pub sessions_since: Option<Timestamp>,
}

/// How old an answer may be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Freshness {
    /// What a cache holds will do: the commit finds out when it has changed.
    Cached,
    /// As the store has it now.
    Current,
}

/// What is known: the answer to a [`VisitQuery`]. What is not in it does not exist.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Known {
    /// The events that are already stored, with what they were answered.
    pub events: BTreeMap<EventKey, Answer>,
    /// The visitors.
    pub visitors: BTreeMap<VisitorKey, Arc<KnownVisitor>>,
    /// The submissions.
    pub submissions: BTreeMap<SubmissionKey, KnownSubmission>,
    /// The people.
    pub people: BTreeMap<PersonKey, KnownPerson>,
}

/// A visitor as a store knows it.
#[derive(Clone, PartialEq, Debug)]
pub struct KnownVisitor {
    /// The visitor.
    pub id: VisitorId,
    /// Grows by one with each commit that opens a session for this visitor, widens one, or adds a touch or a conversion.
    /// Starts at 1.
    pub version: i64,
    /// When its first event occurred, as it was recorded with the visitor.
    pub first_seen_at: Timestamp,
    /// Its sessions, by `started_at` and id: those asked for, [`SESSIONS_KNOWN_MAX`] at most, and always the latest.
    pub sessions: Vec<KnownSession>,
    /// Its touches in their order: the latest [`TOUCHES_KNOWN_MAX`], the first, and the first that is not direct.
    pub touches: Vec<Arc<Touch>>,
}

/// A session as a store knows it.
#[derive(Clone, PartialEq, Debug)]
pub struct KnownSession {
    /// The session.
    pub id: SessionId,
    /// When its earliest event occurred.
    pub started_at: Timestamp,
    /// When its latest event occurred.
    pub last_event_at: Timestamp,
    /// What its opening touch says; all absent where it opened without one.
    pub attribution: Attribution,
}

/// A submission that came before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownSubmission {
    /// The lead the latest of them made.
    pub lead_id: LeadId,
    /// When the latest that made a lead arrived.
    pub received_at: Timestamp,
    /// How many made a lead.
    pub count: i64,
}

/// A person whose e-mail came before.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct KnownPerson {
    /// The visitors who gave this e-mail.
    pub visitors: BTreeSet<VisitorId>,
    /// The touches of all of them, in their order, with the bounds of [`KnownVisitor::touches`] taken together.
    pub touches: Vec<Arc<Touch>>,
    /// The latest job, where it still waits for its first look (pending, nothing frozen). An older one that does,
    /// because a human replays it, is not for new leads to join: it may be superseded.
    pub waiting_job: Option<WaitingJob>,
    /// The highest sequence number among the person's jobs; 0 without any.
    pub last_sequence: i64,
}

/// A job that further leads of its person may join.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitingJob {
    /// The job.
    pub id: SyncJobId,
    /// The CRM connection it goes to: a lead for another one does not join.
    pub account: Slug,
}

/// What a batch of events changes. Committed as a whole or not at all.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Changes {
    /// New events. Each must not be stored yet.
    pub events: Vec<StoredEvent>,
    /// New visitors. Each (project, cookie) must not be known yet.
    pub visitors: Vec<NewVisitor>,
    /// Known visitors that have events here, with what was assumed of them.
    pub assumed: Vec<AssumedVisitor>,
    /// New sessions.
    pub sessions: Vec<NewSession>,
    /// Sessions whose start moved back because a late event joined them.
    pub widened: Vec<WidenedSession>,
    /// New touches.
    pub touches: Vec<NewTouch>,
    /// New leads.
    pub leads: Vec<Lead>,
    /// New conversions. Each id must not be stored yet.
    pub conversions: Vec<Conversion>,
    /// Submissions that made a lead. Each (key, count) must not be recorded yet.
    pub submissions: Vec<NewSubmission>,
    /// Who a visitor is known to be. May already be recorded.
    pub identities: Vec<Identity>,
    /// New sync jobs. Each (person, sequence) must not be recorded yet.
    pub jobs: Vec<NewSyncJob>,
    /// Waiting jobs that a further lead joined. Each must still wait.
    pub joined: Vec<JoinedJob>,
}

/// A visitor seen for the first time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewVisitor {
    /// Its id.
    pub id: VisitorId,
    /// Its project.
    pub project_id: ProjectId,
    /// By what it is recognised.
    pub name: VisitorName,
    /// When its first event occurred.
    pub first_seen_at: Timestamp,
    /// The version it starts with: 1.
    pub version: i64,
}

/// What was assumed of a known visitor. A store whose visitor differs answers `Stale` and commits nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AssumedVisitor {
    /// The visitor.
    pub id: VisitorId,
    /// Its project.
    pub project_id: ProjectId,
    /// The version the decision was taken from.
    pub version: i64,
    /// Whether the version grows with this commit.
    pub advances: bool,
    /// Where a session opens: the time of the latest event that was known. A store that has a later one, from before
    /// this commit, answers `Stale`.
    pub no_event_after: Option<Timestamp>,
}

/// A session that opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its visitor.
    pub visitor_id: VisitorId,
    /// The pixel of its opening event.
    pub pixel_id: PixelId,
    /// Its opening event.
    pub opening_event_id: EventId,
    /// When its earliest event occurred.
    pub started_at: Timestamp,
    /// What its opening touch says.
    pub attribution: Attribution,
    /// The page landed on, without its query.
    pub landing_page: String,
}

/// A session whose start moves back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WidenedSession {
    /// The session.
    pub id: SessionId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its new start.
    pub started_at: Timestamp,
}

/// A touch that is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTouch {
    /// Its project.
    pub project_id: ProjectId,
    /// Its visitor.
    pub visitor_id: VisitorId,
    /// The touch.
    pub touch: Arc<Touch>,
}

/// A submission that made a lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewSubmission {
    /// What was submitted.
    pub key: SubmissionKey,
    /// The project.
    pub project_id: ProjectId,
    /// Which one of its key that made a lead: 1, 2, ….
    pub count: i64,
    /// The lead.
    pub lead_id: LeadId,
    /// When it arrived.
    pub received_at: Timestamp,
}

/// A visitor gave an e-mail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The project.
    pub project_id: ProjectId,
    /// The e-mail's hash.
    pub email_hash: EmailHash,
    /// The visitor.
    pub visitor_id: VisitorId,
    /// When it was first given.
    pub at: Timestamp,
}

/// A sync job that a lead makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSyncJob {
    /// Its id.
    pub id: SyncJobId,
    /// Its project.
    pub project_id: ProjectId,
    /// The CRM connection it goes to.
    pub account: Slug,
    /// The lead that made it.
    pub lead_id: LeadId,
    /// The person.
    pub email_hash: EmailHash,
    /// Its place among the person's jobs: 1, 2, ….
    pub sequence: i64,
    /// When the form arrived.
    pub created_at: Timestamp,
    /// When it is due first.
    pub due_at: Timestamp,
}

/// A lead joins a job that still waits. The lead carries the job's id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JoinedJob {
    /// The job.
    pub id: SyncJobId,
    /// Its project.
    pub project_id: ProjectId,
}

impl Changes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the sender of an event is told.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The event's id.
    pub event_id: EventId,
    /// The visitor; `None` for one that is not recognised.
    pub visitor_id: Option<VisitorId>,
    /// The session; `None` for a visitor that is not recognised.
    pub session_id: Option<SessionId>,
    /// The cookie to keep; `None` for a visitor that is not recognised.
    pub visitor_cookie: Option<VisitorCookie>,
    /// What the session's opening touch says.
    pub attribution: Attribution,
    /// Whether the event had already been stored.
    pub duplicate: bool,
}
