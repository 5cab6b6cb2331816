//! How many syncs a second the engine makes on SQLite, against a CRM that answers at once and one that takes 50 ms, and
//! what a long queue costs in memory: `cargo bench -p leadtrail-server --bench sync`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use leadtrail_app::accounts::Accounts;
use leadtrail_app::shutdown;
use leadtrail_app::sync_loop::{SyncLoop, SyncSettings};
use leadtrail_contract::Stores;
use leadtrail_contract::fixtures::{Tenant, at};
use leadtrail_crm_sandbox::{NewPerson, SandboxCrm};
use leadtrail_domain::crm::{
    Budget, Candidate, Capabilities, CrmField, FieldKey, FieldValue, NewCrmField, Patch, PersonId,
    PersonQuery, Receipt,
};
use leadtrail_domain::ports::{Crm, CrmError};
use leadtrail_domain::project::default_account;
use leadtrail_domain::sync::account::BreakerSettings;
use leadtrail_domain::visit::Changes;
use leadtrail_store_memory::ManualClock;
use leadtrail_store_sqlite::SqliteStore;

/// Syncs that are timed.
const SYNCS: u32 = 1_000;
/// The long queue.
const PENDING: u32 = 100_000;
/// Leads committed at a time.
const CHUNK: u32 = 2_000;

/// A sandbox that takes its time.
struct Slow {
    inner: SandboxCrm,
    latency: Duration,
}

impl Slow {
    async fn wait(&self) {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
    }
}

#[async_trait]
impl Crm for Slow {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn list_fields(&self) -> Result<Vec<CrmField>, CrmError> {
        self.inner.list_fields().await
    }

    async fn create_field(&self, field: &NewCrmField) -> Result<CrmField, CrmError> {
        self.inner.create_field(field).await
    }

    fn budget(&self) -> Option<Budget> {
        self.inner.budget()
    }

    async fn find(&self, by: &PersonQuery) -> Result<Vec<Candidate>, CrmError> {
        self.wait().await;
        self.inner.find(by).await
    }

    async fn read(
        &self,
        person: &PersonId,
        fields: &BTreeSet<FieldKey>,
    ) -> Result<BTreeMap<FieldKey, FieldValue>, CrmError> {
        self.wait().await;
        self.inner.read(person, fields).await
    }

    async fn update(&self, person: &PersonId, patch: &Patch) -> Result<Receipt, CrmError> {
        self.wait().await;
        self.inner.update(person, patch).await
    }
}

fn email(n: u32) -> String {
    format!("person{n}@example.com")
}

/// A store with so many due jobs, of as many persons.
async fn queue(folder: &tempfile::TempDir, jobs: u32) -> Stores {
    let path = folder.path().join("leadtrail.db").display().to_string();
    let store = SqliteStore::open(&format!("sqlite:{path}")).expect("the URL names a file");
    store.migrate().await.expect("the migrations run");
    let stores = Stores::of(Arc::new(store));
    let visitor = Tenant::create(&stores, 1).await.visitor(1);
    stores.visits.commit(&visitor.arrives(0)).await.expect("the changes are taken");
    for first in (1..=jobs).step_by(usize::try_from(CHUNK).unwrap_or(1)) {
        let mut all = Changes { assumed: vec![visitor.assumed(1)], ..Changes::default() };
        for minute in first..(first + CHUNK).min(jobs + 1) {
            let changes = visitor.submits(1, 0, minute, &email(minute), 1);
            all.events.extend(changes.events);
            all.leads.extend(changes.leads);
            all.submissions.extend(changes.submissions);
            all.identities.extend(changes.identities);
            all.jobs.extend(changes.jobs);
        }
        stores.visits.commit(&all).await.expect("the changes are taken");
    }
    stores
}

fn people(count: u32) -> SandboxCrm {
    let sandbox = SandboxCrm::in_memory();
    for n in 1..=count {
        let (first_name, last_name) = ("P".to_owned(), n.to_string());
        let person = NewPerson { first_name, last_name, emails: vec![email(n)], added_at: at(0) };
        sandbox.add_person(person).expect("an account in memory");
    }
    sandbox
}

fn sync(stores: &Stores, crm: Slow, batch: u32, workers: usize) -> SyncLoop {
    let crm: Arc<dyn Crm> = Arc::new(crm);
    SyncLoop::new(
        stores.sync_jobs.clone(),
        stores.projects.clone(),
        Arc::new(Accounts::new(BTreeMap::from([(default_account(), crm)]), None, BreakerSettings::default())),
        Arc::new(ManualClock::new(at(2 * PENDING))),
        SyncSettings { batch, workers, ..SyncSettings::default() },
    )
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

async fn rate(latency: Duration, workers: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let stores = queue(&folder, SYNCS).await;
    let sync = sync(&stores, Slow { inner: people(SYNCS), latency }, 50, workers);
    let (_trigger, due) = shutdown::channel();
    let (begun, mut told) = (Instant::now(), 0);
    while told < SYNCS {
        told += sync.pass(&due).await.expect("the store answers");
    }
    let rate = f64::from(told) / begun.elapsed().as_secs_f64();
    eprintln!("{workers:2} workers, {latency:?} a call: {rate:.0} syncs/s ({told} syncs, 3 calls each)");
}

async fn memory() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let stores = queue(&folder, PENDING).await;
    let sync = sync(&stores, Slow { inner: people(500), latency: Duration::ZERO }, 50, 4);
    let (_trigger, due) = shutdown::channel();
    let before = resident_kib();
    let begun = Instant::now();
    let mut told = 0;
    while told < 500 {
        told += sync.pass(&due).await.expect("the store answers");
    }
    let took = begun.elapsed();
    let grown = resident_kib().saturating_sub(before);
    eprintln!(
        "{PENDING} pending jobs: {told} of them told in {took:?}, memory grown by {grown} KiB to {} KiB",
        before + grown
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for workers in [4, 16] {
            for latency in [Duration::ZERO, Duration::from_millis(50)] {
                rate(latency, workers).await;
            }
        }
        memory().await;
    });
}
