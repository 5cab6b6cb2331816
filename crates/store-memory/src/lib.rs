//! The store ports of Leadtrail in maps: the reference model of the contract suites, and the store of tests that need
//! one without a database.
//!
//! It is written to be read beside the ports: every call takes one lock, a commit checks all conditions and then makes
//! all changes. It will never write to disk, and it is not tuned for many events.
//!
//! ```
//! use leadtrail_domain::ports::{Clock, Maintenance};
//! use leadtrail_store_memory::{ManualClock, MemoryStore};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let store = MemoryStore::new();
//! store.set_unavailable(true);
//! assert!(store.ping().await.is_err());
//! store.set_unavailable(false);
//! assert!(store.ping().await.is_ok());
//!
//! let clock = ManualClock::new(store.now());
//! clock.advance(std::time::Duration::from_secs(420));
//! # }
//! ```

mod clock;
mod connections;
mod conversions;
mod events;
mod histories;
mod journeys;
mod keys;
mod maintenance;
mod projects;
mod sync_jobs;
mod tables;
mod visits;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use leadtrail_domain::ports::StoreError;

pub use self::clock::ManualClock;
use self::tables::Tables;

/// Everything a store keeps, in memory.
#[derive(Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
    unavailable: AtomicBool,
    answers_lost: AtomicBool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// While set, every call of a port answers `Transient` and does nothing. The clock goes on.
    pub fn set_unavailable(&self, unavailable: bool) {
        self.unavailable.store(unavailable, Ordering::SeqCst);
    }

    /// While set, a commit of visits that is made answers `Transient` all the same, as when a connection breaks after
    /// the database has committed.
    pub fn set_answers_lost(&self, lost: bool) {
        self.answers_lost.store(lost, Ordering::SeqCst);
    }

    fn tables(&self) -> Result<MutexGuard<'_, Tables>, StoreError> {
        if self.unavailable.load(Ordering::SeqCst) {
            return Err(StoreError::transient("set to be unavailable"));
        }
        Ok(self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// At most so many of a list.
fn take<T>(list: impl Iterator<Item = T>, limit: u32) -> Vec<T> {
    list.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()
}
