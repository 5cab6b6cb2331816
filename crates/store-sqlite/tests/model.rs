//! SQLite answers as the reference does, and takes and refuses the same commits.

use std::sync::Arc;

use leadtrail_contract::Stores;
use leadtrail_contract::model::assert_agreement;
use leadtrail_store_memory::MemoryStore;
use leadtrail_store_sqlite::SqliteStore;

#[test]
fn agrees_with_the_reference() {
    assert_agreement(24, async || {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let url = format!("sqlite:{}", folder.path().join("leadtrail.db").display());
        let store = SqliteStore::open(&url).expect("the URL names a file");
        store.migrate().await.expect("the migrations run");
        (Stores::of(Arc::new(store)).keeping(folder), Stores::of(Arc::new(MemoryStore::new())))
    });
}
