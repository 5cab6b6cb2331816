//! Nobody can tell a cached store from the store itself.

use std::sync::Arc;

use leadtrail_cache_memory::Cached;
use leadtrail_contract::Stores;
use leadtrail_contract::model::assert_agreement;
use leadtrail_store_memory::MemoryStore;

#[test]
fn a_cached_store_answers_as_the_store_does() {
    for visitors_max in [2, 100] {
        assert_agreement(100, async || {
            let store = || Stores::of(Arc::new(MemoryStore::new()));
            let cached = store().with_visits(|inner| Arc::new(Cached::new(inner, visitors_max)));
            (cached, store())
        });
    }
}
