use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use leadtrail_domain::ports::{Clock as _, StoreError};

use crate::PostgresStore;
use crate::maintenance::create_partitions;
use crate::server::Server;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

diesel::define_sql_function! {
    /// Waits for a lock that a session holds until it ends.
    fn pg_advisory_lock(first: diesel::sql_types::Integer, second: diesel::sql_types::Integer);
}

/// The two numbers of the lock that whoever migrates holds: `lead` and `migr` in ASCII.
const LOCK: (i32, i32) = (0x6c65_6164, 0x6d69_6772);

impl PostgresStore {
    /// Brings the schema up to date, and creates the partitions of the months to come. The names of the migrations
    /// that ran, in their order. Two nodes that start at once wait for each other.
    ///
    /// # Errors
    /// `Transient` when the server is out of reach; `Rejected` when a migration fails.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        let done = self
            .alone(|connection| {
                let versions = connection.run_pending_migrations(MIGRATIONS).map_err(StoreError::Rejected)?;
                versions.iter().map(|version| name_of(&version.to_string())).collect()
            })
            .await?;
        create_partitions(self, self.now()).await?;
        Ok(done)
    }

    /// The names of the migrations that have not run yet, in their order.
    ///
    /// # Errors
    /// `Transient` when the server is out of reach.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        self.alone(|connection| {
            let pending = connection.pending_migrations(MIGRATIONS).map_err(StoreError::Transient)?;
            Ok(pending.iter().map(|migration| migration.name().to_string()).collect())
        })
        .await
    }

    /// The names of the migrations that have run, in their order.
    ///
    /// # Errors
    /// `Transient` when the server is out of reach.
    pub async fn applied_migrations(&self) -> Result<Vec<String>, StoreError> {
        self.alone(|connection| {
            let mut versions = connection.applied_migrations().map_err(StoreError::Transient)?;
            versions.sort();
            versions.iter().map(|version| name_of(&version.to_string())).collect()
        })
        .await
    }

    /// Undoes the latest migration, with all data that its tables hold. Its name; `None` where nothing is left.
    ///
    /// # Errors
    /// `Transient` when the server is out of reach; `Rejected` when undoing fails.
    pub async fn revert_migration(&self) -> Result<Option<String>, StoreError> {
        self.alone(|connection| {
            if connection.applied_migrations().map_err(StoreError::Transient)?.is_empty() {
                return Ok(None);
            }
            let version = connection.revert_last_migration(MIGRATIONS).map_err(StoreError::Rejected)?;
            name_of(&version.to_string()).map(Some)
        })
        .await
    }

    /// Runs something on a connection of its own while nobody else migrates.
    async fn alone<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut PgConnection) -> Result<T, StoreError> + Send + 'static,
    {
        let server: Server = self.server.clone();
        self.change(move |_| {
            let mut connection = server.connect_patiently().map_err(StoreError::from)?;
            diesel::select(pg_advisory_lock(LOCK.0, LOCK.1)).execute(&mut connection)?;
            Ok(work(&mut connection)?)
        })
        .await
    }
}

/// The folder of a migration, by its version.
fn name_of(version: &str) -> Result<String, StoreError> {
    let migrations: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().map_err(StoreError::Rejected)?;
    let named = migrations.iter().map(Migration::name);
    let found = named.filter(|name| name.version().to_string() == version).map(ToString::to_string).next();
    Ok(found.unwrap_or_else(|| version.to_owned()))
}
