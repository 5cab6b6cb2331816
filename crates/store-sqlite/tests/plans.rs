//! The statements that are really sent, watched through diesel's instrumentation: each uses an index, and what runs
//! for every event is prepared once. One test, alone in its process: the instrumentation is the process's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use diesel::prelude::*;
use leadtrail_contract::Stores;
use leadtrail_contract::fixtures::{Tenant, at, email, queue, slug, wanted, write};
use leadtrail_domain::crm::PersonId;
use leadtrail_domain::ports::{
    ConversionFilter, EventOrder, EventPage, JobAction, JobFilter, JourneyBounds, Page, SealedConnection,
};
use leadtrail_domain::sync::{JobStatus, NextStep, Settlement};
use leadtrail_domain::visit::{Freshness, VisitQuery};
use leadtrail_store_sqlite::SqliteStore;

#[derive(Default)]
struct Seen {
    sent: BTreeSet<String>,
    cached: BTreeSet<String>,
}

static SEEN: Mutex<Seen> = Mutex::new(Seen { sent: BTreeSet::new(), cached: BTreeSet::new() });

struct Watch;

impl Instrumentation for Watch {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        let mut seen = SEEN.lock().expect("nobody panics while holding it");
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let text = query.to_string();
            let sql = text.split(" -- binds:").next().unwrap_or(&text);
            seen.sent.insert(sql.to_owned());
        } else if let InstrumentationEvent::CacheQuery { sql, .. } = event {
            seen.cached.insert(sql.to_owned());
        }
    }
}

/// The statements sent since the last call, without those that frame transactions, and whether each is cached.
fn sent() -> BTreeMap<String, bool> {
    let mut seen = SEEN.lock().expect("nobody panics while holding it");
    let sent = std::mem::take(&mut seen.sent);
    sent.into_iter()
        .filter(|sql| ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|verb| sql.starts_with(verb)))
        .map(|sql| {
            let cached = seen.cached.contains(&sql);
            (sql, cached)
        })
        .collect()
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = diesel::sql_types::Text)]
    detail: String,
}

fn plan(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let steps: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}"))
        .load(connection)
        .expect("the statement has a plan");
    steps.into_iter().map(|step| step.detail).collect()
}

const LEASE: Duration = Duration::from_mins(2);

/// What may read a table from end to end, and why.
const SCANS: &[(&str, &str)] = &[
    ("SCAN CONSTANT ROW", "no table at all"),
    ("SCAN api_keys USING COVERING INDEX", "whether there is a key at all: it stops at the first"),
    (
        "SCAN sync_jobs USING COVERING INDEX sync_jobs_queue",
        "how many are pending: the index holds no others",
    ),
];

fn assert_searched(connection: &mut SqliteConnection, statements: &BTreeMap<String, bool>) {
    for sql in statements.keys() {
        for step in plan(connection, sql) {
            let allowed = !step.starts_with("SCAN") || SCANS.iter().any(|(scan, _)| step.starts_with(scan));
            assert!(allowed, "{step}\n{sql}");
        }
    }
}

async fn ingest(stores: &Stores, tenant: &Tenant) {
    let visitor = tenant.visitor(1);
    let visits = &stores.visits;
    let query = VisitQuery {
        events: BTreeSet::from([visitor.event_key(0), visitor.event_key(9)]),
        visitors: BTreeMap::from([(visitor.key(), Freshness::Current)]),
        submissions: BTreeSet::from([visitor.submission_key(1, "jane@example.com")]),
        people: BTreeSet::from([(tenant.id(), email("jane@example.com").hash())]),
        sessions_since: Some(at(0)),
    };
    visits.load(&query).await.expect("the store answers");
    visits.commit(&visitor.arrives(0)).await.expect("the changes are taken");
    visits.commit(&visitor.submits(1, 0, 1, "jane@example.com", 1)).await.expect("the changes are taken");
    visits.commit(&visitor.joins(1, 0, 2, "jane@example.com", visitor.job_id(1))).await.expect("taken");
    visits.commit(&visitor.returns(1, 2, 60)).await.expect("the changes are taken");
    visits.load(&query).await.expect("the store answers");
    let much_later = VisitQuery { sessions_since: Some(at(5_000)), ..query };
    visits.load(&much_later).await.expect("the store answers");
}

async fn work(stores: &Stores, tenant: &Tenant) {
    let (visitor, jobs) = (tenant.visitor(1), &stores.sync_jobs);
    let queue = queue(tenant.id());
    jobs.due_queues(at(70)).await.expect("the store answers");
    let claims = jobs.claim(&queue, at(70), LEASE, 10).await.expect("the store answers");
    let lease = jobs.renew(&claims[0].lease, at(90)).await.expect("the lease counts");
    jobs.dossier(&lease).await.expect("the lease counts");
    jobs.freeze(&lease, &wanted(visitor.lead_id(2))).await.expect("the lease counts");
    jobs.plan(&lease, &write("person-1", &["a"])).await.expect("the lease counts");
    let next = NextStep::PutOff { due_at: at(71), looks: 1, failures: 1, drop_planned: true };
    let settlement = Settlement { at: at(70), next, note: "later".to_owned(), steps: Vec::new() };
    jobs.settle(&lease, &settlement).await.expect("the lease counts");
    let claims = jobs.claim(&queue, at(71), LEASE, 10).await.expect("the store answers");
    jobs.release(&claims[0].lease).await.expect("the store answers");
    let claims = jobs.claim(&queue, at(71), LEASE, 10).await.expect("the store answers");
    let person = PersonId("person-1".to_owned());
    let next = NextStep::End {
        status: JobStatus::Synced,
        persons: vec![person.clone()],
        written: vec![write("person-1", &["a"])],
    };
    let settlement = Settlement { at: at(72), next, note: "done".to_owned(), steps: Vec::new() };
    jobs.settle(&claims[0].lease, &settlement).await.expect("the lease counts");
    jobs.ever_written(tenant.id(), &slug("default"), &person).await.expect("the store answers");
    jobs.attempts(tenant.id(), visitor.job_id(1)).await.expect("the store answers");
    let jane = email("jane@example.com").hash();
    for project in [None, Some(tenant.id())] {
        jobs.counts(project, at(80)).await.expect("the store answers");
        jobs.outcomes(project, at(0)).await.expect("the store answers");
    }
    jobs.writes(tenant.id(), visitor.job_id(1)).await.expect("the store answers");
    jobs.updates_since(tenant.id(), &jane, at(0)).await.expect("the store answers");
    for action in [JobAction::Replay, JobAction::Hold, JobAction::Skip] {
        assert!(
            jobs.act(tenant.id(), visitor.job_id(1), action, at(90), "").await.expect("the store answers")
        );
    }
    for before in [None, Some(visitor.job_id(1))] {
        for (email, since) in [(None, None), (Some(jane), None), (None, Some(at(0)))] {
            let filter = JobFilter { status: Some(JobStatus::Error), email, since, until: since, before };
            jobs.jobs(tenant.id(), &filter, 10).await.expect("the store answers");
            jobs.count(tenant.id(), &filter).await.expect("the store answers");
        }
    }
    stores.visits.commit(&visitor.converts(2, 60, 61, &["signup"])).await.expect("the changes are taken");
    let conversions = &stores.conversions;
    for (name, since) in [(None, None), ("signup".parse().ok(), None), (None, Some(at(0)))] {
        for before in [None, Some(visitor.conversion(60, 61, "signup").id)] {
            let filter = ConversionFilter { name: name.clone(), since, until: since, before };
            conversions.conversions(tenant.id(), &filter, 10).await.expect("the store answers");
        }
    }
    conversions.conversions_by_event(tenant.id(), visitor.event_id(61)).await.expect("the store answers");
    let journeys = &stores.journeys;
    journeys.leads_of(tenant.id(), &jane, 10).await.expect("the store answers");
    journeys.leads_by_event(tenant.id(), visitor.event_id(1)).await.expect("the store answers");
    let bounds = JourneyBounds { browsers: 10, touches: 10, events: 10 };
    journeys.journey(tenant.id(), visitor.lead_id(1), &bounds).await.expect("the store answers");
    journeys.last_event_at(tenant.id(), &tenant.pixel.id).await.expect("the store answers");
}

async fn read_events(stores: &Stores, tenant: &Tenant) {
    let visitor = tenant.visitor(1);
    for order in [EventOrder::OldestFirst, EventOrder::NewestFirst] {
        for after in [None, Some((at(1), visitor.event_id(1)))] {
            let page = EventPage { since: at(0), until: at(80), order, after, limit: 2 };
            stores.events.of_pixel(tenant.id(), &tenant.pixel.id, &page).await.expect("the store answers");
        }
    }
}

async fn manage(stores: &Stores, tenant: &Tenant) {
    let visitor = tenant.visitor(1);
    let (projects, keys) = (&stores.projects, &stores.keys);
    projects.projects(&Page::first(10)).await.expect("the store answers");
    projects.project_by_slug(&tenant.project.slug).await.expect("the store answers");
    projects.pixels(tenant.id(), &Page::first(10)).await.expect("the store answers");
    projects.pixel_context(&visitor.pixel_id).await.expect("the store answers");
    let sealed = SealedConnection { project_id: tenant.id(), sealed: vec![1], set_at: at(0) };
    stores.connections.put_connection(&sealed).await.expect("the connection is taken");
    stores.connections.connection(tenant.id()).await.expect("the store answers");
    stores.connections.remove_connection(tenant.id()).await.expect("the store answers");
    let key = leadtrail_contract::fixtures::key(1);
    keys.create_first_key(&key).await.expect("the store answers");
    keys.key_by_hash(&key.hash).await.expect("the store answers");
    keys.key_used(key.id, at(1)).await.expect("the store answers");
    keys.keys(Some(tenant.id()), &Page::first(10)).await.expect("the store answers");
    keys.key(Some(tenant.id()), key.id).await.expect("the store answers");
    keys.revoke_key(None, key.id, at(2)).await.expect("the store answers");
    let page = stores.visits.events(tenant.id(), None, 2).await.expect("the store answers");
    let last = page.last().map(|stored| (stored.event.id, stored.event.pixel_id.clone()));
    stores.visits.events(tenant.id(), last, 2).await.expect("the store answers");
    stores
        .visits
        .event(tenant.id(), &visitor.pixel_id, visitor.event_id(0))
        .await
        .expect("the store answers");
}

#[test]
fn every_statement_uses_an_index_and_the_busy_ones_are_prepared_once() {
    set_default_instrumentation(|| Some(Box::new(Watch))).expect("the instrumentation is set");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("leadtrail.db").display().to_string();
    leadtrail_contract::run(async {
        let store = SqliteStore::open(&format!("sqlite:{path}")).expect("the URL names a file");
        store.migrate().await.expect("the migrations run");
        let mut connection = SqliteConnection::establish(&path).expect("the file can be opened");
        let stores = Stores::of(Arc::new(store));
        let tenant = Tenant::create(&stores, 1).await;
        sent();

        ingest(&stores, &tenant).await;
        let busy = sent();
        assert!(busy.len() > 20, "{} statements", busy.len());
        assert_searched(&mut connection, &busy);
        for (sql, cached) in &busy {
            assert!(cached, "prepared each time: {sql}");
        }
        let ends =
            busy.keys().find(|sql| sql.contains("GROUP BY")).expect("the ends of sessions are asked for");
        let plan_of_ends = plan(&mut connection, ends);
        assert!(plan_of_ends[0].contains("COVERING INDEX tracking_events_visitor"), "{plan_of_ends:?}");
        sent();

        work(&stores, &tenant).await;
        let working = sent();
        assert_searched(&mut connection, &working);
        let claiming = working
            .keys()
            .find(|sql| sql.contains("ORDER BY `sync_jobs`.`due_at`"))
            .expect("jobs are claimed");
        let plan_of_claim = plan(&mut connection, claiming);
        let of_the_queue = "USING INDEX sync_jobs_queue (project_id=? AND account=? AND due_at<?)";
        assert!(plan_of_claim[0].contains(of_the_queue), "{plan_of_claim:?}");
        assert!(plan_of_claim.iter().all(|step| !step.contains("B-TREE")), "{plan_of_claim:?}");
        let counting = working.keys().find(|sql| sql.contains("GROUP BY `sync_jobs`.`project_id`"));
        let plan_of_due = plan(&mut connection, counting.expect("queues are asked for"));
        assert_eq!(plan_of_due, ["SCAN sync_jobs USING COVERING INDEX sync_jobs_queue"]);
        sent();

        read_events(&stores, &tenant).await;
        let reading = sent();
        assert_eq!(reading.len(), 4);
        for (sql, cached) in &reading {
            assert!(cached, "prepared each time: {sql}");
            let plan_of_page = plan(&mut connection, sql);
            let of_the_pixel =
                "USING INDEX tracking_events_pixel (pixel_id=? AND occurred_at>? AND occurred_at<?)";
            assert!(plan_of_page[0].contains(of_the_pixel), "{plan_of_page:?}");
            // Only events of one instant are sorted, by their ids.
            let sorted = plan_of_page.iter().find(|step| step.contains("B-TREE"));
            assert_eq!(sorted.map(String::as_str), Some("USE TEMP B-TREE FOR LAST TERM OF ORDER BY"));
        }

        manage(&stores, &tenant).await;
        assert_searched(&mut connection, &sent());
    });
}
