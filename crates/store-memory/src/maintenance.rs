use async_trait::async_trait;
use leadtrail_domain::ports::{Durability, Maintenance, StoreError};
use leadtrail_domain::time::Timestamp;

use crate::MemoryStore;

#[async_trait]
impl Maintenance for MemoryStore {
    async fn ping(&self) -> Result<(), StoreError> {
        self.tables().map(|_tables| ())
    }

    async fn durability(&self) -> Result<Durability, StoreError> {
        self.tables().map(|_tables| Durability::None)
    }

    async fn upkeep(&self, _now: Timestamp) -> Result<(), StoreError> {
        self.tables().map(|_tables| ())
    }
}
