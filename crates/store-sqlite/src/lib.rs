//! The store ports of Leadtrail on embedded SQLite: one file, no server.
//!
//! A [`SqliteStore`] is one writing connection, whose transactions begin IMMEDIATE, and a few reading ones. Events are
//! acknowledged when they are on disk (`synchronous=FULL` with a write-ahead log). Another process, such as the command
//! line beside a running server, may use the same file at the same time.
//!
//! It never decides what events mean and never retries: what a commit was decided from may have changed, and only who
//! decided can decide anew.
//!
//! ```
//! use leadtrail_domain::ports::{Durability, Maintenance};
//! use leadtrail_store_sqlite::SqliteStore;
//!
//! # async fn example(folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
//! let url = format!("sqlite:{}", folder.join("leadtrail.db").display());
//! let store = SqliteStore::open(&url)?;
//! store.migrate().await?;
//! assert_eq!(store.durability().await?, Durability::Full);
//! # Ok(()) }
//! # let folder = tempfile::tempdir().unwrap();
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example(folder.path())).unwrap();
//! ```

mod clock;
mod connection;
mod connections;
mod conversions;
mod events;
mod failure;
mod histories;
mod journeys;
mod keys;
mod lead_row;
mod maintenance;
mod migrations;
mod projects;
mod row;
mod schema;
mod sync_jobs;
mod visits;

pub use self::connection::{SqliteStore, SqliteUrlError};

// Linked for its `bundled` feature alone.
use libsqlite3_sys as _;
