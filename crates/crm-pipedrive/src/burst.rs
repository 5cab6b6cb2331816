//! How many requests may be sent in a few seconds.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Pipedrive counts the requests of any two seconds. Source: "Rate limiting" of its API reference, 2026-08-18.
const WINDOW: Duration = Duration::from_secs(2);
/// By how much two requests may come closer together on their way.
const JITTER: Duration = Duration::from_millis(100);
/// Searches in a window, on every plan. Source: as above.
const SEARCHES_MAX: usize = 10;
/// Requests in a window on the smallest plan, and on the largest. Source: as above.
const REQUESTS_MIN: usize = 20;
const REQUESTS_MAX: usize = 480;

/// What is sent, as far as limits tell it apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Search,
    Other,
}

/// The limits of one account, as far as this process uses them up. Others have the same token: their share shows in
/// answers of status 429.
#[derive(Debug)]
pub(crate) struct Bursts {
    searches: Bucket,
    requests: Bucket,
}

impl Default for Bursts {
    fn default() -> Self {
        Self { searches: Bucket::new(SEARCHES_MAX), requests: Bucket::new(REQUESTS_MIN) }
    }
}

impl Bursts {
    /// When the next request may be sent, which is then counted on.
    ///
    /// # Errors
    /// How long that would take, where it is longer than `wait_max`.
    pub(crate) fn reserve(
        &mut self,
        kind: Kind,
        now: Instant,
        wait_max: Duration,
    ) -> Result<Instant, Duration> {
        let mut buckets = vec![&mut self.requests];
        if kind == Kind::Search {
            buckets.push(&mut self.searches);
        }
        let at = buckets
            .iter()
            .map(|bucket| bucket.free_at())
            .fold(now, |at, free| free.map_or(at, |f| f.max(at)));
        let wait = at.duration_since(now);
        if wait > wait_max {
            return Err(wait);
        }
        for bucket in buckets {
            bucket.take(at, now);
        }
        Ok(at)
    }

    /// An answer said how many requests of any kind a window has.
    pub(crate) fn learn(&mut self, requests: usize) {
        self.requests.size = requests.clamp(REQUESTS_MIN, REQUESTS_MAX);
    }
}

/// Tokens, each of which comes back a window after it was taken: in no window are there more requests than tokens,
/// while a bucket that fills at a steady rate lets nearly twice as many through.
#[derive(Debug)]
struct Bucket {
    size: usize,
    /// When tokens were taken, or will be; ascending.
    taken: VecDeque<Instant>,
}

impl Bucket {
    fn new(size: usize) -> Self {
        Self { size, taken: VecDeque::new() }
    }

    /// When there is a token again; `None`: there is one.
    fn free_at(&self) -> Option<Instant> {
        let first_of_the_latest = self.taken.len().checked_sub(self.size)?;
        self.taken.get(first_of_the_latest).map(|taken| *taken + WINDOW + JITTER)
    }

    fn take(&mut self, at: Instant, now: Instant) {
        while self.taken.front().is_some_and(|taken| *taken + WINDOW + JITTER <= now) {
            self.taken.pop_front();
        }
        let place = self.taken.partition_point(|taken| *taken <= at);
        self.taken.insert(place, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// The most requests of any two seconds.
    fn densest(sent: &[Instant]) -> usize {
        let within = |from: &Instant| sent.iter().filter(|at| *at >= from && **at < *from + WINDOW).count();
        sent.iter().map(within).max().unwrap_or(0)
    }

    #[test]
    fn no_two_seconds_see_more_than_ten_searches_or_twenty_requests() {
        let start = Instant::now();
        let mut bursts = Bursts::default();
        let (mut all, mut searches) = (Vec::new(), Vec::new());
        for step in 0..400 {
            let now = start + step * 17 * MILLISECOND;
            let kind = if step % 3 == 0 { Kind::Other } else { Kind::Search };
            if let Ok(at) = bursts.reserve(kind, now, Duration::from_secs(3)) {
                assert!(at >= now);
                all.push(at);
                if kind == Kind::Search {
                    searches.push(at);
                }
            }
        }
        assert_eq!((densest(&searches), densest(&all)), (10, 20));
    }

    #[test]
    fn whoever_cannot_wait_is_told_how_long_it_would_take_and_takes_nothing() {
        let now = Instant::now();
        let mut bursts = Bursts::default();
        for _search in 0..10 {
            assert_eq!(bursts.reserve(Kind::Search, now, Duration::ZERO), Ok(now));
        }
        let later = now + 100 * MILLISECOND;
        let wait = Err(2_000 * MILLISECOND);
        assert_eq!(bursts.reserve(Kind::Search, later, Duration::from_secs(1)), wait);
        assert_eq!(bursts.reserve(Kind::Search, later, Duration::from_secs(1)), wait);
        for _request in 0..10 {
            assert_eq!(bursts.reserve(Kind::Other, later, Duration::ZERO), Ok(later));
        }
        assert_eq!(bursts.reserve(Kind::Other, later, Duration::ZERO), wait);
    }

    #[test]
    fn a_larger_plan_is_believed_within_reason_and_a_smaller_one_never() {
        let now = Instant::now();
        for (said, size) in [(40, 40), (100_000, 480), (10, 20), (0, 20)] {
            let mut bursts = Bursts::default();
            bursts.learn(said);
            let sent =
                (0..1_000).filter(|_| bursts.reserve(Kind::Other, now, Duration::ZERO).is_ok()).count();
            assert_eq!(sent, size, "{said}");
        }
    }
}
