//! What is counted and timed here, by its name in Prometheus. Whoever wants the numbers installs a recorder of the
//! `metrics` crate before anything of this crate is started; without one, counting costs nothing.

use std::sync::Arc;
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::ingest::IngestError;

/// Events that reached the service, alone, in a batch or as an image; what cannot be read as events counts as one.
pub const EVENTS_RECEIVED: &str = "leadtrail_events_received_total";
/// What became of them, by `outcome` and, where there are several, `reason`. Once nothing is under way, the sum over
/// all is [`EVENTS_RECEIVED`].
pub const EVENTS: &str = "leadtrail_events_total";
/// Events that wait for their group.
pub const QUEUE_DEPTH: &str = "leadtrail_ingest_queue_events";
/// Events per group.
pub const GROUP_EVENTS: &str = "leadtrail_ingest_group_events";
/// How long a group takes from its first look-up to its last answer.
pub const GROUP_SECONDS: &str = "leadtrail_ingest_group_duration_seconds";
/// How long the store takes to make a group durable.
pub const COMMIT_SECONDS: &str = "leadtrail_ingest_commit_duration_seconds";
/// Groups that were decided anew because what they were decided on had changed.
pub const STALE: &str = "leadtrail_ingest_stale_total";
/// Sync jobs that were claimed.
pub const SYNC_CLAIMED: &str = "leadtrail_sync_claimed_total";
/// Attempts to tell the CRM, by `outcome`: a job's final status, `put_off`, or `unrecorded`.
pub const SYNC_ATTEMPTS: &str = "leadtrail_sync_attempts_total";
/// Sync jobs that wait, due or not.
pub const SYNC_PENDING: &str = "leadtrail_sync_jobs_pending";
/// Sync jobs that are due.
pub const SYNC_DUE: &str = "leadtrail_sync_jobs_due";
/// For how long the oldest due job has been due.
pub const SYNC_DUE_SECONDS: &str = "leadtrail_sync_oldest_due_seconds";
/// How each CRM connection stands, by `account` and `standing`: 1 for the one it has, 0 for the others.
pub const CRM_STANDING: &str = "leadtrail_crm_connection_standing";
/// What is left of the day's budget of each CRM connection that has one, by `account`, in the CRM's units.
pub const CRM_BUDGET: &str = "leadtrail_crm_budget_remaining";

/// Histograms of counts, with the bounds that suit them.
pub const COUNT_HISTOGRAMS: [&str; 1] = [GROUP_EVENTS];
/// Histograms of seconds.
pub const SECONDS_HISTOGRAMS: [&str; 2] = [GROUP_SECONDS, COMMIT_SECONDS];

/// Tells the recorder what the names mean.
pub fn describe() {
    describe_counter!(EVENTS_RECEIVED, "Events that reached the service");
    describe_counter!(EVENTS, "What became of events, by outcome and reason");
    describe_gauge!(QUEUE_DEPTH, "Events that wait for their group");
    describe_histogram!(GROUP_EVENTS, "Events per group");
    describe_histogram!(GROUP_SECONDS, Unit::Seconds, "From a group's first look-up to its last answer");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "How long the store takes to make a group durable");
    describe_counter!(STALE, "Groups decided anew because their state had changed");
    describe_counter!(SYNC_CLAIMED, "Sync jobs claimed");
    describe_counter!(SYNC_ATTEMPTS, "Attempts to tell the CRM, by outcome");
    describe_gauge!(CRM_STANDING, "How each CRM connection stands: 1 for the standing it has");
    describe_gauge!(CRM_BUDGET, "What is left of the day's budget of a CRM connection, in the CRM's units");
    describe_gauge!(SYNC_PENDING, "Sync jobs that wait, due or not");
    describe_gauge!(SYNC_DUE, "Sync jobs that are due");
    describe_gauge!(SYNC_DUE_SECONDS, Unit::Seconds, "For how long the oldest due sync job has been due");
}

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is stored.
    Stored,
    /// It had been stored already.
    Duplicate,
    /// A bot sent it.
    Bot,
    /// Its sender says Global Privacy Control, and the project heeds that.
    Gpc,
    /// It is no event: not JSON, or of a wrong type.
    Malformed,
    /// It is larger than any event.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// It names no active pixel.
    UnknownPixel,
    /// Its fields make no event.
    Invalid,
    /// It comes from a site that its pixel is not for.
    ForeignSite,
    /// The store will never take it.
    Unstorable,
    /// Its client sends more often than it may.
    Limited,
    /// There was little room, and it is kept for what cannot be spared.
    Shed,
    /// There was no room for it.
    Busy,
    /// The store did not answer. It may be stored all the same.
    Unavailable,
    /// The service was shutting down.
    ShuttingDown,
    /// Its sender went away before it was queued.
    Abandoned,
}

impl Outcome {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::Stored,
        Self::Duplicate,
        Self::Bot,
        Self::Gpc,
        Self::Malformed,
        Self::TooLarge,
        Self::TooSlow,
        Self::UnknownPixel,
        Self::Invalid,
        Self::ForeignSite,
        Self::Unstorable,
        Self::Limited,
        Self::Shed,
        Self::Busy,
        Self::Unavailable,
        Self::ShuttingDown,
        Self::Abandoned,
    ];

    /// Why, in a word; `None` where the outcome says it.
    pub fn reason(self) -> Option<&'static str> {
        self.labels().1
    }

    /// Its values of the labels `outcome` and `reason`.
    fn labels(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Stored => ("stored", None),
            Self::Duplicate => ("duplicate", None),
            Self::Bot => ("dropped", Some("bot")),
            Self::Gpc => ("dropped", Some("gpc")),
            Self::Malformed => ("rejected", Some("malformed")),
            Self::TooLarge => ("rejected", Some("too_large")),
            Self::TooSlow => ("rejected", Some("too_slow")),
            Self::UnknownPixel => ("rejected", Some("unknown_pixel")),
            Self::Invalid => ("rejected", Some("invalid")),
            Self::ForeignSite => ("rejected", Some("foreign_site")),
            Self::Unstorable => ("rejected", Some("unstorable")),
            Self::Limited => ("refused", Some("limit")),
            Self::Shed => ("refused", Some("shed")),
            Self::Busy => ("refused", Some("busy")),
            Self::Unavailable => ("refused", Some("unavailable")),
            Self::ShuttingDown => ("refused", Some("shutting_down")),
            Self::Abandoned => ("abandoned", None),
        }
    }
}

impl From<&IngestError> for Outcome {
    fn from(error: &IngestError) -> Self {
        match error {
            IngestError::Shed { .. } => Self::Shed,
            IngestError::Busy { .. } => Self::Busy,
            IngestError::Unavailable { .. } => Self::Unavailable,
            IngestError::ShuttingDown => Self::ShuttingDown,
            IngestError::Rejected => Self::Unstorable,
        }
    }
}

/// The counters of events, looked up once. Clones count on.
#[derive(Clone)]
pub struct EventCounters(Arc<Counters>);

struct Counters {
    received: Counter,
    /// In the order of [`Outcome::ALL`].
    outcomes: Vec<(Outcome, Counter)>,
}

impl EventCounters {
    /// The counters of the recorder that is installed now.
    pub fn new() -> Self {
        let outcomes = Outcome::ALL.map(|outcome| {
            let counter = match outcome.labels() {
                (outcome, None) => counter!(EVENTS, "outcome" => outcome),
                (outcome, Some(reason)) => counter!(EVENTS, "outcome" => outcome, "reason" => reason),
            };
            (outcome, counter)
        });
        Self(Arc::new(Counters { received: counter!(EVENTS_RECEIVED), outcomes: outcomes.to_vec() }))
    }

    /// An event has come. Its outcome counts as abandoned unless another is told.
    pub fn received(&self) -> Received {
        self.0.received.increment(1);
        Received { counters: self.clone(), outcome: Some(Outcome::Abandoned) }
    }

    /// Counts an outcome.
    pub(crate) fn count(&self, outcome: Outcome) {
        if let Some((_, counter)) = self.0.outcomes.iter().find(|(known, _)| *known == outcome) {
            counter.increment(1);
        }
    }
}

impl Default for EventCounters {
    fn default() -> Self {
        Self::new()
    }
}

/// An event that came and whose outcome is counted exactly once, whatever happens.
#[must_use = "dropping it counts the event as abandoned"]
pub struct Received {
    counters: EventCounters,
    outcome: Option<Outcome>,
}

impl Received {
    /// This became of it.
    pub fn ended(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }

    /// It goes to [`Ingest::collect`](crate::ingest::Ingest::collect), which counts what becomes of it.
    pub fn handed_over(mut self) {
        self.outcome = None;
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome {
            self.counters.count(outcome);
        }
    }
}

/// What the groups of events are measured by.
#[derive(Clone)]
pub(crate) struct GroupMeasures {
    pub(crate) queued: Gauge,
    pub(crate) events: Histogram,
    pub(crate) seconds: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) stale: Counter,
}

impl GroupMeasures {
    pub(crate) fn new() -> Self {
        Self {
            queued: gauge!(QUEUE_DEPTH),
            events: histogram!(GROUP_EVENTS),
            seconds: histogram!(GROUP_SECONDS),
            commit_seconds: histogram!(COMMIT_SECONDS),
            stale: counter!(STALE),
        }
    }
}

/// A count as gauges and histograms take it: exact to 2^53, and no more than `u32::MAX`, which nothing here reaches.
pub(crate) fn number(count: impl TryInto<u32>) -> f64 {
    count.try_into().map_or_else(|_too_many| f64::from(u32::MAX), f64::from)
}

/// A length of time as histograms take it.
pub(crate) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_outcomes_share_their_labels() {
        let mut labels: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.labels()).collect();
        labels.sort_unstable();
        assert!(labels.windows(2).all(|two| two[0] != two[1]), "{labels:?}");
    }
}
