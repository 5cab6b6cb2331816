//! A bounded read-through cache of visitors in front of a store.
//!
//! [`Cached`] implements [`Visits`] over any other: a visitor asked for as [`Freshness::Cached`] is answered from
//! memory where it was loaded or committed before, and a commit that succeeds carries what it changed into the cache,
//! so that a known visitor's next page view asks the store for nothing but the event's id. It will never answer
//! events, submissions or people from memory, and never keep anything that the store has not confirmed.
//!
//! ```
//! use std::sync::Arc;
//!
//! use leadtrail_cache_memory::Cached;
//! use leadtrail_domain::ports::Visits;
//! use leadtrail_store_memory::MemoryStore;
//!
//! let visits: Arc<dyn Visits> = Arc::new(Cached::new(Arc::new(MemoryStore::new()), 100_000));
//! ```

mod entry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use leadtrail_domain::event::{CLIENT_CLOCK_AHEAD_MAX, CLIENT_CLOCK_BEHIND_MAX, StoredEvent};
use leadtrail_domain::id::{EventId, PixelId, ProjectId};
use leadtrail_domain::ports::{StoreError, Visits};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::visit::{Changes, Freshness, Known, VisitQuery, VisitorKey};
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use self::entry::{Change, Entry};

/// How much further back than asked the sessions of a visitor are loaded: as far as a client's clock may reach, so
/// that a batch with a late event in it does not find every entry too short.
const SESSIONS_SLACK: Duration = CLIENT_CLOCK_BEHIND_MAX.saturating_add(CLIENT_CLOCK_AHEAD_MAX);

/// A store's [`Visits`] with its latest visitors in memory.
// Several tasks load and commit the same visitor at once, and what they bring arrives here in any order. No order can
// make a wrong entry, because entries only ever grow:
//
// * What a visitor's sessions and touches are follows from its version, which each commit that changes them advances.
//   Of two states the one with the higher version is the newer; a commit is applied to exactly the version it was
//   decided on, and to no other.
// * A session's `last_event_at` moves without the version, but it only moves forward: of two, the later is the newer.
//
// So whatever meets is merged (`Entry::merged`): an old load that arrives after a newer commit changes nothing. An
// entry can still be behind the store, when another process has committed, when a commit was cancelled on its way
// back, or when an entry was put after the commit that would have changed it. That costs one `Stale`: the store
// compares the version and, where a session opens, the latest event with what was assumed. Every error drops the
// entries concerned, so the next load is fresh.
pub struct Cached<S: ?Sized> {
    visitors: Cache<VisitorKey, Entry>,
    inner: Arc<S>,
}

impl<S: Visits + ?Sized> Cached<S> {
    /// Caches up to `visitors_max` visitors of `inner`; the least recently used give way.
    pub fn new(inner: Arc<S>, visitors_max: u64) -> Self {
        let visitors =
            Cache::builder().max_capacity(visitors_max).eviction_policy(EvictionPolicy::lru()).build();
        Self { visitors, inner }
    }

    /// What the cache may answer of a query.
    fn cached(&self, query: &VisitQuery) -> BTreeMap<VisitorKey, Entry> {
        query
            .visitors
            .iter()
            .filter(|(_key, freshness)| **freshness == Freshness::Cached)
            .filter_map(|(key, _freshness)| Some((key.clone(), self.visitors.get(key)?)))
            .filter(|(_key, entry)| entry.reaches(query.sessions_since))
            .collect()
    }

    /// Keeps what the store answered, and forgets whom it does not know.
    fn keep(&self, asked: &VisitQuery, answered: &Known) {
        for key in asked.visitors.keys() {
            match answered.visitors.get(key) {
                Some(known) => self.put(key, &Entry::new(Arc::clone(known), asked.sessions_since)),
                None => self.visitors.invalidate(key),
            }
        }
    }

    fn put(&self, key: &VisitorKey, entry: &Entry) {
        self.visitors.entry_by_ref(key).and_upsert_with(|existing| match existing {
            Some(existing) => existing.into_value().merged(entry),
            None => entry.clone(),
        });
    }

    fn apply(&self, changes: &Changes) {
        for (key, change) in Change::of_each_visitor(changes) {
            if let Some(entry) = change.new_entry() {
                self.put(&key, &entry);
                continue;
            }
            self.visitors.entry_by_ref(&key).and_compute_with(|existing| match existing {
                None => Op::Nop,
                Some(existing) => match change.applied_to(existing.into_value()) {
                    Some(entry) => Op::Put(entry),
                    None => Op::Remove,
                },
            });
        }
    }

    fn forget(&self, changes: &Changes) {
        for key in Change::of_each_visitor(changes).into_keys() {
            self.visitors.invalidate(&key);
        }
    }
}

#[async_trait]
impl<S: Visits + ?Sized> Visits for Cached<S> {
    async fn load(&self, query: &VisitQuery) -> Result<Known, StoreError> {
        let cached = self.cached(query);
        let asked = VisitQuery {
            events: query.events.clone(),
            visitors: query
                .visitors
                .iter()
                .filter(|(key, _freshness)| !cached.contains_key(*key))
                .map(|(key, freshness)| (key.clone(), *freshness))
                .collect(),
            submissions: query.submissions.clone(),
            people: query.people.clone(),
            sessions_since: query.sessions_since.map(|since| since.minus(SESSIONS_SLACK)),
        };
        let mut known = if asks_for_nothing(&asked) {
            Known::default()
        } else {
            let known = self.inner.load(&asked).await?;
            self.keep(&asked, &known);
            known
        };
        known.visitors.extend(cached.into_iter().map(|(key, entry)| (key, entry.known)));
        Ok(known)
    }

    async fn commit(&self, changes: &Changes) -> Result<(), StoreError> {
        let answer = self.inner.commit(changes).await;
        match &answer {
            Ok(()) => self.apply(changes),
            Err(_whatever) => self.forget(changes),
        }
        answer
    }

    async fn event(
        &self,
        project: ProjectId,
        pixel: &PixelId,
        event: EventId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        self.inner.event(project, pixel, event).await
    }

    async fn events(
        &self,
        project: ProjectId,
        after: Option<(EventId, PixelId)>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.inner.events(project, after, limit).await
    }
}

fn asks_for_nothing(query: &VisitQuery) -> bool {
    let since: Option<Timestamp> = query.sessions_since;
    *query == VisitQuery { sessions_since: since, ..VisitQuery::default() }
}
