use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::id::ProjectId;
use leadtrail_domain::ports::{Connections, SealedConnection, StoreError};
use leadtrail_domain::time::Timestamp;

use crate::SqliteStore;
use crate::schema::crm_connections;

#[async_trait]
impl Connections for SqliteStore {
    async fn put_connection(&self, connection: &SealedConnection) -> Result<(), StoreError> {
        let SealedConnection { project_id, sealed, set_at } = connection.clone();
        self.write(move |connection| {
            let set = (crm_connections::sealed.eq(&sealed), crm_connections::set_at.eq(set_at.micros()));
            diesel::insert_into(crm_connections::table)
                .values((crm_connections::project_id.eq(project_id.0.as_bytes().as_slice()), set))
                .on_conflict(crm_connections::project_id)
                .do_update()
                .set(set)
                .execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn connection(&self, project: ProjectId) -> Result<Option<SealedConnection>, StoreError> {
        self.read(move |connection| {
            let row: Option<(Vec<u8>, i64)> = crm_connections::table
                .find(project.0.as_bytes().as_slice())
                .select((crm_connections::sealed, crm_connections::set_at))
                .first(connection)
                .optional()?;
            Ok(row.map(|(sealed, set_at)| SealedConnection {
                project_id: project,
                sealed,
                set_at: Timestamp::from_micros(set_at),
            }))
        })
        .await
    }

    async fn remove_connection(&self, project: ProjectId) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let removed = diesel::delete(crm_connections::table.find(project.0.as_bytes().as_slice()))
                .execute(connection)?;
            Ok(removed == 1)
        })
        .await
    }
}
