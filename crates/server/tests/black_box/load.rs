//! Many clients at once, and a ledger of what they were promised.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::EventId;
use leadtrail_domain::time::Timestamp;
use serde_json::{Value, json};

use crate::client::Connection;

pub(crate) const PIXEL: &str = "black-box";

/// Every so many events one is a form.
const FORM_EVERY: usize = 25;
/// Every so many sends one is a second copy of an event, sent by whichever client comes to it.
const COPY_EVERY: usize = 9;
/// Every so many sends a client hangs up before the answer, and then sends the same again.
const HANG_UP_EVERY: usize = 31;
const VISITORS: usize = 40;
/// How long a client that could not send waits before it tries again.
const RETRY_AFTER: Duration = Duration::from_millis(5);

/// An event as a client sends it.
pub(crate) struct Event {
    pub(crate) id: EventId,
    pub(crate) cookie: String,
    pub(crate) page_url: String,
    /// Of a form; each has its own.
    pub(crate) email: Option<String>,
    pub(crate) campaign: String,
    pub(crate) body: String,
}

impl Event {
    /// The `number`th event of a load that began at `at`.
    fn new(at: Timestamp, number: usize) -> Self {
        let visitor = number % VISITORS;
        let id = id(at, number);
        let cookie = format!("visitor-{visitor:04}");
        let campaign = format!("campaign-{visitor}");
        let page_url = format!("https://shop.example/page/{number}?utm_source=ads&utm_campaign={campaign}");
        let email = number.is_multiple_of(FORM_EVERY).then(|| format!("lead-{number}@example.com"));
        let mut body = json!({
            "pixel_id": PIXEL, "event_id": id, "visitor_cookie": cookie, "page_url": page_url,
            "page_title": format!("Page {number}"),
        });
        if let Some(email) = &email {
            body["event_type"] = Value::from("form_submit");
            body["form_data"] =
                json!({"email": email, "first_name": "Lead", "last_name": format!("No {number}")});
        }
        Self { id, cookie, page_url, email, campaign, body: body.to_string() }
    }

    /// Whether this is what became of it.
    pub(crate) fn is(&self, stored: &StoredEvent) -> bool {
        let event = &stored.event;
        let email = event.form.as_ref().and_then(|form| form.email.as_ref());
        event.id == self.id
            && event.page_url == self.page_url
            && event.visitor.cookie().map(leadtrail_domain::id::VisitorCookie::as_str) == Some(&self.cookie)
            && email.map(leadtrail_domain::email::EmailAddress::as_str) == self.email.as_deref()
            && stored.lead_id.is_some() == self.email.is_some()
    }
}

/// A `UUIDv7` of `at`.
fn id(at: Timestamp, number: usize) -> EventId {
    let millis = u64::try_from(at.millis()).unwrap_or_default();
    let mut rest = [0; 10];
    rest[2..].copy_from_slice(&u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes());
    EventId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid())
}

/// So many different events, of people who begin at `at`.
pub(crate) fn events(at: Timestamp, count: usize) -> Vec<Event> {
    (0..count).map(|number| Event::new(at, number)).collect()
}

/// What clients were answered, and whether they may stop.
#[derive(Default)]
pub(crate) struct Ledger {
    promises: Mutex<Promises>,
    grown: Condvar,
    /// Set when the service is known to be gone: until then, whoever gets no answer tries again.
    pub(crate) gone: AtomicBool,
}

#[derive(Default)]
pub(crate) struct Promises {
    /// The answer to each acknowledged event, without `duplicate`.
    pub(crate) acked: BTreeMap<EventId, Value>,
    /// Answers that said `duplicate`.
    pub(crate) duplicates: usize,
    /// Events that a client hung up on.
    pub(crate) abandoned: BTreeSet<EventId>,
    /// Sends whose connection broke before the answer.
    pub(crate) broken: usize,
    /// What no client should ever see.
    pub(crate) violations: Vec<String>,
}

impl Ledger {
    /// What every client was promised, once they are done.
    pub(crate) fn into_promises(self) -> Promises {
        self.promises.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn promises(&self) -> MutexGuard<'_, Promises> {
        self.promises.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once so many events are acknowledged; `false` when they are not within `at_most`.
    pub(crate) fn wait_for_acks(&self, count: usize, at_most: Duration) -> bool {
        let waited =
            self.grown.wait_timeout_while(self.promises(), at_most, |promises| promises.acked.len() < count);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn ack(&self, id: EventId, mut answer: Value) {
        let duplicate = answer.as_object_mut().and_then(|answer| answer.remove("duplicate"));
        let mut promises = self.promises();
        promises.duplicates += usize::from(duplicate == Some(Value::Bool(true)));
        if let Some(earlier) = promises.acked.insert(id, answer.clone())
            && earlier != answer
        {
            promises.violations.push(format!("{id} was answered {earlier} and then {answer}"));
        }
        drop(promises);
        self.grown.notify_all();
    }
}

/// Sends `events` in their order, some twice, from several clients at once that try again until they are answered.
/// Returns when all are, or the service is gone.
pub(crate) fn send(address: SocketAddr, events: &[Event], clients: usize, ledger: &Ledger) {
    let mut queue: Vec<&Event> = Vec::new();
    for (index, event) in events.iter().enumerate() {
        queue.push(event);
        if index.is_multiple_of(COPY_EVERY) {
            queue.push(event);
        }
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _client in 0..clients {
            scope.spawn(|| {
                let mut connection = None;
                while let Some((turn, event)) = take(&next, &queue) {
                    deliver(address, &mut connection, event, turn.is_multiple_of(HANG_UP_EVERY), ledger);
                }
            });
        }
    });
}

fn take<'e>(next: &AtomicUsize, queue: &[&'e Event]) -> Option<(usize, &'e Event)> {
    let turn = next.fetch_add(1, Ordering::Relaxed);
    queue.get(turn).map(|event| (turn, *event))
}

fn deliver(
    address: SocketAddr,
    connection: &mut Option<Connection>,
    event: &Event,
    mut hang_up: bool,
    ledger: &Ledger,
) {
    while !ledger.gone.load(Ordering::Acquire) {
        let Some(mut open) = connection.take().or_else(|| Connection::open(address).ok()) else {
            std::thread::sleep(RETRY_AFTER);
            continue;
        };
        if std::mem::take(&mut hang_up) && open.send(&event.body).is_ok() {
            ledger.promises().abandoned.insert(event.id);
            continue;
        }
        match open.track(&event.body) {
            Ok(reply) if reply.status == 200 => {
                ledger.ack(event.id, reply.body);
                *connection = (!reply.closes).then_some(open);
                return;
            }
            Ok(reply) if reply.status == 503 => std::thread::sleep(RETRY_AFTER),
            Ok(reply) => {
                ledger.promises().violations.push(format!("{} was answered {reply:?}", event.id));
                return;
            }
            Err(_broken) => ledger.promises().broken += 1,
        }
    }
}
