//! One file, as other processes and other hands leave it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use leadtrail_contract::Stores;
use leadtrail_contract::fixtures::{Tenant, at, email, event_query, key, person_query, queue};
use leadtrail_domain::ports::{
    Clock, Durability, JobFilter, Journey, JourneyBounds, Maintenance, Page, StoreError,
};
use leadtrail_domain::sync::JobStatus;
use leadtrail_domain::visit::{Freshness, VisitQuery};
use leadtrail_store_sqlite::SqliteStore;

struct File {
    folder: tempfile::TempDir,
}

impl File {
    async fn migrated() -> Self {
        let file = Self { folder: tempfile::tempdir().expect("a temporary folder can be made") };
        file.store().migrate().await.expect("the migrations run");
        file
    }

    fn path(&self) -> String {
        self.folder.path().join("leadtrail.db").display().to_string()
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(&format!("sqlite:{}", self.path())).expect("the URL names a file")
    }

    fn stores(&self) -> Stores {
        Stores::of(Arc::new(self.store()))
    }

    fn execute(&self, sql: &str) {
        let mut connection = SqliteConnection::establish(&self.path()).expect("the file can be opened");
        connection.batch_execute(sql).expect("the statement runs");
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_on_disk() {
    let file = File::migrated().await;
    assert_eq!(file.store().durability().await.unwrap(), Durability::Full);
}

#[tokio::test]
async fn the_command_line_beside_the_server_sees_and_is_seen() {
    let file = File::migrated().await;
    let (server, command_line) = (file.stores(), file.stores());
    let tenant = Tenant::create(&command_line, 1).await;
    let visitor = tenant.visitor(1);
    assert!(server.projects.pixel_context(&visitor.pixel_id).await.unwrap().is_some());
    server.visits.commit(&visitor.arrives(0)).await.unwrap();
    let known = command_line.visits.load(&visitor.query(Freshness::Current)).await.unwrap();
    assert_eq!(known.visitors[&visitor.key()].version, 1);
    command_line.visits.commit(&visitor.returns(1, 0, 60)).await.unwrap();
    let stale = server.visits.commit(&visitor.returns(1, 0, 60)).await;
    assert!(matches!(stale, Err(StoreError::Stale)), "{stale:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_that_write_at_once_wait_for_each_other() {
    let file = File::migrated().await;
    let (server, command_line) = (file.stores(), file.stores());
    let tenant = Tenant::create(&server, 1).await;
    let mut all = tokio::task::JoinSet::new();
    for n in 1..=100 {
        let (visits, changes) = (Arc::clone(&server.visits), tenant.visitor(n).arrives(n));
        all.spawn(async move { visits.commit(&changes).await });
        let (keys, key) = (Arc::clone(&command_line.keys), key(n));
        all.spawn(async move { keys.create_key(&key).await });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!(command_line.visits.events(tenant.id(), None, 1_000).await.unwrap().len(), 100);
    assert_eq!(server.keys.keys(None, &Page::first(1_000)).await.unwrap().len(), 100);
}

#[tokio::test]
async fn more_than_one_checkpoint_loses_nothing() {
    let file = File::migrated().await;
    let stores = file.stores();
    let tenant = Tenant::create(&stores, 1).await;
    let visitor = tenant.visitor(1);
    stores.visits.commit(&visitor.arrives(0)).await.unwrap();
    for batch in 0..10 {
        let mut changes = visitor.views(1, 0, 1);
        let minutes = 1 + batch * 500..=500 + batch * 500;
        changes.events = minutes.map(|minute| visitor.stored(0, visitor.pageview(minute))).collect();
        stores.visits.commit(&changes).await.unwrap();
    }
    stores.maintenance.upkeep(at(0)).await.unwrap();
    drop(stores);
    let events = file.stores().visits.events(tenant.id(), None, 10_000).await.unwrap();
    assert_eq!(events.len(), 5_001);
}

#[tokio::test]
async fn the_clock_is_the_hosts_to_the_microsecond() {
    let file = File::migrated().await;
    let store = file.store();
    let (first, second) = (store.now(), store.now());
    assert!(first > at(0).minus(Duration::from_hours(24 * 365)));
    assert!(second.since(first) < Duration::from_hours(1));
}

/// Where the answer says that something cannot be read.
fn place<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> (&'static str, &'static str, String) {
    match answer {
        Err(StoreError::Corrupt { table, column, id }) => (table, column, id),
        other => panic!("not corrupt: {other:?}"),
    }
}

#[tokio::test]
async fn an_unreadable_row_is_named() {
    const JANE: &str = "jane@example.com";
    let file = File::migrated().await;
    let stores = file.stores();
    let tenant = Tenant::create(&stores, 1).await;
    let visitor = tenant.visitor(1);
    stores.visits.commit(&visitor.arrives(0)).await.unwrap();
    stores.visits.commit(&visitor.submits(1, 0, 1, JANE, 1)).await.unwrap();
    stores.keys.create_key(&key(1)).await.unwrap();
    let lease =
        stores.sync_jobs.claim(&queue(tenant.id()), at(100), Duration::from_mins(1), 1).await.unwrap()[0]
            .lease;
    let (project, pixel) = (tenant.id(), visitor.pixel_id.clone());
    let (visitor_id, job_id) = (visitor.id.to_string(), visitor.job_id(1).to_string());

    file.execute("UPDATE leads SET touches = '{'");
    let lead = visitor.lead_id(1).to_string();
    assert_eq!(place(stores.sync_jobs.dossier(&lease).await), ("leads", "touches", lead));
    file.execute("DELETE FROM leads");
    assert_eq!(place(stores.sync_jobs.dossier(&lease).await), ("sync_jobs", "lead_id", job_id.clone()));

    file.execute("UPDATE tracking_events SET props = '{'");
    let event = visitor.event_id(0);
    let answer = stores.visits.event(project, &pixel, event).await;
    assert_eq!(place(answer), ("tracking_events", "props", event.to_string()));
    file.execute("UPDATE tracking_events SET props = NULL, viewport_width = -1, viewport_height = 1");
    let answer = stores.visits.events(project, None, 10).await;
    assert_eq!(place(answer), ("tracking_events", "viewport_width", event.to_string()));

    file.execute("UPDATE touchpoints SET touch = 'null'");
    let answer = stores.visits.load(&visitor.query(Freshness::Current)).await;
    assert_eq!(place(answer), ("touchpoints", "touch", event.to_string()));
    let answer = stores.visits.load(&person_query((project, email(JANE).hash()))).await;
    assert_eq!(place(answer), ("touchpoints", "touch", event.to_string()));
    file.execute("DELETE FROM touchpoints; UPDATE sessions SET session_id = x'00ff'");
    let answer = stores.visits.load(&visitor.query(Freshness::Current)).await;
    assert_eq!(place(answer), ("sessions", "session_id", "[00, ff]".to_owned()));
    file.execute("UPDATE visitors SET cookie = 'no cookie'");
    let answer = stores.visits.load(&event_query(visitor.event_key(0))).await;
    assert_eq!(place(answer), ("visitors", "cookie", visitor_id));

    let bounds = JourneyBounds { browsers: 10, touches: 10, events: 10 };
    let journey = stores.journeys.journey(project, visitor.lead_id(1), &bounds).await;
    assert_eq!(journey.unwrap(), Journey::default(), "the lead is gone");

    file.execute("UPDATE sync_jobs SET persons = '{}'");
    assert_eq!(
        place(stores.sync_jobs.job(project, visitor.job_id(1)).await),
        ("sync_jobs", "persons", job_id.clone())
    );
    file.execute("UPDATE sync_jobs SET persons = '[]', looks = -1, lease_until = NULL");
    let answer = stores.sync_jobs.jobs(project, &JobFilter::default(), 1).await;
    assert_eq!(place(answer), ("sync_jobs", "looks", job_id));

    file.execute("UPDATE api_keys SET scopes = '[\"everything\"]'");
    assert_eq!(
        place(stores.keys.key_by_hash(&key(1).hash).await),
        ("api_keys", "scopes", key(1).id.to_string())
    );
    file.execute("UPDATE pixels SET settings = '{\"unknown\":1}'");
    let answer = stores.projects.pixel_context(&pixel).await;
    assert_eq!(place(answer), ("pixels", "settings", pixel.as_str().to_owned()));
    file.execute("UPDATE projects SET slug = 'two words'");
    assert_eq!(place(stores.projects.project(project).await), ("projects", "slug", project.to_string()));
}

#[tokio::test]
async fn a_value_of_another_type_cannot_be_written() {
    let file = File::migrated().await;
    let mut connection = SqliteConnection::establish(&file.path()).unwrap();
    for sql in [
        "INSERT INTO projects VALUES ('text', 'slug', 'name', '{}', 0, NULL)",
        "INSERT INTO projects VALUES (x'00', 'slug', 'name', '{}', '2026-01-01', NULL)",
        "INSERT INTO pixels VALUES ('px', x'00', 'name', '{}', 0.5, NULL)",
    ] {
        assert!(connection.batch_execute(sql).is_err(), "{sql}");
    }
}

#[tokio::test]
async fn nothing_is_asked_of_a_store_that_nothing_is_asked_of() {
    // Without its tables: an empty query must not need them, and an empty commit must not begin a transaction.
    let folder = tempfile::tempdir().unwrap();
    let store =
        SqliteStore::open(&format!("sqlite:{}", folder.path().join("leadtrail.db").display())).unwrap();
    store.ping().await.unwrap();
    let stores = Stores::of(Arc::new(store));
    let known = stores.visits.load(&VisitQuery::default()).await.unwrap();
    assert_eq!((known.events, known.visitors), (BTreeMap::new(), BTreeMap::new()));
    stores.visits.commit(&leadtrail_domain::visit::Changes::default()).await.unwrap();
}

#[tokio::test]
async fn an_unreadable_job_ends_and_holds_up_nobody() {
    let file = File::migrated().await;
    let stores = file.stores();
    let tenant = Tenant::create(&stores, 1).await;
    let visitor = tenant.visitor(1);
    stores.visits.commit(&visitor.arrives(0)).await.unwrap();
    for (minute, address, sequence) in [
        (1, "jane@example.com", 1),
        (2, "joan@example.com", 1),
        (3, "jane@example.com", 2),
        (4, "jim@example.com", 1),
        (5, "jill@example.com", 1),
    ] {
        stores.visits.commit(&visitor.submits(1, 0, minute, address, sequence)).await.unwrap();
    }
    let hex = |minute| format!("x'{}'", visitor.job_id(minute).0.simple());
    let frozen = "UPDATE sync_jobs SET wanted = '{\"secret\": 1' WHERE job_id = ";
    file.execute(&format!("{frozen}{}", hex(1)));
    file.execute(&format!("UPDATE sync_jobs SET looks = -1 WHERE job_id = {}", hex(4)));

    let claims =
        stores.sync_jobs.claim(&queue(tenant.id()), at(60), Duration::from_mins(2), 2).await.unwrap();

    // As many as asked for, the other job of the same person among them.
    let ids: Vec<_> = claims.iter().map(|claim| claim.job.id).collect();
    assert_eq!(ids, [visitor.job_id(2), visitor.job_id(3)]);
    let claims =
        stores.sync_jobs.claim(&queue(tenant.id()), at(61), Duration::from_mins(2), 10).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.job.id).collect::<Vec<_>>(), [visitor.job_id(5)]);
    file.execute(&format!("UPDATE sync_jobs SET looks = 0 WHERE job_id = {}", hex(4)));
    let job = stores.sync_jobs.job(tenant.id(), visitor.job_id(4)).await.unwrap().unwrap();
    let reason = format!("corrupt row in sync_jobs.looks, id {}", visitor.job_id(4).0);
    assert_eq!((job.status, job.last_error, job.ended_at), (JobStatus::Error, Some(reason), Some(at(61))));
    file.execute(&format!("UPDATE sync_jobs SET wanted = NULL WHERE job_id = {}", hex(1)));
    let job = stores.sync_jobs.job(tenant.id(), visitor.job_id(1)).await.unwrap().unwrap();
    let reason = format!("corrupt row in sync_jobs.wanted, id {}", visitor.job_id(1).0);
    assert_eq!((job.status, job.last_error, job.ended_at), (JobStatus::Error, Some(reason), Some(at(60))));
    let event = stores.visits.event(tenant.id(), &visitor.pixel_id, visitor.event_id(1)).await.unwrap();
    assert_eq!(event.unwrap().sync.status, Some(JobStatus::Error));
}

#[tokio::test]
async fn a_queue_whose_name_cannot_be_read_ends_and_holds_up_nobody() {
    let file = File::migrated().await;
    let stores = file.stores();
    let tenant = Tenant::create(&stores, 1).await;
    let visitor = tenant.visitor(1);
    stores.visits.commit(&visitor.arrives(0)).await.unwrap();
    for (minute, address) in [(1, "jane@example.com"), (2, "joan@example.com"), (3, "jim@example.com")] {
        stores.visits.commit(&visitor.submits(1, 0, minute, address, 1)).await.unwrap();
    }
    let hex = |minute| format!("x'{}'", visitor.job_id(minute).0.simple());
    let rename = "UPDATE sync_jobs SET account = 'A Secret Name' WHERE job_id IN";
    file.execute(&format!("{rename} ({}, {})", hex(1), hex(3)));

    let due = stores.sync_jobs.due_queues(at(9)).await.unwrap();

    let queues: Vec<_> = due.into_iter().map(|due| (due.queue, due.due)).collect();
    assert_eq!(queues, [(queue(tenant.id()), 1)]);
    file.execute("UPDATE sync_jobs SET account = 'default'");
    let job = stores.sync_jobs.job(tenant.id(), visitor.job_id(1)).await.unwrap().unwrap();
    let reason = format!("corrupt row in sync_jobs.account, id {}", visitor.job_id(1).0);
    assert_eq!((job.status, job.last_error, job.ended_at), (JobStatus::Error, Some(reason), Some(at(9))));
    // What is not due yet is still to be mended.
    let job = stores.sync_jobs.job(tenant.id(), visitor.job_id(3)).await.unwrap().unwrap();
    assert_eq!(job.status, JobStatus::Pending);
}
