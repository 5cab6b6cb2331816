//! Runs blocking database closures on a bounded pool of connections from async code.
//!
//! A [`Pool`] connects when it is first used and goes on trying, so that a store that is down at start is merely
//! unavailable for a while. Each call takes a permit before it takes a thread: never more threads are blocked than
//! there are connections, and never does a call wait longer for one than [`PoolSettings::acquire_timeout`].
//!
//! Dropping the future of a call does not stop its closure once that runs. Whoever writes through a pool must be able
//! to write the same thing again.
//!
//! It knows neither a database nor what is asked of it, retries nothing and logs nothing. How much of it is in use is
//! measured, by the pool's name, where a recorder of the `metrics` crate is installed before the pool is made.
//!
//! ```
//! use leadtrail_db_pool::{Pool, PoolSettings};
//!
//! # #[derive(Debug)] struct Memory;
//! # impl r2d2::ManageConnection for Memory {
//! #     type Connection = u32; type Error = std::io::Error;
//! #     fn connect(&self) -> Result<u32, std::io::Error> { Ok(20) }
//! #     fn is_valid(&self, _: &mut u32) -> Result<(), std::io::Error> { Ok(()) }
//! #     fn has_broken(&self, _: &mut u32) -> bool { false }
//! # }
//! # async fn example(manager: Memory) -> Result<(), leadtrail_db_pool::PoolError> {
//! let pool = Pool::new(manager, PoolSettings { size: 4, ..PoolSettings::default() }, None);
//! let answer = pool.run(|connection| *connection + 1).await?;
//! # assert_eq!(answer, 21);
//! # Ok(()) }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example(Memory)).unwrap();
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Gauge, describe_gauge, gauge};
use r2d2::{CustomizeConnection, ManageConnection};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The most connections that pools may have, by `pool`.
pub const CONNECTIONS_MAX: &str = "leadtrail_store_pool_connections_max";
/// Closures that run with a connection.
pub const IN_USE: &str = "leadtrail_store_pool_in_use";
/// Calls that wait for a connection to become free.
pub const WAITING: &str = "leadtrail_store_pool_waiting";

/// Tells the recorder what the names mean.
pub fn describe_measures() {
    describe_gauge!(CONNECTIONS_MAX, "The most connections of a pool");
    describe_gauge!(IN_USE, "Connections of a pool in use");
    describe_gauge!(WAITING, "Calls that wait for a connection of a pool");
}

/// What sets up a connection once, right after it was made.
pub type Customizer<M> =
    Box<dyn CustomizeConnection<<M as ManageConnection>::Connection, <M as ManageConnection>::Error>>;

/// How large a pool is and how long one waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolSettings {
    /// What it is called where it is measured. Pools of one name are measured together.
    pub name: &'static str,
    /// The most connections, and the most closures at a time; at least 1. One makes a dedicated connection, whose
    /// closures run one after the other.
    pub size: u32,
    /// The longest wait for a connection, whether all are in use or none can be made; above zero.
    pub acquire_timeout: Duration,
    /// How many idle connections are kept ready; absent: as many as fit.
    pub min_idle: Option<u32>,
    /// Whether a connection is asked whether it still lives before it is used.
    pub check: Check,
}

impl Default for PoolSettings {
    /// A `store` of 8 connections, a wait of 2 seconds, no check.
    fn default() -> Self {
        Self {
            name: "store",
            size: 8,
            acquire_timeout: Duration::from_secs(2),
            min_idle: None,
            check: Check::Never,
        }
    }
}

/// Whether a connection is asked whether it still lives before it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// Each time: a round trip, and no closure meets a connection that was cut while idle.
    OnAcquire,
    /// Not at all: the closure finds out.
    Never,
}

/// Why a closure was not run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// All connections were in use for as long as one may wait. The closure did not run.
    #[error("all {size} connections were in use for {} ms", waited.as_millis())]
    Exhausted {
        /// How many there are.
        size: u32,
        /// How long it was waited.
        waited: Duration,
    },
    /// No connection could be made. The closure did not run.
    #[error("no connection could be made")]
    Unavailable(#[source] r2d2::Error),
    /// The runtime is shutting down. The closure did not run.
    #[error("the runtime is shutting down")]
    ShuttingDown,
    /// The closure panicked; its connection was closed. What it had not committed is undone.
    #[error("the closure panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

/// A bounded pool of blocking connections. Clones are the same pool.
pub struct Pool<M: ManageConnection> {
    connections: r2d2::Pool<M>,
    permits: Arc<Semaphore>,
    settings: PoolSettings,
    connections_max: Arc<Counted>,
    in_use: Gauge,
    waiting: Gauge,
}

impl<M: ManageConnection> Pool<M> {
    /// A pool that makes its connections in the background. Never fails and never waits: where none can be made,
    /// [`run`](Self::run) says so, and later succeeds once they can.
    ///
    /// # Panics
    /// `size` or `acquire_timeout` is zero, or `min_idle` is above `size`.
    pub fn new(manager: M, settings: PoolSettings, customizer: Option<Customizer<M>>) -> Self {
        let mut builder = r2d2::Pool::builder()
            .max_size(settings.size)
            .min_idle(settings.min_idle)
            .connection_timeout(settings.acquire_timeout)
            .test_on_check_out(settings.check == Check::OnAcquire)
            // A failure reaches whoever waits for the connection; logging it here too would say it twice.
            .error_handler(Box::new(r2d2::NopErrorHandler));
        if let Some(customizer) = customizer {
            builder = builder.connection_customizer(customizer);
        }
        let permits =
            usize::try_from(settings.size).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS);
        let connections_max = gauge!(CONNECTIONS_MAX, "pool" => settings.name);
        Self {
            connections: builder.build_unchecked(manager),
            permits: Arc::new(Semaphore::new(permits)),
            settings,
            connections_max: Arc::new(Counted::new(connections_max, settings.size.into())),
            in_use: gauge!(IN_USE, "pool" => settings.name),
            waiting: gauge!(WAITING, "pool" => settings.name),
        }
    }

    /// Runs a blocking closure with a connection, on a thread where it may block, and in the current tracing span.
    ///
    /// # Errors
    /// As [`PoolError`] says. What the closure itself says about its success is part of `T`.
    pub async fn run<T, F>(&self, work: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce(&mut M::Connection) -> T + Send + 'static,
    {
        let PoolSettings { size, acquire_timeout: waited, .. } = self.settings;
        let deadline = Instant::now() + waited;
        let waiting = Counted::new(self.waiting.clone(), 1.0);
        let permit = match tokio::time::timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()).await
        {
            Ok(Ok(permit)) => permit,
            Ok(Err(_closed)) => return Err(PoolError::ShuttingDown),
            Err(_elapsed) => return Err(PoolError::Exhausted { size, waited }),
        };
        drop(waiting);
        let in_use = Counted::new(self.in_use.clone(), 1.0);
        let connections = self.connections.clone();
        let span = tracing::Span::current();
        let outcome = tokio::task::spawn_blocking(move || {
            // The permit lives as long as the closure, not as the future: a dropped request stops waiting, while its
            // closure goes on using the connection.
            let _permit = permit;
            let _in_use = in_use;
            let _entered = span.entered();
            // A permit means that a connection is free or may be made: this waits for the store alone.
            let mut connection = connections.get_timeout(waited)?;
            Ok(work(&mut connection))
        })
        .await;
        match outcome {
            Ok(answer) => answer.map_err(PoolError::Unavailable),
            Err(stopped) if stopped.is_panic() => Err(PoolError::Panicked(stopped)),
            Err(_cancelled) => Err(PoolError::ShuttingDown),
        }
    }

    /// How many closures may begin at this moment without waiting.
    pub fn free(&self) -> usize {
        self.permits.available_permits()
    }
}

/// So many that a gauge counts for as long as this is there.
struct Counted {
    gauge: Gauge,
    count: f64,
}

impl Counted {
    fn new(gauge: Gauge, count: f64) -> Self {
        gauge.increment(count);
        Self { gauge, count }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.decrement(self.count);
    }
}

impl<M: ManageConnection> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self {
            connections: self.connections.clone(),
            permits: Arc::clone(&self.permits),
            settings: self.settings,
            connections_max: Arc::clone(&self.connections_max),
            in_use: self.in_use.clone(),
            waiting: self.waiting.clone(),
        }
    }
}

impl<M: ManageConnection> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("settings", &self.settings)
            .field("free", &self.free())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[derive(Default)]
    struct Store {
        down: AtomicBool,
        made: AtomicU32,
    }

    #[derive(Clone, Default)]
    struct Manager(Arc<Store>);

    /// Numbered in the order they were made; broken once its closure panicked, as diesel's are.
    struct Connection(u32);

    impl ManageConnection for Manager {
        type Connection = Connection;
        type Error = io::Error;

        fn connect(&self) -> Result<Connection, io::Error> {
            if self.0.down.load(Ordering::SeqCst) {
                return Err(io::Error::other("the store is down"));
            }
            Ok(Connection(self.0.made.fetch_add(1, Ordering::SeqCst)))
        }

        fn is_valid(&self, _connection: &mut Connection) -> Result<(), io::Error> {
            Ok(())
        }

        fn has_broken(&self, _connection: &mut Connection) -> bool {
            std::thread::panicking()
        }
    }

    fn pool_of(size: u32, acquire_timeout: Duration) -> (Pool<Manager>, Manager) {
        let manager = Manager::default();
        (
            Pool::new(
                manager.clone(),
                PoolSettings { size, acquire_timeout, ..PoolSettings::default() },
                None,
            ),
            manager,
        )
    }

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_closure_answers_through_its_connection() {
        let (pool, _) = pool_of(1, LONG);
        let answer: Result<u32, String> = pool.run(|connection| Ok(connection.0 + 7)).await.unwrap();
        assert_eq!(answer, Ok(7));
        assert_eq!(pool.free(), 1);
    }

    #[tokio::test]
    async fn who_waits_longer_than_allowed_for_a_used_up_pool_is_told_so() {
        let (pool, _) = pool_of(1, SHORT);
        pool.run(|_| ()).await.unwrap();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let (finish, may_finish) = mpsc::channel::<()>();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move {
                pool.run(move |_| {
                    started.send(()).unwrap();
                    may_finish.recv()
                })
                .await
            }
        });
        has_started.await.unwrap();
        let second = pool.run(|_| ()).await;
        assert!(matches!(second, Err(PoolError::Exhausted { size: 1, .. })), "{second:?}");
        finish.send(()).unwrap();
        first.await.unwrap().unwrap().unwrap();
        assert!(pool.run(|_| ()).await.is_ok());
    }

    #[tokio::test]
    async fn a_dropped_call_keeps_its_permit_until_its_closure_ends() {
        let (pool, _) = pool_of(1, LONG);
        let (started, has_started) = tokio::sync::oneshot::channel();
        let (finish, may_finish) = mpsc::channel::<()>();
        let call = tokio::spawn({
            let pool = pool.clone();
            async move {
                pool.run(move |_| {
                    started.send(()).unwrap();
                    may_finish.recv()
                })
                .await
            }
        });
        has_started.await.unwrap();
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        assert_eq!(pool.free(), 0);
        finish.send(()).unwrap();
        assert_eq!(pool.run(|connection| connection.0).await.unwrap(), 0, "the connection came back");
    }

    #[tokio::test]
    async fn a_store_that_is_down_at_start_is_found_once_it_is_up() {
        let manager = Manager::default();
        manager.0.down.store(true, Ordering::SeqCst);
        let settings = PoolSettings { size: 1, acquire_timeout: SHORT, ..PoolSettings::default() };
        let pool = Pool::new(manager.clone(), settings, None);
        let down = pool.run(|_| ()).await;
        let Err(PoolError::Unavailable(cause)) = down else { panic!("{down:?}") };
        assert!(cause.to_string().contains("the store is down"), "{cause}");
        manager.0.down.store(false, Ordering::SeqCst);
        let mut up = pool.run(|_| ()).await;
        while matches!(up, Err(PoolError::Unavailable(_))) {
            up = pool.run(|_| ()).await;
        }
        up.unwrap();
    }

    #[tokio::test]
    async fn a_panic_closes_its_connection_and_gives_its_permit_back() {
        let (pool, _) = pool_of(1, LONG);
        let panicked = pool.run(|_| -> () { panic!("on purpose") }).await;
        assert!(matches!(panicked, Err(PoolError::Panicked(_))), "{panicked:?}");
        assert_eq!(pool.run(|connection| connection.0).await.unwrap(), 1, "a fresh connection");
    }

    #[tokio::test]
    async fn never_more_closures_run_than_there_are_connections() {
        let (pool, manager) = pool_of(3, LONG);
        let running = Arc::new(AtomicU32::new(0));
        let most = Arc::new(AtomicU32::new(0));
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let (pool, running, most) = (pool.clone(), Arc::clone(&running), Arc::clone(&most));
            calls.spawn(async move {
                pool.run(move |_| {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                })
                .await
            });
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap().unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert!(manager.0.made.load(Ordering::SeqCst) <= 3);
    }

    #[tokio::test]
    async fn every_connection_is_set_up_before_it_is_used() {
        #[derive(Debug)]
        struct AddHundred;
        impl CustomizeConnection<Connection, io::Error> for AddHundred {
            fn on_acquire(&self, connection: &mut Connection) -> Result<(), io::Error> {
                connection.0 += 100;
                Ok(())
            }
        }
        let settings = PoolSettings { size: 1, acquire_timeout: LONG, ..PoolSettings::default() };
        let pool = Pool::new(Manager::default(), settings, Some(Box::new(AddHundred)));
        assert_eq!(pool.run(|connection| connection.0).await.unwrap(), 100);
    }
}
