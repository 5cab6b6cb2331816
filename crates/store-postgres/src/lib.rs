//! The store ports of Leadtrail on PostgreSQL 15 and later.
//!
//! [`PostgresStore`] implements every store port of `leadtrail_domain::ports` on pools of blocking connections, and
//! `Clock` by the server's clock, so that every node on one database goes by the same time. A commit is one prepared
//! statement in a transaction of its own: one round trip, one fsync. Events lie in monthly partitions
//! by the time inside their id; [`migrate`](PostgresStore::migrate) and `upkeep` create them ahead.
//!
//! It decides nothing, keeps no state between calls but the clock's, and never shows its URL's password.
//!
//! ```no_run
//! use leadtrail_domain::ports::Clock;
//! use leadtrail_store_postgres::{PostgresSettings, PostgresStore};
//!
//! # async fn example() -> Result<(), leadtrail_domain::ports::StoreError> {
//! let store = PostgresStore::connect("postgres://leadtrail@localhost/leadtrail", PostgresSettings::default()).await?;
//! for name in store.migrate().await? {
//!     println!("{name}");
//! }
//! println!("{}", store.now());
//! # Ok(()) }
//! ```

#[cfg(all(test, feature = "live"))]
extern crate self as leadtrail_store_postgres;

mod clock;
mod column;
mod connections;
mod conversions;
mod error;
mod events;
mod histories;
mod journeys;
mod keys;
mod lead_row;
mod maintenance;
mod migrations;
#[cfg(all(test, feature = "live"))]
mod plans;
mod projects;
mod schema;
#[cfg(all(test, feature = "live"))]
#[path = "../tests/live/scratch.rs"]
mod scratch;
mod server;
mod statement;
mod store;
mod sync_jobs;
mod visits;

pub use self::server::ConnectError;
pub use self::store::{PostgresSettings, PostgresStore};
