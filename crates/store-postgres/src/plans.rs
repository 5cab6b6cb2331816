//! The plans of the hot statements, as the store's own sessions make them.

use diesel::prelude::*;
use diesel::sql_types::{Array, Text};
use leadtrail_contract::fixtures::{Visitor, at, event_id_dated, event_query, person_query, queue, tenant};
use leadtrail_contract::run;
use leadtrail_domain::ports::{
    EventOrder, EventPage, Events as _, JobFilter, Journeys as _, SyncJobs as _, Visits as _,
};
use leadtrail_domain::visit::{Changes, Freshness};

use crate::PostgresStore;
use crate::error::Failure;
use crate::scratch::Scratch;

#[derive(QueryableByName)]
struct Prepared {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    statement: String,
    #[diesel(sql_type = Array<Text>)]
    types: Vec<String>,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    #[diesel(column_name = "QUERY PLAN")]
    line: String,
}

/// Every statement that the session has prepared, with its plan for the given parameters (`NULL` where none are given).
fn plans(connection: &mut PgConnection, parameters: Option<&str>) -> Result<Vec<(String, String)>, Failure> {
    let prepared: Vec<Prepared> = diesel::sql_query(
        "SELECT name, statement, parameter_types::text[] AS types FROM pg_prepared_statements WHERE NOT from_sql",
    )
    .load(connection)?;
    let mut plans = Vec::new();
    for Prepared { name, statement, types } in prepared {
        if statement.starts_with("SET") || types.is_empty() {
            continue;
        }
        let nulls: Vec<_> = types.iter().map(|sql_type| format!("NULL::{sql_type}")).collect();
        let parameters = parameters.map_or_else(|| nulls.join(", "), str::to_owned);
        let lines: Vec<Line> =
            diesel::sql_query(format!("EXPLAIN (COSTS OFF) EXECUTE {name} ({parameters})"))
                .load(connection)?;
        let plan: Vec<_> = lines.into_iter().map(|line| line.line).collect();
        plans.push((statement, plan.join("\n")));
    }
    Ok(plans)
}

fn assert_by_index(plans: &[(String, String)]) {
    for (statement, plan) in plans {
        assert!(!plan.contains("Seq Scan"), "{statement}\n{plan}");
    }
}

async fn visited(scratch: &Scratch) -> (PostgresStore, Visitor) {
    let store = scratch.store_with(1, 1).await;
    let visitor = tenant(1).visitor(1);
    store.commit(&visitor.arrives(0)).await.expect("the changes are taken");
    (store, visitor)
}

#[test]
fn no_commit_reads_a_whole_table() {
    run(async {
        let scratch = Scratch::new().await;
        let (store, visitor) = visited(&scratch).await;
        store.commit(&visitor.submits(1, 0, 1, "jane@example.com", 1)).await.unwrap();
        let plans = store.write(|connection| plans(connection, None)).await.unwrap();
        let commits: Vec<_> =
            plans.into_iter().filter(|(sql, _)| sql.contains("INTO tracking_events")).collect();
        assert_eq!(commits.len(), 2, "prepared once each");
        assert_by_index(&commits);
    });
}

#[test]
fn a_statement_is_prepared_once_and_not_per_call() {
    run(async {
        let scratch = Scratch::new().await;
        let (store, visitor) = visited(&scratch).await;
        for minute in 1..10 {
            store.commit(&visitor.views(1, 0, minute)).await.unwrap();
        }
        let plans = store.write(|connection| plans(connection, None)).await.unwrap();
        assert_eq!(plans.len(), 1);
    });
}

/// The index that leads to a person's jobs.
const OF_THE_PERSON: &str = "sync_jobs_project_id_email_hash_sequence_key";

#[test]
fn no_load_and_no_claim_reads_a_whole_table() {
    run(async {
        let scratch = Scratch::new().await;
        let (store, visitor) = visited(&scratch).await;
        let jane = leadtrail_contract::fixtures::email("jane@example.com").hash();
        store.load(&event_query(visitor.event_key(0))).await.unwrap();
        store.load(&visitor.query(Freshness::Current)).await.unwrap();
        store.load(&person_query((visitor.project_id, jane))).await.unwrap();
        store.event(visitor.project_id, &visitor.pixel_id, visitor.event_id(0)).await.unwrap();
        store.events(visitor.project_id, None, 10).await.unwrap();
        let project = visitor.project_id;
        store.due_queues(at(0)).await.unwrap();
        store.claim(&queue(project), at(0), std::time::Duration::from_secs(1), 10).await.unwrap();
        for of in [None, Some(project)] {
            store.counts(of, at(0)).await.unwrap();
            store.outcomes(of, at(0)).await.unwrap();
        }
        store.updates_since(project, &jane, at(0)).await.unwrap();
        store.writes(project, visitor.job_id(0)).await.unwrap();
        let by_email = JobFilter { email: Some(jane), ..JobFilter::default() };
        store.jobs(project, &by_email, 10).await.unwrap();
        store.leads_of(project, &jane, 10).await.unwrap();
        store.leads_by_event(project, visitor.event_id(0)).await.unwrap();
        store.last_event_at(project, &visitor.pixel_id).await.unwrap();
        let plans = store.change(|connection| plans(connection, None)).await.unwrap();
        assert_eq!(plans.len(), 19);
        assert_by_index(&plans);
        let of = |parts: &[&str]| {
            let is_it = |sql: &str| parts.iter().all(|part| sql.contains(part));
            let (_, plan) = plans.iter().find(|(sql, _)| is_it(sql)).expect("it was prepared");
            plan.as_str()
        };
        let claim = of(&["FOR UPDATE OF j SKIP LOCKED"]);
        assert!(claim.contains("Index Scan using sync_jobs_queue on sync_jobs j"), "{claim}");
        assert!(claim.contains(&format!("Index Scan using {OF_THE_PERSON} on sync_jobs o")), "{claim}");
        assert!(!claim.contains("Sort"), "{claim}");
        let due = of(&["GROUP BY project_id, account"]);
        assert!(due.contains("using sync_jobs_queue") && !due.contains("Sort"), "{due}");
        let updates = of(&["JOIN crm_writes"]);
        assert!(updates.contains(OF_THE_PERSON) && updates.contains("crm_writes_job"), "{updates}");
        let outcomes = of(&["(\"sync_jobs\".\"ended_at\" >= $1) GROUP BY"]);
        assert!(outcomes.contains("on sync_jobs_ended"), "{outcomes}");
    });
}

#[test]
fn a_page_of_a_pixels_events_begins_in_the_index_and_sorts_those_of_one_instant_only() {
    run(async {
        let scratch = Scratch::new().await;
        let (store, visitor) = visited(&scratch).await;
        for order in [EventOrder::OldestFirst, EventOrder::NewestFirst] {
            for after in [None, Some((at(0), visitor.event_id(0)))] {
                let page = EventPage { since: at(0), until: at(9), order, after, limit: 10 };
                store.of_pixel(visitor.project_id, &visitor.pixel_id, &page).await.unwrap();
            }
        }
        let plans = store.change(|connection| plans(connection, None)).await.unwrap();
        assert_eq!(plans.len(), 4);
        assert_by_index(&plans);
        for (statement, plan) in plans {
            assert!(plan.matches("_pixel_id_occurred_at_idx").count() > 1, "{statement}\n{plan}");
            // The planner sorts the partitions' rows one by one or merged: either way what the index has not sorted.
            let sorts =
                plan.lines().filter(|line| line.trim_start_matches([' ', '-', '>']).ends_with("Sort"));
            let whole: Vec<_> = sorts.clone().filter(|line| !line.contains("Incremental Sort")).collect();
            assert!(whole.is_empty() && sorts.count() > 0, "{statement}\n{plan}");
            let mut presorted = plan.lines().filter(|line| line.contains("Presorted Key"));
            assert!(presorted.all(|line| line.contains("occurred_at")), "{statement}\n{plan}");
        }
    });
}

#[test]
fn an_event_is_looked_for_in_its_own_partition_only() {
    run(async {
        let scratch = Scratch::new().await;
        let (store, visitor) = visited(&scratch).await;
        for month in 0..6 {
            let minute = 1 + month;
            let mut event = visitor.pageview(minute);
            event.id = event_id_dated(1_800_000_000_000 + u64::from(month) * 2_600_000_000, minute);
            let changes = Changes {
                events: vec![visitor.stored(0, event)],
                assumed: vec![visitor.assumed(1)],
                ..Changes::default()
            };
            store.commit(&changes).await.unwrap();
        }
        store.event(visitor.project_id, &visitor.pixel_id, visitor.event_id(0)).await.unwrap();
        let parameters = format!(
            "'{}', '{}', '{}', '{}', 1",
            visitor.event_id(0),
            visitor.pixel_id,
            visitor.event_id(0).partition_at(),
            visitor.project_id
        );
        let plans = store.change(move |connection| plans(connection, Some(&parameters))).await.unwrap();
        let [(statement, plan)] = plans.as_slice() else { panic!("{plans:?}") };
        assert!(statement.contains("partition_at"), "{statement}");
        assert_eq!(plan.matches("Scan using tracking_events_").count(), 1, "{plan}");
        assert!(plan.contains("Subplans Removed"), "{plan}");
    });
}
