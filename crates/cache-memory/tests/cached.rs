//! When the cache answers, when the store does, and that both say the same.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use leadtrail_cache_memory::Cached;
use leadtrail_contract::Stores;
use leadtrail_contract::fixtures::{Tenant, Visitor, at, event_query};
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{EventId, PixelId, ProjectId};
use leadtrail_domain::ports::{StoreError, Visits};
use leadtrail_domain::visit::{Changes, Freshness, Known, KnownVisitor, VisitQuery, WidenedSession};
use leadtrail_store_memory::MemoryStore;

/// Counts what reaches the store, and can hold an answer back.
struct Counting {
    inner: Arc<dyn Visits>,
    loads: AtomicUsize,
    visitors_asked_for: AtomicUsize,
    /// Answers the next load instead of the store.
    old_answer: Mutex<Option<Known>>,
}

#[async_trait]
impl Visits for Counting {
    async fn load(&self, query: &VisitQuery) -> Result<Known, StoreError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.visitors_asked_for.fetch_add(query.visitors.len(), Ordering::SeqCst);
        let old = self.old_answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        match old {
            Some(old) => Ok(old),
            None => self.inner.load(query).await,
        }
    }

    async fn commit(&self, changes: &Changes) -> Result<(), StoreError> {
        self.inner.commit(changes).await
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

struct Fixture {
    tenant: Tenant,
    visitor: Visitor,
    memory: Arc<MemoryStore>,
    counting: Arc<Counting>,
    cached: Cached<Counting>,
}

impl Fixture {
    /// A store that knows the first visitor, behind an empty cache.
    async fn new() -> Self {
        let memory = Arc::new(MemoryStore::new());
        let tenant = Tenant::create(&Stores::of(Arc::clone(&memory)), 1).await;
        let visitor = tenant.visitor(1);
        memory.commit(&visitor.arrives(0)).await.expect("the changes are taken");
        let inner: Arc<dyn Visits> = memory.clone();
        let counting = Arc::new(Counting {
            inner,
            loads: AtomicUsize::new(0),
            visitors_asked_for: AtomicUsize::new(0),
            old_answer: Mutex::new(None),
        });
        let cached = Cached::new(Arc::clone(&counting), 100);
        Self { tenant, visitor, memory, counting, cached }
    }

    fn loads(&self) -> usize {
        self.counting.loads.load(Ordering::SeqCst)
    }

    async fn load(&self, freshness: Freshness) -> Arc<KnownVisitor> {
        let known = self.cached.load(&self.visitor.query(freshness)).await.expect("the store answers");
        Arc::clone(&known.visitors[&self.visitor.key()])
    }

    /// What the store itself knows.
    async fn stored(&self) -> Arc<KnownVisitor> {
        let known =
            self.memory.load(&self.visitor.query(Freshness::Current)).await.expect("the store answers");
        Arc::clone(&known.visitors[&self.visitor.key()])
    }

    async fn assert_cached_is_stored(&self) {
        let loads = self.loads();
        assert_eq!(self.load(Freshness::Cached).await, self.stored().await);
        assert_eq!(self.loads(), loads, "the cache had forgotten the visitor");
    }
}

#[tokio::test]
async fn a_second_load_of_a_known_visitor_does_not_reach_the_store() {
    let fixture = Fixture::new().await;
    let first = fixture.load(Freshness::Cached).await;
    assert_eq!(fixture.load(Freshness::Cached).await, first);
    assert_eq!(fixture.loads(), 1);
}

#[tokio::test]
async fn events_are_always_asked_for_but_known_visitors_are_not() {
    let fixture = Fixture::new().await;
    fixture.load(Freshness::Cached).await;
    let query = VisitQuery {
        visitors: fixture.visitor.query(Freshness::Cached).visitors,
        ..event_query(fixture.visitor.event_key(0))
    };
    let known = fixture.cached.load(&query).await.unwrap();
    assert_eq!((known.events.len(), known.visitors.len()), (1, 1));
    assert_eq!(fixture.loads(), 2);
    assert_eq!(fixture.counting.visitors_asked_for.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_must_be_current_bypasses_the_cache_and_refreshes_it() {
    let fixture = Fixture::new().await;
    fixture.load(Freshness::Cached).await;
    fixture.memory.commit(&fixture.visitor.returns(1, 0, 60)).await.unwrap();
    assert_eq!(fixture.load(Freshness::Cached).await.version, 1);
    assert_eq!(fixture.load(Freshness::Current).await.version, 2);
    assert_eq!(fixture.loads(), 2);
    fixture.assert_cached_is_stored().await;
}

#[tokio::test]
async fn a_commit_leaves_the_cache_as_fresh_as_the_store() {
    let fixture = Fixture::new().await;
    let visitor = &fixture.visitor;
    fixture.load(Freshness::Cached).await;
    let mut late = visitor.views(2, 60, 40);
    late.assumed[0].advances = true;
    late.widened.push(WidenedSession {
        id: visitor.session_id(60),
        project_id: fixture.tenant.id(),
        started_at: at(40),
    });
    let mut campaign = visitor.views(3, 60, 70);
    campaign.assumed[0].advances = true;
    campaign.touches.push(visitor.new_touch(&visitor.touch(60, 70, Some("shop"))));
    for changes in [
        visitor.views(1, 0, 5),
        visitor.views(1, 0, 3),
        visitor.returns(1, 5, 60),
        late,
        visitor.views(3, 60, 65),
        campaign,
        visitor.enquires(4, 60, 71, "jane@example.com"),
    ] {
        fixture.cached.commit(&changes).await.unwrap();
        fixture.assert_cached_is_stored().await;
    }
}

#[tokio::test]
async fn a_new_visitor_is_cached_by_its_commit() {
    let fixture = Fixture::new().await;
    let newcomer = fixture.tenant.visitor(2);
    fixture.cached.commit(&newcomer.arrives(0)).await.unwrap();
    let known = fixture.cached.load(&newcomer.query(Freshness::Cached)).await.unwrap();
    assert_eq!(known.visitors[&newcomer.key()].sessions.len(), 1);
    assert_eq!(fixture.loads(), 0);
    let stored = fixture.memory.load(&newcomer.query(Freshness::Current)).await.unwrap();
    assert_eq!(known, stored);
}

#[tokio::test]
async fn a_stale_commit_drops_the_visitor() {
    let fixture = Fixture::new().await;
    fixture.load(Freshness::Cached).await;
    // Another process was here.
    fixture.memory.commit(&fixture.visitor.returns(1, 0, 60)).await.unwrap();
    let answer = fixture.cached.commit(&fixture.visitor.views(1, 0, 1)).await;
    assert!(matches!(answer, Err(StoreError::Stale)));
    assert_eq!(fixture.load(Freshness::Cached).await.version, 2);
    assert_eq!(fixture.loads(), 2);
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_drops_the_visitor() {
    let fixture = Fixture::new().await;
    fixture.load(Freshness::Cached).await;
    fixture.memory.set_answers_lost(true);
    let answer = fixture.cached.commit(&fixture.visitor.returns(1, 0, 60)).await;
    assert!(matches!(answer, Err(StoreError::Transient(_))));
    assert_eq!(fixture.load(Freshness::Cached).await.version, 2);
}

#[tokio::test]
async fn an_answer_from_before_a_commit_does_not_undo_it() {
    let fixture = Fixture::new().await;
    fixture.load(Freshness::Cached).await;
    for changes in [fixture.visitor.views(1, 0, 5), fixture.visitor.returns(1, 5, 60)] {
        let before = fixture.memory.load(&fixture.visitor.query(Freshness::Current)).await.unwrap();
        fixture.cached.commit(&changes).await.unwrap();
        *fixture.counting.old_answer.lock().unwrap() = Some(before);
        fixture.load(Freshness::Current).await;
        fixture.assert_cached_is_stored().await;
    }
}

#[tokio::test]
async fn a_commit_that_is_applied_after_a_newer_load_changes_nothing() {
    let fixture = Fixture::new().await;
    let visitor = &fixture.visitor;
    // Two commits succeed in this order, and a load sees both, before the first is applied.
    fixture.memory.commit(&visitor.views(1, 0, 5)).await.unwrap();
    fixture.memory.commit(&visitor.returns(1, 5, 60)).await.unwrap();
    let late = Cached::new(Arc::new(Agreeable), 100);
    let known = fixture.load(Freshness::Current).await;
    late.commit(&visitor.arrives(0)).await.unwrap();
    late.commit(&visitor.returns(1, 5, 60)).await.unwrap();
    // What the entry already holds is not added again, nor is what is older than it.
    late.commit(&visitor.returns(1, 5, 60)).await.unwrap();
    late.commit(&visitor.views(1, 0, 5)).await.unwrap();
    let answer = late.load(&visitor.query(Freshness::Cached)).await.unwrap();
    assert_eq!(answer.visitors, BTreeMap::from([(visitor.key(), known)]));
}

/// Takes every commit and knows nobody, so that commits can be applied in an order no store would take them in.
struct Agreeable;

#[async_trait]
impl Visits for Agreeable {
    async fn load(&self, _query: &VisitQuery) -> Result<Known, StoreError> {
        Ok(Known::default())
    }

    async fn commit(&self, _changes: &Changes) -> Result<(), StoreError> {
        Ok(())
    }

    async fn event(
        &self,
        _project: ProjectId,
        _pixel: &PixelId,
        _event: EventId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        Ok(None)
    }

    async fn events(
        &self,
        _project: ProjectId,
        _after: Option<(EventId, PixelId)>,
        _limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_cookie_that_has_become_another_visitors_is_answered_with_that_one() {
    let fixture = Fixture::new().await;
    fixture.memory.commit(&fixture.visitor.returns(1, 0, 60)).await.unwrap();
    let mut other = (*fixture.load(Freshness::Cached).await).clone();
    other.id = fixture.tenant.visitor(2).id;
    other.version = 1;
    let other = Arc::new(other);
    let answer = BTreeMap::from([(fixture.visitor.key(), Arc::clone(&other))]);
    *fixture.counting.old_answer.lock().unwrap() = Some(Known { visitors: answer, ..Known::default() });
    fixture.load(Freshness::Current).await;
    assert_eq!(fixture.load(Freshness::Cached).await, other);
}

#[tokio::test]
async fn a_commit_on_a_version_the_cache_has_not_seen_drops_the_visitor() {
    let fixture = Fixture::new().await;
    let visitor = &fixture.visitor;
    fixture.load(Freshness::Cached).await;
    fixture.memory.commit(&visitor.returns(1, 0, 60)).await.unwrap();
    fixture.cached.commit(&visitor.views(2, 60, 61)).await.unwrap();
    assert_eq!(fixture.load(Freshness::Cached).await, fixture.stored().await);
    assert_eq!(fixture.loads(), 2);
}

#[tokio::test]
async fn an_entry_that_does_not_reach_far_enough_back_is_loaded_again() {
    const DAY: u32 = 24 * 60;
    let fixture = Fixture::new().await;
    let visitor = &fixture.visitor;
    fixture.memory.commit(&visitor.returns(1, 0, 5 * DAY)).await.unwrap();
    let since = |minute| VisitQuery { sessions_since: Some(at(minute)), ..visitor.query(Freshness::Cached) };
    let load = async |minute| {
        let known = fixture.cached.load(&since(minute)).await.unwrap();
        known.visitors[&visitor.key()].sessions.len()
    };
    assert_eq!(load(5 * DAY).await, 1);
    // As far back as a client's clock may reach, the entry holds all there is.
    assert_eq!(load(2 * DAY).await, 1);
    assert_eq!(fixture.loads(), 1);
    assert_eq!(load(0).await, 2);
    assert_eq!(fixture.loads(), 2);
    assert_eq!(load(5 * DAY).await, 2);
    assert_eq!(fixture.loads(), 2);
}
