use std::sync::Arc;
use std::time::Duration;

use diesel::prelude::*;
use leadtrail_db_pool::{Check, Pool, PoolSettings};
use leadtrail_domain::ports::StoreError;

use crate::clock::DatabaseClock;
use crate::error::{Failure, pool_error};
use crate::server::{ConnectError, Server, ServerConnection};

/// How a [`PostgresStore`] uses its server. All bounds are above zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PostgresSettings {
    /// Connections for nothing but [`commit`](leadtrail_domain::ports::Visits::commit). More than one helps where
    /// fsync is slow.
    pub writers: u32,
    /// Connections for everything else.
    pub readers: u32,
    /// The longest wait for one of them.
    pub acquire_timeout: Duration,
    /// The longest attempt to connect, in whole seconds, at least 2.
    pub connect_timeout: Duration,
    /// The longest statement; the server ends longer ones. Migrations are exempt.
    pub statement_timeout: Duration,
}

impl Default for PostgresSettings {
    /// One writer, 8 readers; 2 s for a connection from the pool, 5 s to connect, 10 s for a statement.
    fn default() -> Self {
        Self {
            writers: 1,
            readers: 8,
            acquire_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
        }
    }
}

/// The store ports on PostgreSQL, and the clock of its server.
///
/// Clones are the same store.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    pub(crate) server: Server,
    pub(crate) writers: Pool<Server>,
    pub(crate) readers: Pool<Server>,
    pub(crate) clock: Arc<DatabaseClock>,
}

impl PostgresStore {
    /// Connects, and sets the store's clock. The schema may be missing or old: see [`migrate`](Self::migrate).
    ///
    /// # Errors
    /// `Rejected` when the URL asks for TLS that this build does not have; `Transient` when the server is out of
    /// reach.
    ///
    /// # Panics
    /// A bound in `settings` is zero.
    pub async fn connect(url: &str, settings: PostgresSettings) -> Result<Self, StoreError> {
        let server = Server::new(url, settings.connect_timeout, settings.statement_timeout)
            .map_err(StoreError::rejected)?;
        let pool = |name, size| {
            let pool = PoolSettings {
                name,
                size,
                acquire_timeout: settings.acquire_timeout,
                min_idle: Some(1),
                check: Check::OnAcquire,
            };
            Pool::new(server.clone(), pool, None)
        };
        // The first connection may take longer than one waits for a pool's: it is made on its own.
        let first = Pool::new(
            server.clone(),
            PoolSettings {
                name: "first",
                size: 1,
                acquire_timeout: settings.connect_timeout,
                min_idle: Some(0),
                check: Check::Never,
            },
            None,
        );
        let clock = Arc::new(DatabaseClock::default());
        run(&first, {
            let clock = Arc::clone(&clock);
            move |connection| clock.set(connection)
        })
        .await?;
        Ok(Self {
            writers: pool("writers", settings.writers),
            readers: pool("readers", settings.readers),
            server,
            clock,
        })
    }

    /// Asks something of the database. Asked again once, on another connection, when the first was found cut.
    pub(crate) async fn ask<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&mut PgConnection) -> Result<T, Failure> + Send + Sync + 'static,
    {
        let question = Arc::new(question);
        let first = Arc::clone(&question);
        match attempt(&self.readers, move |connection| first(connection)).await? {
            Err(failure) if failure.lost_connection() => {
                attempt(&self.readers, move |connection| question(connection))
                    .await?
                    .map_err(StoreError::from)
            }
            answer => answer.map_err(StoreError::from),
        }
    }

    /// Changes something in the database, in whatever transaction the closure opens. Not repeated: whether a cut
    /// connection had committed is unknown.
    pub(crate) async fn change<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut PgConnection) -> Result<T, Failure> + Send + 'static,
    {
        run(&self.readers, change).await
    }

    /// Runs something on a writer's connection.
    pub(crate) async fn write<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut PgConnection) -> Result<T, Failure> + Send + 'static,
    {
        run(&self.writers, change).await
    }
}

async fn run<T, F>(pool: &Pool<Server>, work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce(&mut PgConnection) -> Result<T, Failure> + Send + 'static,
{
    attempt(pool, work).await?.map_err(StoreError::from)
}

async fn attempt<T, F>(pool: &Pool<Server>, work: F) -> Result<Result<T, Failure>, StoreError>
where
    T: Send + 'static,
    F: FnOnce(&mut PgConnection) -> Result<T, Failure> + Send + 'static,
{
    pool.run(move |connection: &mut ServerConnection| {
        let outcome = work(&mut connection.pg);
        if let Err(failure) = &outcome
            && failure.lost_connection()
        {
            connection.was_cut();
        }
        outcome
    })
    .await
    .map_err(pool_error)
}

impl From<ConnectError> for StoreError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NoTls { .. } => Self::rejected(error),
            ConnectError::Refused(_) | ConnectError::Settings(_) | ConnectError::Outlived => {
                Self::transient(error)
            }
        }
    }
}
