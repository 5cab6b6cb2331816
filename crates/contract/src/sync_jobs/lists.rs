use std::collections::BTreeMap;

use leadtrail_domain::id::{ProjectId, SyncJobId};
use leadtrail_domain::ports::{AttemptRecord, JobCounts, JobFilter};
use leadtrail_domain::sync::{JobStatus, Settlement, Step};

use super::{
    JANE, LEASE, claim, claim_one, commit, due, end, put_off, settle, several_jobs, visitor_with_job,
};
use crate::Stores;
use crate::fixtures::{Tenant, at, claim_all, email};

pub(super) async fn what_was_asked_and_answered_is_kept_with_the_attempt(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let step = |asked: &str, answered: &str| Step { asked: asked.to_owned(), answered: answered.to_owned() };
    let steps = vec![
        step("search by e-mail", "2 candidates, 1 verified"),
        step("update person 7: utm_source, größe", "the CRM is unavailable: \"timeout\" \u{1f6d2}"),
        step("", ""),
    ];
    for (minute, next, steps) in [
        (10, put_off(30, 1), steps.clone()),
        (30, put_off(60, 1), Vec::new()),
        (60, end(JobStatus::Error), steps.clone()),
    ] {
        let lease = claim_one(stores, at(minute)).await.lease;
        let settlement = Settlement { at: at(minute), next, note: "asked".to_owned(), steps };
        stores.sync_jobs.settle(&lease, &settlement).await.expect("the lease counts");
    }
    let record = |minute, status, steps: &[Step]| AttemptRecord {
        at: at(minute),
        status,
        note: "asked".to_owned(),
        steps: steps.to_vec(),
    };
    let attempts = stores.sync_jobs.attempts(tenant.id(), visitor.job_id(1)).await;
    let expected = [
        record(10, JobStatus::Pending, &steps),
        record(30, JobStatus::Pending, &[]),
        record(60, JobStatus::Error, &steps),
    ];
    assert_eq!(attempts.expect("the store answers"), expected);
}

async fn listed(stores: &Stores, project: ProjectId, filter: &JobFilter, limit: u32) -> Vec<SyncJobId> {
    let jobs = stores.sync_jobs.jobs(project, filter, limit).await.expect("the store answers");
    jobs.into_iter().map(|job| job.id).collect()
}

pub(super) async fn jobs_are_listed_newest_first(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = several_jobs(stores, &tenant, &[4, 1, 3, 5, 2]).await;
    let mut all: Vec<_> = (1..=5).map(|minute| visitor.job_id(minute)).collect();
    all.sort();
    all.reverse();
    assert_eq!(listed(stores, tenant.id(), &JobFilter::default(), 10).await, all);
    assert_eq!(listed(stores, tenant.id(), &JobFilter::default(), 2).await, all[..2]);
    let next = JobFilter { before: Some(all[1]), ..JobFilter::default() };
    assert_eq!(listed(stores, tenant.id(), &next, 2).await, all[2..4]);
    let rest = JobFilter { before: Some(all[3]), ..JobFilter::default() };
    assert_eq!(listed(stores, tenant.id(), &rest, 2).await, all[4..]);
}

pub(super) async fn jobs_are_listed_by_status(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = several_jobs(stores, &tenant, &[1, 2, 3]).await;
    let claims = claim_all(stores.sync_jobs.as_ref(), due(3), LEASE, 1).await;
    settle(stores, &claims[0].lease, 20, end(JobStatus::Error)).await;
    let with = |status, before| JobFilter { status: Some(status), before, ..JobFilter::default() };
    let errors = listed(stores, tenant.id(), &with(JobStatus::Error, None), 10).await;
    assert_eq!(errors, [visitor.job_id(1)]);
    let pending = listed(stores, tenant.id(), &with(JobStatus::Pending, None), 10).await;
    assert_eq!(pending, [visitor.job_id(3), visitor.job_id(2)]);
    let older = listed(stores, tenant.id(), &with(JobStatus::Pending, Some(visitor.job_id(3))), 10).await;
    assert_eq!(older, [visitor.job_id(2)]);
    assert_eq!(listed(stores, tenant.id(), &with(JobStatus::Held, None), 10).await, []);
}

pub(super) async fn jobs_are_counted(stores: &Stores) {
    let counts = async |now| stores.sync_jobs.counts(None, now).await.expect("the store answers");
    assert_eq!(counts(at(1_000)).await, JobCounts::default());
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    several_jobs(stores, &ours, &[1, 2, 3]).await;
    several_jobs(stores, &theirs, &[2]).await;
    let at_start = JobCounts { pending: 4, due: 0, oldest_due_at: None };
    assert_eq!(counts(at(3)).await, at_start);
    let some_due = JobCounts { pending: 4, due: 3, oldest_due_at: Some(due(1)) };
    assert_eq!(counts(due(2)).await, some_due);
    // A lease changes nothing of that; an end does.
    let claims = claim_all(stores.sync_jobs.as_ref(), due(2), LEASE, 1).await;
    assert_eq!(counts(due(2)).await, some_due);
    settle(stores, &claims[0].lease, 20, end(JobStatus::Error)).await;
    assert_eq!(counts(due(2)).await, JobCounts { pending: 3, due: 2, oldest_due_at: Some(due(2)) });
}

pub(super) async fn jobs_are_listed_and_counted_by_each_filter(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = several_jobs(stores, &tenant, &[1, 2, 3]).await;
    commit(stores, &visitor.submits(1, 0, 5, JANE, 1)).await;
    let lease = claim_one_of(stores, visitor.job_id(5)).await;
    settle(stores, &lease, 60, end(JobStatus::NotFound)).await;
    commit(stores, &visitor.submits(1, 0, 6, JANE, 2)).await;
    let theirs = Tenant::create(stores, 2).await.visitor(1);
    commit(stores, &theirs.arrives(0)).await;
    commit(stores, &theirs.submits(1, 0, 5, JANE, 1)).await;

    let jane = Some(email(JANE).hash());
    let all = JobFilter::default();
    for (filter, minutes) in [
        (all.clone(), &[6, 5, 3, 2, 1][..]),
        (JobFilter { email: jane, ..all.clone() }, &[6, 5]),
        (JobFilter { email: Some(email("p2@example.com").hash()), ..all.clone() }, &[2]),
        (JobFilter { email: Some(email("jim@example.com").hash()), ..all.clone() }, &[]),
        (JobFilter { email: jane, status: Some(JobStatus::NotFound), ..all.clone() }, &[5]),
        (JobFilter { since: Some(at(3)), ..all.clone() }, &[6, 5, 3]),
        (JobFilter { until: Some(at(3)), ..all.clone() }, &[2, 1]),
        (JobFilter { since: Some(at(2)), until: Some(at(5)), ..all.clone() }, &[3, 2]),
        (JobFilter { since: Some(at(5)), until: Some(at(5)), ..all.clone() }, &[]),
        (
            JobFilter {
                status: Some(JobStatus::Pending),
                email: jane,
                since: Some(at(1)),
                until: Some(at(7)),
                ..all.clone()
            },
            &[6],
        ),
    ] {
        let expected: Vec<_> = minutes.iter().map(|minute| visitor.job_id(*minute)).collect();
        assert_eq!(listed(stores, tenant.id(), &filter, 10).await, expected, "{filter:?}");
        // The place in the list is no part of what is meant.
        for before in [None, Some(visitor.job_id(2))] {
            let counted = JobFilter { before, ..filter.clone() };
            let count = stores.sync_jobs.count(tenant.id(), &counted).await.expect("the store answers");
            assert_eq!(usize::try_from(count), Ok(expected.len()), "{counted:?}");
        }
    }
    let older = JobFilter { email: jane, before: Some(visitor.job_id(6)), ..all };
    assert_eq!(listed(stores, tenant.id(), &older, 10).await, [visitor.job_id(5)]);
}

async fn claim_one_of(stores: &Stores, id: SyncJobId) -> leadtrail_domain::sync::Lease {
    let mut claims = claim(stores, at(60)).await;
    let place = claims.iter().position(|claim| claim.job.id == id).expect("it is due");
    let claimed = claims.swap_remove(place);
    for other in claims {
        stores.sync_jobs.release(&other.lease).await.expect("the store answers");
    }
    claimed.lease
}

pub(super) async fn the_jobs_of_a_project_are_counted(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    several_jobs(stores, &ours, &[1, 2, 3]).await;
    several_jobs(stores, &theirs, &[2]).await;
    let counts = async |project: &Tenant, now| {
        stores.sync_jobs.counts(Some(project.id()), now).await.expect("the store answers")
    };
    let some_due = JobCounts { pending: 3, due: 2, oldest_due_at: Some(due(1)) };
    assert_eq!(counts(&ours, due(2)).await, some_due);
    let all_due = JobCounts { pending: 1, due: 1, oldest_due_at: Some(due(2)) };
    assert_eq!(counts(&theirs, due(2)).await, all_due);
    let nobody = crate::fixtures::tenant(3);
    assert_eq!(counts(&nobody, due(2)).await, JobCounts::default());
}

pub(super) async fn outcomes_are_counted_from_an_instant_on(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    several_jobs(stores, &ours, &[1, 2, 3, 4, 5]).await;
    several_jobs(stores, &theirs, &[2]).await;
    let ends = [
        (JobStatus::Synced, 20),
        (JobStatus::NotFound, 20),
        (JobStatus::Synced, 30),
        (JobStatus::Synced, 31),
    ];
    for (claimed, (status, minute)) in claim(stores, due(4)).await.into_iter().zip(ends) {
        settle(stores, &claimed.lease, minute, end(status)).await;
    }
    let outcomes = async |project: Option<&Tenant>, minute| {
        let project = project.map(Tenant::id);
        stores.sync_jobs.outcomes(project, at(minute)).await.expect("the store answers")
    };
    // The fifth of ours waits, and theirs came last.
    let counted = |counts: &[(JobStatus, u64)]| counts.iter().copied().collect::<BTreeMap<_, _>>();
    let (synced, not_found) = (JobStatus::Synced, JobStatus::NotFound);
    assert_eq!(outcomes(Some(&ours), 0).await, counted(&[(synced, 3), (not_found, 1)]));
    assert_eq!(outcomes(Some(&ours), 20).await, counted(&[(synced, 3), (not_found, 1)]));
    assert_eq!(outcomes(Some(&ours), 21).await, counted(&[(synced, 2)]));
    assert_eq!(outcomes(Some(&ours), 32).await, counted(&[]));
    assert_eq!(outcomes(Some(&theirs), 0).await, counted(&[]));
    let lease = claim_all(stores.sync_jobs.as_ref(), at(40), LEASE, 10).await;
    let of_theirs = lease.iter().find(|claim| claim.job.project_id == theirs.id()).expect("it is due");
    settle(stores, &of_theirs.lease, 40, end(JobStatus::Error)).await;
    assert_eq!(outcomes(Some(&theirs), 0).await, counted(&[(JobStatus::Error, 1)]));
    assert_eq!(outcomes(None, 30).await, counted(&[(synced, 2), (JobStatus::Error, 1)]));
}
