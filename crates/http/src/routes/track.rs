//! `POST /api/track`: one event, or a batch.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::future::join_all;
use leadtrail_domain::event::{RawEvent, Unwanted};
use leadtrail_domain::id::{EventId, SessionId, VisitorCookie, VisitorId};
use leadtrail_domain::touch::Attribution;
use leadtrail_domain::visit::Answer;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::description::{
    Answer as Described, Body, Content, Header, LIMITED, Operation, Tag, read, written,
};
use crate::limits::Allowance;
use crate::message::{BATCH_EVENTS_MAX, Message, Text};
use crate::refusal::{Refusal, RefusalBody};
use crate::sender::Sender;
use crate::server::State;
use crate::take::{Taken, take};
use crate::{access, body, cors};

/// Why an event was not kept, where the project wants it so or an image cannot say it.
pub(super) const X_LEADTRAIL_DROPPED: HeaderName = HeaderName::from_static("x-leadtrail-dropped");

/// What one event of a batch is answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchItem")]
#[serde(untagged)]
enum ItemBody<'a> {
    Stored(StoredBody<'a>),
    /// The project does not want it kept.
    Dropped {
        #[schemars(extend("const" = true))]
        success: bool,
        /// Why.
        #[schemars(extend("enum" = ["bot", "gpc"]))]
        dropped: &'static str,
        /// Of a bot: what gave it away.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    },
    Refused(RefusalBody<'a>),
}

/// An event that is stored.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StoredEvent")]
struct StoredBody<'a> {
    #[schemars(extend("const" = true))]
    success: bool,
    event_id: EventId,
    /// Absent where the visit may not be linked to others.
    visitor_id: Option<VisitorId>,
    session_id: Option<SessionId>,
    /// What the visitor is recognised by.
    visitor_cookie: Option<&'a VisitorCookie>,
    attribution: &'a Attribution,
    /// Whether the event was stored before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// The answers to a batch, in its order.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchAnswer")]
struct BatchBody<'a> {
    #[schemars(extend("const" = true))]
    success: bool,
    results: Vec<ItemBody<'a>>,
}

pub(super) const POST: Operation = Operation {
    id: "track",
    tag: Tag::Collecting,
    summary: "Take in one event, or a batch",
    detail: "Answered once it is durable. An event whose id is stored already is answered as it was, and marked as a \
             duplicate. An event of a batch that is wrong costs no other. A server sends a key of scope `ingest` along, \
             so that its own user agent makes no bot of its visitors.",
    path: None,
    query: &[],
    body: Some(Body {
        media_types: &["application/json", "text/plain"],
        schema: |schemas| {
            let event = read::<RawEvent<'static>>(schemas);
            let batch = json!({"type": "array", "items": event, "maxItems": BATCH_EVENTS_MAX});
            let batch = json!({
                "type": "object", "properties": {"batch": batch}, "required": ["batch"],
                "description": "Several events, 1 MiB at most.",
            });
            schemas.add("Message", json!({"anyOf": [event, batch]}))
        },
    }),
    answers: &[
        Described::json(StatusCode::OK, "It is stored; or each event of the batch is answered.", |schemas| {
            let (one, batch) =
                (written::<StoredBody<'static>>(schemas), written::<BatchBody<'static>>(schemas));
            json!({"anyOf": [one, batch]})
        }),
        Described::empty(
            StatusCode::NO_CONTENT,
            "The project does not want it kept: a bot, or Global Privacy Control.",
        )
        .with(&[Header::Dropped]),
        refused(StatusCode::BAD_REQUEST, "It is no event, or its pixel collects nothing."),
        refused(StatusCode::FORBIDDEN, "The pixel is not for this site."),
        refused(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time."),
        refused(StatusCode::PAYLOAD_TOO_LARGE, "The event is larger than 64 KiB, or the batch than 1 MiB."),
        refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is neither JSON nor text, or is compressed."),
        refused(
            StatusCode::TOO_MANY_REQUESTS,
            "The client sends more often than it may: to be sent again later.",
        )
        .with(LIMITED),
        refused(StatusCode::SERVICE_UNAVAILABLE, "It cannot be stored now: to be sent again as it is.")
            .with(&[Header::RetryAfter]),
    ],
};

pub(super) const PREFLIGHT: Operation = Operation {
    id: "trackPreflight",
    tag: Tag::Collecting,
    summary: "Ask whether a page may send events",
    detail: "What browsers ask by themselves before some requests to another origin.",
    path: None,
    query: &[],
    body: None,
    answers: &[Described::empty(StatusCode::NO_CONTENT, "It may.")],
};

/// The same at the path of the tool that this replaces.
pub(super) const POST_ALIAS: Operation =
    Operation { id: "trackAlias", summary: "Take in one event, or a batch (older path)", ..POST };

pub(super) const PREFLIGHT_ALIAS: Operation = Operation {
    id: "trackAliasPreflight",
    summary: "Ask whether a page may send events (older path)",
    ..PREFLIGHT
};

const fn refused(status: StatusCode, about: &'static str) -> Described {
    Described { status, about, content: Content::Json(written::<RefusalBody<'static>>), headers: &[] }
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
