//! Two nodes on one database.

use std::collections::BTreeSet;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use leadtrail_contract::fixtures::{at, queue, tenant};
use leadtrail_contract::run;
use leadtrail_domain::ports::{StoreError, SyncJobs as _, Visits as _};
use leadtrail_domain::sync::JobStatus;
use leadtrail_domain::visit::{Changes, Freshness};

use crate::beside;
use crate::scratch::Scratch;

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Waits until a statement of this database waits for a lock.
fn until_somebody_waits(connection: &mut PgConnection) {
    let waiting = "SELECT count(*) AS count FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while diesel::sql_query(waiting).get_result::<Count>(connection).expect("the server answers").count == 0 {
        std::thread::yield_now();
    }
}

#[test]
fn of_one_visitors_first_events_on_two_nodes_one_is_taken() {
    run(async {
        let scratch = Scratch::new().await;
        let (one, other) = (scratch.store_with(2, 3).await, scratch.store_with(2, 3).await);
        let tenant = tenant(1);
        for n in 1..=20 {
            let visitor = tenant.visitor(n);
            let (first, second) = (visitor.arrives(0), visitor.arrives(1));
            let answers = tokio::join!(one.commit(&first), other.commit(&second));
            let taken = match answers {
                (Ok(()), Err(StoreError::Stale)) => 0,
                (Err(StoreError::Stale), Ok(())) => 1,
                other => panic!("{other:?}"),
            };
            let known = other.load(&visitor.query(Freshness::Current)).await.unwrap();
            let known = &known.visitors[&visitor.key()];
            assert_eq!((known.first_seen_at, known.sessions.len(), known.touches.len()), (at(taken), 1, 1));
        }
    });
}

#[test]
fn a_session_that_opens_beside_an_uncommitted_event_is_stale_once_that_is_there() {
    run(async {
        let scratch = Scratch::new().await;
        let store = scratch.store_with(2, 3).await;
        let visitor = tenant(1).visitor(1);
        store.commit(&visitor.arrives(0)).await.unwrap();
        // The other node's page view of minute 20, up to just before its commit.
        let mut other = beside(&scratch);
        other.batch_execute("BEGIN; SELECT FROM visitors FOR NO KEY UPDATE").unwrap();
        other
            .batch_execute(
                "INSERT INTO tracking_events (event_id, pixel_id, partition_at, project_id, visitor_id, session_id,
                    event_type, occurred_at, received_at, page_url, rules_version)
                 SELECT gen_random_uuid(), pixel_id, partition_at, project_id, visitor_id, session_id, event_type,
                    occurred_at + interval '20 minutes', received_at, page_url, rules_version
                 FROM tracking_events",
            )
            .unwrap();
        let opening = tokio::spawn({
            let (store, changes) = (store.clone(), visitor.returns(1, 0, 45));
            async move { store.commit(&changes).await }
        });
        until_somebody_waits(&mut beside(&scratch));
        other.batch_execute("COMMIT").unwrap();
        let answer = opening.await.unwrap();
        assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
        store.commit(&visitor.returns(1, 20, 60)).await.unwrap();
    });
}

#[test]
fn a_page_view_beside_an_uncommitted_new_session_is_stale_once_that_is_there() {
    run(async {
        let scratch = Scratch::new().await;
        let store = scratch.store_with(2, 3).await;
        let visitor = tenant(1).visitor(1);
        store.commit(&visitor.arrives(0)).await.unwrap();
        let mut other = beside(&scratch);
        other.batch_execute("BEGIN; UPDATE visitors SET version = version + 1").unwrap();
        let viewing = tokio::spawn({
            let (store, changes) = (store.clone(), visitor.views(1, 0, 20));
            async move { store.commit(&changes).await }
        });
        until_somebody_waits(&mut beside(&scratch));
        other.batch_execute("COMMIT").unwrap();
        let answer = viewing.await.unwrap();
        assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
        store.commit(&visitor.views(2, 0, 20)).await.unwrap();
    });
}

#[test]
fn a_lead_that_joins_beside_an_uncommitted_freeze_is_stale_once_that_is_there() {
    run(async {
        let scratch = Scratch::new().await;
        let store = scratch.store_with(2, 3).await;
        let visitor = tenant(1).visitor(1);
        store.commit(&visitor.arrives(0)).await.unwrap();
        store.commit(&visitor.submits(1, 0, 1, "jane@example.com", 1)).await.unwrap();
        let mut other = beside(&scratch);
        other.batch_execute("BEGIN; UPDATE sync_jobs SET wanted = '{\"fields\": {}}'").unwrap();
        let joining = tokio::spawn({
            let (store, changes) =
                (store.clone(), visitor.joins(1, 0, 2, "jane@example.com", visitor.job_id(1)));
            async move { store.commit(&changes).await }
        });
        until_somebody_waits(&mut beside(&scratch));
        other.batch_execute("COMMIT").unwrap();
        let answer = joining.await.unwrap();
        assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
    });
}

#[test]
fn claimers_on_two_nodes_never_share_a_job() {
    run(async {
        let scratch = Scratch::new().await;
        let stores = [scratch.store_with(2, 3).await, scratch.store_with(2, 3).await];
        let visitor = tenant(1).visitor(1);
        stores[0].commit(&visitor.arrives(0)).await.unwrap();
        let mut all = Changes { assumed: vec![visitor.assumed(1)], ..Changes::default() };
        for minute in 1..=60 {
            let changes = visitor.submits(1, 0, minute, &format!("p{minute}@example.com"), 1);
            all.events.extend(changes.events);
            all.leads.extend(changes.leads);
            all.identities.extend(changes.identities);
            all.jobs.extend(changes.jobs);
        }
        stores[0].commit(&all).await.unwrap();
        let claimers = stores.map(|store| {
            let queue = queue(visitor.project_id);
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let claims = store.claim(&queue, at(100), Duration::from_mins(2), 3).await.unwrap();
                    if claims.is_empty() {
                        return mine;
                    }
                    mine.extend(claims.into_iter().map(|claim| claim.job.id));
                }
            })
        });
        let mut claimed = Vec::new();
        for claimer in claimers {
            claimed.extend(claimer.await.unwrap());
        }
        assert_eq!((claimed.len(), claimed.iter().collect::<BTreeSet<_>>().len()), (60, 60));
    });
}

#[test]
fn an_unreadable_job_ends_and_holds_up_nobody() {
    run(async {
        let scratch = Scratch::new().await;
        let store = scratch.store_with(2, 3).await;
        let visitor = tenant(1).visitor(1);
        store.commit(&visitor.arrives(0)).await.unwrap();
        for (minute, address, sequence) in [
            (1, "jane@example.com", 1),
            (2, "joan@example.com", 1),
            (3, "jane@example.com", 2),
            (4, "jim@example.com", 1),
            (5, "jill@example.com", 1),
        ] {
            store.commit(&visitor.submits(1, 0, minute, address, sequence)).await.unwrap();
        }
        let mut hand = beside(&scratch);
        let mut set = |minute, what: &str| {
            let sql = format!("UPDATE sync_jobs SET {what} WHERE job_id = '{}'", visitor.job_id(minute).0);
            hand.batch_execute(&sql).unwrap();
        };
        set(1, "wanted = '{\"secret\": 1}'");
        set(4, "looks = -1");

        let queue = queue(visitor.project_id);
        let claims = store.claim(&queue, at(60), Duration::from_mins(2), 2).await.unwrap();

        // As many as asked for, the other job of the same person among them.
        let ids: Vec<_> = claims.iter().map(|claim| claim.job.id).collect();
        assert_eq!(ids, [visitor.job_id(2), visitor.job_id(3)]);
        let claims = store.claim(&queue, at(61), Duration::from_mins(2), 10).await.unwrap();
        assert_eq!(claims.iter().map(|claim| claim.job.id).collect::<Vec<_>>(), [visitor.job_id(5)]);
        set(1, "wanted = NULL");
        set(4, "looks = 0");
        for (minute, column, ended) in [(1, "wanted", 60), (4, "looks", 61)] {
            let job = store.job(visitor.project_id, visitor.job_id(minute)).await.unwrap().unwrap();
            let reason = format!("corrupt row in sync_jobs.{column}, id {}", visitor.job_id(minute).0);
            let expected = (JobStatus::Error, Some(reason), Some(at(ended)));
            assert_eq!((job.status, job.last_error, job.ended_at), expected);
            let event = store.event(visitor.project_id, &visitor.pixel_id, visitor.event_id(minute)).await;
            assert_eq!(event.unwrap().unwrap().sync.status, Some(JobStatus::Error));
        }
    });
}

#[test]
fn a_queue_whose_name_cannot_be_read_ends_and_holds_up_nobody() {
    run(async {
        let scratch = Scratch::new().await;
        let store = scratch.store_with(2, 3).await;
        let visitor = tenant(1).visitor(1);
        store.commit(&visitor.arrives(0)).await.unwrap();
        for (minute, address) in [(1, "jane@example.com"), (2, "joan@example.com"), (3, "jim@example.com")] {
            store.commit(&visitor.submits(1, 0, minute, address, 1)).await.unwrap();
        }
        let mut hand = beside(&scratch);
        let (first, third) = (visitor.job_id(1).0, visitor.job_id(3).0);
        let rename = "UPDATE sync_jobs SET account = 'A Secret Name' WHERE job_id IN";
        hand.batch_execute(&format!("{rename} ('{first}', '{third}')")).unwrap();

        let due = store.due_queues(at(9)).await.unwrap();

        let queues: Vec<_> = due.into_iter().map(|due| (due.queue, due.due)).collect();
        assert_eq!(queues, [(queue(visitor.project_id), 1)]);
        hand.batch_execute("UPDATE sync_jobs SET account = 'default'").unwrap();
        let job = store.job(visitor.project_id, visitor.job_id(1)).await.unwrap().unwrap();
        let reason = format!("corrupt row in sync_jobs.account, id {first}");
        assert_eq!((job.status, job.last_error, job.ended_at), (JobStatus::Error, Some(reason), Some(at(9))));
        // What is not due yet is still to be mended.
        let job = store.job(visitor.project_id, visitor.job_id(3)).await.unwrap().unwrap();
        assert_eq!(job.status, JobStatus::Pending);
    });
}

#[test]
fn what_cannot_be_read_is_not_quoted() {
    run(async {
        let scratch = Scratch::new().await;
        let store = scratch.store_with(2, 3).await;
        let visitor = tenant(1).visitor(1);
        store.commit(&visitor.arrives(0)).await.unwrap();
        store.commit(&visitor.submits(1, 0, 1, "jane@example.com", 1)).await.unwrap();
        beside(&scratch).batch_execute("UPDATE sync_jobs SET account = 'A Secret Name'").unwrap();
        let jane = (visitor.project_id, leadtrail_contract::fixtures::email("jane@example.com").hash());
        let answer = store.load(&leadtrail_contract::fixtures::person_query(jane)).await;
        let Err(error @ StoreError::Corrupt { .. }) = answer else { panic!("{answer:?}") };
        assert!(!format!("{error} {error:?}").contains("Secret"), "{error:?}");
    });
}
