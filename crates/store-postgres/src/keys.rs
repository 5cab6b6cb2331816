use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Nullable, Timestamptz};
use leadtrail_domain::id::{KeyId, ProjectId};
use leadtrail_domain::key::{ApiKey, KeyHash};
use leadtrail_domain::ports::{Keys, Page, StoreError};
use leadtrail_domain::time::Timestamp;
use uuid::Uuid;

use crate::PostgresStore;
use crate::column::{At, JsonText, hash};
use crate::error::Failure;
use crate::schema::api_keys;

diesel::define_sql_function! {
    /// Waits for a lock that a transaction holds until it ends.
    fn pg_advisory_xact_lock(first: Integer, second: Integer);
}

diesel::define_sql_function! {
    /// The first that is there.
    fn coalesce(first: Nullable<Timestamptz>, second: Nullable<Timestamptz>) -> Nullable<Timestamptz>;
}

/// The two numbers of the lock that whoever creates the first key holds: `lead` and `keys` in ASCII.
const LOCK: (i32, i32) = (0x6c65_6164, 0x6b65_7973);

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = api_keys)]
struct KeyRow {
    key_id: Uuid,
    name: String,
    prefix: String,
    hash: Vec<u8>,
    scopes: JsonText,
    project_id: Option<Uuid>,
    created_at: At,
    expires_at: Option<At>,
    last_used_at: Option<At>,
    revoked_at: Option<At>,
}

impl KeyRow {
    fn of(key: &ApiKey) -> Result<Self, StoreError> {
        Ok(Self {
            key_id: key.id.0,
            name: key.name.clone(),
            prefix: key.prefix.clone(),
            hash: key.hash.0.to_vec(),
            scopes: JsonText::of(&key.scopes)?,
            project_id: key.project_id.map(|id| id.0),
            created_at: At(key.created_at),
            expires_at: key.expires_at.map(At),
            last_used_at: key.last_used_at.map(At),
            revoked_at: key.revoked_at.map(At),
        })
    }

    fn key(self) -> Result<ApiKey, StoreError> {
        let id = self.key_id;
        Ok(ApiKey {
            id: KeyId(id),
            name: self.name,
            prefix: self.prefix,
            hash: KeyHash(hash(&self.hash, "api_keys", "hash", id)?),
            scopes: self.scopes.parse("api_keys", "scopes", id)?,
            project_id: self.project_id.map(ProjectId),
            created_at: self.created_at.0,
            expires_at: self.expires_at.map(|at| at.0),
            last_used_at: self.last_used_at.map(|at| at.0),
            revoked_at: self.revoked_at.map(|at| at.0),
        })
    }

    fn insert(&self, connection: &mut PgConnection) -> Result<(), Failure> {
        diesel::insert_into(api_keys::table)
            .values(self)
            .execute(connection)
            .map(|_one| ())
            .map_err(Failure::from)
            .map_err(|failure| {
                if failure.is_unique_violation() {
                    StoreError::Taken(self.name.clone()).into()
                } else {
                    failure
                }
            })
    }
}

#[async_trait]
impl Keys for PostgresStore {
    async fn create_key(&self, key: &ApiKey) -> Result<(), StoreError> {
        let row = KeyRow::of(key)?;
        self.change(move |connection| row.insert(connection)).await
    }

    async fn create_first_key(&self, key: &ApiKey) -> Result<bool, StoreError> {
        let row = KeyRow::of(key)?;
        self.change(move |connection| {
            connection.transaction(|connection| {
                diesel::select(pg_advisory_xact_lock(LOCK.0, LOCK.1)).execute(connection)?;
                let any = api_keys::table.select(api_keys::key_id).limit(1).load::<Uuid>(connection)?;
                if any.is_empty() { row.insert(connection).map(|()| true) } else { Ok(false) }
            })
        })
        .await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StoreError> {
        let hash = hash.0;
        self.ask(move |connection| {
            let row = api_keys::table
                .filter(api_keys::hash.eq(hash.as_slice()))
                .select(KeyRow::as_select())
                .first(connection)
                .optional()?;
            Ok(row.map(KeyRow::key).transpose()?)
        })
        .await
    }

    async fn keys(&self, project: Option<ProjectId>, page: &Page<KeyId>) -> Result<Vec<ApiKey>, StoreError> {
        let Page { after, limit } = page.clone();
        self.ask(move |connection| {
            let mut wanted = api_keys::table
                .filter(api_keys::key_id.gt(after.map_or(Uuid::nil(), |id| id.0)))
                .order(api_keys::key_id)
                .limit(i64::from(limit))
                .select(KeyRow::as_select())
                .into_boxed();
            if let Some(project) = project {
                wanted = wanted.filter(api_keys::project_id.eq(project.0));
            }
            let rows = wanted.load(connection)?;
            Ok(rows.into_iter().map(KeyRow::key).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn key(&self, project: Option<ProjectId>, id: KeyId) -> Result<Option<ApiKey>, StoreError> {
        self.ask(move |connection| {
            let mut meant = api_keys::table.find(id.0).select(KeyRow::as_select()).into_boxed();
            if let Some(project) = project {
                meant = meant.filter(api_keys::project_id.eq(project.0));
            }
            Ok(meant.first(connection).optional()?.map(KeyRow::key).transpose()?)
        })
        .await
    }

    async fn revoke_key(
        &self,
        project: Option<ProjectId>,
        id: KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.change(move |connection| {
            let mut meant = diesel::update(api_keys::table.find(id.0))
                .set(api_keys::revoked_at.eq(coalesce(api_keys::revoked_at, Some(At(at)))))
                .into_boxed();
            if let Some(project) = project {
                meant = meant.filter(api_keys::project_id.eq(project.0));
            }
            Ok(meant.execute(connection)? == 1)
        })
        .await
    }

    async fn key_used(&self, id: KeyId, at: Timestamp) -> Result<(), StoreError> {
        self.change(move |connection| {
            diesel::update(api_keys::table.find(id.0))
                .set(api_keys::last_used_at.eq(At(at)))
                .execute(connection)?;
            Ok(())
        })
        .await
    }
}
