//! The composition root: the one place that knows which adapter stands behind which port.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use leadtrail_app::accounts::Accounts;
use leadtrail_app::connections::{Connection, OwnConnections};
use leadtrail_cache_memory::Cached;
use leadtrail_crm_pipedrive::{BaseUrl, PipedriveCrm, PipedriveSettings};
use leadtrail_crm_sandbox::SandboxCrm;
use leadtrail_domain::id::Slug;
use leadtrail_domain::ports::{
    Clock, Connections, Conversions, Crm, Durability, Events, Histories, Journeys, Keys, Maintenance,
    Projects, SyncJobs, Visits,
};
use leadtrail_outbound::{Outbound, OutboundSettings};
use leadtrail_store_memory::MemoryStore;
use leadtrail_store_postgres::{PostgresSettings, PostgresStore};
use leadtrail_store_sqlite::SqliteStore;
use secrecy::ExposeSecret as _;

use crate::settings::{CrmKind, Settings, Store, StoreUrl};

/// A store, by its ports.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) visits: Arc<dyn Visits>,
    pub(crate) jobs: Arc<dyn SyncJobs>,
    pub(crate) projects: Arc<dyn Projects>,
    pub(crate) keys: Arc<dyn Keys>,
    pub(crate) connections: Arc<dyn Connections>,
    pub(crate) journeys: Arc<dyn Journeys>,
    pub(crate) histories: Arc<dyn Histories>,
    pub(crate) conversions: Arc<dyn Conversions>,
    pub(crate) events: Arc<dyn Events>,
    pub(crate) maintenance: Arc<dyn Maintenance>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) schema: Schema,
}

/// What can be done about a store's schema.
#[derive(Clone)]
pub(crate) enum Schema {
    None,
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

impl Schema {
    /// The migrations that are still to be applied, in their order.
    pub(crate) async fn pending(&self) -> anyhow::Result<Vec<String>> {
        Ok(match self {
            Self::None => Vec::new(),
            Self::Sqlite(store) => store.pending_migrations().await?,
            Self::Postgres(store) => store.pending_migrations().await?,
        })
    }

    /// Applies them; those that were applied.
    pub(crate) async fn migrate(&self) -> anyhow::Result<Vec<String>> {
        Ok(match self {
            Self::None => Vec::new(),
            Self::Sqlite(store) => store.migrate().await?,
            Self::Postgres(store) => store.migrate().await?,
        })
    }
}

/// Opens the store, whatever the state of its schema.
pub(crate) async fn open(settings: &Store) -> anyhow::Result<Stores> {
    Ok(match &settings.url {
        StoreUrl::Memory => stores(Arc::new(MemoryStore::new()), settings, Schema::None),
        StoreUrl::Sqlite(url) => {
            let store = SqliteStore::open(url).context("store.url")?;
            stores(Arc::new(store.clone()), settings, Schema::Sqlite(store))
        }
        StoreUrl::Postgres(url) => {
            let store = PostgresStore::connect(url.expose_secret(), PostgresSettings::default())
                .await
                .context("cannot connect to PostgreSQL (store.url)")?;
            stores(Arc::new(store.clone()), settings, Schema::Postgres(store))
        }
    })
}

fn stores<S>(store: Arc<S>, settings: &Store, schema: Schema) -> Stores
where
    S: Visits
        + SyncJobs
        + Projects
        + Keys
        + Connections
        + Journeys
        + Histories
        + Conversions
        + Events
        + Maintenance
        + Clock
        + 'static,
{
    Stores {
        visits: Arc::new(Cached::new(Arc::clone(&store), settings.visitors_cached)),
        jobs: store.clone(),
        projects: store.clone(),
        keys: store.clone(),
        connections: store.clone(),
        journeys: store.clone(),
        histories: store.clone(),
        conversions: store.clone(),
        events: store.clone(),
        maintenance: store.clone(),
        clock: store,
        schema,
    }
}

/// Opens the store for use: with its schema up to date.
pub(crate) async fn open_ready(settings: &Store) -> anyhow::Result<Stores> {
    let stores = open(settings).await?;
    if settings.migrate_on_start {
        let applied = stores.schema.migrate().await.context("cannot bring the store's schema up to date")?;
        if !applied.is_empty() {
            tracing::info!(migrations = applied.len(), "brought the store's schema up to date");
        }
    } else if !stores.schema.pending().await?.is_empty() {
        bail!("the store's schema is not up to date: run `leadtrail migrate`");
    }
    Ok(stores)
}

/// Refuses a store that may lose what was acknowledged, unless that was asked for.
pub(crate) async fn require_durability(stores: &Stores, settings: &Store) -> anyhow::Result<()> {
    match stores.maintenance.durability().await.context("cannot ask the store about its durability")? {
        Durability::Relaxed(reasons) if !settings.allow_relaxed_durability => bail!(
            "the store may lose acknowledged events in a crash ({}); mend that, or set store.allow_relaxed_durability",
            reasons.join(", ")
        ),
        Durability::Relaxed(reasons) => {
            tracing::warn!(reasons = reasons.join(", "), "acknowledged events may be lost in a crash");
        }
        Durability::None => tracing::warn!("the store keeps nothing: every event is lost at the end"),
        Durability::Full => {}
    }
    Ok(())
}

/// The sandbox CRM of the settings.
pub(crate) fn sandbox(settings: &Settings) -> anyhow::Result<SandboxCrm> {
    sandbox_at(&settings.sandbox_file)
}

fn sandbox_at(file: &Path) -> anyhow::Result<SandboxCrm> {
    SandboxCrm::at(file).with_context(|| format!("cannot use the sandbox CRM in {}", file.display()))
}

/// The kind of CRM that a project's own connection may be of.
pub(crate) const OWN_KIND: &str = "pipedrive";

/// The CRM connections: those of the settings, and the projects' own.
pub(crate) fn accounts(settings: &Settings, stores: &Stores) -> anyhow::Result<Accounts> {
    let outbound = outbound();
    let service = service_crms(settings, &outbound)?;
    let open = move |connection: &Connection| -> Result<Arc<dyn Crm>, String> {
        if connection.kind != OWN_KIND {
            return Err(format!("there is no kind of CRM `{}`", connection.kind));
        }
        // Somebody else than the operator may have named it: it leads nowhere but to Pipedrive.
        let base_url = BaseUrl::of_company(&connection.base_url).map_err(|error| error.to_string())?;
        let settings = PipedriveSettings::new(base_url, connection.api_token.clone());
        Ok(Arc::new(PipedriveCrm::new(settings, Arc::clone(&outbound))))
    };
    let own = OwnConnections {
        connections: Arc::clone(&stores.connections),
        key: settings.connection_key.clone(),
        open: Arc::new(open),
    };
    Ok(Accounts::new(service, Some(own), settings.breaker))
}

/// The CRM connections of the settings alone, for whom there is no store.
pub(crate) fn accounts_of_service(settings: &Settings) -> anyhow::Result<Accounts> {
    Ok(Accounts::new(service_crms(settings, &outbound())?, None, settings.breaker))
}

fn outbound() -> Arc<Outbound> {
    Arc::new(Outbound::new(&OutboundSettings::default()))
}

fn service_crms(
    settings: &Settings,
    outbound: &Arc<Outbound>,
) -> anyhow::Result<BTreeMap<Slug, Arc<dyn Crm>>> {
    let mut crms: BTreeMap<Slug, Arc<dyn Crm>> = BTreeMap::new();
    for (name, kind) in &settings.crms {
        let crm: Arc<dyn Crm> = match kind {
            CrmKind::Sandbox(file) => Arc::new(sandbox_at(file)?),
            CrmKind::Pipedrive { base_url, api_token } => {
                let settings = PipedriveSettings::new(base_url.clone(), api_token.clone());
                Arc::new(PipedriveCrm::new(settings, Arc::clone(outbound)))
            }
        };
        crms.insert(name.clone(), crm);
    }
    Ok(crms)
}
