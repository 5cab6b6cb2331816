use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName};
use governor::RateLimiter;
use governor::clock::{Clock, DefaultClock, Reference as _};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;

use super::client::Client;
use super::rate::Rate;
use crate::refusal::whole_seconds;

/// How many clients a limiter knows one by one. What others still ask comes out of one bucket.
pub const CLIENTS_MAX: usize = 50_000;
/// How often clients that have everything left again are forgotten.
const FORGET_EVERY: Duration = Duration::from_mins(1);
/// The same where there is no room for another: each time all of them are looked at.
const FORGET_EVERY_WHEN_FULL: Duration = Duration::from_secs(1);

const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Holds each client to a rate, in bounded memory: some 2 MiB for [`CLIENTS_MAX`] of them.
pub struct Limiter<C: Clock = DefaultClock> {
    rate: Rate,
    buckets: RateLimiter<Client, Buckets, C, StateInformationMiddleware>,
    forgot_at: Mutex<C::Instant>,
}

/// How a client stands after it was charged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// How much it may ask at once.
    pub limit: u32,
    /// How much of that is left.
    pub remaining: u32,
    /// When all of it is left again, if it asks no more.
    pub reset: Duration,
    /// When it may ask again; absent: this time it was let through.
    pub retry_after: Option<Duration>,
}

impl Limiter {
    /// Holds clients to `rate`.
    pub fn new(rate: Rate) -> Self {
        Self::with_clock(rate, DefaultClock::default())
    }
}

impl<C: Clock> Limiter<C> {
    fn with_clock(rate: Rate, clock: C) -> Self {
        let forgot_at = Mutex::new(clock.now());
        let buckets = RateLimiter::new(rate.quota(), Buckets::default(), clock);
        Self { rate, buckets, forgot_at }
    }

    /// Takes one from what `client` has left, if there is one.
    pub fn charge(&self, client: Client) -> Standing {
        self.forget_if_due();
        let (remaining, retry_after) = match self.buckets.check_key(&client) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(until) => (0, Some(until.wait_time_from(self.buckets.clock().now()))),
        };
        let limit = self.rate.burst();
        let reset = self.rate.interval() * limit.saturating_sub(remaining);
        Standing { limit, remaining, reset, retry_after }
    }

    /// How many clients are known one by one.
    pub fn clients(&self) -> usize {
        self.buckets.len()
    }

    fn forget_if_due(&self) {
        let now = self.buckets.clock().now();
        let pause = if self.clients() < CLIENTS_MAX { FORGET_EVERY } else { FORGET_EVERY_WHEN_FULL };
        {
            let mut forgot_at = self.forgot_at.lock().unwrap_or_else(PoisonError::into_inner);
            if Duration::from(now.duration_since(*forgot_at)) < pause {
                return;
            }
            *forgot_at = now;
        }
        self.buckets.retain_recent();
    }
}

impl<C: Clock> fmt::Debug for Limiter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limiter({} for each of {} clients)", self.rate, self.clients())
    }
}

impl Standing {
    /// Tells the client, in the fields of draft-ietf-httpapi-ratelimit-headers-06, section 5.
    pub(crate) fn put_into(self, headers: &mut HeaderMap) {
        headers.insert(RATELIMIT_LIMIT, self.limit.into());
        headers.insert(RATELIMIT_REMAINING, self.remaining.into());
        headers.insert(RATELIMIT_RESET, whole_seconds(self.reset).into());
    }

    /// Whether `headers` tell of a limit.
    pub(crate) fn is_in(headers: &HeaderMap) -> bool {
        headers.contains_key(RATELIMIT_LIMIT)
    }
}

/// When each client has everything left again, since the limiter's start.
#[derive(Default)]
struct Buckets(Mutex<Full>);

#[derive(Default)]
struct Full {
    known: HashMap<Client, Nanos>,
    others: Option<Nanos>,
}

impl Buckets {
    fn lock(&self) -> MutexGuard<'_, Full> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Buckets {
    type Key = Client;

    fn measure_and_replace<T, F, E>(&self, client: &Client, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut guard = self.lock();
        let Full { known, others } = &mut *guard;
        if let Some(full_at) = known.get_mut(client) {
            let (decision, later) = decide(Some(*full_at))?;
            *full_at = later;
            return Ok(decision);
        }
        if known.len() >= CLIENTS_MAX {
            let (decision, later) = decide(*others)?;
            *others = Some(later);
            return Ok(decision);
        }
        let (decision, later) = decide(None)?;
        known.insert(*client, later);
        Ok(decision)
    }
}

impl ShrinkableKeyedStateStore<Client> for Buckets {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().known.retain(|_client, full_at| *full_at > drop_below);
    }

    fn len(&self) -> usize {
        self.lock().known.len()
    }

    fn is_empty(&self) -> bool {
        self.lock().known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    use super::*;

    fn limiter(rate: &str) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limiter::with_clock(rate.parse().expect("a rate"), clock.clone()), clock)
    }

    fn client(number: u32) -> Client {
        Client::V4(number.to_be_bytes())
    }

    fn is_let_through(limiter: &Limiter<FakeRelativeClock>, number: u32) -> bool {
        limiter.charge(client(number)).retry_after.is_none()
    }

    #[test]
    fn a_client_is_told_what_is_left_and_when_to_come_back() {
        let (limiter, clock) = limiter("4/min");
        let second = Duration::from_secs;
        let told = |wait: u64| {
            clock.advance(second(wait));
            limiter.charge(client(1))
        };
        let standing = |remaining, reset, retry_after: Option<u64>| Standing {
            limit: 4,
            remaining,
            reset: second(reset),
            retry_after: retry_after.map(second),
        };
        assert_eq!(told(0), standing(3, 15, None));
        assert_eq!(told(0), standing(2, 30, None));
        assert_eq!(told(0), standing(1, 45, None));
        assert_eq!(told(0), standing(0, 60, None));
        assert_eq!(told(0), standing(0, 60, Some(15)));
        assert_eq!(told(14), standing(0, 60, Some(1)), "what was refused cost nothing");
        assert_eq!(told(1), standing(0, 60, None));
        assert_eq!(told(1_000), standing(3, 15, None), "no more than all of it comes back");
    }

    #[test]
    fn clients_do_not_share_what_they_may() {
        let (limiter, _clock) = limiter("1/d");
        assert!((1..100).all(|number| is_let_through(&limiter, number)));
        assert!((1..100).all(|number| !is_let_through(&limiter, number)));
    }

    #[test]
    fn beyond_the_bound_newcomers_share_one_bucket_and_known_clients_keep_theirs() {
        let (limiter, clock) = limiter("2/min");
        let bound = u32::try_from(CLIENTS_MAX).unwrap();
        assert!((0..bound).all(|number| is_let_through(&limiter, number)));
        assert!((bound..bound + 2).all(|number| is_let_through(&limiter, number)));
        assert!((bound + 2..bound + 100).all(|number| !is_let_through(&limiter, number)));
        assert!((0..100).all(|number| is_let_through(&limiter, number)));
        assert_eq!(limiter.clients(), CLIENTS_MAX);
        // Whoever has everything left again makes room.
        clock.advance(Duration::from_secs(61));
        assert!((bound + 2..bound + 100).all(|number| is_let_through(&limiter, number)));
        assert_eq!(limiter.clients(), 98 + 100, "those who came twice have not everything left for a while");
    }

    #[test]
    fn who_has_everything_left_again_is_forgotten() {
        let (limiter, clock) = limiter("100/s");
        assert!((0..1_000).all(|number| is_let_through(&limiter, number)));
        assert_eq!(limiter.clients(), 1_000);
        clock.advance(FORGET_EVERY);
        assert!(is_let_through(&limiter, 0));
        assert_eq!(limiter.clients(), 1);
    }

    proptest! {
        /// Of what is asked in any order and at any time, no more is let through than the rate allows, and a client
        /// that waits as long as it is told is let through.
        #[test]
        fn no_more_is_let_through_than_the_rate_allows(
            count in 1_u32..20,
            asks in prop::collection::vec((0_u64..2_000, 0_u32..3), 1..200),
        ) {
            let (limiter, clock) = limiter(&format!("{count}/s"));
            let (mut now, mut through) = (Duration::ZERO, [0_u32; 3]);
            for (wait, who) in asks {
                clock.advance(Duration::from_millis(wait));
                now += Duration::from_millis(wait);
                let standing = limiter.charge(client(who));
                let place = usize::try_from(who).unwrap();
                if let Some(retry_after) = standing.retry_after {
                    clock.advance(retry_after);
                    now += retry_after;
                    prop_assert!(is_let_through(&limiter, who));
                }
                through[place] += 1;
                prop_assert!(f64::from(through[place]) <= f64::from(count) * (1.0 + now.as_secs_f64()) + 0.001);
            }
        }
    }
}
