//! What every adapter of a Leadtrail port must do: suites to run against your own.
//!
//! A suite is a list of cases, each a claim about one port. Its macro expands to one `#[test]` per case in your crate;
//! each case gets a subject of its own. For the store ports that is [`Stores`]: your store behind each of its ports,
//! together with what must outlive it (a temporary directory).
//!
//! ```
//! use std::sync::Arc;
//!
//! use leadtrail_contract::Stores;
//! use leadtrail_domain::ports::{
//!     Connections, Conversions, Events, Histories, Journeys, Keys, Maintenance, Projects, SyncJobs, Visits,
//! };
//!
//! fn subject<S>(store: S) -> Stores
//! where
//!     S: Visits
//!         + SyncJobs
//!         + Journeys
//!         + Histories
//!         + Conversions
//!         + Events
//!         + Projects
//!         + Connections
//!         + Keys
//!         + Maintenance
//!         + 'static,
//! {
//!     Stores::of(Arc::new(store))
//! }
//! ```
//!
//! In `tests/contract.rs` of the adapter, where `scratch()` opens an empty store:
//!
//! ```text
//! leadtrail_contract::visits_contract!(async { Stores::of(Arc::new(scratch().await)) });
//! leadtrail_contract::visits_contract!(mod cached: async {
//!     Stores::of(Arc::new(scratch().await)).with_visits(|inner| Arc::new(Cached::new(inner, 64)))
//! });
//! leadtrail_contract::sync_jobs_contract!(#[cfg(feature = "live")] mod sync_jobs: async { … });
//! ```
//!
//! Beyond the suites, [`model`] takes a store and a reference through the same random steps.
//!
//! Nothing here waits or reads a clock: time is an argument. Cases about concurrency start real tasks on a runtime
//! with several threads.

#[macro_use]
mod suite;

pub mod connections;
pub mod conversions;
pub mod crm;
pub mod events;
pub mod fixtures;
pub mod histories;
pub mod journeys;
pub mod keys;
pub mod maintenance;
pub mod model;
pub mod projects;
mod stores;
pub mod sync_jobs;
pub mod visits;

pub use self::crm::CrmSubject;
pub use self::stores::Stores;

/// Runs a case on a runtime of its own with four threads, so that an adapter may block on some of them.
pub fn run<T>(case: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime can be started")
        .block_on(case)
}
