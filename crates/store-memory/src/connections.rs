use async_trait::async_trait;
use leadtrail_domain::id::ProjectId;
use leadtrail_domain::ports::{Connections, SealedConnection, StoreError};

use crate::MemoryStore;

#[async_trait]
impl Connections for MemoryStore {
    async fn put_connection(&self, connection: &SealedConnection) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        if !tables.projects.contains_key(&connection.project_id) {
            return Err(StoreError::rejected("there is no such project"));
        }
        tables.connections.insert(connection.project_id, connection.clone());
        Ok(())
    }

    async fn connection(&self, project: ProjectId) -> Result<Option<SealedConnection>, StoreError> {
        Ok(self.tables()?.connections.get(&project).cloned())
    }

    async fn remove_connection(&self, project: ProjectId) -> Result<bool, StoreError> {
        Ok(self.tables()?.connections.remove(&project).is_some())
    }
}
