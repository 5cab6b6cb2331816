use std::collections::BTreeSet;
use std::sync::Arc;

use leadtrail_domain::id::SyncJobId;
use leadtrail_domain::ports::{DueQueue, JobAction, Queue};
use leadtrail_domain::sync::JobStatus;
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::visit::Changes;

use super::{JANE, LEASE, claim, claim_one, commit, due, end, put_off, settle, visitor_with_job};
use crate::Stores;
use crate::fixtures::{Tenant, Visitor, at, queue, slug};

/// The project's queue for another account.
fn second_queue(tenant: &Tenant) -> Queue {
    Queue { account: slug("second"), ..queue(tenant.id()) }
}

/// A form whose job goes to a queue.
fn submits_to(queue: &Queue, visitor: &Visitor, minute: u32, address: &str, sequence: i64) -> Changes {
    let mut changes = visitor.submits(1, 0, minute, address, sequence);
    for job in &mut changes.jobs {
        job.account = queue.account.clone();
    }
    changes
}

async fn due_queues(stores: &Stores, now: Timestamp) -> Vec<DueQueue> {
    stores.sync_jobs.due_queues(now).await.expect("the store answers")
}

async fn claim_of(stores: &Stores, queue: &Queue, now: Timestamp) -> Vec<SyncJobId> {
    let claims = stores.sync_jobs.claim(queue, now, LEASE, 10).await.expect("the store answers");
    claims.into_iter().map(|claim| claim.job.id).collect()
}

pub(super) async fn queues_are_due_oldest_first_with_their_jobs(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let (first, second, third) = (queue(ours.id()), second_queue(&ours), queue(theirs.id()));
    assert_eq!(due_queues(stores, at(5_000)).await, []);
    let (visitor, other) = (ours.visitor(1), theirs.visitor(1));
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &other.arrives(0)).await;
    for (minute, queue) in [(3, &first), (4, &first), (9, &first), (2, &second)] {
        let address = format!("p{minute}@example.com");
        commit(stores, &submits_to(queue, &visitor, minute, &address, 1)).await;
    }
    // Two jobs of one person count, though one must wait for the other.
    for (minute, sequence) in [(1, 1), (5, 2)] {
        commit(stores, &submits_to(&third, &other, minute, JANE, sequence)).await;
    }
    let due_queue = |queue: &Queue, count, oldest| DueQueue {
        queue: queue.clone(),
        due: count,
        oldest_due_at: due(oldest),
    };
    assert_eq!(due_queues(stores, at(1)).await, []);
    assert_eq!(due_queues(stores, due(1)).await, [due_queue(&third, 1, 1)]);
    let expected = [due_queue(&third, 1, 1), due_queue(&second, 1, 2), due_queue(&first, 2, 3)];
    assert_eq!(due_queues(stores, due(4)).await, expected);
    let expected = [due_queue(&third, 2, 1), due_queue(&second, 1, 2), due_queue(&first, 3, 3)];
    assert_eq!(due_queues(stores, due(9)).await, expected);
}

pub(super) async fn what_cannot_be_claimed_makes_no_queue_due(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let expected = |due_at| DueQueue { queue: queue(tenant.id()), due: 1, oldest_due_at: due_at };
    let lease = claim_one(stores, due(1)).await.lease;
    assert_eq!(due_queues(stores, due(1)).await, []);
    assert_eq!(due_queues(stores, lease.until).await, [expected(due(1))]);
    settle(stores, &lease, 20, put_off(30, 1)).await;
    assert_eq!(due_queues(stores, at(29)).await, []);
    assert_eq!(due_queues(stores, at(30)).await, [expected(at(30))]);
    let id = visitor.job_id(1);
    assert!(stores.sync_jobs.act(tenant.id(), id, JobAction::Hold, at(30), "").await.expect("answers"));
    assert_eq!(due_queues(stores, at(30)).await, []);
    assert!(stores.sync_jobs.act(tenant.id(), id, JobAction::Replay, at(31), "").await.expect("answers"));
    assert_eq!(due_queues(stores, at(31)).await, [expected(at(31))]);
    let lease = claim_one(stores, at(31)).await.lease;
    settle(stores, &lease, 31, end(JobStatus::NotFound)).await;
    assert_eq!(due_queues(stores, at(5_000)).await, []);
}

pub(super) async fn a_claim_takes_of_its_own_queue_only(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let (visitor, other) = (ours.visitor(1), theirs.visitor(1));
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &other.arrives(0)).await;
    for (minute, queue) in [(1, second_queue(&ours)), (2, queue(ours.id())), (3, second_queue(&ours))] {
        let address = format!("p{minute}@example.com");
        commit(stores, &submits_to(&queue, &visitor, minute, &address, 1)).await;
    }
    commit(stores, &submits_to(&second_queue(&theirs), &other, 1, JANE, 1)).await;
    assert_eq!(claim_of(stores, &queue(theirs.id()), at(60)).await, []);
    assert_eq!(claim_of(stores, &queue(ours.id()), at(60)).await, [visitor.job_id(2)]);
    let claimed = claim_of(stores, &second_queue(&ours), at(60)).await;
    assert_eq!(claimed, [visitor.job_id(1), visitor.job_id(3)]);
    assert_eq!(claim_of(stores, &second_queue(&theirs), at(60)).await, [other.job_id(1)]);
}

/// Jane's jobs of minutes 1 and 2: the project changed its account between them.
async fn jane_in_two_queues(stores: &Stores) -> (Tenant, Visitor) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    commit(stores, &submits_to(&second_queue(&tenant), &visitor, 2, JANE, 2)).await;
    (tenant, visitor)
}

pub(super) async fn a_persons_job_waits_while_one_of_another_queue_is_leased(stores: &Stores) {
    let (tenant, visitor) = jane_in_two_queues(stores).await;
    assert_eq!(claim_of(stores, &queue(tenant.id()), at(60)).await, [visitor.job_id(1)]);
    assert_eq!(claim_of(stores, &second_queue(&tenant), at(60)).await, []);
    // A lease that ran out keeps nobody waiting.
    let now = at(60).plus(LEASE);
    let claims = stores.sync_jobs.claim(&second_queue(&tenant), now, LEASE, 10).await.expect("answers");
    assert_eq!(claims.iter().map(|claim| claim.job.id).collect::<Vec<_>>(), [visitor.job_id(2)]);
    assert_eq!(claim_of(stores, &queue(tenant.id()), now).await, []);
    settle(stores, &claims[0].lease, 70, end(JobStatus::NotFound)).await;
    assert_eq!(claim_of(stores, &queue(tenant.id()), now).await, [visitor.job_id(1)]);
}

pub(super) async fn a_due_job_of_another_queue_keeps_nobody_waiting(stores: &Stores) {
    // Of the older account nobody claims, because it does not answer.
    let (tenant, visitor) = jane_in_two_queues(stores).await;
    assert_eq!(claim_of(stores, &second_queue(&tenant), at(60)).await, [visitor.job_id(2)]);
}

pub(super) async fn concurrent_claimers_of_two_queues_never_split_a_persons_jobs(stores: &Stores) {
    const PEOPLE: u32 = 20;
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    let queues = [queue(tenant.id()), second_queue(&tenant)];
    for person in 1..=PEOPLE {
        for (queue, (minute, sequence)) in queues.iter().zip([(person, 1), (person + PEOPLE, 2)]) {
            let address = format!("p{person}@example.com");
            commit(stores, &submits_to(queue, &visitor, minute, &address, sequence)).await;
        }
    }
    for _round in 0..2 {
        let claimers: Vec<_> = queues
            .iter()
            .cycle()
            .take(8)
            .map(|queue| {
                let (jobs, queue) = (Arc::clone(&stores.sync_jobs), queue.clone());
                tokio::spawn(async move { jobs.claim(&queue, at(100), LEASE, 7).await.expect("answers") })
            })
            .collect();
        let mut claims = Vec::new();
        for claimer in futures::future::join_all(claimers).await {
            claims.extend(claimer.expect("no claimer panics"));
        }
        claims.extend(claim(stores, at(100)).await);
        let people: BTreeSet<_> = claims.iter().map(|claim| claim.job.email_hash).collect();
        assert_eq!((claims.len(), people.len()), (20, 20), "one of each");
        for claim in claims {
            settle(stores, &claim.lease, 100, end(JobStatus::NotFound)).await;
        }
    }
    assert_eq!(due_queues(stores, at(100)).await, []);
}
