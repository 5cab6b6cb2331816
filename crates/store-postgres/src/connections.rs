use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::id::ProjectId;
use leadtrail_domain::ports::{Connections, SealedConnection, StoreError};

use crate::PostgresStore;
use crate::column::At;
use crate::schema::crm_connections;

#[async_trait]
impl Connections for PostgresStore {
    async fn put_connection(&self, connection: &SealedConnection) -> Result<(), StoreError> {
        let SealedConnection { project_id, sealed, set_at } = connection.clone();
        self.change(move |connection| {
            let set = (crm_connections::sealed.eq(&sealed), crm_connections::set_at.eq(At(set_at)));
            diesel::insert_into(crm_connections::table)
                .values((crm_connections::project_id.eq(project_id.0), set))
                .on_conflict(crm_connections::project_id)
                .do_update()
                .set(set)
                .execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn connection(&self, project: ProjectId) -> Result<Option<SealedConnection>, StoreError> {
        self.ask(move |connection| {
            let row: Option<(Vec<u8>, At)> = crm_connections::table
                .find(project.0)
                .select((crm_connections::sealed, crm_connections::set_at))
                .first(connection)
                .optional()?;
            Ok(row.map(|(sealed, At(set_at))| SealedConnection { project_id: project, sealed, set_at }))
        })
        .await
    }

    async fn remove_connection(&self, project: ProjectId) -> Result<bool, StoreError> {
        self.change(move |connection| {
            Ok(diesel::delete(crm_connections::table.find(project.0)).execute(connection)? == 1)
        })
        .await
    }
}
