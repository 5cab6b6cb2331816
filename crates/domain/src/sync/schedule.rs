//! When a job is looked at again.

use std::time::Duration;

use super::SyncJob;
use crate::ports::{CrmError, Updates};
use crate::time::Timestamp;

/// When, after the form, a person who was not found is looked for again. People type persons in by hand, hours later.
pub const NOT_FOUND_RETRIES: [Duration; 4] =
    [Duration::from_mins(30), Duration::from_mins(90), Duration::from_hours(8), Duration::from_hours(32)];

/// How many attempts in a row may fail for reasons of the job's own.
pub const FAILURES_MAX: u32 = 5;

/// The shortest wait after a failure.
pub const BACKOFF_MIN: Duration = Duration::from_secs(30);
/// The longest wait after a failure. The breaker spares an account in trouble; a job that waited much longer would
/// only be told later than it could.
pub const BACKOFF_MAX: Duration = Duration::from_mins(15);
/// The wait while credentials are refused: somebody has to mend them.
pub const AUTH_WAIT: Duration = Duration::from_mins(5);

/// When to look again after the look number `looks` (1, 2, …) found nobody; `None` after the last. Never before `now`.
pub fn next_look(job: &SyncJob, looks: u32, now: Timestamp, retries: &[Duration]) -> Option<Timestamp> {
    let index = usize::try_from(looks.saturating_sub(1)).unwrap_or(usize::MAX);
    retries.get(index).map(|after_form| job.created_at.plus(*after_form).max(now.plus(BACKOFF_MIN)))
}

/// Whether the look that comes now is the first or the last: only then is the name looked for too.
pub fn looks_by_name(looks_before: u32, retries: &[Duration]) -> bool {
    looks_before == 0 || is_last_look(looks_before, retries)
}

/// Whether no look follows the one that comes now.
pub fn is_last_look(looks_before: u32, retries: &[Duration]) -> bool {
    usize::try_from(looks_before).is_ok_and(|looks| looks >= retries.len())
}

/// How many jobs may write to the person of an e-mail within [`PERSON_UPDATES_OF`]: anybody can put any address into a
/// form.
pub const PERSON_UPDATES_MAX: u32 = 20;
/// The time over which a person's updates are counted.
pub const PERSON_UPDATES_OF: Duration = Duration::from_hours(24);
/// When a job is tried again whose mapping somebody has to mend.
pub const MAPPING_WAIT: Duration = Duration::from_mins(15);

/// When a person may be written again who was written so often; `None`: now. A bound of 0 is none.
pub fn may_write_at(updates: Updates, updates_max: u32) -> Option<Timestamp> {
    let is_capped = updates_max > 0 && updates.count >= u64::from(updates_max);
    updates.oldest_at.filter(|_| is_capped).map(|at| at.plus(PERSON_UPDATES_OF))
}

/// How a failed call is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Again at this instant; it says nothing about the job.
    Again(Timestamp),
    /// Again at this instant; it counts against the job.
    AgainCounted(Timestamp),
    /// Never.
    Dead,
}

/// How a failed call is answered. What concerns the account (outage, limits, credentials) has no limit of attempts:
/// an outage is never a result. `account_answers`: whether the account answered another job meanwhile, which makes a
/// failure the job's own.
pub fn verdict(job: &SyncJob, error: &CrmError, account_answers: bool, now: Timestamp) -> Verdict {
    let is_last = job.failures + 1 >= FAILURES_MAX;
    match error {
        CrmError::Transient(_) if !account_answers => Verdict::Again(again_at(job, now)),
        CrmError::Transient(_) | CrmError::NotFound if !is_last => Verdict::AgainCounted(again_at(job, now)),
        CrmError::RateLimited { retry_after, .. } => {
            Verdict::Again(now.plus((*retry_after).max(Duration::from_secs(2)) + spread(job, BACKOFF_MIN)))
        }
        CrmError::Auth(_) => Verdict::Again(now.plus(AUTH_WAIT + spread(job, BACKOFF_MIN))),
        CrmError::Transient(_) | CrmError::NotFound | CrmError::Permanent { .. } => Verdict::Dead,
    }
}

/// When a job that has to wait is tried again: after a wait that grows with its age (an eighth of it), so that it needs
/// no counter and survives restarts: between [`BACKOFF_MIN`] and [`BACKOFF_MAX`], spread by up to a quarter so that jobs
/// that failed together do not return together.
pub fn again_at(job: &SyncJob, now: Timestamp) -> Timestamp {
    let wait = (now.since(job.due_at.min(job.created_at)) / 8).clamp(BACKOFF_MIN, BACKOFF_MAX);
    now.plus(wait + spread(job, wait / 4))
}

/// A part of `most` that differs from job to job.
fn spread(job: &SyncJob, most: Duration) -> Duration {
    most.mul_f64(f64::from(job.id.0.as_bytes()[15]) / 256.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::email::EmailHash;
    use crate::id::{LeadId, ProjectId, SyncJobId};
    use crate::ports::RateScope;
    use crate::sync::JobStatus;
    use uuid::Uuid;

    fn job() -> SyncJob {
        SyncJob {
            id: SyncJobId(Uuid::nil()),
            project_id: ProjectId(Uuid::nil()),
            account: "default".parse().unwrap(),
            lead_id: LeadId(Uuid::nil()),
            email_hash: EmailHash([0; 32]),
            sequence: 1,
            created_at: Timestamp::EPOCH,
            due_at: Timestamp::EPOCH.plus(Duration::from_mins(7)),
            status: JobStatus::Pending,
            looks: 0,
            failures: 0,
            wanted: None,
            planned: None,
            persons: Vec::new(),
            last_error: None,
            ended_at: None,
        }
    }

    #[test]
    fn a_person_is_looked_for_after_30_and_90_minutes_8_and_32_hours_and_then_no_more() {
        let now = Timestamp::EPOCH.plus(Duration::from_mins(7));
        let minutes: Vec<_> = (1..=5)
            .map(|looks| {
                next_look(&job(), looks, now, &NOT_FOUND_RETRIES)
                    .map(|at| at.since(Timestamp::EPOCH).as_secs() / 60)
            })
            .collect();
        assert_eq!(minutes, [Some(30), Some(90), Some(480), Some(1_920), None]);
        assert_eq!(next_look(&job(), 1, now, &[]), None);
    }

    #[test]
    fn a_name_is_looked_for_at_the_first_and_the_last_look_only() {
        let by_name: Vec<_> = (0..5).map(|looks| looks_by_name(looks, &NOT_FOUND_RETRIES)).collect();
        assert_eq!(by_name, [true, false, false, false, true]);
        assert!(looks_by_name(0, &[]));
    }

    #[test]
    fn an_outage_is_never_final_and_never_hammers() {
        let two_days = Timestamp::EPOCH.plus(Duration::from_hours(48));
        let mut job = job();
        job.failures = 1_000;
        for error in [
            CrmError::Transient("down".into()),
            CrmError::RateLimited { retry_after: Duration::ZERO, scope: RateScope::Burst },
            CrmError::Auth("401".into()),
        ] {
            let Verdict::Again(at) = verdict(&job, &error, false, two_days) else {
                panic!("{error} is final")
            };
            assert!(at >= two_days.plus(Duration::from_secs(2)));
        }
        assert_eq!(
            verdict(&job, &CrmError::Transient("x".into()), false, two_days),
            Verdict::Again(two_days.plus(BACKOFF_MAX))
        );
    }

    #[test]
    fn a_person_who_vanishes_again_and_again_ends_the_job() {
        let mut job = job();
        assert!(matches!(
            verdict(&job, &CrmError::NotFound, true, Timestamp::EPOCH),
            Verdict::AgainCounted(_)
        ));
        job.failures = FAILURES_MAX - 1;
        assert_eq!(verdict(&job, &CrmError::NotFound, true, Timestamp::EPOCH), Verdict::Dead);
    }

    #[test]
    fn a_job_that_fails_while_its_account_answers_others_ends_after_five_times() {
        let mut job = job();
        let broken = CrmError::Transient("500".into());
        job.failures = FAILURES_MAX - 2;
        assert!(matches!(verdict(&job, &broken, true, Timestamp::EPOCH), Verdict::AgainCounted(_)));
        job.failures = FAILURES_MAX - 1;
        assert!(matches!(verdict(&job, &broken, false, Timestamp::EPOCH), Verdict::Again(_)));
        assert_eq!(verdict(&job, &broken, true, Timestamp::EPOCH), Verdict::Dead);
    }

    #[test]
    fn a_person_written_as_often_as_allowed_waits_until_the_oldest_write_is_a_day_old() {
        let hour = Timestamp::EPOCH.plus(Duration::from_hours(1));
        let updates = |count| Updates { count, oldest_at: Some(hour) };
        assert_eq!(may_write_at(updates(19), PERSON_UPDATES_MAX), None);
        assert_eq!(may_write_at(updates(20), 20), Some(hour.plus(PERSON_UPDATES_OF)));
        assert_eq!(may_write_at(updates(1_000), 0), None);
    }
}
