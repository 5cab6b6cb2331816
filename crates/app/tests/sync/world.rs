//! A site, its CRM, and the loop between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use leadtrail_app::accounts::Accounts;
use leadtrail_app::shutdown;
use leadtrail_app::sync_loop::{SyncLoop, SyncSettings};
use leadtrail_crm_sandbox::{Call, NewPerson, SandboxCrm};
use leadtrail_domain::crm::{FieldKey, Patch, PersonId};
use leadtrail_domain::ports::Crm;
use leadtrail_domain::project::default_account;
use leadtrail_domain::sync::account::BreakerSettings;
use leadtrail_domain::sync::{JobStatus, SyncJob};
use leadtrail_domain::time::Timestamp;
use leadtrail_store_memory::ManualClock;

use crate::site::{Site, minute};

pub(crate) const JANE: &str = "jane@x.example";

/// One connection, under the name that projects use by default.
pub(crate) fn accounts(crm: &Arc<dyn Crm>) -> Arc<Accounts> {
    let service = BTreeMap::from([(default_account(), Arc::clone(crm))]);
    Arc::new(Accounts::new(service, None, BreakerSettings::default()))
}

/// A site, its CRM, and a loop between them.
pub(crate) struct World {
    pub(crate) site: Site,
    pub(crate) sandbox: SandboxCrm,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) crm: Arc<dyn Crm>,
    pub(crate) settings: SyncSettings,
    /// Those of the loop; absent: `crm` alone, made anew for each pass as after a restart.
    pub(crate) accounts: Option<Arc<Accounts>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let sandbox = SandboxCrm::in_memory();
        let crm = Arc::new(sandbox.clone());
        Self {
            site: Site::new(),
            sandbox,
            clock: Arc::new(ManualClock::new(minute(0))),
            crm,
            settings: SyncSettings::default(),
            accounts: None,
        }
    }

    pub(crate) fn person(&self, first_name: &str, last_name: &str, email: &str) -> PersonId {
        let person = NewPerson {
            first_name: first_name.into(),
            last_name: last_name.into(),
            emails: vec![email.into()],
            added_at: minute(0),
        };
        self.sandbox.add_person(person).expect("an account in memory")
    }

    pub(crate) fn sync(&self) -> SyncLoop {
        SyncLoop::new(
            self.site.store.clone(),
            self.site.store.clone(),
            self.accounts.clone().unwrap_or_else(|| accounts(&self.crm)),
            self.clock.clone(),
            self.settings.clone(),
        )
    }

    /// One pass over what is due at `minutes`.
    pub(crate) async fn pass_at(&self, minutes: u32) -> u32 {
        self.pass(minute(minutes)).await
    }

    pub(crate) async fn pass(&self, now: Timestamp) -> u32 {
        self.clock.set(now);
        let (_trigger, shutdown) = shutdown::channel();
        self.sync().pass(&shutdown).await.expect("a store that works")
    }

    pub(crate) fn field(&self, person: &PersonId, name: &str) -> Option<String> {
        let person = self.sandbox.person(person).expect("an account in memory").expect("a known person");
        person
            .fields
            .get(&FieldKey(name.into()))
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    pub(crate) fn job(&self) -> SyncJob {
        let mut jobs = self.site.jobs();
        assert_eq!(jobs.len(), 1);
        jobs.remove(0)
    }

    pub(crate) fn updates(&self) -> Vec<(PersonId, Patch)> {
        let update = |call| match call {
            Call::Update { person, patch } => Some((person, patch)),
            Call::ListFields | Call::CreateField(_) | Call::Find(_) | Call::Read { .. } => None,
        };
        self.sandbox.calls().into_iter().filter_map(update).collect()
    }

    /// A visit from an ad, and Jane's form a minute later.
    pub(crate) fn lead(&self) {
        self.site.visit(0, "cookie-a", "/?utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=c1", "");
        self.site.submit(1, "cookie-a", JANE);
    }

    pub(crate) fn shown(&self) -> Option<JobStatus> {
        self.site
            .events()
            .into_iter()
            .find(|event| event.lead_id.is_some())
            .and_then(|event| event.sync.status)
    }
}
