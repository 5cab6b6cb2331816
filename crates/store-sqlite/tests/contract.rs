//! The suites of the store ports over SQLite, each case on a file of its own.

use std::sync::Arc;

use leadtrail_cache_memory::Cached;
use leadtrail_contract::Stores;
use leadtrail_store_sqlite::SqliteStore;

async fn scratch() -> Stores {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let url = format!("sqlite:{}", folder.path().join("leadtrail.db").display());
    let store = SqliteStore::open(&url).expect("the URL names a file");
    store.migrate().await.expect("the migrations run");
    Stores::of(Arc::new(store)).keeping(folder)
}

leadtrail_contract::visits_contract!(mod visits: async { scratch().await });
leadtrail_contract::sync_jobs_contract!(mod sync_jobs: async { scratch().await });
leadtrail_contract::connections_contract!(mod connections: async { scratch().await });
leadtrail_contract::conversions_contract!(mod conversions: async { scratch().await });
leadtrail_contract::journeys_contract!(mod journeys: async { scratch().await });
leadtrail_contract::histories_contract!(mod histories: async { scratch().await });
leadtrail_contract::events_contract!(mod events: async { scratch().await });
leadtrail_contract::projects_contract!(mod projects: async { scratch().await });
leadtrail_contract::keys_contract!(mod keys: async { scratch().await });
leadtrail_contract::maintenance_contract!(mod maintenance: async { scratch().await });

// The service has the cache in front of the store; small enough here that visitors are evicted.
leadtrail_contract::visits_contract!(mod cached_visits: async {
    scratch().await.with_visits(|inner| Arc::new(Cached::new(inner, 16)))
});
leadtrail_contract::sync_jobs_contract!(mod cached_sync_jobs: async {
    scratch().await.with_visits(|inner| Arc::new(Cached::new(inner, 16)))
});
