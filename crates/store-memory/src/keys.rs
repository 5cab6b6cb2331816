use async_trait::async_trait;
use leadtrail_domain::id::{KeyId, ProjectId};
use leadtrail_domain::key::{ApiKey, KeyHash};
use leadtrail_domain::ports::{Keys, Page, StoreError};
use leadtrail_domain::time::Timestamp;

use crate::tables::Tables;
use crate::{MemoryStore, take};

#[async_trait]
impl Keys for MemoryStore {
    async fn create_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        self.tables()?.insert_key(key)
    }

    async fn create_first_key(&self, key: &ApiKey) -> Result<bool, StoreError> {
        let mut tables = self.tables()?;
        if !tables.keys.is_empty() {
            return Ok(false);
        }
        tables.insert_key(key).map(|()| true)
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StoreError> {
        Ok(self.tables()?.keys.values().find(|key| key.hash == *hash).cloned())
    }

    async fn keys(&self, project: Option<ProjectId>, page: &Page<KeyId>) -> Result<Vec<ApiKey>, StoreError> {
        let tables = self.tables()?;
        let keys = tables
            .keys
            .values()
            .filter(|key| page.after.is_none_or(|after| key.id > after))
            .filter(|key| is_in_view(key, project))
            .cloned();
        Ok(take(keys, page.limit))
    }

    async fn key(&self, project: Option<ProjectId>, id: KeyId) -> Result<Option<ApiKey>, StoreError> {
        let tables = self.tables()?;
        Ok(tables.keys.get(&id).filter(|key| is_in_view(key, project)).cloned())
    }

    async fn revoke_key(
        &self,
        project: Option<ProjectId>,
        id: KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tables = self.tables()?;
        let Some(key) = tables.keys.get_mut(&id).filter(|key| is_in_view(key, project)) else {
            return Ok(false);
        };
        key.revoked_at.get_or_insert(at);
        Ok(true)
    }

    async fn key_used(&self, id: KeyId, at: Timestamp) -> Result<(), StoreError> {
        if let Some(key) = self.tables()?.keys.get_mut(&id) {
            key.last_used_at = Some(at);
        }
        Ok(())
    }
}

fn is_in_view(key: &ApiKey, project: Option<ProjectId>) -> bool {
    project.is_none() || key.project_id == project
}

impl Tables {
    fn insert_key(&mut self, key: &ApiKey) -> Result<(), StoreError> {
        if key.project_id.is_some_and(|project| !self.projects.contains_key(&project)) {
            return Err(StoreError::rejected("the key's project does not exist"));
        }
        if self.keys.values().any(|stored| stored.hash == key.hash || stored.id == key.id) {
            return Err(StoreError::Taken("the key".to_owned()));
        }
        self.keys.insert(key.id, key.clone());
        Ok(())
    }
}
