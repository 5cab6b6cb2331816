//! CRMs that go wrong in ways that the sandbox does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use leadtrail_crm_sandbox::SandboxCrm;
use leadtrail_domain::crm::{
    Budget, Candidate, Capabilities, CrmField, FieldKey, FieldValue, NewCrmField, Patch, PersonId,
    PersonQuery, Receipt,
};
use leadtrail_domain::ports::{Crm, CrmError};
use tokio::sync::Notify;

/// A CRM that takes no field of any update.
pub(crate) struct Refuses(pub(crate) SandboxCrm);

#[async_trait]
impl Crm for Refuses {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn list_fields(&self) -> Result<Vec<CrmField>, CrmError> {
        self.0.list_fields().await
    }

    async fn create_field(&self, field: &NewCrmField) -> Result<CrmField, CrmError> {
        self.0.create_field(field).await
    }

    fn budget(&self) -> Option<Budget> {
        self.0.budget()
    }

    async fn find(&self, by: &PersonQuery) -> Result<Vec<Candidate>, CrmError> {
        self.0.find(by).await
    }

    async fn read(
        &self,
        person: &PersonId,
        fields: &BTreeSet<FieldKey>,
    ) -> Result<BTreeMap<FieldKey, FieldValue>, CrmError> {
        self.0.read(person, fields).await
    }

    async fn update(&self, _: &PersonId, patch: &Patch) -> Result<Receipt, CrmError> {
        let dropped = patch.keys().map(|key| (key.clone(), "read-only".to_owned())).collect();
        Ok(Receipt { dropped, ..Receipt::default() })
    }
}

/// Where the process dies: at this call of the CRM, before or after it took effect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crash {
    pub(crate) call: usize,
    pub(crate) after: bool,
}

/// A CRM during whose calls the process dies.
pub(crate) struct Mortal {
    pub(crate) inner: SandboxCrm,
    pub(crate) crash: Mutex<Option<Crash>>,
    pub(crate) calls: AtomicUsize,
    pub(crate) died: Notify,
}

impl Mortal {
    async fn call<T>(&self, work: impl Future<Output = T>) -> T {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let crash = self.crash.lock().expect("nobody panics here").filter(|crash| crash.call == number);
        match crash {
            Some(Crash { after: false, .. }) => self.die().await,
            Some(Crash { after: true, .. }) => {
                work.await;
                self.die().await
            }
            None => work.await,
        }
    }

    async fn die<T>(&self) -> T {
        self.died.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Crm for Mortal {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn list_fields(&self) -> Result<Vec<CrmField>, CrmError> {
        self.call(self.inner.list_fields()).await
    }

    async fn create_field(&self, field: &NewCrmField) -> Result<CrmField, CrmError> {
        self.call(self.inner.create_field(field)).await
    }

    fn budget(&self) -> Option<Budget> {
        self.inner.budget()
    }

    async fn find(&self, by: &PersonQuery) -> Result<Vec<Candidate>, CrmError> {
        self.call(self.inner.find(by)).await
    }

    async fn read(
        &self,
        person: &PersonId,
        fields: &BTreeSet<FieldKey>,
    ) -> Result<BTreeMap<FieldKey, FieldValue>, CrmError> {
        self.call(self.inner.read(person, fields)).await
    }

    async fn update(&self, person: &PersonId, patch: &Patch) -> Result<Receipt, CrmError> {
        self.call(self.inner.update(person, patch)).await
    }
}

/// A CRM whose update is made, and with it the store goes away.
pub(crate) struct CutsStore {
    pub(crate) inner: SandboxCrm,
    pub(crate) store: Arc<leadtrail_store_memory::MemoryStore>,
}

#[async_trait]
impl Crm for CutsStore {
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
        let receipt = self.inner.update(person, patch).await;
        self.store.set_unavailable(true);
        receipt
    }
}
