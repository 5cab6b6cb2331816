use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::r2d2::{ConnectionManager, CustomizeConnection};
use diesel::{Connection, SqliteConnection};
use leadtrail_db_pool::{Check, Pool, PoolSettings};
use leadtrail_domain::ports::StoreError;

use crate::failure::{Outcome, pool_failure};

type Manager = ConnectionManager<SqliteConnection>;

/// How many may read at a time.
const READERS: u32 = 8;

/// The longest wait for one of them.
const READER_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest wait for the writer: longer than the longest wait for the file's lock (`busy_timeout`), so that who is
/// kept out by another process learns the cause.
const WRITER_TIMEOUT: Duration = Duration::from_secs(6);

/// `busy_timeout` stands first: it makes the statements after it wait for other connections.
///
/// A checkpoint inside a commit copies 8,192 pages (32 MiB) at most, and usually nothing: the log is emptied beside the
/// commits by then. 16 MiB of cache hold the inner pages of the indexes.
const WRITER: &str = "PRAGMA busy_timeout = 5000;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA wal_autocheckpoint = 8192;
    PRAGMA journal_size_limit = 67108864;
    PRAGMA cache_size = -16384;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;";

/// The journal's mode is the file's and left to the writer.
const READER: &str = "PRAGMA busy_timeout = 5000;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA query_only = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;";

/// Copies the log into the file. Never writes rows, hence no lock of the writer's is needed.
const CHECKPOINTER: &str = "PRAGMA busy_timeout = 5000;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA trusted_schema = OFF;";

#[derive(Debug)]
struct Setup(&'static str);

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for Setup {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        connection.batch_execute(self.0).map_err(diesel::r2d2::Error::QueryError)
    }
}

/// The store ports on one SQLite file. Clones are the same store.
#[derive(Clone)]
pub struct SqliteStore {
    path: Arc<str>,
    writer: Pool<Manager>,
    readers: Pool<Manager>,
    pub(crate) checkpointer: Pool<Manager>,
    /// How many events lie in the log since a checkpoint last began.
    pub(crate) events_in_log: Arc<AtomicUsize>,
}

/// A text that does not name a file of SQLite's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "not `sqlite:` and the path of a file (a store in memory would be a different one for each connection)"
)]
pub struct SqliteUrlError;

impl SqliteStore {
    /// The store in the file of a URL: `sqlite:leadtrail.db`, `sqlite:/var/lib/leadtrail.db`, or with `//` before the
    /// path. The file is made where there is none; it needs [`migrate`](Self::migrate) before its first use.
    ///
    /// Connections are made in the background. A file that cannot be opened makes each call `Transient` until it can.
    ///
    /// # Errors
    /// No such URL.
    pub fn open(url: &str) -> Result<Self, SqliteUrlError> {
        let path = path_of(url)?;
        let pool = |name, size, acquire_timeout, min_idle, setup| {
            let settings = PoolSettings { name, size, acquire_timeout, min_idle, check: Check::Never };
            Pool::new(Manager::new(path), settings, Some(Box::new(Setup(setup))))
        };
        Ok(Self {
            path: path.into(),
            writer: pool("writer", 1, WRITER_TIMEOUT, Some(1), WRITER),
            // Made when first asked for: two connections that meet a new file at once get in each other's way while
            // the writer changes its journal's mode.
            readers: pool("readers", READERS, READER_TIMEOUT, Some(0), READER),
            checkpointer: pool("checkpointer", 1, WRITER_TIMEOUT, Some(0), CHECKPOINTER),
            events_in_log: Arc::default(),
        })
    }

    /// The path of the file, as it was given.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Runs `work` on one state of the file.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Outcome<T> + Send + 'static,
    {
        let outcome =
            self.readers.run(|connection| connection.transaction(work)).await.map_err(pool_failure)?;
        Ok(outcome?)
    }

    /// Runs `work` on one state of the file, on the writing connection: what a decision is taken from is read where
    /// the last one was written, since every commit empties the other connections' caches.
    pub(crate) async fn read_as_writer<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Outcome<T> + Send + 'static,
    {
        let outcome =
            self.writer.run(|connection| connection.transaction(work)).await.map_err(pool_failure)?;
        Ok(outcome?)
    }

    /// Runs `work` and makes what it did durable, or undoes it.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Outcome<T> + Send + 'static,
    {
        let outcome = self
            .writer
            .run(|connection| connection.immediate_transaction(work))
            .await
            .map_err(pool_failure)?;
        Ok(outcome?)
    }

    /// Runs `work` on the writing connection, outside of a transaction.
    pub(crate) async fn with_writer<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Outcome<T> + Send + 'static,
    {
        Ok(self.writer.run(work).await.map_err(pool_failure)??)
    }
}

/// The path in a URL, where SQLite would take it for one and not for a name or URL of its own kind.
fn path_of(url: &str) -> Result<&str, SqliteUrlError> {
    let path = url.strip_prefix("sqlite:").ok_or(SqliteUrlError)?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let is_special = path.starts_with(":memory:") || path.starts_with("file:") || path.contains('\0');
    if path.is_empty() || is_special { Err(SqliteUrlError) } else { Ok(path) }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;
    use leadtrail_domain::id::ProjectId;
    use leadtrail_domain::ports::{Created, Projects};
    use leadtrail_domain::project::{Project, ProjectSettings};
    use leadtrail_domain::time::Timestamp;

    use super::*;

    async fn scratch() -> (SqliteStore, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store =
            SqliteStore::open(&format!("sqlite:{}", folder.path().join("leadtrail.db").display())).unwrap();
        store.migrate().await.unwrap();
        (store, folder)
    }

    fn project(n: u8) -> Project {
        Project {
            id: ProjectId::new(Timestamp::EPOCH, [n; 16]),
            slug: format!("project-{n}").parse().unwrap(),
            name: "x".repeat(100_000),
            settings: ProjectSettings::default(),
            created_at: Timestamp::EPOCH,
            archived_at: None,
        }
    }

    fn setting(connection: &mut SqliteConnection, name: &str) -> Outcome<String> {
        let value =
            diesel::dsl::sql::<diesel::sql_types::Text>(&format!("CAST({name} AS TEXT) FROM pragma_{name}"));
        Ok(diesel::select(value).get_result(connection)?)
    }

    fn settings(connection: &mut SqliteConnection) -> Outcome<Vec<String>> {
        ["journal_mode", "synchronous", "foreign_keys", "query_only"]
            .into_iter()
            .map(|name| setting(connection, name))
            .collect()
    }

    #[tokio::test]
    async fn every_connection_is_durable_and_readers_cannot_write() {
        let (store, _folder) = scratch().await;
        assert_eq!(store.with_writer(settings).await.unwrap(), ["wal", "2", "1", "0"]);
        assert_eq!(store.read(settings).await.unwrap(), ["wal", "2", "1", "1"]);
        let written = store.read(|connection| Ok(connection.batch_execute("DELETE FROM projects")?)).await;
        assert!(written.is_err());
    }

    #[test]
    fn only_the_path_of_a_file_is_taken() {
        for (url, path) in [
            ("sqlite:leadtrail.db", "leadtrail.db"),
            ("sqlite:/var/lib/leadtrail.db", "/var/lib/leadtrail.db"),
            ("sqlite:///var/lib/leadtrail.db", "/var/lib/leadtrail.db"),
            ("sqlite://data/größe 1.db", "data/größe 1.db"),
        ] {
            assert_eq!(path_of(url), Ok(path));
        }
        for url in [
            "",
            "leadtrail.db",
            "postgres://localhost/x",
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite:file:x",
            "sqlite:a\0b",
        ] {
            assert_eq!(path_of(url), Err(SqliteUrlError), "{url}");
        }
    }

    #[tokio::test]
    async fn a_statement_is_prepared_once_whatever_is_bound_to_it() {
        let (store, _folder) = scratch().await;
        let option = store.read(|connection| {
            let used =
                diesel::dsl::sql::<diesel::sql_types::Bool>("sqlite_compileoption_used('ENABLE_QPSG')");
            Ok(diesel::select(used).get_result::<bool>(connection)?)
        });
        assert!(option.await.unwrap(), "SQLite was built without the flags of .cargo/config.toml");
    }

    #[tokio::test]
    async fn a_file_that_is_locked_for_long_is_unavailable_and_then_is_not() {
        let (store, _folder) = scratch().await;
        let other = SqliteStore::open(&format!("sqlite:{}", store.path())).unwrap();
        store
            .with_writer(|connection| Ok(connection.batch_execute("PRAGMA busy_timeout = 0")?))
            .await
            .unwrap();
        other.with_writer(|connection| Ok(connection.batch_execute("BEGIN IMMEDIATE")?)).await.unwrap();
        let answer = store.create_project(&project(1)).await;
        assert!(matches!(answer, Err(StoreError::Transient(_))), "{answer:?}");
        other.with_writer(|connection| Ok(connection.batch_execute("ROLLBACK")?)).await.unwrap();
        assert!(matches!(store.create_project(&project(1)).await, Ok(Created::New(_))));
    }

    #[tokio::test]
    async fn a_full_disk_is_unavailable_and_leaves_nothing_behind() {
        let (store, _folder) = scratch().await;
        store
            .with_writer(|connection| Ok(connection.batch_execute("PRAGMA max_page_count = 50")?))
            .await
            .unwrap();
        let answer = store.create_project(&project(1)).await;
        assert!(matches!(answer, Err(StoreError::Transient(_))), "{answer:?}");
        assert_eq!(store.project(project(1).id).await.unwrap(), None);
        // A connection on which undoing failed is made anew, with no such bound.
        _ = store
            .with_writer(|connection| Ok(connection.batch_execute("PRAGMA max_page_count = 1000000")?))
            .await;
        assert!(matches!(store.create_project(&project(1)).await, Ok(Created::New(_))));
        let check = store.read(|connection| {
            let check =
                diesel::dsl::sql::<diesel::sql_types::Text>("integrity_check FROM pragma_integrity_check");
            Ok(diesel::select(check).get_result::<String>(connection)?)
        });
        assert_eq!(check.await.unwrap(), "ok");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_unavailable() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            SqliteStore::open(&format!("sqlite:{}", folder.path().join("none/leadtrail.db").display()))
                .unwrap();
        let answer = store.project(project(1).id).await;
        assert!(matches!(answer, Err(StoreError::Transient(_))), "{answer:?}");
        std::fs::create_dir(folder.path().join("none")).unwrap();
        store.migrate().await.unwrap();
        assert_eq!(store.project(project(1).id).await.unwrap(), None);
    }
}
