//! The suites of the store ports, and what only PostgreSQL can get wrong, against a live server.
#![cfg(feature = "live")]

#[path = "live/backlog.rs"]
mod backlog;
#[path = "live/nodes.rs"]
mod nodes;
#[path = "live/partitions.rs"]
mod partitions;
#[path = "live/scratch.rs"]
mod scratch;
#[path = "live/server.rs"]
mod server;

use std::sync::Arc;

use diesel::prelude::*;
use leadtrail_cache_memory::Cached;
use leadtrail_contract::Stores;

use crate::scratch::Scratch;

/// A connection beside the store's.
fn beside(scratch: &Scratch) -> PgConnection {
    PgConnection::establish(&scratch.url()).expect("the scratch database takes connections")
}

async fn stores() -> Stores {
    let scratch = Scratch::new().await;
    Stores::of(Arc::new(scratch.store_with(2, 3).await)).keeping(scratch)
}

async fn cached() -> Stores {
    stores().await.with_visits(|inner| Arc::new(Cached::new(inner, 64)))
}

leadtrail_contract::visits_contract!(mod visits: async { stores().await });
leadtrail_contract::visits_contract!(mod cached_visits: async { cached().await });
leadtrail_contract::sync_jobs_contract!(mod sync_jobs: async { stores().await });
leadtrail_contract::connections_contract!(mod connections: async { stores().await });
leadtrail_contract::conversions_contract!(mod conversions: async { stores().await });
leadtrail_contract::journeys_contract!(mod journeys: async { stores().await });
leadtrail_contract::histories_contract!(mod histories: async { stores().await });
leadtrail_contract::events_contract!(mod events: async { stores().await });
leadtrail_contract::projects_contract!(mod projects: async { stores().await });
leadtrail_contract::keys_contract!(mod keys: async { stores().await });
leadtrail_contract::maintenance_contract!(mod maintenance: async { stores().await });
