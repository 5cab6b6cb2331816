//! Taking in events: groups, concurrency, a store that fails, and the end of the service.

#[path = "../../domain/tests/world/site.rs"]
#[expect(dead_code, reason = "these tests need a part of the site only")]
mod site;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use leadtrail_app::ingest::{FORM_WAIT_MAX, FORMS_WAITING_MAX, Ingest, IngestError, IngestSettings};
use leadtrail_domain::event::{Collected, StoredEvent};
use leadtrail_domain::id::{EventId, PixelId, ProjectId};
use leadtrail_domain::ports::{StoreError, Visits};
use leadtrail_domain::visit::{Answer, Changes, Known, VisitQuery};
use leadtrail_store_memory::MemoryStore;
use mockall::mock;
use serde_json::json;
use site::Site;
use tokio::sync::Semaphore;

/// A store that commits only when it is let, and does not take events with certain titles.
struct Gate {
    store: Arc<MemoryStore>,
    permits: Semaphore,
    commits: AtomicUsize,
}

impl Gate {
    fn open(store: &Arc<MemoryStore>) -> Arc<Self> {
        Self::with_permits(store, Semaphore::MAX_PERMITS)
    }

    fn with_permits(store: &Arc<MemoryStore>, permits: usize) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            permits: Semaphore::new(permits),
            commits: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl Visits for Gate {
    async fn load(&self, query: &VisitQuery) -> Result<Known, StoreError> {
        self.store.load(query).await
    }

    async fn commit(&self, changes: &Changes) -> Result<(), StoreError> {
        self.permits.acquire().await.expect("the gate is not closed").forget();
        self.commits.fetch_add(1, Ordering::SeqCst);
        let has =
            |title| changes.events.iter().any(|stored| stored.event.page_title.as_deref() == Some(title));
        if has("poison") {
            return Err(StoreError::rejected("poison"));
        }
        if has("restless") {
            return Err(StoreError::Stale);
        }
        if has("unreadable") {
            return Err(StoreError::Corrupt { table: "visitors", column: "cookie", id: "1".to_owned() });
        }
        self.store.commit(changes).await
    }

    async fn event(
        &self,
        project: ProjectId,
        pixel: &PixelId,
        event: EventId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        self.store.event(project, pixel, event).await
    }

    async fn events(
        &self,
        project: ProjectId,
        after: Option<(EventId, PixelId)>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.events(project, after, limit).await
    }
}

fn view(site: &Site, id: &str, cookie: &str) -> Collected {
    site.collected(
        0,
        &json!({ "page_url": "https://www.acme.example/", "event_id": id, "visitor_cookie": cookie }),
    )
}

fn of_type(site: &Site, kind: &str, id: usize) -> Collected {
    site.collected(
        0,
        &json!({
            "page_url": "https://www.acme.example/", "event_id": format!("{kind}-{id}"), "event_type": kind,
            "visitor_cookie": "cookie-a",
        }),
    )
}

fn start<V: Visits + 'static>(visits: &Arc<V>, settings: &IngestSettings) -> Ingest {
    let visits: Arc<dyn Visits> = visits.clone();
    Ingest::start(&visits, settings).0
}

#[tokio::test]
async fn the_same_event_a_hundred_times_at_once_is_stored_once_and_answered_alike() {
    let site = Site::new();
    let ingest = start(&site.store, &IngestSettings { shards: 4, ..IngestSettings::default() });
    let sends = (0..100).map(|_| ingest.collect(view(&site, "e1", "cookie-a"), site.policy.clone()));
    let answers: Vec<_> = join_all(sends).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(site.events().len(), 1);
    assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
    assert_eq!(answers.iter().map(|answer| answer.session_id).collect::<BTreeSet<_>>().len(), 1);
}

#[tokio::test]
async fn twelve_first_events_at_once_on_two_nodes_make_one_visitor_and_one_session() {
    let site = Site::new();
    let nodes = [0, 1].map(|_| start(&site.store, &IngestSettings::default()));
    let sends =
        (0..12).map(|n| nodes[n % 2].collect(view(&site, &format!("e{n}"), "cookie-a"), site.policy.clone()));
    let answers: Vec<_> = join_all(sends).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        answers.iter().map(|answer| (answer.visitor_id, answer.session_id)).collect::<BTreeSet<_>>().len(),
        1
    );
    assert_eq!(site.events().len(), 12);
}

#[tokio::test]
async fn what_is_queued_during_a_commit_is_one_group() {
    let site = Site::new();
    let gate = Gate::with_permits(&site.store, 0);
    let ingest = start(&gate, &IngestSettings::default());
    let sends =
        (0..50).map(|n| ingest.collect(view(&site, &format!("e{n}"), "cookie-a"), site.policy.clone()));
    let let_through = async { gate.permits.add_permits(Semaphore::MAX_PERMITS / 2) };
    let (answers, ()) = tokio::join!(join_all(sends), let_through);
    assert!(answers.iter().all(Result::is_ok));
    let commits = gate.commits.load(Ordering::SeqCst);
    assert!(commits <= 2, "{commits} commits for 50 events that came together");
}

#[tokio::test]
async fn one_event_that_the_store_does_not_take_does_not_fail_its_neighbours() {
    for (title, is_its_own_fault) in [("poison", true), ("restless", false), ("unreadable", false)] {
        let site = Site::new();
        let ingest = start(&Gate::open(&site.store), &IngestSettings::default());
        let bad = site.collected(0, &json!({ "page_url": "https://www.acme.example/", "page_title": title }));
        let events = [view(&site, "e1", "cookie-a"), bad, view(&site, "e2", "cookie-a")];
        let answers = join_all(events.map(|event| ingest.collect(event, site.policy.clone()))).await;
        assert_eq!(matches!(answers[1], Err(IngestError::Rejected)), is_its_own_fault, "{title}");
        assert_eq!(matches!(answers[1], Err(IngestError::Unavailable { .. })), !is_its_own_fault, "{title}");
        assert!(answers[0].is_ok() && answers[2].is_ok(), "{title}");
        assert_eq!(site.events().len(), 2);
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_loses_nothing_of_what_it_took() {
    let site = Site::new();
    let gate = Gate::with_permits(&site.store, 0);
    let ingest = start(&gate, &IngestSettings { queue_max: 4, group_max: 2, shards: 1 });
    let mut waiting = Vec::new();
    let mut refused = 0;
    for n in 0..20 {
        let mut send =
            Box::pin(ingest.collect(view(&site, &format!("e{n}"), "cookie-a"), site.policy.clone()));
        match futures::poll!(&mut send) {
            std::task::Poll::Ready(Err(IngestError::Shed { .. })) => refused += 1,
            std::task::Poll::Ready(other) => panic!("{other:?}"),
            std::task::Poll::Pending => waiting.push(send),
        }
        tokio::task::yield_now().await;
    }
    assert!(refused >= 12, "{refused} of 20 were refused");
    gate.permits.add_permits(100);
    let taken = waiting.len();
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    assert_eq!(site.events().len(), taken);
}

/// Sends `count` events of a type one after the other, as far as each gets without the store; those that wait, and how
/// the others are refused.
async fn pile_up<'a>(
    site: &'a Site,
    ingest: &'a Ingest,
    kind: &'a str,
    count: usize,
) -> (Vec<impl Future<Output = Result<Answer, IngestError>> + 'a>, Vec<IngestError>) {
    let (mut waiting, mut refused) = (Vec::new(), Vec::new());
    for id in 0..count {
        let mut send = Box::pin(ingest.collect(of_type(site, kind, id), site.policy.clone()));
        match futures::poll!(&mut send) {
            std::task::Poll::Ready(answer) => refused.push(answer.expect_err("the store is held back")),
            std::task::Poll::Pending => waiting.push(send),
        }
        // The first group of all is taken out of the queue before the second event comes.
        tokio::task::yield_now().await;
    }
    (waiting, refused)
}

#[tokio::test]
async fn under_overload_page_views_are_shed_first_and_forms_not_at_all() {
    let site = Site::new();
    let gate = Gate::with_permits(&site.store, 0);
    let ingest = start(&gate, &IngestSettings { queue_max: 16, group_max: 1, shards: 1 });
    // One is being committed, 14 of 16 places are for anything.
    let (views, shed) = pile_up(&site, &ingest, "pageview", 30).await;
    assert_eq!(views.len(), 15);
    assert!(shed.iter().all(|error| matches!(error, IngestError::Shed { .. })), "{shed:?}");
    let (customs, shed) = pile_up(&site, &ingest, "newsletter", 3).await;
    assert!(customs.is_empty() && shed.iter().all(|error| matches!(error, IngestError::Shed { .. })));
    let (identities, busy) = pile_up(&site, &ingest, "identify", 5).await;
    assert_eq!(identities.len(), 2);
    assert!(busy.iter().all(|error| matches!(error, IngestError::Busy { .. })), "{busy:?}");
    // The queue is full to the brim.
    let (forms, refused) = pile_up(&site, &ingest, "form_submit", 100).await;
    assert!(forms.len() == 100 && refused.is_empty(), "{refused:?}");
    gate.permits.add_permits(1_000);
    let (views, identities, forms) = tokio::join!(join_all(views), join_all(identities), join_all(forms));
    assert!(views.iter().chain(&identities).chain(&forms).all(Result::is_ok));
    assert_eq!(site.events().len(), 15 + 2 + 100);
}

#[tokio::test(start_paused = true)]
async fn a_form_waits_for_room_no_longer_than_it_should_and_beside_no_more_than_the_bound() {
    let site = Site::new();
    let gate = Gate::with_permits(&site.store, 0);
    let ingest = start(&gate, &IngestSettings { queue_max: 1, group_max: 1, shards: 1 });
    // One is being committed, one is queued.
    let (waiting, refused) = pile_up(&site, &ingest, "form_submit", FORMS_WAITING_MAX + 3).await;
    assert_eq!((waiting.len(), refused.len()), (FORMS_WAITING_MAX + 2, 1));
    assert!(matches!(refused[0], IngestError::Busy { .. }));
    let begun = tokio::time::Instant::now();
    let mut answers = join_all(waiting.into_iter().skip(2).collect::<Vec<_>>()).await.into_iter();
    assert!(answers.all(|answer| matches!(answer, Err(IngestError::Busy { .. }))));
    assert!((FORM_WAIT_MAX..FORM_WAIT_MAX + Duration::from_secs(1)).contains(&begun.elapsed()));
}

#[tokio::test]
async fn a_queue_of_one_place_takes_a_page_view() {
    let site = Site::new();
    let ingest = start(&site.store, &IngestSettings { queue_max: 1, group_max: 1, shards: 1 });
    assert!(ingest.collect(view(&site, "e1", "cookie-a"), site.policy.clone()).await.is_ok());
}

#[tokio::test]
async fn a_store_that_is_down_is_told_to_everybody_at_once_and_a_store_that_is_back_serves() {
    let site = Site::new();
    let ingest = start(&site.store, &IngestSettings { group_max: 2, ..IngestSettings::default() });
    site.store.set_unavailable(true);
    let sends =
        (0..20).map(|n| ingest.collect(view(&site, &format!("e{n}"), "cookie-a"), site.policy.clone()));
    let answers = join_all(sends).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(IngestError::Unavailable { .. }))));
    site.store.set_unavailable(false);
    assert!(ingest.collect(view(&site, "e0", "cookie-a"), site.policy.clone()).await.is_ok());
}

#[tokio::test]
async fn an_event_whose_answer_was_lost_is_a_duplicate_when_it_comes_again() {
    let site = Site::new();
    let ingest = start(&site.store, &IngestSettings::default());
    site.store.set_answers_lost(true);
    let lost = ingest.collect(view(&site, "e1", "cookie-a"), site.policy.clone()).await;
    assert!(matches!(lost, Err(IngestError::Unavailable { .. })));
    site.store.set_answers_lost(false);
    assert!(ingest.collect(view(&site, "e1", "cookie-a"), site.policy.clone()).await.unwrap().duplicate);
    assert_eq!(site.events().len(), 1);
}

#[tokio::test]
async fn what_is_queued_at_the_end_is_committed() {
    let site = Site::new();
    let gate = Gate::with_permits(&site.store, 0);
    let visits: Arc<dyn Visits> = gate.clone();
    let (ingest, tasks) = Ingest::start(&visits, &IngestSettings::default());
    let mut sends: Vec<_> = (0..10)
        .map(|n| {
            let (ingest, event, policy) =
                (ingest.clone(), view(&site, &format!("e{n}"), "cookie-a"), site.policy.clone());
            Box::pin(async move { ingest.collect(event, policy).await })
        })
        .collect();
    for send in &mut sends {
        assert!(futures::poll!(send).is_pending());
    }
    drop(ingest);
    gate.permits.add_permits(100);
    let (answers, ()) = tokio::join!(join_all(sends), tasks.finished());
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(site.events().len(), 10);
}

mock! {
    Store {}

    #[async_trait]
    impl Visits for Store {
        async fn load(&self, query: &VisitQuery) -> Result<Known, StoreError>;
        async fn commit(&self, changes: &Changes) -> Result<(), StoreError>;
        async fn event(&self, project: ProjectId, pixel: &PixelId, event: EventId) -> Result<Option<StoredEvent>, StoreError>;
        async fn events(&self, project: ProjectId, after: Option<(EventId, PixelId)>, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;
    }
}

#[tokio::test]
async fn a_state_that_changed_is_loaded_again_as_it_is_now() {
    use leadtrail_domain::visit::Freshness;

    let site = Site::new();
    let mut store = MockStore::new();
    let mut order = mockall::Sequence::new();
    for freshness in [Freshness::Cached, Freshness::Current] {
        store
            .expect_load()
            .withf(move |query| query.visitors.values().all(|asked| *asked == freshness))
            .times(1)
            .in_sequence(&mut order)
            .returning(|_| Ok(Known::default()));
        let outcome = if freshness == Freshness::Cached { Err(()) } else { Ok(()) };
        store
            .expect_commit()
            .times(1)
            .in_sequence(&mut order)
            .returning(move |_| outcome.map_err(|()| StoreError::Stale));
    }
    let ingest = start(&Arc::new(store), &IngestSettings::default());
    assert!(ingest.collect(view(&site, "e1", "cookie-a"), site.policy.clone()).await.is_ok());
}
