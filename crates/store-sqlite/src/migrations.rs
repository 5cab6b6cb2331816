use diesel::SqliteConnection;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use leadtrail_domain::ports::StoreError;

use crate::SqliteStore;
use crate::failure::{Failure, Outcome};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// Migrations are named by their folder. Who runs them holds the file's write lock over all of them, so that two
/// processes that start at once do not both run one, and a crash leaves all or nothing.
impl SqliteStore {
    /// Applies what is pending, in its order, and names it. All or nothing.
    ///
    /// # Errors
    /// `Transient` when the file cannot be opened or stays locked; `Rejected` when a migration fails.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        self.write(|connection| {
            let pending = connection.pending_migrations(MIGRATIONS).map_err(failed)?;
            let names = pending.iter().map(|migration| migration.name().to_string()).collect();
            for migration in &pending {
                connection.run_migration(migration).map_err(failed)?;
            }
            Ok(names)
        })
        .await
    }

    /// What [`migrate`](Self::migrate) would apply, in its order.
    ///
    /// # Errors
    /// `Transient` when the file cannot be opened or stays locked.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        // Even asking makes the table of applied migrations where there is none: not for a reader.
        self.write(|connection| {
            let pending = connection.pending_migrations(MIGRATIONS).map_err(failed)?;
            Ok(pending.iter().map(|migration| migration.name().to_string()).collect())
        })
        .await
    }

    /// What is applied, in its order. What a newer release has applied is among it, by its version alone.
    ///
    /// # Errors
    /// `Transient` when the file cannot be opened or stays locked.
    pub async fn applied_migrations(&self) -> Result<Vec<String>, StoreError> {
        self.write(|connection| {
            let known: Vec<Box<dyn Migration<Sqlite>>> = MIGRATIONS.migrations().map_err(failed)?;
            let mut names: Vec<String> = applied(connection)?
                .iter()
                .map(|version| {
                    let migration = known.iter().find(|migration| migration.name().version() == *version);
                    migration.map_or_else(|| version.to_string(), |migration| migration.name().to_string())
                })
                .collect();
            names.sort();
            Ok(names)
        })
        .await
    }

    /// Undoes the last applied migration, with what is stored in it, and names it; `None` where none is applied. For
    /// development: in production the schema moves forward only.
    ///
    /// # Errors
    /// `Transient` when the file cannot be opened or stays locked; `Rejected` when undoing fails.
    pub async fn revert_migration(&self) -> Result<Option<String>, StoreError> {
        self.write(|connection| {
            if applied(connection)?.is_empty() {
                return Ok(None);
            }
            let version = connection.revert_last_migration(MIGRATIONS).map_err(failed)?;
            let known: Vec<Box<dyn Migration<Sqlite>>> = MIGRATIONS.migrations().map_err(failed)?;
            let migration = known.iter().find(|migration| migration.name().version() == version);
            Ok(Some(migration.map_or_else(|| version.to_string(), |migration| migration.name().to_string())))
        })
        .await
    }
}

fn applied(connection: &mut SqliteConnection) -> Outcome<Vec<MigrationVersion<'static>>> {
    connection.applied_migrations().map_err(failed)
}

/// diesel hides what went wrong in a box; when it is one of its own errors, whether it may pass is known.
fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> Failure {
    match error.downcast::<diesel::result::Error>() {
        Ok(database) => Failure::Database(*database),
        Err(other) => Failure::Store(StoreError::rejected(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use diesel::prelude::*;

    use super::*;

    const ALL: [&str; 3] =
        ["2026-11-23-000001_initial", "2026-11-24-000001_sync", "2026-11-24-000002_conversions"];

    fn empty() -> (SqliteStore, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store =
            SqliteStore::open(&format!("sqlite:{}", folder.path().join("leadtrail.db").display())).unwrap();
        (store, folder)
    }

    #[derive(QueryableByName)]
    struct Definition {
        #[diesel(sql_type = diesel::sql_types::Text)]
        sql: String,
    }

    async fn definitions(store: &SqliteStore) -> Vec<String> {
        let read = store.read(|connection| {
            let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE '\\_\\_%' ESCAPE '\\' ORDER BY name";
            Ok(diesel::sql_query(sql).load::<Definition>(connection)?)
        });
        read.await.unwrap().into_iter().map(|definition| definition.sql).collect()
    }

    #[tokio::test]
    async fn down_undoes_up() {
        let (store, _folder) = empty();
        assert_eq!(store.pending_migrations().await.unwrap(), ALL);
        assert_eq!(store.migrate().await.unwrap(), ALL);
        assert_eq!(store.migrate().await.unwrap(), [""; 0]);
        assert_eq!(store.pending_migrations().await.unwrap(), [""; 0]);
        assert_eq!(store.applied_migrations().await.unwrap(), ALL);
        let up = definitions(&store).await;
        assert!(up.len() > 13);
        for name in ALL.iter().rev() {
            assert_eq!(store.revert_migration().await.unwrap().as_deref(), Some(*name));
        }
        assert_eq!(definitions(&store).await, [""; 0]);
        assert_eq!(store.revert_migration().await.unwrap(), None);
        assert_eq!(store.migrate().await.unwrap(), ALL);
        assert_eq!(definitions(&store).await, up);
    }

    #[tokio::test]
    async fn of_several_processes_that_migrate_at_once_one_does() {
        let (store, _folder) = empty();
        let stores: Vec<_> =
            (0..4).map(|_| SqliteStore::open(&format!("sqlite:{}", store.path())).unwrap()).collect();
        let mut all = tokio::task::JoinSet::new();
        for store in stores {
            all.spawn(async move { store.migrate().await });
        }
        let mut applied = Vec::new();
        while let Some(done) = all.join_next().await {
            applied.extend(done.unwrap().unwrap());
        }
        assert_eq!(applied, ALL);
    }

    #[derive(QueryableByName)]
    struct Column {
        #[diesel(sql_type = diesel::sql_types::Text)]
        of_table: String,
        #[diesel(sql_type = diesel::sql_types::Text)]
        name: String,
        #[diesel(sql_type = diesel::sql_types::Text)]
        kind: String,
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        required: i64,
    }

    /// The columns that `schema.rs` declares, by table, as it writes them.
    fn declared() -> BTreeMap<String, Vec<String>> {
        let mut tables = BTreeMap::new();
        for block in include_str!("schema.rs").split("diesel::table! {").skip(1) {
            let (table, rest) = block.trim_start().split_once(' ').unwrap();
            let body = rest.split_once('{').unwrap().1.split_once('}').unwrap().0;
            let columns = body.lines().map(|line| line.trim().trim_end_matches(',').to_owned());
            tables.insert(table.to_owned(), columns.filter(|line| !line.is_empty()).collect());
        }
        tables
    }

    #[tokio::test]
    async fn the_tables_that_diesel_sees_are_those_of_the_migrations() {
        let (store, _folder) = empty();
        store.migrate().await.unwrap();
        let columns = store
            .read(|connection| {
                let sql = "SELECT t.name AS of_table, c.name, c.type AS kind, c.\"notnull\" AS required
                    FROM pragma_table_list t JOIN pragma_table_info(t.name) c
                    WHERE t.name NOT LIKE 'sqlite%' AND t.name <> '__diesel_schema_migrations' ORDER BY c.cid";
                Ok(diesel::sql_query(sql).load::<Column>(connection)?)
            })
            .await
            .unwrap();
        let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for Column { of_table, name, kind, required } in columns {
            let kind = match kind.as_str() {
                "BLOB" => "Binary",
                "TEXT" => "Text",
                "INTEGER" => "BigInt",
                "REAL" => "Double",
                other => panic!("{of_table}.{name} is {other}"),
            };
            let kind = if required == 1 { kind.to_owned() } else { format!("Nullable<{kind}>") };
            tables.entry(of_table).or_default().push(format!("{name} -> {kind}"));
        }
        assert_eq!(tables, declared());
    }
}
