//! The suite of [`SyncJobs`](leadtrail_domain::ports::SyncJobs).

mod actions;
mod ledger;
mod lists;
mod queues;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use leadtrail_domain::crm::{FieldKey, FieldValue, PersonId};
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::event::{EventKind, EventSync, StoredEvent};
use leadtrail_domain::id::{ProjectId, SyncJobId};
use leadtrail_domain::ports::{AttemptRecord, JobAction, JobFilter, Planned, Queue, StoreError};
use leadtrail_domain::project::default_account;
use leadtrail_domain::sync::{
    Claim, Dossier, JobStatus, Lease, NextStep, PlannedWrite, SessionSpan, Settlement, SyncJob, Wanted,
};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::visit::{Changes, KnownPerson};

use self::actions::{
    a_held_job_waits_for_a_human, a_job_that_is_worked_on_is_not_replayed, a_lead_joins_the_newest_job_alone,
    a_replayed_job_is_shown_on_every_event_of_its_leads, acting_on_another_projects_job_does_nothing,
    holding_or_skipping_ends_the_lease, of_two_who_skip_at_once_one_does,
    what_a_human_wants_is_done_where_the_job_stands_for_it,
};
use self::ledger::{
    only_what_was_recorded_counts_as_an_update, updates_are_counted_by_job_and_from_an_instant_on,
    what_a_job_wrote_is_listed_with_what_was_there_before,
};
use self::lists::{
    jobs_are_counted, jobs_are_listed_and_counted_by_each_filter, jobs_are_listed_by_status,
    jobs_are_listed_newest_first, outcomes_are_counted_from_an_instant_on, the_jobs_of_a_project_are_counted,
    what_was_asked_and_answered_is_kept_with_the_attempt,
};
use self::queues::{
    a_claim_takes_of_its_own_queue_only, a_due_job_of_another_queue_keeps_nobody_waiting,
    a_persons_job_waits_while_one_of_another_queue_is_leased,
    concurrent_claimers_of_two_queues_never_split_a_persons_jobs,
    queues_are_due_oldest_first_with_their_jobs, what_cannot_be_claimed_makes_no_queue_due,
};
use crate::Stores;
use crate::fixtures::{
    SYNC_DELAY_MINUTES, Tenant, Visitor, at, claim_all, email, person_query, queue, slug, unlinked_form,
    wanted, write,
};

suite!($ sync_jobs_contract, sync_jobs, Stores,
    "`leadtrail_contract::sync_jobs_contract!(async { Stores::of(store().await) });`", [
    a_new_job_is_pending_and_untouched,
    a_job_is_not_shown_to_another_project,
    a_job_is_not_claimed_before_it_is_due,
    the_oldest_due_job_is_claimed_first,
    no_more_jobs_are_claimed_than_asked_for,
    a_leased_job_is_not_claimed_again,
    a_hundred_jobs_are_never_shared_by_concurrent_claimers,
    one_job_of_a_person_is_claimed_at_a_time,
    a_persons_next_job_waits_until_the_lease_ends,
    of_a_persons_jobs_the_one_due_first_is_claimed,
    concurrent_claimers_never_split_a_persons_jobs,
    an_expired_lease_can_be_claimed_and_the_old_one_is_refused_everywhere,
    a_lease_that_ran_out_still_counts_while_nobody_else_claimed,
    a_renewed_lease_is_kept_for_longer,
    a_lease_ends_when_it_is_given_back,
    a_released_job_is_claimable_at_once_and_untouched,
    releasing_a_lost_lease_changes_nothing,
    an_ended_job_is_refused_and_never_claimed_again,
    a_dossier_tells_of_the_newest_lead,
    a_dossier_tells_of_the_visitor,
    a_dossier_has_each_visited_page_once_newest_first,
    a_dossier_has_a_thousand_visited_pages_at_most,
    a_dossier_counts_the_persons_leads_in_its_project,
    a_persons_first_visit_counts_whichever_browser_it_was,
    a_dossier_of_somebody_not_recognised_tells_of_that_visit,
    what_is_wanted_is_frozen,
    freezing_from_an_older_lead_is_stale,
    no_lead_joins_a_frozen_job,
    no_lead_joins_an_ended_job,
    a_lead_may_join_a_job_that_was_only_claimed,
    a_planned_write_is_kept_with_the_job,
    a_write_is_not_planned_when_a_newer_one_was_made,
    a_write_waits_while_a_newer_one_may_have_been_made,
    a_write_does_not_wait_for_a_held_job,
    a_job_that_is_put_off_is_due_later,
    a_look_that_found_nobody_is_shown_on_the_event,
    without_a_look_nothing_is_shown_on_the_event,
    a_planned_write_stays_planned_unless_dropped,
    the_end_is_shown_on_the_events_of_all_leads,
    an_event_that_repeats_a_submission_shows_the_end_too,
    an_ambiguous_end_names_the_persons_but_none_was_written,
    an_error_keeps_its_reason,
    every_final_status_is_kept,
    what_was_written_is_remembered_by_person,
    writing_supersedes_the_persons_older_jobs,
    an_older_job_that_ended_keeps_its_end,
    a_superseded_job_plans_nothing_any_more,
    being_told_supersedes_even_where_nothing_was_left_to_write,
    what_another_connection_was_told_supersedes_nothing,
    an_end_without_a_write_supersedes_nothing,
    an_empty_write_is_no_write,
    attempts_are_listed_in_their_order,
    what_was_asked_and_answered_is_kept_with_the_attempt,
    queues_are_due_oldest_first_with_their_jobs,
    what_cannot_be_claimed_makes_no_queue_due,
    a_claim_takes_of_its_own_queue_only,
    a_persons_job_waits_while_one_of_another_queue_is_leased,
    a_due_job_of_another_queue_keeps_nobody_waiting,
    concurrent_claimers_of_two_queues_never_split_a_persons_jobs,
    what_a_human_wants_is_done_where_the_job_stands_for_it,
    holding_or_skipping_ends_the_lease,
    a_job_that_is_worked_on_is_not_replayed,
    a_held_job_waits_for_a_human,
    a_replayed_job_is_shown_on_every_event_of_its_leads,
    a_lead_joins_the_newest_job_alone,
    acting_on_another_projects_job_does_nothing,
    of_two_who_skip_at_once_one_does,
    what_a_job_wrote_is_listed_with_what_was_there_before,
    updates_are_counted_by_job_and_from_an_instant_on,
    only_what_was_recorded_counts_as_an_update,
    jobs_are_listed_newest_first,
    jobs_are_listed_by_status,
    jobs_are_listed_and_counted_by_each_filter,
    jobs_are_counted,
    the_jobs_of_a_project_are_counted,
    outcomes_are_counted_from_an_instant_on,
]);

const JANE: &str = "jane@example.com";
const LEASE: Duration = Duration::from_mins(2);

async fn commit(stores: &Stores, changes: &Changes) {
    stores.visits.commit(changes).await.expect("the changes are taken");
}

/// A visitor who arrived in minute 0 and sent a form in minute 1, so that a job is due in minute 8.
async fn visitor_with_job(stores: &Stores) -> (Tenant, Visitor) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.submits(1, 0, 1, JANE, 1)).await;
    (tenant, visitor)
}

/// When a job made in a minute is due.
fn due(minute: u32) -> Timestamp {
    at(minute + SYNC_DELAY_MINUTES)
}

async fn claim(stores: &Stores, now: Timestamp) -> Vec<Claim> {
    claim_all(stores.sync_jobs.as_ref(), now, LEASE, 1_000).await
}

async fn claim_ids(stores: &Stores, now: Timestamp, limit: u32) -> Vec<SyncJobId> {
    let claims = claim_all(stores.sync_jobs.as_ref(), now, LEASE, limit).await;
    claims.into_iter().map(|claim| claim.job.id).collect()
}

/// Claims the one job that is due.
async fn claim_one(stores: &Stores, now: Timestamp) -> Claim {
    let mut claims = claim(stores, now).await;
    assert_eq!(claims.len(), 1, "one job is due");
    claims.remove(0)
}

async fn job(stores: &Stores, project: ProjectId, id: SyncJobId) -> SyncJob {
    stores.sync_jobs.job(project, id).await.expect("the store answers").expect("the job is stored")
}

async fn settle(stores: &Stores, lease: &Lease, minute: u32, next: NextStep) {
    let note = format!("settled in minute {minute}");
    let settlement = Settlement { at: at(minute), next, note, steps: Vec::new() };
    stores.sync_jobs.settle(lease, &settlement).await.expect("the lease counts");
}

fn put_off(minute: u32, looks: u32) -> NextStep {
    NextStep::PutOff { due_at: at(minute), looks, failures: 0, drop_planned: false }
}

fn end(status: JobStatus) -> NextStep {
    NextStep::End { status, persons: Vec::new(), written: Vec::new() }
}

fn synced(written: &PlannedWrite) -> NextStep {
    NextStep::End {
        status: JobStatus::Synced,
        persons: vec![written.person.clone()],
        written: vec![written.clone()],
    }
}

async fn event_sync(stores: &Stores, visitor: &Visitor, minute: u32) -> EventSync {
    let event = stores.visits.event(visitor.project_id, &visitor.pixel_id, visitor.event_id(minute)).await;
    event.expect("the store answers").expect("the event is stored").sync
}

async fn person(stores: &Stores, tenant: &Tenant, address: &str) -> KnownPerson {
    let key: (ProjectId, EmailHash) = (tenant.id(), email(address).hash());
    let mut known = stores.visits.load(&person_query(key)).await.expect("the store answers");
    known.people.remove(&key).expect("the person is known")
}

fn assert_lost<T: std::fmt::Debug>(answer: &Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::LeaseLost)), "{answer:?}");
}

async fn assert_refused(stores: &Stores, lease: &Lease, lead: leadtrail_domain::id::LeadId) {
    let jobs = &stores.sync_jobs;
    assert_lost(&jobs.renew(lease, at(5_000)).await);
    assert_lost(&jobs.dossier(lease).await);
    assert_lost(&jobs.freeze(lease, &wanted(lead)).await);
    assert_lost(&jobs.plan(lease, &write("person-9", &["a"])).await);
    for next in [put_off(5_000, 1), end(JobStatus::Error), synced(&write("person-9", &["a"]))] {
        let settlement = Settlement { at: at(4_000), next, note: "late".to_owned(), steps: Vec::new() };
        assert_lost(&jobs.settle(lease, &settlement).await);
    }
}

async fn a_new_job_is_pending_and_untouched(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let expected = SyncJob {
        id: visitor.job_id(1),
        project_id: tenant.id(),
        account: default_account(),
        lead_id: visitor.lead_id(1),
        email_hash: email(JANE).hash(),
        sequence: 1,
        created_at: at(1),
        due_at: due(1),
        status: JobStatus::Pending,
        looks: 0,
        failures: 0,
        wanted: None,
        planned: None,
        persons: Vec::new(),
        last_error: None,
        ended_at: None,
    };
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await, expected);
    let attempts = stores.sync_jobs.attempts(tenant.id(), visitor.job_id(1)).await;
    assert_eq!(attempts.expect("the store answers"), []);
    let claimed = claim_one(stores, due(1)).await;
    assert_eq!(claimed.job, expected);
    let lease = claimed.lease;
    assert_eq!((lease.job_id, lease.project_id, lease.until), (expected.id, tenant.id(), due(1).plus(LEASE)));
    assert_eq!(event_sync(stores, &visitor, 1).await, EventSync::default());
}

async fn a_job_is_not_shown_to_another_project(stores: &Stores) {
    let (_ours, visitor) = visitor_with_job(stores).await;
    let theirs = Tenant::create(stores, 2).await;
    let id = visitor.job_id(1);
    assert_eq!(stores.sync_jobs.job(theirs.id(), id).await.expect("the store answers"), None);
    let listed = stores.sync_jobs.jobs(theirs.id(), &JobFilter::default(), 10).await;
    assert_eq!(listed.expect("the store answers"), []);
    let claimed = claim_one(stores, due(1)).await;
    settle(stores, &claimed.lease, 8, put_off(30, 1)).await;
    assert_eq!(stores.sync_jobs.attempts(theirs.id(), id).await.expect("the store answers"), []);
}

async fn a_job_is_not_claimed_before_it_is_due(stores: &Stores) {
    let (_tenant, visitor) = visitor_with_job(stores).await;
    let moment = Duration::from_micros(1);
    assert_eq!(claim_ids(stores, due(1).minus(moment), 10).await, []);
    assert_eq!(claim_ids(stores, due(1), 10).await, [visitor.job_id(1)]);
}

/// Jobs of as many people, made in the given minutes.
async fn several_jobs(stores: &Stores, tenant: &Tenant, minutes: &[u32]) -> Visitor {
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    for minute in minutes {
        commit(stores, &visitor.submits(1, 0, *minute, &format!("p{minute}@example.com"), 1)).await;
    }
    visitor
}

async fn the_oldest_due_job_is_claimed_first(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = several_jobs(stores, &tenant, &[5, 2, 9, 3]).await;
    let claimed = claim_ids(stores, due(5), 10).await;
    assert_eq!(claimed, [2, 3, 5].map(|minute| visitor.job_id(minute)));
}

async fn no_more_jobs_are_claimed_than_asked_for(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = several_jobs(stores, &tenant, &[5, 2, 9, 3]).await;
    assert_eq!(claim_ids(stores, due(9), 0).await, []);
    assert_eq!(claim_ids(stores, due(9), 3).await, [2, 3, 5].map(|minute| visitor.job_id(minute)));
    assert_eq!(claim_ids(stores, due(9), 3).await, [visitor.job_id(9)]);
}

async fn a_leased_job_is_not_claimed_again(stores: &Stores) {
    let (_tenant, visitor) = visitor_with_job(stores).await;
    claim_one(stores, due(1)).await;
    let moment = Duration::from_micros(1);
    for now in [due(1), due(1).plus(LEASE).minus(moment)] {
        assert_eq!(claim_ids(stores, now, 10).await, []);
    }
    assert_eq!(claim_ids(stores, due(1).plus(LEASE), 10).await, [visitor.job_id(1)]);
}

async fn a_hundred_jobs_are_never_shared_by_concurrent_claimers(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    let mut all = Changes { assumed: vec![visitor.assumed(1)], ..Changes::default() };
    for minute in 1..=100 {
        let changes = visitor.submits(1, 0, minute, &format!("p{minute}@example.com"), 1);
        all.events.extend(changes.events);
        all.leads.extend(changes.leads);
        all.submissions.extend(changes.submissions);
        all.identities.extend(changes.identities);
        all.jobs.extend(changes.jobs);
    }
    commit(stores, &all).await;
    let claimers: Vec<_> = (0..8)
        .map(|_claimer| {
            let (jobs, queue) = (Arc::clone(&stores.sync_jobs), queue(tenant.id()));
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let claims = jobs.claim(&queue, due(100), LEASE, 7).await.expect("the store answers");
                    if claims.is_empty() {
                        return mine;
                    }
                    mine.extend(claims.into_iter().map(|claim| claim.job.id));
                }
            })
        })
        .collect();
    let mut claimed = Vec::new();
    for claimer in futures::future::join_all(claimers).await {
        claimed.extend(claimer.expect("no claimer panics"));
    }
    // An empty answer may mean that others were faster: what they left is claimed now.
    claimed.extend(claim_ids(stores, due(100), 1_000).await);
    assert_eq!(claimed.len(), 100);
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 100);
}

/// A visitor with jobs of Jane made in the given minutes, in their sequence.
async fn jobs_of_jane(stores: &Stores, minutes: &[u32]) -> Visitor {
    let visitor = Tenant::create(stores, 1).await.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    for (minute, sequence) in minutes.iter().zip(1..) {
        commit(stores, &visitor.submits(1, 0, *minute, JANE, sequence)).await;
    }
    visitor
}

async fn one_job_of_a_person_is_claimed_at_a_time(stores: &Stores) {
    let visitor = jobs_of_jane(stores, &[1, 2]).await;
    let other = Tenant::create(stores, 2).await.visitor(1);
    commit(stores, &other.arrives(0)).await;
    commit(stores, &other.submits(1, 0, 1, JANE, 1)).await;
    commit(stores, &visitor.submits(1, 0, 3, "joan@example.com", 1)).await;
    // The address in another project is another person.
    let mut claimed = claim_ids(stores, due(3), 10).await;
    claimed.sort();
    let mut expected = [visitor.job_id(1), other.job_id(1), visitor.job_id(3)];
    expected.sort();
    assert_eq!(claimed, expected);
    assert_eq!(claim_ids(stores, due(3), 10).await, []);
}

async fn a_persons_next_job_waits_until_the_lease_ends(stores: &Stores) {
    let visitor = jobs_of_jane(stores, &[1, 2, 3]).await;
    let first = claim_one(stores, due(3)).await.lease;
    assert_eq!(first.job_id, visitor.job_id(1));
    stores.sync_jobs.renew(&first, at(40)).await.expect("the lease counts");
    assert_eq!(claim_ids(stores, at(39), 10).await, []);
    settle(stores, &first, 39, end(JobStatus::NotFound)).await;
    let second = claim_one(stores, at(39)).await.lease;
    assert_eq!(second.job_id, visitor.job_id(2));
    settle(stores, &second, 39, put_off(60, 1)).await;
    assert_eq!(claim_one(stores, at(39)).await.job.id, visitor.job_id(3));
    // A lease that ran out keeps nobody waiting; what is due first comes first.
    assert_eq!(claim_ids(stores, at(60), 10).await, [visitor.job_id(3)]);
}

async fn of_a_persons_jobs_the_one_due_first_is_claimed(stores: &Stores) {
    let visitor = jobs_of_jane(stores, &[]).await;
    for (minute, sequence, due_at) in [(1, 1, 30), (2, 2, 20), (4, 4, 20), (3, 3, 20)] {
        let mut changes = visitor.submits(1, 0, minute, JANE, sequence);
        changes.jobs[0].due_at = at(due_at);
        commit(stores, &changes).await;
    }
    for (now, minute) in [(20, 2), (21, 3), (30, 4), (31, 1)] {
        let claimed = claim_one(stores, at(now)).await;
        assert_eq!(claimed.job.id, visitor.job_id(minute), "at minute {now}");
        settle(stores, &claimed.lease, now, end(JobStatus::Skipped)).await;
    }
}

async fn concurrent_claimers_never_split_a_persons_jobs(stores: &Stores) {
    const PEOPLE: u32 = 10;
    let visitor = jobs_of_jane(stores, &[]).await;
    let mut all = Changes { assumed: vec![visitor.assumed(1)], ..Changes::default() };
    for minute in 1..=5 * PEOPLE {
        let address = format!("p{}@example.com", minute % PEOPLE);
        let sequence = i64::from((minute - 1) / PEOPLE) + 1;
        let changes = visitor.submits(1, 0, minute, &address, sequence);
        all.events.extend(changes.events);
        all.leads.extend(changes.leads);
        all.submissions.extend(changes.submissions);
        all.identities.extend(changes.identities);
        all.jobs.extend(changes.jobs);
    }
    commit(stores, &all).await;
    let mut ended = BTreeSet::new();
    for _round in 0..5 {
        let claimers: Vec<_> = (0..8)
            .map(|_claimer| {
                let (jobs, queue) = (Arc::clone(&stores.sync_jobs), queue(visitor.project_id));
                tokio::spawn(async move {
                    jobs.claim(&queue, at(100), LEASE, 3).await.expect("the store answers")
                })
            })
            .collect();
        let mut claims = Vec::new();
        for claimer in futures::future::join_all(claimers).await {
            claims.extend(claimer.expect("no claimer panics"));
        }
        claims.extend(claim(stores, at(100)).await);
        let people: BTreeSet<_> = claims.iter().map(|claim| claim.job.email_hash).collect();
        assert_eq!((claims.len(), people.len()), (10, 10), "one of each");
        for claim in claims {
            settle(stores, &claim.lease, 100, end(JobStatus::NotFound)).await;
            assert!(ended.insert(claim.job.id));
        }
    }
    assert_eq!(ended.len(), all.jobs.len());
    assert_eq!(claim_ids(stores, at(100), 10).await, []);
}

async fn an_expired_lease_can_be_claimed_and_the_old_one_is_refused_everywhere(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let old = claim_one(stores, due(1)).await.lease;
    let new = claim_one(stores, at(100)).await.lease;
    assert!(new.number > old.number);
    let before = job(stores, tenant.id(), visitor.job_id(1)).await;
    assert_refused(stores, &old, visitor.lead_id(1)).await;
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await, before);
    assert_eq!(event_sync(stores, &visitor, 1).await, EventSync::default());
    let account = default_account();
    let ledger = stores.sync_jobs.ever_written(tenant.id(), &account, &PersonId("person-9".to_owned())).await;
    assert_eq!(ledger.expect("the store answers"), BTreeSet::new());
    assert_eq!(stores.sync_jobs.attempts(tenant.id(), visitor.job_id(1)).await.expect("answers"), []);
    settle(stores, &new, 100, end(JobStatus::NotFound)).await;
}

async fn a_lease_that_ran_out_still_counts_while_nobody_else_claimed(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    // Nobody says what time it is: the lease is compared with other claims only.
    stores.sync_jobs.dossier(&lease).await.expect("the lease counts");
    stores.sync_jobs.freeze(&lease, &wanted(visitor.lead_id(1))).await.expect("the lease counts");
    settle(stores, &lease, 5_000, end(JobStatus::NotFound)).await;
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await.ended_at, Some(at(5_000)));
}

async fn a_renewed_lease_is_kept_for_longer(stores: &Stores) {
    let (_tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    let renewed = stores.sync_jobs.renew(&lease, at(50)).await.expect("the lease counts");
    assert_eq!(renewed, Lease { until: at(50), ..lease });
    assert_eq!(claim_ids(stores, at(49), 10).await, []);
    stores.sync_jobs.dossier(&renewed).await.expect("the lease counts");
    assert_eq!(claim_ids(stores, at(50), 10).await, [visitor.job_id(1)]);
    assert_refused(stores, &renewed, visitor.lead_id(1)).await;
}

async fn a_released_job_is_claimable_at_once_and_untouched(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let before = job(stores, tenant.id(), visitor.job_id(1)).await;
    let claimed = claim_one(stores, due(1)).await;
    stores.sync_jobs.release(&claimed.lease).await.expect("the store answers");
    let again = claim_one(stores, due(1)).await;
    assert_eq!(again.job, before);
    assert!(again.lease.number > claimed.lease.number);
    assert_eq!(stores.sync_jobs.attempts(tenant.id(), before.id).await.expect("the store answers"), []);
    assert_refused(stores, &claimed.lease, visitor.lead_id(1)).await;
}

async fn a_lease_ends_when_it_is_given_back(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let released = claim_one(stores, due(1)).await.lease;
    stores.sync_jobs.release(&released).await.expect("the store answers");
    assert_refused(stores, &released, visitor.lead_id(1)).await;
    let settled = claim_one(stores, due(1)).await.lease;
    settle(stores, &settled, 20, put_off(60, 1)).await;
    // The answer to a settlement may be lost: made again, it must not count as a second attempt.
    assert_refused(stores, &settled, visitor.lead_id(1)).await;
    let attempts =
        stores.sync_jobs.attempts(tenant.id(), visitor.job_id(1)).await.expect("the store answers");
    assert_eq!(attempts.len(), 1);
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await.due_at, at(60));
}

async fn releasing_a_lost_lease_changes_nothing(stores: &Stores) {
    let (_tenant, _visitor) = visitor_with_job(stores).await;
    let old = claim_one(stores, due(1)).await.lease;
    let new = claim_one(stores, at(100)).await.lease;
    stores.sync_jobs.release(&old).await.expect("a lost lease is no error");
    assert_eq!(claim_ids(stores, at(100), 10).await, []);
    settle(stores, &new, 100, end(JobStatus::NotFound)).await;
    stores.sync_jobs.release(&new).await.expect("a lost lease is no error");
    assert_eq!(claim_ids(stores, at(5_000), 10).await, []);
}

async fn an_ended_job_is_refused_and_never_claimed_again(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    settle(stores, &lease, 8, end(JobStatus::NotFound)).await;
    assert_eq!(claim_ids(stores, Timestamp::MAX, 10).await, []);
    let ended = job(stores, tenant.id(), visitor.job_id(1)).await;
    assert_refused(stores, &lease, visitor.lead_id(1)).await;
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await, ended);
}

async fn a_dossier_tells_of_the_newest_lead(stores: &Stores) {
    let (_tenant, visitor) = visitor_with_job(stores).await;
    let first = claim_one(stores, due(1)).await.lease;
    let lead = visitor.lead(0, 1, JANE, Some(visitor.job_id(1)));
    let dossier = stores.sync_jobs.dossier(&first).await.expect("the lease counts");
    assert_eq!(dossier.lead, lead);

    // What joins between claim and freeze is told.
    let mut joining = visitor.joins(1, 0, 3, JANE, visitor.job_id(1));
    joining.leads[0].last_name = Some("Døe \u{1f6d2}".to_owned());
    joining.leads[0].session_touch = None;
    commit(stores, &joining).await;
    let dossier = stores.sync_jobs.dossier(&first).await.expect("the lease counts");
    assert_eq!(dossier.lead, joining.leads[0]);
    assert_eq!(dossier.event, joining.events[0]);
}

async fn a_dossier_tells_of_the_visitor(stores: &Stores) {
    let (_tenant, visitor) = visitor_with_job(stores).await;
    commit(stores, &visitor.views(1, 0, 4)).await;
    commit(stores, &visitor.returns(1, 4, 60)).await;
    commit(stores, &visitor.views(2, 60, 65)).await;
    let lease = claim_one(stores, at(70)).await.lease;
    let expected = Dossier {
        lead: visitor.lead(0, 1, JANE, Some(visitor.job_id(1))),
        event: visitor.submits(1, 0, 1, JANE, 1).events.remove(0),
        session: SessionSpan { started_at: at(0), last_event_at: at(4) },
        first_seen_at: at(0),
        last_seen_at: at(65),
        visited_pages: [65, 60, 4, 0].map(|minute| format!("https://shop.example/page/{minute}")).into(),
        visit_count: 2,
        lead_count: 1,
    };
    assert_eq!(stores.sync_jobs.dossier(&lease).await.expect("the lease counts"), expected);
}

async fn a_dossier_has_each_visited_page_once_newest_first(stores: &Stores) {
    let (_tenant, visitor) = visitor_with_job(stores).await;
    let mut pages = visitor.views(1, 0, 2);
    pages.events.clear();
    for (minute, page) in [(2, "a"), (3, "b"), (4, "a"), (5, "c"), (6, "A")] {
        let mut event = visitor.pageview(minute);
        event.page_url = format!("https://shop.example/{page}");
        pages.events.push(visitor.stored(0, event));
    }
    // Neither what is no page view, nor what somebody else saw.
    let mut click = visitor.pageview(7);
    click.kind = EventKind::Custom("click".to_owned());
    pages.events.push(visitor.stored(0, click));
    commit(stores, &pages).await;
    let lease = claim_one(stores, at(70)).await.lease;
    let dossier = stores.sync_jobs.dossier(&lease).await.expect("the lease counts");
    assert_eq!(
        dossier.visited_pages,
        ["A", "c", "a", "b", "page/0"].map(|page| format!("https://shop.example/{page}"))
    );
    assert_eq!(dossier.last_seen_at, at(7));
}

async fn a_dossier_has_a_thousand_visited_pages_at_most(stores: &Stores) {
    let (_tenant, visitor) = visitor_with_job(stores).await;
    let mut pages = visitor.views(1, 0, 2);
    pages.events = (2..1_012).map(|minute| visitor.stored(0, visitor.pageview(minute))).collect();
    commit(stores, &pages).await;
    let lease = claim_one(stores, at(2_000)).await.lease;
    let dossier = stores.sync_jobs.dossier(&lease).await.expect("the lease counts");
    let expected: Vec<_> =
        (12..1_012).rev().map(|minute| format!("https://shop.example/page/{minute}")).collect();
    assert_eq!(dossier.visited_pages, expected);
}

async fn a_dossier_counts_the_persons_leads_in_its_project(stores: &Stores) {
    let (tenant, phone) = visitor_with_job(stores).await;
    let laptop = tenant.visitor(2);
    commit(stores, &laptop.arrives(2)).await;
    commit(stores, &laptop.enquires(1, 2, 3, JANE)).await;
    commit(stores, &laptop.enquires(1, 2, 4, "joan@example.com")).await;
    commit(stores, &phone.joins(1, 0, 5, JANE, phone.job_id(1))).await;
    let other = Tenant::create(stores, 2).await.visitor(1);
    commit(stores, &other.arrives(0)).await;
    commit(stores, &other.enquires(1, 0, 1, JANE)).await;
    let lease = claim_one(stores, due(1)).await.lease;
    let dossier = stores.sync_jobs.dossier(&lease).await.expect("the lease counts");
    assert_eq!((dossier.lead_count, dossier.visit_count), (3, 1));
}

async fn a_persons_first_visit_counts_whichever_browser_it_was(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let (phone, laptop) = (tenant.visitor(1), tenant.visitor(2));
    commit(stores, &phone.arrives(20)).await;
    commit(stores, &laptop.arrives(10)).await;
    commit(stores, &laptop.enquires(1, 10, 11, JANE)).await;
    commit(stores, &phone.submits(1, 20, 21, JANE, 1)).await;
    let lease = claim_one(stores, due(21)).await.lease;
    let dossier = stores.sync_jobs.dossier(&lease).await.expect("the lease counts");
    assert_eq!((dossier.first_seen_at, dossier.last_seen_at), (at(10), at(21)));
}

async fn a_dossier_of_somebody_not_recognised_tells_of_that_visit(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let changes = unlinked_form(&tenant, 1, JANE);
    commit(stores, &changes).await;
    let lease = claim_one(stores, due(0)).await.lease;
    let expected = Dossier {
        lead: changes.leads[0].clone(),
        event: changes.events[0].clone(),
        session: SessionSpan { started_at: at(0), last_event_at: at(0) },
        first_seen_at: at(0),
        last_seen_at: at(0),
        visited_pages: Vec::new(),
        visit_count: 1,
        lead_count: 1,
    };
    assert_eq!(stores.sync_jobs.dossier(&lease).await.expect("the lease counts"), expected);
}

async fn what_is_wanted_is_frozen(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    let mut wanted: Wanted = wanted(visitor.lead_id(1));
    let field = |name: &str| name.parse().expect("one of our fields");
    wanted.fields.insert(field("utm_medium"), FieldValue::Choice("e-mail".to_owned()));
    wanted.fields.insert(field("utm_campaign"), FieldValue::Null);
    wanted.fields.insert(field("utm_term"), FieldValue::Number(0.1));
    stores.sync_jobs.freeze(&lease, &wanted).await.expect("the lease counts");
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await.wanted.as_ref(), Some(&wanted));
    assert_eq!(person(stores, &tenant, JANE).await.waiting_job, None);
    assert_eq!(claim_one(stores, at(100)).await.job.wanted, Some(wanted));
}

async fn freezing_from_an_older_lead_is_stale(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    commit(stores, &visitor.joins(1, 0, 3, JANE, visitor.job_id(1))).await;
    let answer = stores.sync_jobs.freeze(&lease, &wanted(visitor.lead_id(1))).await;
    assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await.wanted, None);
    stores.sync_jobs.freeze(&lease, &wanted(visitor.lead_id(3))).await.expect("the lease counts");
}

async fn assert_joining_is_stale(stores: &Stores, visitor: &Visitor, minute: u32) {
    let answer = stores.visits.commit(&visitor.joins(1, 0, minute, JANE, visitor.job_id(1))).await;
    assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
    let event = stores.visits.event(visitor.project_id, &visitor.pixel_id, visitor.event_id(minute)).await;
    assert_eq!(event.expect("the store answers"), None);
}

async fn no_lead_joins_a_frozen_job(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    stores.sync_jobs.freeze(&lease, &wanted(visitor.lead_id(1))).await.expect("the lease counts");
    assert_joining_is_stale(stores, &visitor, 3).await;
    settle(stores, &lease, 8, put_off(30, 1)).await;
    assert_joining_is_stale(stores, &visitor, 3).await;
    let known = person(stores, &tenant, JANE).await;
    assert_eq!((known.waiting_job, known.last_sequence), (None, 1));
    commit(stores, &visitor.submits(1, 0, 3, JANE, 2)).await;
}

async fn no_lead_joins_an_ended_job(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    settle(stores, &lease, 8, end(JobStatus::Error)).await;
    assert_eq!(person(stores, &tenant, JANE).await.waiting_job, None);
    assert_joining_is_stale(stores, &visitor, 3).await;
}

async fn a_lead_may_join_a_job_that_was_only_claimed(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let before = job(stores, tenant.id(), visitor.job_id(1)).await;
    claim_one(stores, due(1)).await;
    assert_eq!(person(stores, &tenant, JANE).await.waiting_job.map(|job| job.id), Some(visitor.job_id(1)));
    commit(stores, &visitor.joins(1, 0, 9, JANE, visitor.job_id(1))).await;
    // Nor is it put off by that.
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await, before);
}

async fn a_planned_write_is_kept_with_the_job(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    let mut planned = write("person-1", &["a", "b"]);
    planned.patch.insert(FieldKey("gone".to_owned()), FieldValue::Null);
    planned.before.insert(FieldKey("größe".to_owned()), FieldValue::Text("\u{1f6d2} \"L\"".to_owned()));
    assert_eq!(stores.sync_jobs.plan(&lease, &planned).await.expect("the lease counts"), Planned::Go);
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await.planned.as_ref(), Some(&planned));
    let second = write("person-2", &["c"]);
    assert_eq!(stores.sync_jobs.plan(&lease, &second).await.expect("the lease counts"), Planned::Go);
    assert_eq!(claim_one(stores, at(100)).await.job.planned, Some(second));
}

/// Two jobs of Jane, the first of them frozen so that the second could not join. The second is claimed while the lease
/// of the first, which ran out, still counts: its worker is slow, and the second is due earlier.
async fn two_jobs(stores: &Stores) -> (Tenant, Visitor, Lease, Lease) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let older = claim_one(stores, due(1)).await.lease;
    stores.sync_jobs.freeze(&older, &wanted(visitor.lead_id(1))).await.expect("the lease counts");
    let mut second = visitor.submits(1, 0, 2, JANE, 2);
    second.jobs[0].due_at = at(3);
    commit(stores, &second).await;
    let newer = claim_one(stores, older.until).await.lease;
    assert_eq!((older.job_id, newer.job_id), (visitor.job_id(1), visitor.job_id(2)));
    (tenant, visitor, older, newer)
}

async fn a_write_is_not_planned_when_a_newer_one_was_made(stores: &Stores) {
    // The older job is stored after the newer one has written, as when commits overtake each other.
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.submits(1, 0, 2, JANE, 2)).await;
    let newer = claim_one(stores, at(30)).await.lease;
    settle(stores, &newer, 30, synced(&write("person-1", &["a"]))).await;
    commit(stores, &visitor.submits(1, 0, 1, JANE, 1)).await;
    let older = claim_one(stores, at(31)).await.lease;
    let answer = stores.sync_jobs.plan(&older, &write("person-1", &["z"])).await;
    assert_eq!(answer.expect("the lease counts"), Planned::Superseded);
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await.planned, None);
    settle(stores, &older, 31, end(JobStatus::Superseded)).await;
    // The person's next one may write.
    commit(stores, &visitor.submits(1, 0, 3, JANE, 3)).await;
    let next = claim_one(stores, at(31)).await.lease;
    let answer = stores.sync_jobs.plan(&next, &write("person-1", &["a"])).await;
    assert_eq!(answer.expect("the lease counts"), Planned::Go);
}

async fn plan(stores: &Stores, lease: &Lease) -> Planned {
    stores.sync_jobs.plan(lease, &write("person-1", &["a"])).await.expect("the lease counts")
}

async fn a_write_waits_while_a_newer_one_may_have_been_made(stores: &Stores) {
    let (tenant, visitor, older, newer) = two_jobs(stores).await;
    assert_eq!(plan(stores, &older).await, Planned::Go);
    assert_eq!(plan(stores, &newer).await, Planned::Go);
    let before = job(stores, tenant.id(), visitor.job_id(1)).await;
    assert_eq!(plan(stores, &older).await, Planned::Waits);
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await, before);
    // The person is gone: the newer write was not made after all.
    let next = NextStep::PutOff { due_at: at(90), looks: 0, failures: 1, drop_planned: true };
    settle(stores, &newer, 31, next).await;
    assert_eq!(plan(stores, &older).await, Planned::Go);
}

async fn a_write_does_not_wait_for_a_held_job(stores: &Stores) {
    let (tenant, visitor, older, newer) = two_jobs(stores).await;
    assert_eq!(plan(stores, &newer).await, Planned::Go);
    let held = stores.sync_jobs.act(tenant.id(), visitor.job_id(2), JobAction::Hold, at(31), "a human").await;
    assert!(held.expect("a store that works"));
    assert_eq!(plan(stores, &older).await, Planned::Go);
}

async fn a_job_that_is_put_off_is_due_later(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let before = job(stores, tenant.id(), visitor.job_id(1)).await;
    let lease = claim_one(stores, due(1)).await.lease;
    let next = NextStep::PutOff { due_at: at(9), looks: 2, failures: 3, drop_planned: false };
    settle(stores, &lease, 8, next).await;
    let expected = SyncJob {
        due_at: at(9),
        looks: 2,
        failures: 3,
        last_error: Some("settled in minute 8".to_owned()),
        ..before
    };
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await, expected);
    assert_eq!(claim_ids(stores, at(9).minus(Duration::from_micros(1)), 10).await, []);
    // The lease was given back: it does not keep the job from being claimed.
    assert_eq!(claim_one(stores, at(9)).await.job, expected);
}

async fn a_look_that_found_nobody_is_shown_on_the_event(stores: &Stores) {
    let (_tenant, visitor) = visitor_with_job(stores).await;
    commit(stores, &visitor.joins(1, 0, 2, JANE, visitor.job_id(1))).await;
    let lease = claim_one(stores, due(1)).await.lease;
    settle(stores, &lease, 9, put_off(30, 1)).await;
    let expected = EventSync { status: Some(JobStatus::NotFound), at: Some(at(9)), person_id: None };
    for minute in [1, 2] {
        assert_eq!(event_sync(stores, &visitor, minute).await, expected);
    }
    assert_eq!(event_sync(stores, &visitor, 0).await, EventSync::default());
    // It may still be found.
    let lease = claim_one(stores, at(30)).await.lease;
    settle(stores, &lease, 31, synced(&write("person-1", &["a"]))).await;
    let expected = EventSync {
        status: Some(JobStatus::Synced),
        at: Some(at(31)),
        person_id: Some("person-1".to_owned()),
    };
    assert_eq!(event_sync(stores, &visitor, 1).await, expected);
}

async fn without_a_look_nothing_is_shown_on_the_event(stores: &Stores) {
    let (_tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    let next = NextStep::PutOff { due_at: at(30), looks: 0, failures: 1, drop_planned: false };
    settle(stores, &lease, 9, next).await;
    assert_eq!(event_sync(stores, &visitor, 1).await, EventSync::default());
}

async fn a_planned_write_stays_planned_unless_dropped(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let planned = write("person-1", &["a"]);
    let lease = claim_one(stores, due(1)).await.lease;
    stores.sync_jobs.plan(&lease, &planned).await.expect("the lease counts");
    settle(stores, &lease, 9, put_off(30, 0)).await;
    let claimed = claim_one(stores, at(30)).await;
    assert_eq!(claimed.job.planned, Some(planned));
    let next = NextStep::PutOff { due_at: at(60), looks: 0, failures: 1, drop_planned: true };
    settle(stores, &claimed.lease, 31, next).await;
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await.planned, None);
}

async fn the_end_is_shown_on_the_events_of_all_leads(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    commit(stores, &visitor.joins(1, 0, 2, JANE, visitor.job_id(1))).await;
    commit(stores, &visitor.enquires(1, 0, 3, JANE)).await;
    let before = job(stores, tenant.id(), visitor.job_id(1)).await;
    let lease = claim_one(stores, due(1)).await.lease;
    let written = [write("person-7", &["a"]), write("person-3", &["a"])];
    stores.sync_jobs.plan(&lease, &written[0]).await.expect("the lease counts");
    let persons = vec![PersonId("person-7".to_owned()), PersonId("person-3".to_owned())];
    let next = NextStep::End { status: JobStatus::Synced, persons: persons.clone(), written: written.into() };
    settle(stores, &lease, 9, next).await;
    let expected = EventSync {
        status: Some(JobStatus::Synced),
        at: Some(at(9)),
        person_id: Some("person-7".to_owned()),
    };
    for minute in [1, 2] {
        assert_eq!(event_sync(stores, &visitor, minute).await, expected);
    }
    for minute in [0, 3] {
        assert_eq!(event_sync(stores, &visitor, minute).await, EventSync::default());
    }
    let expected = SyncJob { status: JobStatus::Synced, persons, ended_at: Some(at(9)), ..before };
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await, expected);
}

async fn an_event_that_repeats_a_submission_shows_the_end_too(stores: &Stores) {
    let (_tenant, visitor) = visitor_with_job(stores).await;
    let mut repetition = visitor.views(1, 0, 2);
    repetition.events =
        vec![StoredEvent { lead_id: Some(visitor.lead_id(1)), ..visitor.stored(0, visitor.form(2, JANE)) }];
    commit(stores, &repetition).await;
    let lease = claim_one(stores, due(1)).await.lease;
    settle(stores, &lease, 9, end(JobStatus::Skipped)).await;
    assert_eq!(event_sync(stores, &visitor, 2).await, event_sync(stores, &visitor, 1).await);
    assert_eq!(event_sync(stores, &visitor, 2).await.status, Some(JobStatus::Skipped));
}

async fn an_ambiguous_end_names_the_persons_but_none_was_written(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    let persons: Vec<_> = ["2", "1"].map(|id| PersonId(id.to_owned())).into();
    let next = NextStep::End { status: JobStatus::Ambiguous, persons: persons.clone(), written: Vec::new() };
    settle(stores, &lease, 9, next).await;
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await.persons, persons);
    let expected = EventSync { status: Some(JobStatus::Ambiguous), at: Some(at(9)), person_id: None };
    assert_eq!(event_sync(stores, &visitor, 1).await, expected);
}

async fn an_error_keeps_its_reason(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    settle(stores, &lease, 9, end(JobStatus::Error)).await;
    let ended = job(stores, tenant.id(), visitor.job_id(1)).await;
    assert_eq!(ended.last_error.as_deref(), Some("settled in minute 9"));
}

async fn every_final_status_is_kept(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let all: Vec<_> = JobStatus::ALL.into_iter().filter(|status| status.is_final()).collect();
    let minutes: Vec<u32> = (1..).take(all.len()).collect();
    let visitor = several_jobs(stores, &tenant, &minutes).await;
    for (claimed, status) in claim(stores, due(50)).await.into_iter().zip(&all) {
        settle(stores, &claimed.lease, 60, end(*status)).await;
    }
    for (minute, status) in minutes.into_iter().zip(all) {
        assert_eq!(job(stores, tenant.id(), visitor.job_id(minute)).await.status, status);
        assert_eq!(event_sync(stores, &visitor, minute).await.status, Some(status));
    }
}

async fn what_was_written_is_remembered_by_person(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    for (minute, fields) in [(1, ["a", "b"]), (2, ["b", "c"])] {
        commit(stores, &visitor.submits(1, 0, minute, JANE, i64::from(minute))).await;
        let lease = claim_one(stores, due(minute)).await.lease;
        let written = vec![write("person-1", &fields), write("person-2", &["d"])];
        let next = NextStep::End { status: JobStatus::Synced, persons: Vec::new(), written };
        settle(stores, &lease, minute + SYNC_DELAY_MINUTES, next).await;
    }
    let other = Tenant::create(stores, 2).await;
    let ledger = async |project: &Tenant, account: &str, person: &str| {
        let person = PersonId(person.to_owned());
        let keys = stores.sync_jobs.ever_written(project.id(), &slug(account), &person).await;
        keys.expect("the store answers").into_iter().map(|key| key.0).collect::<Vec<_>>()
    };
    assert_eq!(ledger(&tenant, "default", "person-1").await, ["a", "b", "c"]);
    assert_eq!(ledger(&tenant, "default", "person-2").await, ["d"]);
    assert_eq!(ledger(&tenant, "default", "person-3").await, [""; 0]);
    assert_eq!(ledger(&tenant, "second", "person-1").await, [""; 0]);
    assert_eq!(ledger(&other, "default", "person-1").await, [""; 0]);
}

async fn writing_supersedes_the_persons_older_jobs(stores: &Stores) {
    let (tenant, visitor, older, newer) = two_jobs(stores).await;
    let joan = tenant.visitor(2);
    commit(stores, &joan.arrives(0)).await;
    commit(stores, &joan.submits(1, 0, 1, "joan@example.com", 1)).await;
    commit(stores, &visitor.submits(1, 0, 5, JANE, 3)).await;
    let before = job(stores, tenant.id(), visitor.job_id(1)).await;
    settle(stores, &newer, 20, synced(&write("person-1", &["a"]))).await;

    let expected = SyncJob { status: JobStatus::Superseded, ended_at: Some(at(20)), ..before };
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await, expected);
    let superseded = EventSync { status: Some(JobStatus::Superseded), at: Some(at(20)), person_id: None };
    assert_eq!(event_sync(stores, &visitor, 1).await, superseded);
    assert_eq!(event_sync(stores, &visitor, 2).await.status, Some(JobStatus::Synced));
    assert_refused(stores, &older, visitor.lead_id(1)).await;
    // Neither a newer job nor anybody else's.
    assert_eq!(job(stores, tenant.id(), visitor.job_id(5)).await.status, JobStatus::Pending);
    assert_eq!(job(stores, tenant.id(), joan.job_id(1)).await.status, JobStatus::Pending);
}

async fn an_older_job_that_ended_keeps_its_end(stores: &Stores) {
    let (tenant, visitor, older, newer) = two_jobs(stores).await;
    settle(stores, &older, 10, end(JobStatus::Skipped)).await;
    let before = job(stores, tenant.id(), visitor.job_id(1)).await;
    settle(stores, &newer, 20, synced(&write("person-1", &["a"]))).await;
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await, before);
    let sync = event_sync(stores, &visitor, 1).await;
    assert_eq!((sync.status, sync.at), (Some(JobStatus::Skipped), Some(at(10))));
}

async fn being_told_supersedes_even_where_nothing_was_left_to_write(stores: &Stores) {
    let (tenant, visitor, _older, newer) = two_jobs(stores).await;
    settle(stores, &newer, 20, end(JobStatus::Synced)).await;
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await.status, JobStatus::Superseded);
    // Nor does one that is stored only now, as when commits overtake each other, or is replayed.
    let replayed =
        stores.sync_jobs.act(tenant.id(), visitor.job_id(1), JobAction::Replay, at(30), "a human").await;
    assert!(replayed.expect("a store that works"));
    let older = claim_one(stores, at(30)).await.lease;
    assert_eq!(plan(stores, &older).await, Planned::Superseded);
}

async fn what_another_connection_was_told_supersedes_nothing(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let older = claim_one(stores, due(1)).await.lease;
    stores.sync_jobs.freeze(&older, &wanted(visitor.lead_id(1))).await.expect("the lease counts");
    let mut second = visitor.submits(1, 0, 2, JANE, 2);
    let other = Queue { project_id: tenant.id(), account: "other".parse().expect("a slug") };
    second.jobs[0].account = other.account.clone();
    second.jobs[0].due_at = at(3);
    commit(stores, &second).await;
    let claimed = stores.sync_jobs.claim(&other, older.until, Duration::from_secs(90), 1).await;
    let newer = claimed.expect("a store that works").remove(0).lease;
    assert_eq!(plan(stores, &newer).await, Planned::Go);
    assert_eq!(plan(stores, &older).await, Planned::Go);
    settle(stores, &newer, 31, synced(&write("person-1", &["a"]))).await;
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await.status, JobStatus::Pending);
    assert_eq!(plan(stores, &older).await, Planned::Go);
}

async fn an_end_without_a_write_supersedes_nothing(stores: &Stores) {
    let (tenant, visitor, older, newer) = two_jobs(stores).await;
    settle(stores, &newer, 20, end(JobStatus::Ambiguous)).await;
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await.status, JobStatus::Pending);
    assert_eq!(plan(stores, &older).await, Planned::Go);
}

async fn a_superseded_job_plans_nothing_any_more(stores: &Stores) {
    let (tenant, visitor, older, newer) = two_jobs(stores).await;
    let planned = stores.sync_jobs.plan(&older, &write("person-1", &["a"])).await;
    assert_eq!(planned.expect("the lease counts"), Planned::Go);
    settle(stores, &newer, 20, synced(&write("person-1", &["a"]))).await;
    let superseded = job(stores, tenant.id(), visitor.job_id(1)).await;
    assert_eq!((superseded.status, superseded.planned), (JobStatus::Superseded, None));
}

async fn an_empty_write_is_no_write(stores: &Stores) {
    let (tenant, visitor, older, newer) = two_jobs(stores).await;
    let next = NextStep::End {
        status: JobStatus::Error,
        persons: Vec::new(),
        written: vec![write("person-1", &[])],
    };
    settle(stores, &newer, 20, next).await;
    let person = PersonId("person-1".to_owned());
    let ledger = stores.sync_jobs.ever_written(tenant.id(), &default_account(), &person).await;
    assert_eq!(ledger.expect("the store answers"), BTreeSet::new());
    assert_eq!(job(stores, tenant.id(), visitor.job_id(1)).await.status, JobStatus::Pending);
    assert_eq!(plan(stores, &older).await, Planned::Go);
}

async fn attempts_are_listed_in_their_order(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let mut expected = Vec::new();
    let record = |minute, status| AttemptRecord {
        at: at(minute),
        status,
        note: format!("settled in minute {minute}"),
        steps: Vec::new(),
    };
    for (minute, next) in [(10, 30), (30, 90), (90, 200)] {
        let lease = claim_one(stores, at(minute)).await.lease;
        settle(stores, &lease, minute, put_off(next, 1)).await;
        expected.push(record(minute, JobStatus::Pending));
    }
    let lease = claim_one(stores, at(200)).await.lease;
    // The clock may have stepped back: they stay in the order in which they were made.
    settle(stores, &lease, 80, end(JobStatus::NotFound)).await;
    expected.push(record(80, JobStatus::NotFound));
    let attempts = stores.sync_jobs.attempts(tenant.id(), visitor.job_id(1)).await;
    assert_eq!(attempts.expect("the store answers"), expected);
}
