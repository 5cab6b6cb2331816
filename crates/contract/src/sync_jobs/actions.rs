use std::sync::Arc;

use leadtrail_domain::crm::PersonId;
use leadtrail_domain::event::{EventSync, StoredEvent};
use leadtrail_domain::ports::{AttemptRecord, JobAction};
use leadtrail_domain::sync::{JobStatus, Lease, NextStep, SyncJob};
use leadtrail_domain::visit::WaitingJob;

use super::{
    JANE, assert_refused, claim, claim_ids, claim_one, commit, due, end, event_sync, job, person, put_off,
    settle, synced, visitor_with_job,
};
use crate::Stores;
use crate::fixtures::{Tenant, Visitor, at, wanted, write};

const ACTIONS: [JobAction; 3] = [JobAction::Replay, JobAction::Hold, JobAction::Skip];

async fn act(stores: &Stores, visitor: &Visitor, minute: u32, action: JobAction, at_minute: u32) -> bool {
    let (project, id) = (visitor.project_id, visitor.job_id(minute));
    let note = format!("{} by ops", action.as_str());
    stores.sync_jobs.act(project, id, action, at(at_minute), &note).await.expect("the store answers")
}

async fn attempts(stores: &Stores, visitor: &Visitor, minute: u32) -> Vec<AttemptRecord> {
    let attempts = stores.sync_jobs.attempts(visitor.project_id, visitor.job_id(minute)).await;
    attempts.expect("the store answers")
}

/// Claims the job of a minute and leaves the others.
async fn lease_of(stores: &Stores, visitor: &Visitor, minute: u32, now: u32) -> Lease {
    let mut lease = None;
    for claim in claim(stores, at(now)).await {
        if claim.job.id == visitor.job_id(minute) {
            lease = Some(claim.lease);
        } else {
            stores.sync_jobs.release(&claim.lease).await.expect("the store answers");
        }
    }
    lease.expect("the job is due")
}

/// A job of that minute that has all that a job of that status can have: frozen, planned, looked for, failed, written.
async fn job_that_stands(stores: &Stores, visitor: &Visitor, minute: u32, status: JobStatus) {
    let address = format!("p{minute}@example.com");
    commit(stores, &visitor.submits(1, 0, minute, &address, 1)).await;
    let lease = lease_of(stores, visitor, minute, 100).await;
    stores.sync_jobs.freeze(&lease, &wanted(visitor.lead_id(minute))).await.expect("the lease counts");
    stores.sync_jobs.plan(&lease, &write("person-1", &["a"])).await.expect("the lease counts");
    let next = NextStep::PutOff { due_at: at(110), looks: 2, failures: 3, drop_planned: false };
    settle(stores, &lease, 100, next).await;
    match status {
        JobStatus::Pending => {}
        JobStatus::Held => assert!(act(stores, visitor, minute, JobAction::Hold, 105).await),
        JobStatus::Synced
        | JobStatus::NotFound
        | JobStatus::Ambiguous
        | JobStatus::Error
        | JobStatus::Superseded
        | JobStatus::Skipped
        | JobStatus::Erased => {
            let lease = lease_of(stores, visitor, minute, 120).await;
            let persons = vec![PersonId("person-1".to_owned())];
            let written =
                if status == JobStatus::Synced { vec![write("person-1", &["a"])] } else { Vec::new() };
            settle(stores, &lease, 120, NextStep::End { status, persons, written }).await;
        }
    }
}

/// What follows; `None` where the action is refused.
fn followed(action: JobAction, before: &SyncJob) -> Option<SyncJob> {
    let before = before.clone();
    match (action, before.status) {
        (JobAction::Replay, JobStatus::Erased) => None,
        (JobAction::Replay, _) => Some(SyncJob {
            status: JobStatus::Pending,
            due_at: at(200),
            looks: 0,
            failures: 0,
            wanted: None,
            persons: Vec::new(),
            last_error: None,
            ended_at: None,
            ..before
        }),
        (JobAction::Hold, JobStatus::Pending) => Some(SyncJob { status: JobStatus::Held, ..before }),
        (JobAction::Skip, JobStatus::Pending | JobStatus::Held) => {
            Some(SyncJob { status: JobStatus::Skipped, planned: None, ended_at: Some(at(200)), ..before })
        }
        (JobAction::Hold | JobAction::Skip, _) => None,
    }
}

pub(super) async fn what_a_human_wants_is_done_where_the_job_stands_for_it(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    let cases = ACTIONS.into_iter().flat_map(|action| JobStatus::ALL.map(|status| (action, status)));
    for (minute, (action, status)) in (1..).zip(cases) {
        job_that_stands(stores, &visitor, minute, status).await;
        let before = job(stores, tenant.id(), visitor.job_id(minute)).await;
        assert_eq!(before.status, status);
        let shown_before = event_sync(stores, &visitor, minute).await;
        let mut expected_attempts = attempts(stores, &visitor, minute).await;

        let done = act(stores, &visitor, minute, action, 200).await;

        let expected = followed(action, &before);
        assert_eq!(done, expected.is_some(), "{action:?} {status}");
        let shown = match (action, &expected) {
            (JobAction::Replay | JobAction::Skip, Some(job)) => {
                EventSync { status: Some(job.status), at: Some(at(200)), person_id: None }
            }
            (JobAction::Hold, Some(_)) | (_, None) => shown_before,
        };
        if let Some(job) = &expected {
            let note = format!("{} by ops", action.as_str());
            let record = AttemptRecord { at: at(200), status: job.status, note, steps: Vec::new() };
            expected_attempts.push(record);
        }
        let expected = expected.unwrap_or(before);
        let after = job(stores, tenant.id(), visitor.job_id(minute)).await;
        assert_eq!(after, expected, "{action:?} {status}");
        assert_eq!(event_sync(stores, &visitor, minute).await, shown, "{action:?} {status}");
        assert_eq!(attempts(stores, &visitor, minute).await, expected_attempts, "{action:?} {status}");
    }
}

pub(super) async fn holding_or_skipping_ends_the_lease(stores: &Stores) {
    for (n, action) in [(1, JobAction::Hold), (2, JobAction::Skip)] {
        let visitor = Tenant::create(stores, n).await.visitor(1);
        commit(stores, &visitor.arrives(0)).await;
        commit(stores, &visitor.submits(1, 0, 1, JANE, 1)).await;
        let lease = claim_one(stores, due(1)).await.lease;
        assert!(act(stores, &visitor, 1, action, 9).await);
        let before = job(stores, visitor.project_id, visitor.job_id(1)).await;
        assert_refused(stores, &lease, visitor.lead_id(1)).await;
        stores.sync_jobs.release(&lease).await.expect("a lost lease is no error");
        assert_eq!(job(stores, visitor.project_id, visitor.job_id(1)).await, before);
        assert_eq!(claim_ids(stores, at(5_000), 10).await, []);
    }
}

pub(super) async fn a_job_that_is_worked_on_is_not_replayed(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    let lease = stores.sync_jobs.renew(&lease, at(50)).await.expect("the lease counts");
    let before = job(stores, tenant.id(), visitor.job_id(1)).await;
    assert!(!act(stores, &visitor, 1, JobAction::Replay, 49).await);
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await, before);
    assert_eq!(attempts(stores, &visitor, 1).await, []);
    stores.sync_jobs.dossier(&lease).await.expect("the lease counts");
    // Whose lease ran out has lost it then.
    assert!(act(stores, &visitor, 1, JobAction::Replay, 50).await);
    assert_refused(stores, &lease, visitor.lead_id(1)).await;
    let again = claim_one(stores, at(50)).await.lease;
    assert!(again.number > lease.number);
    assert_refused(stores, &lease, visitor.lead_id(1)).await;
    settle(stores, &again, 51, end(JobStatus::NotFound)).await;
}

pub(super) async fn a_held_job_waits_for_a_human(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    assert!(act(stores, &visitor, 1, JobAction::Hold, 3).await);
    assert_eq!(claim_ids(stores, at(5_000), 10).await, []);
    assert_eq!(person(stores, &tenant, JANE).await.waiting_job, None);
    // Nor does it keep the person's next one waiting.
    commit(stores, &visitor.submits(1, 0, 4, JANE, 2)).await;
    let next = claim_one(stores, due(4)).await;
    assert_eq!(next.job.id, visitor.job_id(4));
    settle(stores, &next.lease, 20, end(JobStatus::NotFound)).await;
    assert!(act(stores, &visitor, 1, JobAction::Replay, 30).await);
    assert_eq!(claim_ids(stores, at(30), 10).await, [visitor.job_id(1)]);
}

pub(super) async fn a_replayed_job_is_shown_on_every_event_of_its_leads(stores: &Stores) {
    let (_tenant, visitor) = visitor_with_job(stores).await;
    commit(stores, &visitor.joins(1, 0, 2, JANE, visitor.job_id(1))).await;
    let mut repetition = visitor.views(1, 0, 3);
    repetition.events =
        vec![StoredEvent { lead_id: Some(visitor.lead_id(1)), ..visitor.stored(0, visitor.form(3, JANE)) }];
    commit(stores, &repetition).await;
    let lease = claim_one(stores, due(1)).await.lease;
    settle(stores, &lease, 9, synced(&write("person-1", &["a"]))).await;
    assert!(act(stores, &visitor, 1, JobAction::Replay, 30).await);
    let pending = EventSync { status: Some(JobStatus::Pending), at: Some(at(30)), person_id: None };
    for minute in [1, 2, 3] {
        assert_eq!(event_sync(stores, &visitor, minute).await, pending);
    }
    assert_eq!(event_sync(stores, &visitor, 0).await, EventSync::default());
    // What it wrote before is no newer write that forbids it to write.
    let lease = claim_one(stores, at(30)).await.lease;
    let planned = stores.sync_jobs.plan(&lease, &write("person-1", &["a"])).await;
    assert_eq!(planned.expect("the lease counts"), leadtrail_domain::ports::Planned::Go);
    settle(stores, &lease, 31, synced(&write("person-1", &["a"]))).await;
    assert_eq!(event_sync(stores, &visitor, 3).await.status, Some(JobStatus::Synced));
}

pub(super) async fn a_lead_joins_the_newest_job_alone(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let waiting = async || person(stores, &tenant, JANE).await.waiting_job.map(|job: WaitingJob| job.id);
    let lease = claim_one(stores, due(1)).await.lease;
    settle(stores, &lease, 8, end(JobStatus::NotFound)).await;
    assert!(act(stores, &visitor, 1, JobAction::Replay, 20).await);
    assert_eq!(waiting().await, Some(visitor.job_id(1)));
    let lease = claim_one(stores, at(20)).await.lease;
    settle(stores, &lease, 20, put_off(5_000, 1)).await;
    // Whoever joined an older job would be superseded with it.
    commit(stores, &visitor.submits(1, 0, 30, JANE, 2)).await;
    assert_eq!(waiting().await, Some(visitor.job_id(30)));
    let lease = claim_one(stores, due(30)).await.lease;
    stores.sync_jobs.freeze(&lease, &wanted(visitor.lead_id(30))).await.expect("the lease counts");
    assert_eq!(waiting().await, None);
}

pub(super) async fn acting_on_another_projects_job_does_nothing(stores: &Stores) {
    let (ours, visitor) = visitor_with_job(stores).await;
    let theirs = Tenant::create(stores, 2).await;
    let before = job(stores, ours.id(), visitor.job_id(1)).await;
    for action in ACTIONS {
        let jobs = &stores.sync_jobs;
        let foreign = jobs.act(theirs.id(), visitor.job_id(1), action, at(3), "").await;
        assert!(!foreign.expect("the store answers"));
        let unknown = jobs.act(ours.id(), visitor.job_id(50), action, at(3), "").await;
        assert!(!unknown.expect("the store answers"));
    }
    assert_eq!(job(stores, ours.id(), visitor.job_id(1)).await, before);
    assert_eq!(attempts(stores, &visitor, 1).await, []);
}

pub(super) async fn of_two_who_skip_at_once_one_does(stores: &Stores) {
    let (_tenant, visitor) = visitor_with_job(stores).await;
    let tasks: Vec<_> = (0..8)
        .map(|_human| {
            let (jobs, visitor) = (Arc::clone(&stores.sync_jobs), visitor.clone());
            tokio::spawn(async move {
                jobs.act(visitor.project_id, visitor.job_id(1), JobAction::Skip, at(9), "").await
            })
        })
        .collect();
    let mut done = 0;
    for answer in futures::future::join_all(tasks).await {
        done += usize::from(answer.expect("nobody panics").expect("the store answers"));
    }
    assert_eq!((done, attempts(stores, &visitor, 1).await.len()), (1, 1));
}
