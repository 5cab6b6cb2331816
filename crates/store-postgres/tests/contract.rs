//! The suites of the store ports, against a live server.
#![cfg(feature = "live")]

#[path = "live/scratch.rs"]
mod scratch;

use std::sync::Arc;

use leadtrail_cache_memory::Cached;
use leadtrail_contract::Stores;

use crate::scratch::Scratch;

async fn stores() -> Stores {
    let scratch = Scratch::new().await;
    Stores::of(Arc::new(scratch.store().await)).keeping(scratch)
}

async fn cached() -> Stores {
    stores().await.with_visits(|inner| Arc::new(Cached::new(inner, 64)))
}

leadtrail_contract::visits_contract!(mod visits: async { stores().await });
leadtrail_contract::visits_contract!(mod cached_visits: async { cached().await });
leadtrail_contract::sync_jobs_contract!(mod sync_jobs: async { stores().await });
leadtrail_contract::projects_contract!(mod projects: async { stores().await });
leadtrail_contract::keys_contract!(mod keys: async { stores().await });
leadtrail_contract::maintenance_contract!(mod maintenance: async { stores().await });
