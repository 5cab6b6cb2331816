//! What a server does to its clients.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use leadtrail_contract::fixtures::{Visitor, tenant};
use leadtrail_contract::run;
use leadtrail_domain::ports::{
    Clock as _, Durability, Maintenance as _, Page, Projects as _, StoreError, Visits as _,
};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::visit::Freshness;
use leadtrail_store_postgres::PostgresStore;

use crate::beside;
use crate::scratch::Scratch;

fn terminate_all(connection: &mut PgConnection) {
    connection
        .batch_execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .expect("the server answers");
}

/// Commits until the store has noticed; how often it had to.
async fn commit_again(store: &PostgresStore, visitor: &Visitor, minute: u32) -> u32 {
    let mut tries = 1;
    while let Err(error) = store.commit(&visitor.views(1, 0, minute)).await {
        assert!(matches!(error, StoreError::Transient(_)), "{error:?}");
        tries += 1;
    }
    tries
}

#[test]
fn terminated_backends_are_replaced_on_next_use() {
    run(async {
        let scratch = Scratch::new().await;
        let store = scratch.store_with(2, 3).await;
        let visitor = tenant(1).visitor(1);
        store.commit(&visitor.arrives(0)).await.unwrap();
        let mut beside = beside(&scratch);
        for round in 1..=3 {
            // Every pooled connection has been used, and is cut.
            let page = Page::first(1);
            let (one, two, three) =
                tokio::join!(store.projects(&page), store.projects(&page), store.projects(&page));
            assert!(one.is_ok() && two.is_ok() && three.is_ok());
            terminate_all(&mut beside);
            // A question is asked again on a connection that lives; a commit is not, as it may have been made.
            store.ping().await.unwrap();
            let known = store.load(&visitor.query(Freshness::Current)).await.unwrap();
            assert_eq!(known.visitors.len(), 1);
            let tries = commit_again(&store, &visitor, round).await;
            assert!(tries <= 2, "one failure tells that all connections were cut, not {tries}");
        }
    });
}

#[test]
fn the_clock_is_the_servers() {
    run(async {
        let scratch = Scratch::new().await;
        let store = scratch.store_with(2, 3).await;
        let before = clock_of(&mut beside(&scratch));
        let now = store.now();
        let after = clock_of(&mut beside(&scratch));
        let slack = std::time::Duration::from_millis(500);
        assert!(before.minus(slack) <= now && now <= after.plus(slack), "{before} {now} {after}");
        store.upkeep(now).await.unwrap();
        assert!(store.now().plus(slack) >= after);
    });
}

fn clock_of(connection: &mut PgConnection) -> Timestamp {
    use diesel::dsl::sql;
    use diesel::sql_types::BigInt;
    let micros = sql::<BigInt>("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint");
    Timestamp::from_micros(diesel::select(micros).get_result(connection).expect("the server answers"))
}

#[test]
fn what_the_server_would_never_take_is_rejected_and_its_neighbours_are_not() {
    run(async {
        let scratch = Scratch::new().await;
        let store = scratch.store_with(2, 3).await;
        let visitor = tenant(1).visitor(1);
        let mut text = visitor.arrives(0);
        text.events[0].event.page_title = Some("a\0b".to_owned());
        let mut json = visitor.arrives(0);
        json.events[0]
            .event
            .props
            .insert("k".to_owned(), leadtrail_domain::event::Prop::Text("a\0b".to_owned()));
        for bad in [text, json] {
            assert!(matches!(store.commit(&bad).await, Err(StoreError::Rejected(_))));
        }
        store.commit(&visitor.arrives(0)).await.unwrap();
    });
}

#[test]
fn a_database_without_a_schema_is_a_matter_of_waiting() {
    run(async {
        let scratch = Scratch::empty();
        let store = scratch.store_with(2, 3).await;
        let answer = store.commit(&tenant(1).visitor(1).arrives(0)).await;
        assert!(matches!(answer, Err(StoreError::Transient(_))), "{answer:?}");
        store.migrate().await.unwrap();
        store.commit(&tenant(1).visitor(1).arrives(0)).await.unwrap();
    });
}

#[test]
fn durability_is_the_servers_word() {
    run(async {
        let scratch = Scratch::new().await;
        beside(&scratch)
            .batch_execute(
                "DO $$ BEGIN
                    EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database());
                 END $$",
            )
            .unwrap();
        let said = scratch.store_with(2, 3).await.durability().await.unwrap();
        let Durability::Relaxed(reasons) = said else { panic!("{said:?}") };
        assert!(reasons.contains(&"synchronous_commit = off".to_owned()), "{reasons:?}");
    });
}
