use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use leadtrail_domain::ports::Clock;
use leadtrail_domain::time::Timestamp;

use crate::MemoryStore;

impl Clock for MemoryStore {
    /// The machine's clock.
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this implements the Clock port")]
        let now = SystemTime::now();
        // A machine before 1970 gets 1970: nothing here can be older.
        Timestamp::EPOCH.plus(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }
}

/// A clock that stands still until it is told otherwise, for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `at`.
    pub fn new(at: Timestamp) -> Self {
        Self(AtomicI64::new(at.micros()))
    }

    /// Shows `at` from now on, even if that is earlier.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.micros(), Ordering::SeqCst);
    }

    /// Goes on by `span`.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().plus(span));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}
