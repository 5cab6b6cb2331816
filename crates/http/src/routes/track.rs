//! `POST /api/track`: one event, or a batch.

use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::future::join_all;
use leadtrail_domain::event::{RawEvent, Unwanted};
use leadtrail_domain::id::{EventId, SessionId, VisitorCookie, VisitorId};
use leadtrail_domain::touch::Attribution;
use leadtrail_domain::visit::Answer;
use serde::Serialize;

use crate::limits::Allowance;
use crate::message::{Message, Text};
use crate::refusal::{Refusal, RefusalBody};
use crate::sender::Sender;
use crate::server::State;
use crate::take::{Taken, take};
use crate::{access, body, cors};

/// Why an event was not kept, where the project wants it so or an image cannot say it.
pub(super) const X_LEADTRAIL_DROPPED: HeaderName = HeaderName::from_static("x-leadtrail-dropped");

/// What one event of a batch is answered.
#[derive(Serialize)]
#[serde(untagged)]
enum ItemBody<'a> {
    Stored(StoredBody<'a>),
    Dropped {
        success: bool,
        dropped: &'static str,
        /// Of a bot: what gave it away.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    Refused(RefusalBody<'a>),
}

#[derive(Serialize)]
struct StoredBody<'a> {
    success: bool,
    event_id: EventId,
    visitor_id: Option<VisitorId>,
    session_id: Option<SessionId>,
    visitor_cookie: Option<&'a VisitorCookie>,
    attribution: &'a Attribution,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

#[derive(Serialize)]
struct BatchBody<'a> {
    success: bool,
    results: Vec<ItemBody<'a>>,
}

pub(super) async fn preflight(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    cors::preflight(&state.sender(&request))
}

pub(super) async fn post(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let sender = state.sender(&request);
    let allowance = Allowance::of(&state.limiters, state.client(&request));
    let answer = answer(&state, &sender, &allowance, &request).await;
    let mut response = answer.unwrap_or_else(|refusal| refusal.response());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    allowance.tell(response.headers_mut());
    cors::allow(&sender, &mut response);
    response
}

async fn answer(
    state: &State,
    sender: &Sender<'_>,
    allowance: &Allowance<'_>,
    request: &HttpRequest,
) -> Result<HttpResponse, Refusal> {
    // What cannot be judged as an event counts as one, and costs one.
    let refused = |refusal| counted(state, allowance.charge_refused(refusal), 1);
    let body = body::read(state, request).await.map_err(refused)?;
    let text = Text::of(&body.bytes);
    let message = text.message().map_err(refused)?;
    let key = access::offered_key(state, request, state.collector.clock.now()).await;
    let key = key.map_err(|error| counted(state, error.into(), message.events()))?;
    let key = key.as_deref();
    match message {
        Message::Single(raw) => take(state, sender, key, allowance, &raw).await.map(single),
        Message::Batch(items) => {
            if items.is_empty() {
                allowance.charge(&RawEvent::default())?;
            }
            // They are charged in their order: each is polled as far as that before the next.
            let items = items.into_iter().map(async |item| {
                let raw = item.map_err(refused)?;
                take(state, sender, key, allowance, &raw).await
            });
            let taken = join_all(items).await;
            Ok(batch(taken))
        }
    }
}

/// Counts so many events that never come to be judged one by one.
fn counted(state: &State, refusal: Refusal, events: usize) -> Refusal {
    for _ in 0..events {
        state.measures.events.received().ended(refusal.outcome());
    }
    refusal
}

fn single(taken: Taken) -> HttpResponse {
    match taken {
        Taken::Stored { answer, set_cookie } => {
            let mut response = HttpResponse::Ok();
            if let Some(cookie) = set_cookie {
                response.insert_header((SET_COOKIE, cookie));
            }
            response.json(stored(&answer))
        }
        Taken::Dropped(unwanted) => {
            HttpResponse::NoContent().insert_header((X_LEADTRAIL_DROPPED, in_a_header(&unwanted))).finish()
        }
    }
}

/// Answers each event in its place. Where none was taken and one may be later, the whole batch is put off, so that
/// its sender keeps it.
fn batch(mut taken: Vec<Result<Taken, Refusal>>) -> HttpResponse {
    if !taken.iter().any(Result::is_ok)
        && let Some(index) = taken.iter().position(|one| one.as_ref().is_err_and(Refusal::is_temporary))
        && let Err(refusal) = taken.swap_remove(index)
    {
        return refusal.response();
    }
    let mut response = HttpResponse::Ok();
    let cookie = taken.iter().find_map(|one| match one {
        Ok(Taken::Stored { set_cookie, .. }) => set_cookie.as_deref(),
        Ok(Taken::Dropped(_)) | Err(_) => None,
    });
    if let Some(cookie) = cookie {
        response.insert_header((SET_COOKIE, cookie));
    }
    let results = taken.iter().map(|one| match one {
        Ok(Taken::Stored { answer, .. }) => ItemBody::Stored(stored(answer)),
        Ok(Taken::Dropped(unwanted)) => {
            let (dropped, reason) = named(unwanted);
            ItemBody::Dropped { success: true, dropped, reason }
        }
        Err(refusal) => ItemBody::Refused(refusal.body()),
    });
    response.json(BatchBody { success: true, results: results.collect() })
}

/// Why an event was dropped in one word, and of a bot what gave it away.
fn named(unwanted: &Unwanted) -> (&'static str, Option<&str>) {
    match unwanted {
        Unwanted::Bot(reason) => ("bot", Some(reason)),
        Unwanted::Gpc => ("gpc", None),
    }
}

/// As `bot: Googlebot/` or `gpc`.
fn in_a_header(unwanted: &Unwanted) -> HeaderValue {
    let (word, reason) = named(unwanted);
    let whole = reason.and_then(|reason| HeaderValue::from_str(&format!("{word}: {reason}")).ok());
    whole.unwrap_or_else(|| HeaderValue::from_static(word))
}

fn stored(answer: &Answer) -> StoredBody<'_> {
    StoredBody {
        success: true,
        event_id: answer.event_id,
        visitor_id: answer.visitor_id,
        session_id: answer.session_id,
        visitor_cookie: answer.visitor_cookie.as_ref(),
        attribution: &answer.attribution,
        duplicate: answer.duplicate,
    }
}
