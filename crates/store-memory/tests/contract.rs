//! The reference model keeps the contracts it is the reference of.

use std::sync::Arc;

use leadtrail_contract::Stores;
use leadtrail_store_memory::MemoryStore;

fn stores() -> Stores {
    Stores::of(Arc::new(MemoryStore::new()))
}

leadtrail_contract::visits_contract!(mod visits: async { stores() });
leadtrail_contract::sync_jobs_contract!(mod sync_jobs: async { stores() });
leadtrail_contract::connections_contract!(mod connections: async { stores() });
leadtrail_contract::conversions_contract!(mod conversions: async { stores() });
leadtrail_contract::journeys_contract!(mod journeys: async { stores() });
leadtrail_contract::histories_contract!(mod histories: async { stores() });
leadtrail_contract::events_contract!(mod events: async { stores() });
leadtrail_contract::projects_contract!(mod projects: async { stores() });
leadtrail_contract::keys_contract!(mod keys: async { stores() });
leadtrail_contract::maintenance_contract!(mod maintenance: async { stores() });
