use std::collections::BTreeSet;

use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::id::{KeyId, ProjectId};
use leadtrail_domain::key::{ApiKey, KeyHash};
use leadtrail_domain::ports::{Keys, Page, StoreError};
use leadtrail_domain::time::Timestamp;

use crate::SqliteStore;
use crate::failure::{Failure, Outcome, is_unique_violation, json_text};
use crate::row::Row;
use crate::schema::api_keys;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = api_keys, treat_none_as_default_value = false)]
struct KeyRow {
    key_id: Vec<u8>,
    name: String,
    prefix: String,
    hash: Vec<u8>,
    scopes: String,
    project_id: Option<Vec<u8>>,
    created_at: i64,
    expires_at: Option<i64>,
    last_used_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl KeyRow {
    fn of(key: &ApiKey) -> Result<Self, StoreError> {
        Ok(Self {
            key_id: key.id.0.as_bytes().to_vec(),
            name: key.name.clone(),
            prefix: key.prefix.clone(),
            hash: key.hash.0.to_vec(),
            scopes: json_text(&key.scopes)?,
            project_id: key.project_id.map(|id| id.0.as_bytes().to_vec()),
            created_at: key.created_at.micros(),
            expires_at: key.expires_at.map(Timestamp::micros),
            last_used_at: key.last_used_at.map(Timestamp::micros),
            revoked_at: key.revoked_at.map(Timestamp::micros),
        })
    }

    fn read(self) -> Result<ApiKey, StoreError> {
        let row = Row::of("api_keys", &self.key_id);
        Ok(ApiKey {
            id: KeyId(row.uuid("key_id", &self.key_id)?),
            hash: KeyHash(row.hash("hash", &self.hash)?),
            scopes: row.json::<BTreeSet<_>>("scopes", &self.scopes)?,
            project_id: self
                .project_id
                .as_deref()
                .map(|id| row.uuid("project_id", id))
                .transpose()?
                .map(ProjectId),
            name: self.name,
            prefix: self.prefix,
            created_at: Timestamp::from_micros(self.created_at),
            expires_at: self.expires_at.map(Timestamp::from_micros),
            last_used_at: self.last_used_at.map(Timestamp::from_micros),
            revoked_at: self.revoked_at.map(Timestamp::from_micros),
        })
    }
}

fn insert(connection: &mut SqliteConnection, row: &KeyRow) -> Outcome<()> {
    match diesel::insert_into(api_keys::table).values(row).execute(connection) {
        Err(error) if is_unique_violation(&error) => {
            Err(Failure::Store(StoreError::Taken(row.prefix.clone())))
        }
        other => Ok(other.map(|_one| ())?),
    }
}

fn key_in_view(
    connection: &mut SqliteConnection,
    project: Option<ProjectId>,
    id: KeyId,
) -> Outcome<Option<ApiKey>> {
    let mut key = api_keys::table.find(id.0.as_bytes().as_slice()).select(KeyRow::as_select()).into_boxed();
    if let Some(project) = project {
        key = key.filter(api_keys::project_id.eq(project.0.as_bytes().to_vec()));
    }
    Ok(key.first(connection).optional()?.map(KeyRow::read).transpose()?)
}

#[async_trait]
impl Keys for SqliteStore {
    async fn create_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        let row = KeyRow::of(key)?;
        self.write(move |connection| insert(connection, &row)).await
    }

    async fn create_first_key(&self, key: &ApiKey) -> Result<bool, StoreError> {
        let row = KeyRow::of(key)?;
        self.write(move |connection| {
            let any: bool = diesel::select(diesel::dsl::exists(api_keys::table.select(api_keys::key_id)))
                .get_result(connection)?;
            if !any {
                insert(connection, &row)?;
            }
            Ok(!any)
        })
        .await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StoreError> {
        let hash = hash.0;
        self.read(move |connection| {
            let row = api_keys::table
                .filter(api_keys::hash.eq(hash.as_slice()))
                .select(KeyRow::as_select())
                .first(connection)
                .optional()?;
            Ok(row.map(KeyRow::read).transpose()?)
        })
        .await
    }

    async fn keys(&self, project: Option<ProjectId>, page: &Page<KeyId>) -> Result<Vec<ApiKey>, StoreError> {
        let after = page.after.map(|id| id.0.as_bytes().to_vec()).unwrap_or_default();
        let limit = i64::from(page.limit);
        self.read(move |connection| {
            let mut keys = api_keys::table
                .filter(api_keys::key_id.gt(after))
                .order(api_keys::key_id)
                .limit(limit)
                .select(KeyRow::as_select())
                .into_boxed();
            if let Some(project) = project {
                keys = keys.filter(api_keys::project_id.eq(project.0.as_bytes().to_vec()));
            }
            Ok(keys.load(connection)?.into_iter().map(KeyRow::read).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn key(&self, project: Option<ProjectId>, id: KeyId) -> Result<Option<ApiKey>, StoreError> {
        self.read(move |connection| key_in_view(connection, project, id)).await
    }

    async fn revoke_key(
        &self,
        project: Option<ProjectId>,
        id: KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let Some(key) = key_in_view(connection, project, id)? else { return Ok(false) };
            if key.revoked_at.is_none() {
                diesel::update(api_keys::table.find(id.0.as_bytes().as_slice()))
                    .set(api_keys::revoked_at.eq(at.micros()))
                    .execute(connection)?;
            }
            Ok(true)
        })
        .await
    }

    async fn key_used(&self, id: KeyId, at: Timestamp) -> Result<(), StoreError> {
        self.write(move |connection| {
            // Two nodes' notes may arrive in the wrong order.
            let earlier = api_keys::last_used_at.is_null().or(api_keys::last_used_at.lt(at.micros()));
            diesel::update(api_keys::table.find(id.0.as_bytes().as_slice()).filter(earlier))
                .set(api_keys::last_used_at.eq(at.micros()))
                .execute(connection)?;
            Ok(())
        })
        .await
    }
}
