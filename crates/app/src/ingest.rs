//! Taking in events: a bounded queue, groups, one commit each, and every sender answered after it.
//!
//! A group is what was queued while the group before it was committed, so that groups grow with the load and nobody
//! waits for company. Groups of different shards are committed side by side; a visitor's events always meet in one
//! shard.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leadtrail_domain::event::{Collected, EventKind, StoredEvent};
use leadtrail_domain::ingest::{Decision, IngestPolicy, Policies, ingest, query_for};
use leadtrail_domain::ports::{StoreError, Visits};
use leadtrail_domain::visit::{Answer, Freshness};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cause::cause;
use crate::measures::{EventCounters, GroupMeasures, Outcome as EventOutcome, number, seconds};

/// How often a group is decided anew because its state has changed, before its members are tried one by one.
const STALE_RETRIES_MAX: u32 = 10;
/// How many groups a slow watcher may fall behind before it misses some.
const WATCH_GROUPS_MAX: usize = 256;
/// The part of a queue that is kept free of what can be spared under overload: an eighth.
const KEPT_FREE_DIVISOR: usize = 8;
/// How long a form waits for room in a full queue.
pub const FORM_WAIT_MAX: Duration = Duration::from_secs(5);
/// How many forms wait so at most.
pub const FORMS_WAITING_MAX: usize = 1_024;
/// When to try again after the queue was full.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);
/// When to try again after the store did not answer.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// How events are taken in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IngestSettings {
    /// How many groups are committed side by side: 1 but for a store whose fsync is slow.
    pub shards: usize,
    /// How many events wait at most, over all shards.
    pub queue_max: usize,
    /// How many events a group has at most.
    pub group_max: usize,
}

impl Default for IngestSettings {
    fn default() -> Self {
        Self { shards: 1, queue_max: 8_192, group_max: 512 }
    }
}

/// The way in for events. Cloned freely; when the last one is gone, what is queued is still committed.
#[derive(Clone)]
pub struct Ingest {
    shards: Arc<[mpsc::Sender<Waiting>]>,
    room_for_forms: Arc<Semaphore>,
    reserving: Arc<Mutex<()>>,
    committed: broadcast::Sender<Arc<[StoredEvent]>>,
    counters: EventCounters,
    measures: GroupMeasures,
}

/// The tasks behind an [`Ingest`].
#[derive(Debug)]
pub struct IngestTasks(Vec<JoinHandle<()>>);

/// Why an event was not taken in. It is not stored, unless said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The queue is nearly full, and what is left of it is kept for what cannot be spared: forms first of all.
    #[error("the queue is nearly full")]
    Shed {
        /// When to try again.
        retry_after: Duration,
    },
    /// The queue is full: the service is asked for more than it can do.
    #[error("the queue is full")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The store does not answer. The event may be stored all the same; sending it again is harmless.
    #[error("the store is unavailable")]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// The store will never take this event.
    #[error("the store rejects the event")]
    Rejected,
}

/// What becomes of an event under overload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// It makes a lead: it waits.
    Form,
    /// Who the visitor is, and what they agreed to: turned away when the queue is full.
    Kept,
    /// It is turned away first.
    Spared,
}

impl Worth {
    fn of(kind: &EventKind) -> Self {
        match kind {
            EventKind::FormSubmit => Self::Form,
            EventKind::Identify | EventKind::Consent => Self::Kept,
            EventKind::Pageview | EventKind::Custom(_) => Self::Spared,
        }
    }
}

/// How much of a queue is kept free of what can be spared; never all of it.
fn kept_free(queue_max: usize) -> usize {
    queue_max.div_ceil(KEPT_FREE_DIVISOR).min(queue_max.saturating_sub(1))
}

fn busy() -> IngestError {
    IngestError::Busy { retry_after: BUSY_RETRY_AFTER }
}

struct Waiting {
    event: Collected,
    policy: IngestPolicy,
    sender: Sender,
}

impl Ingest {
    /// Starts the tasks that commit to `visits`. Must be called within a tokio runtime.
    pub fn start(visits: &Arc<dyn Visits>, settings: &IngestSettings) -> (Self, IngestTasks) {
        let shards = settings.shards.max(1);
        let queue_max = (settings.queue_max / shards).max(1);
        let (committed, _) = broadcast::channel(WATCH_GROUPS_MAX);
        let mut tasks = Vec::with_capacity(shards);
        let measures = GroupMeasures::new();
        let senders = (0..shards).map(|_| {
            let (sender, queue) = mpsc::channel(queue_max);
            let shard = Shard {
                queue,
                visits: Arc::clone(visits),
                group_max: settings.group_max.max(1),
                committed: committed.clone(),
                measures: measures.clone(),
            };
            tasks.push(tokio::spawn(shard.run()));
            sender
        });
        let room_for_forms = Arc::new(Semaphore::new(FORMS_WAITING_MAX));
        let counters = EventCounters::new();
        let ingest = Self {
            shards: senders.collect(),
            room_for_forms,
            reserving: Arc::default(),
            committed,
            counters,
            measures,
        };
        (ingest, IngestTasks(tasks))
    }

    /// Takes in one event and answers once it is durable. Under overload page views and the site's own events are
    /// turned away first, and a form waits for room, [`FORM_WAIT_MAX`] at most. What becomes of it is counted, whether
    /// or not somebody still waits for the answer.
    ///
    /// # Errors
    /// As [`IngestError`] says.
    pub async fn collect(&self, event: Collected, policy: IngestPolicy) -> Result<Answer, IngestError> {
        let (answer, answered) = oneshot::channel();
        let shard = &self.shards[self.shard_of(&event)];
        let worth = Worth::of(&event.event.kind);
        let sender =
            Sender { answer: Some(answer), span: tracing::Span::current(), counters: self.counters.clone() };
        let waiting = Waiting { event, policy, sender };
        let room = match self.try_reserve(shard, worth) {
            Ok(Some(room)) => Ok(room),
            Ok(None) => Err(IngestError::Shed { retry_after: BUSY_RETRY_AFTER }),
            Err(mpsc::error::TrySendError::Full(())) if worth == Worth::Form => {
                self.wait_for_room(shard).await
            }
            Err(mpsc::error::TrySendError::Full(())) if worth == Worth::Spared => {
                Err(IngestError::Shed { retry_after: BUSY_RETRY_AFTER })
            }
            Err(mpsc::error::TrySendError::Full(())) => Err(busy()),
            Err(mpsc::error::TrySendError::Closed(())) => Err(IngestError::ShuttingDown),
        };
        match room {
            Ok(room) => {
                // Before the shard can count it out.
                self.measures.queued.increment(1.0);
                room.send(waiting);
            }
            Err(error) => waiting.sender.refuse(error),
        }
        answered.await.unwrap_or(Err(IngestError::ShuttingDown))
    }

    /// A place in the queue; `None` where those that are left are not for what can be spared.
    fn try_reserve<'a>(
        &self,
        shard: &'a mpsc::Sender<Waiting>,
        worth: Worth,
    ) -> Result<Option<mpsc::Permit<'a, Waiting>>, mpsc::error::TrySendError<()>> {
        // One at a time: of two that each hold a place while they look how many are left, both would be turned away.
        let _alone = self.reserving.lock().unwrap_or_else(PoisonError::into_inner);
        let room = shard.try_reserve()?;
        let is_kept = worth == Worth::Spared && shard.capacity() < kept_free(shard.max_capacity());
        Ok((!is_kept).then_some(room))
    }

    async fn wait_for_room<'a>(
        &self,
        shard: &'a mpsc::Sender<Waiting>,
    ) -> Result<mpsc::Permit<'a, Waiting>, IngestError> {
        let _waits = self.room_for_forms.try_acquire().map_err(|_no_room| busy())?;
        match tokio::time::timeout(FORM_WAIT_MAX, shard.reserve()).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_closed)) => Err(IngestError::ShuttingDown),
            Err(_elapsed) => Err(busy()),
        }
    }

    /// The events of each group, once committed. A watcher that falls behind misses groups; nobody waits for it.
    pub fn watch(&self) -> broadcast::Receiver<Arc<[StoredEvent]>> {
        self.committed.subscribe()
    }

    fn shard_of(&self, collected: &Collected) -> usize {
        let event = &collected.event;
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let hash = hasher.hash_one((event.project_id, event.visitor.cookie()));
        let shards = u64::try_from(self.shards.len()).unwrap_or(1);
        usize::try_from(hash % shards).unwrap_or(0)
    }
}

impl IngestTasks {
    /// Returns once every queued event has been answered, after the last [`Ingest`] is gone.
    pub async fn finished(self) {
        for task in self.0 {
            if let Err(error) = task.await {
                tracing::error!(error = cause(&error), "a task that takes in events ended early");
            }
        }
    }
}

struct Shard {
    queue: mpsc::Receiver<Waiting>,
    visits: Arc<dyn Visits>,
    group_max: usize,
    committed: broadcast::Sender<Arc<[StoredEvent]>>,
    measures: GroupMeasures,
}

impl Shard {
    async fn run(mut self) {
        let mut group = Vec::with_capacity(self.group_max);
        while self.queue.recv_many(&mut group, self.group_max).await > 0 {
            self.measures.queued.decrement(number(group.len()));
            self.measures.events.record(number(group.len()));
            let outcome = self.commit_group(std::mem::take(&mut group)).await;
            if outcome == Outcome::StoreDown {
                self.turn_away_the_queue();
            }
        }
    }

    /// While the store is down, waiting longer helps nobody: whoever is queued learns at once to try again.
    fn turn_away_the_queue(&mut self) {
        while let Ok(waiting) = self.queue.try_recv() {
            self.measures.queued.decrement(1.0);
            waiting.sender.refuse(IngestError::Unavailable { retry_after: UNAVAILABLE_RETRY_AFTER });
        }
    }

    async fn commit_group(&self, group: Vec<Waiting>) -> Outcome {
        let started = Instant::now();
        let (events, senders) = parts(group);
        let outcome = self.commit_or_refuse(events, senders, started).await;
        self.measures.seconds.record(seconds(started.elapsed()));
        outcome
    }

    async fn commit_or_refuse(&self, events: Vec<Entry>, senders: Vec<Sender>, started: Instant) -> Outcome {
        match self.decide_and_commit(&events).await {
            Ok(answers) => {
                tracing::debug!(
                    batch.len = events.len(),
                    duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                    "committed a group of events"
                );
                answer_all(senders, answers);
                Outcome::Done
            }
            Err(error) if is_outage(&error) => {
                tracing::warn!(
                    batch.len = events.len(),
                    error = cause(&error),
                    "the store did not take a group of events"
                );
                for sender in senders {
                    sender.refuse(IngestError::Unavailable { retry_after: UNAVAILABLE_RETRY_AFTER });
                }
                Outcome::StoreDown
            }
            Err(error) => {
                tracing::warn!(
                    batch.len = events.len(),
                    error = cause(&error),
                    "a group of events was rejected; its members are tried one by one"
                );
                self.commit_singly(events, senders).await
            }
        }
    }

    /// One bad event must not fail its neighbours.
    async fn commit_singly(&self, events: Vec<Entry>, senders: Vec<Sender>) -> Outcome {
        let mut outcome = Outcome::Done;
        for (event, sender) in events.into_iter().zip(senders) {
            if outcome == Outcome::StoreDown {
                sender.refuse(IngestError::Unavailable { retry_after: UNAVAILABLE_RETRY_AFTER });
                continue;
            }
            match self.decide_and_commit(std::slice::from_ref(&event)).await {
                Ok(answers) => answer_all(vec![sender], answers),
                Err(error) => {
                    sender.span.in_scope(|| {
                        tracing::error!(
                            event.id = %event.0.event.id,
                            error = cause(&error),
                            "the store did not take an event"
                        );
                    });
                    if is_outage(&error) {
                        outcome = Outcome::StoreDown;
                    }
                    // Only an event that is itself at fault is refused for good: whoever sent it would drop it.
                    sender.refuse(match error {
                        StoreError::Rejected(_) | StoreError::Taken(_) => IngestError::Rejected,
                        StoreError::Transient(_)
                        | StoreError::Stale
                        | StoreError::Corrupt { .. }
                        | StoreError::LeaseLost => {
                            IngestError::Unavailable { retry_after: UNAVAILABLE_RETRY_AFTER }
                        }
                    });
                }
            }
        }
        outcome
    }

    async fn decide_and_commit(&self, entries: &[Entry]) -> Result<Vec<Answer>, StoreError> {
        let events: Vec<Collected> = entries.iter().map(|(event, _)| event.clone()).collect();
        let policies: Policies =
            entries.iter().map(|(event, policy)| (event.event.project_id, policy.clone())).collect();
        let mut query = query_for(&events);
        let mut retries = 0;
        loop {
            let known = self.visits.load(&query).await?;
            let Decision { changes, answers } = ingest(&known, &events, &policies);
            let committed = if changes.events.is_empty() {
                Ok(())
            } else {
                let began = Instant::now();
                let committed = self.visits.commit(&changes).await;
                self.measures.commit_seconds.record(seconds(began.elapsed()));
                committed
            };
            match committed {
                Ok(()) => {
                    if self.committed.receiver_count() > 0 && !changes.events.is_empty() {
                        // Nobody listening any more is fine.
                        self.committed.send(changes.events.into()).ok();
                    }
                    return Ok(answers);
                }
                Err(StoreError::Stale) if retries < STALE_RETRIES_MAX => {
                    retries += 1;
                    self.measures.stale.increment(1);
                    for freshness in query.visitors.values_mut() {
                        *freshness = Freshness::Current;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

type Entry = (Collected, IngestPolicy);

/// Who waits for an answer. What becomes of the event is counted here, once.
struct Sender {
    answer: Option<oneshot::Sender<Result<Answer, IngestError>>>,
    /// The span of the request that the event came with.
    span: tracing::Span,
    counters: EventCounters,
}

impl Sender {
    fn refuse(self, error: IngestError) {
        self.tell(Err(error));
    }

    fn tell(mut self, answer: Result<Answer, IngestError>) {
        let outcome = match &answer {
            Ok(answer) if answer.duplicate => EventOutcome::Duplicate,
            Ok(_) => EventOutcome::Stored,
            Err(error) => error.into(),
        };
        self.counters.count(outcome);
        if let Some(sender) = self.answer.take() {
            // A sender that has gone away does not need its answer.
            sender.send(answer).ok();
        }
    }
}

impl Drop for Sender {
    /// Whoever waited for room went away, or the task that took it in ended early.
    fn drop(&mut self) {
        if self.answer.is_some() {
            self.counters.count(EventOutcome::Abandoned);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    StoreDown,
}

fn parts(group: Vec<Waiting>) -> (Vec<Entry>, Vec<Sender>) {
    group.into_iter().map(|waiting| ((waiting.event, waiting.policy), waiting.sender)).unzip()
}

fn answer_all(senders: Vec<Sender>, answers: Vec<Answer>) {
    for (sender, answer) in senders.into_iter().zip(answers) {
        sender.tell(Ok(answer));
    }
}

/// Whether the store is out of reach, for whatever it is asked. A state that changes again and again is none: another
/// visitor's may stand still.
fn is_outage(error: &StoreError) -> bool {
    match error {
        StoreError::Transient(_) => true,
        StoreError::Stale
        | StoreError::Rejected(_)
        | StoreError::Taken(_)
        | StoreError::Corrupt { .. }
        | StoreError::LeaseLost => false,
    }
}
