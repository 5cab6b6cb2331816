//! A process that dies between the CRM's answer and the word of it in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use leadtrail_app::accounts::Accounts;
use leadtrail_app::shutdown;
use leadtrail_app::sync_loop::{SyncLoop, SyncSettings};
use leadtrail_contract::Stores;
use leadtrail_contract::fixtures::{SYNC_DELAY_MINUTES, Tenant, Visitor, at};
use leadtrail_crm_sandbox::{Call, NewPerson, SandboxCrm};
use leadtrail_domain::crm::{
    Budget, Candidate, Capabilities, CrmField, FieldKey, FieldValue, NewCrmField, Patch, PersonId,
    PersonQuery, Receipt,
};
use leadtrail_domain::ports::{Crm, CrmError};
use leadtrail_domain::project::default_account;
use leadtrail_domain::sync::JobStatus;
use leadtrail_domain::sync::account::BreakerSettings;
use leadtrail_store_memory::ManualClock;
use leadtrail_store_sqlite::SqliteStore;
use tokio::sync::Notify;

use crate::process::Home;

const JANE: &str = "jane@example.com";

/// A sandbox during whose update the process dies: when it was made, or just before.
struct Mortal {
    inner: SandboxCrm,
    after_the_answer: bool,
    died: Notify,
}

#[async_trait]
impl Crm for Mortal {
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
        self.inner.find(by).await
    }

    async fn read(
        &self,
        person: &PersonId,
        fields: &BTreeSet<FieldKey>,
    ) -> Result<BTreeMap<FieldKey, FieldValue>, CrmError> {
        self.inner.read(person, fields).await
    }

    async fn update(&self, person: &PersonId, patch: &Patch) -> Result<Receipt, CrmError> {
        if self.after_the_answer {
            self.inner.update(person, patch).await?;
        }
        self.died.notify_one();
        std::future::pending().await
    }
}

fn sync(stores: &Stores, crm: Arc<dyn Crm>, clock: &Arc<ManualClock>) -> SyncLoop {
    let service = BTreeMap::from([(default_account(), crm)]);
    SyncLoop::new(
        stores.sync_jobs.clone(),
        stores.projects.clone(),
        Arc::new(Accounts::new(service, None, BreakerSettings::default())),
        clock.clone(),
        SyncSettings::default(),
    )
}

async fn job_of_jane(stores: &Stores) -> Result<(Tenant, Visitor)> {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    stores.visits.commit(&visitor.arrives(0)).await?;
    stores.visits.commit(&visitor.submits(1, 0, 1, JANE, 1)).await?;
    Ok((tenant, visitor))
}

async fn c4_one_more_identical_write_at_most(stores: &Stores, after_the_answer: bool) -> Result<()> {
    let (tenant, visitor) = job_of_jane(stores).await?;
    let sandbox = SandboxCrm::in_memory();
    sandbox.add_person(NewPerson {
        first_name: "Jane".into(),
        last_name: "Doe".into(),
        emails: vec![JANE.into()],
        added_at: at(0),
    })?;
    let mortal = Arc::new(Mortal { inner: sandbox.clone(), after_the_answer, died: Notify::new() });
    let clock = Arc::new(ManualClock::new(at(1 + SYNC_DELAY_MINUTES)));
    let (_trigger, due) = shutdown::channel();
    let dying = sync(stores, mortal.clone(), &clock);
    tokio::select! {
        passed = dying.pass(&due) => anyhow::bail!("the process did not die: {passed:?}"),
        () = mortal.died.notified() => {}
    }
    drop(dying);

    // What happens meanwhile changes nothing of a write that may have been made.
    stores.visits.commit(&visitor.views(1, 0, 2)).await?;
    clock.advance(SyncSettings::default().lease + Duration::from_secs(1));
    assert_eq!(sync(stores, Arc::new(sandbox.clone()), &clock).pass(&due).await?, 1);

    let job = stores.sync_jobs.job(tenant.id(), visitor.job_id(1)).await?;
    assert_eq!(job.map(|job| job.status), Some(JobStatus::Synced));
    let update = |call| match call {
        Call::Update { person, patch } => Some((person, patch)),
        Call::ListFields | Call::CreateField(_) | Call::Find(_) | Call::Read { .. } => None,
    };
    let updates: Vec<_> = sandbox.calls().into_iter().filter_map(update).collect();
    assert_eq!(updates.len(), 1 + usize::from(after_the_answer));
    assert!(updates.windows(2).all(|two| two[0] == two[1]), "{updates:?}");
    assert!(sandbox.writes().values().all(|writes| writes.changed == 1));
    let written = stores.sync_jobs.writes(tenant.id(), visitor.job_id(1)).await?;
    assert_eq!(written.len(), updates[0].1.len(), "the ledger has what was written, once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_a_death_around_the_crms_answer_repeats_the_same_write_at_most() -> Result<()> {
    for after_the_answer in [false, true] {
        let home = Home::new()?;
        let store = SqliteStore::open(&home.sqlite())?;
        store.migrate().await?;
        c4_one_more_identical_write_at_most(&Stores::of(Arc::new(store)), after_the_answer).await?;
    }
    Ok(())
}

#[cfg(feature = "live")]
#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_a_death_around_the_crms_answer_repeats_the_same_write_at_most() -> Result<()> {
    use leadtrail_store_postgres::{PostgresSettings, PostgresStore};
    for after_the_answer in [false, true] {
        let scratch = crate::scratch::Scratch::new()?;
        let store = PostgresStore::connect(&scratch.url(), PostgresSettings::default()).await?;
        store.migrate().await?;
        c4_one_more_identical_write_at_most(&Stores::of(Arc::new(store)), after_the_answer).await?;
    }
    Ok(())
}
