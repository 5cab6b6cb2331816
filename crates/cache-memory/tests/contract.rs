//! A cached store keeps the contract of the store.

use std::sync::Arc;

use leadtrail_cache_memory::Cached;
use leadtrail_contract::Stores;
use leadtrail_store_memory::MemoryStore;

fn cached(visitors_max: u64) -> Stores {
    Stores::of(Arc::new(MemoryStore::new())).with_visits(|inner| Arc::new(Cached::new(inner, visitors_max)))
}

leadtrail_contract::visits_contract!(mod roomy: async { cached(1_000) });
leadtrail_contract::visits_contract!(mod tight: async { cached(1) });
leadtrail_contract::visits_contract!(mod empty: async { cached(0) });
leadtrail_contract::sync_jobs_contract!(mod sync_jobs: async { cached(1_000) });
