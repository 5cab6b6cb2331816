use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use leadtrail_domain::ports::Clock;
use leadtrail_domain::time::Timestamp;

use crate::PostgresStore;
use crate::column::At;
use crate::error::Failure;

/// The server's clock, carried on between looks at it by this machine's monotonic one: a step of the local wall clock
/// changes nothing.
#[derive(Debug)]
pub(crate) struct DatabaseClock {
    origin: Instant,
    /// The server's time at `origin`, in microseconds since 1970.
    origin_micros: AtomicI64,
    /// When it was last set, in microseconds after `origin`.
    set_after_micros: AtomicI64,
}

/// How old a look may be before a claim looks again.
const LOOK_AGE_MAX: Duration = Duration::from_secs(30);

impl Default for DatabaseClock {
    fn default() -> Self {
        Self { origin: Instant::now(), origin_micros: AtomicI64::new(0), set_after_micros: AtomicI64::new(0) }
    }
}

impl DatabaseClock {
    /// Looks at the server's clock. It said what it says in the middle of the round trip.
    pub(crate) fn set(&self, connection: &mut PgConnection) -> Result<(), Failure> {
        let sent = self.origin.elapsed();
        let At(said) = diesel::select(sql::<Timestamptz>("clock_timestamp()")).get_result(connection)?;
        let received = self.origin.elapsed();
        self.origin_micros.store(said.micros() - micros((sent + received) / 2), Ordering::Relaxed);
        self.set_after_micros.store(micros(received), Ordering::Relaxed);
        Ok(())
    }

    /// Looks at the server's clock where the last look is too long ago.
    pub(crate) fn refresh(&self, connection: &mut PgConnection) -> Result<(), Failure> {
        let age = micros(self.origin.elapsed()) - self.set_after_micros.load(Ordering::Relaxed);
        if age > micros(LOOK_AGE_MAX) { self.set(connection) } else { Ok(()) }
    }

    fn now(&self) -> Timestamp {
        let since_origin = micros(self.origin.elapsed());
        Timestamp::from_micros(self.origin_micros.load(Ordering::Relaxed).saturating_add(since_origin))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl Clock for PostgresStore {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
