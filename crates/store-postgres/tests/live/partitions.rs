//! Where events lie.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use leadtrail_contract::fixtures::{Tenant, Visitor, at, event_id_dated, event_query};
use leadtrail_contract::run;
use leadtrail_domain::id::EventId;
use leadtrail_domain::ports::{Clock as _, Maintenance as _, StoreError, Visits as _};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::visit::Changes;
use leadtrail_store_postgres::PostgresStore;

use crate::beside;
use crate::scratch::Scratch;

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    name: String,
}

fn names(connection: &mut PgConnection, sql: &str) -> Vec<String> {
    let rows: Vec<Named> = diesel::sql_query(sql).load(connection).expect("the server answers");
    rows.into_iter().map(|row| row.name).collect()
}

fn partitions(connection: &mut PgConnection) -> Vec<String> {
    names(
        connection,
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits
         WHERE inhparent = 'tracking_events'::regclass ORDER BY 1",
    )
}

/// In which partitions the events lie, by occurrence.
fn places(connection: &mut PgConnection) -> Vec<String> {
    names(connection, "SELECT tableoid::regclass::text AS name FROM tracking_events ORDER BY occurred_at")
}

fn millis(text: &str) -> u64 {
    let at: Timestamp = text.parse().expect("an instant");
    u64::try_from(at.millis()).expect("after 1970")
}

async fn visit(store: &PostgresStore, ids: &[EventId]) -> (Visitor, Changes) {
    let tenant = leadtrail_contract::fixtures::tenant(1);
    let visitor = tenant.visitor(1);
    let mut changes = visitor.arrives(0);
    changes.events.clear();
    for (id, minute) in ids.iter().zip(0..) {
        let mut event = visitor.pageview(minute);
        event.id = *id;
        changes.events.push(visitor.stored(0, event));
    }
    store.commit(&changes).await.expect("the changes are taken");
    (visitor, changes)
}

#[test]
fn the_first_start_has_this_months_partition_and_the_next_twos() {
    run(async {
        let scratch = Scratch::empty();
        let store = scratch.store_with(2, 3).await;
        store.migrate().await.unwrap();
        let mut connection = beside(&scratch);
        let mut expected = names(
            &mut connection,
            "SELECT 'tracking_events_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC')
                + n * interval '1 month', 'YYYY_MM') AS name FROM generate_series(0, 2) AS n",
        );
        expected.extend(["tracking_events_default".to_owned(), "tracking_events_undated".to_owned()]);
        assert_eq!(partitions(&mut connection), expected);
        store.upkeep(store.now()).await.unwrap();
        assert_eq!(partitions(&mut connection), expected);
    });
}

#[test]
fn an_event_lies_where_its_id_says_and_leaves_default_when_its_month_comes() {
    run(async {
        let scratch = Scratch::new().await;
        let store = scratch.store_with(2, 3).await;
        store.upkeep("2031-03-31T23:59:59Z".parse().unwrap()).await.unwrap();
        let ids = [
            EventId::of_text("order-17"),
            event_id_dated(millis("2031-03-31T23:59:59.999Z"), 1),
            event_id_dated(millis("2031-04-01T00:00:00Z"), 1),
            event_id_dated(millis("2031-05-31T23:59:59.999Z"), 1),
            event_id_dated(millis("2031-06-01T00:00:00Z"), 1),
            event_id_dated(millis("2031-07-01T00:00:00Z"), 1),
        ];
        let (_, changes) = visit(&store, &ids).await;
        let mut connection = beside(&scratch);
        let lying = |june, july| {
            ["undated", "2031_03", "2031_04", "2031_05", june, july]
                .map(|name| format!("tracking_events_{name}"))
        };
        assert_eq!(places(&mut connection), lying("default", "default"));

        store.upkeep("2031-04-15T12:00:00Z".parse().unwrap()).await.unwrap();

        assert_eq!(places(&mut connection), lying("2031_06", "default"));
        for stored in &changes.events {
            let event = &stored.event;
            let found = store.event(event.project_id, &event.pixel_id, event.id).await.unwrap();
            assert_eq!(found.as_ref(), Some(stored));
        }
    });
}

#[test]
fn two_nodes_prepare_the_same_months_at_once() {
    run(async {
        let scratch = Scratch::new().await;
        let (one, other) = (scratch.store_with(2, 3).await, scratch.store_with(2, 3).await);
        visit(&one, &[event_id_dated(millis("2032-02-02T00:00:00Z"), 1)]).await;
        let now: Timestamp = "2032-01-01T00:00:00Z".parse().unwrap();
        let tasks =
            [one.clone(), other, one].map(|store| tokio::spawn(async move { store.upkeep(now).await }));
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(places(&mut beside(&scratch)), ["tracking_events_2032_02"]);
    });
}

#[test]
fn a_retry_after_midnight_meets_its_first_copy() {
    run(async {
        let scratch = Scratch::new().await;
        let store = scratch.store_with(2, 3).await;
        store.upkeep("2031-03-31T23:00:00Z".parse().unwrap()).await.unwrap();
        let id = event_id_dated(millis("2031-03-31T23:59:59.999Z"), 1);
        let (visitor, first) = visit(&store, &[id]).await;
        let mut retry =
            Changes { events: first.events, assumed: vec![visitor.assumed(1)], ..Changes::default() };
        retry.events[0].event.received_at = at(60 * 24 * 40);
        retry.events[0].event.occurred_at = at(60 * 24 * 40);
        assert!(matches!(store.commit(&retry).await, Err(StoreError::Stale)));
        let known = store.load(&event_query((visitor.pixel_id, id))).await.unwrap();
        assert_eq!(known.events.len(), 1);
    });
}

#[test]
fn who_cannot_lock_default_gives_up_for_this_time_and_harms_nobody() {
    run(async {
        let scratch = Scratch::new().await;
        let store = scratch.store_with(2, 3).await;
        let mut reader = beside(&scratch);
        reader.batch_execute("BEGIN; SELECT FROM tracking_events_default").unwrap();
        let month: Timestamp = "2033-01-01T00:00:00Z".parse().unwrap();
        let answer = store.upkeep(month).await;
        assert!(matches!(answer, Err(StoreError::Transient(_))), "{answer:?}");
        visit(&store, &[event_id_dated(millis("2033-01-02T00:00:00Z"), 1)]).await;
        reader.batch_execute("COMMIT").unwrap();
        store.upkeep(month).await.unwrap();
        assert_eq!(places(&mut reader), ["tracking_events_2033_01"]);
    });
}

#[test]
fn the_schema_goes_up_and_down_and_up_again() {
    run(async {
        let scratch = Scratch::empty();
        let (store, other) = (scratch.store_with(2, 3).await, scratch.store_with(2, 3).await);
        let all = store.pending_migrations().await.unwrap();
        let known = ["2026-11-23-000001_initial", "2026-11-24-000001_sync", "2026-11-24-000002_conversions"];
        assert_eq!(all, known);
        // Two nodes start at once: one migrates, the other finds it done.
        let (one, two) = tokio::join!(store.migrate(), other.migrate());
        assert_eq!([one.unwrap(), two.unwrap()].concat(), all);
        assert_eq!(store.pending_migrations().await.unwrap(), [""; 0]);
        assert_eq!(store.applied_migrations().await.unwrap(), all);
        for name in all.iter().rev() {
            assert_eq!(store.revert_migration().await.unwrap().as_ref(), Some(name));
        }
        assert_eq!(store.revert_migration().await.unwrap(), None);
        let left = "SELECT relname::text AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
            AND relkind IN ('r', 'p', 'S', 'v') AND relname <> '__diesel_schema_migrations'
            UNION ALL SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            AND proname LIKE 'leadtrail%'";
        assert_eq!(names(&mut beside(&scratch), left), [""; 0]);
        assert_eq!(store.migrate().await.unwrap(), all);
        let stores = leadtrail_contract::Stores::of(std::sync::Arc::new(store));
        let tenant = Tenant::create(&stores, 1).await;
        stores.visits.commit(&tenant.visitor(1).arrives(0)).await.unwrap();
    });
}
