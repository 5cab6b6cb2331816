//! Reading a request's body: by its declared form, within a bound of size and of time.
//!
//! A body that is not read to its end needs care: of a chunked one that is dropped, the HTTP layer (actix-http 3.20)
//! awaits the end without a bound, and the connection with it. One that is still held when the answer goes out makes it
//! close the connection instead.

use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{HttpMessage as _, HttpRequest};
use futures::StreamExt as _;
use tokio::sync::SemaphorePermit;

use crate::connection::{Sending, Watched};
use crate::message::{BATCH_BYTES_MAX, EVENT_BYTES_MAX};
use crate::refusal::Refusal;
use crate::server::State;

/// A body as far as it is not read yet.
struct Unread(Payload);

/// Sets a request's body aside, for [`read`].
pub(crate) fn set_aside(request: &mut ServiceRequest) {
    let payload = request.take_payload();
    request.extensions_mut().insert(Unread(payload));
}

/// Holds what of the body was not read until the answer is written, and keeps watch meanwhile.
pub(crate) fn hold<B: MessageBody + 'static>(
    response: ServiceResponse<B>,
    connection: Option<Rc<Watched>>,
) -> ServiceResponse<Holding> {
    let unread = response.request().extensions_mut().remove::<Unread>();
    let sending = connection.map(Sending::on);
    response.map_body(|_head, answer| Holding { answer: answer.boxed(), sending, _unread: unread })
}

/// An answer's body that holds the request's.
pub(crate) struct Holding {
    answer: BoxBody,
    sending: Option<Sending>,
    _unread: Option<Unread>,
}

impl MessageBody for Holding {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = self.answer.as_pin_mut().poll_next(context);
        match (&self.sending, &next) {
            (Some(sending), Poll::Ready(_)) => sending.went_on(),
            (Some(sending), Poll::Pending) => sending.is_made(),
            (None, _) => {}
        }
        next
    }
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unreadable {
    /// This header says that it is in a form that is not read.
    Form(&'static str, &'static str),
    /// It is larger than so many bytes.
    TooLarge(usize),
    /// It broke off.
    Broken,
    /// It did not come in time.
    TooSlow,
    /// There is no room for another large one.
    NoRoom,
}

/// A whole body, with the room it takes where it is large.
pub(crate) struct Body<'a> {
    pub(crate) bytes: BytesMut,
    _room: Option<SemaphorePermit<'a>>,
}

/// Reads the body of a message.
///
/// # Errors
/// It is compressed or of another type than JSON or text; it is larger than any message; it does not come in time;
/// there is no room for it now.
pub(crate) async fn read<'a>(state: &'a State, request: &HttpRequest) -> Result<Body<'a>, Refusal> {
    let content_type = essence(request.headers());
    let is_read = [&b"application/json"[..], b"text/plain", b""]
        .iter()
        .any(|known| content_type.is_none_or(|essence| essence.eq_ignore_ascii_case(known)));
    if !is_read {
        return Err(Unreadable::Form("content-type", "is neither application/json nor text/plain").into());
    }
    Ok(read_whole(state, request, BATCH_BYTES_MAX).await?)
}

/// Reads a body that is JSON and says so, of at most `bytes_max` bytes.
///
/// # Errors
/// As [`read`], but for another type than JSON.
pub(crate) async fn read_json<'a>(
    state: &'a State,
    request: &HttpRequest,
    bytes_max: usize,
) -> Result<Body<'a>, Unreadable> {
    let is_json = essence(request.headers()).is_some_and(|essence| {
        [&b"application/json"[..], b"application/merge-patch+json"]
            .iter()
            .any(|known| essence.eq_ignore_ascii_case(known))
    });
    if !is_json {
        return Err(Unreadable::Form("content-type", "is not application/json"));
    }
    read_whole(state, request, bytes_max).await
}

async fn read_whole<'a>(
    state: &'a State,
    request: &HttpRequest,
    bytes_max: usize,
) -> Result<Body<'a>, Unreadable> {
    let headers = request.headers();
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(Unreadable::Form("content-encoding", "compressed bodies are not read"));
    }
    let declared = declared_bytes(headers);
    if declared.is_some_and(|bytes| bytes > bytes_max) {
        return Err(Unreadable::TooLarge(bytes_max));
    }
    let unread = request.extensions_mut().remove::<Unread>();
    let Unread(mut payload) = unread.unwrap_or(Unread(Payload::None));
    let whole = gather(state, &mut payload, declared.unwrap_or(0), bytes_max);
    let body = tokio::time::timeout(state.collector.settings.body_timeout, whole).await;
    request.extensions_mut().insert(Unread(payload));
    body.unwrap_or(Err(Unreadable::TooSlow))
}

async fn gather<'a>(
    state: &'a State,
    payload: &mut Payload,
    declared: usize,
    bytes_max: usize,
) -> Result<Body<'a>, Unreadable> {
    let mut bytes = BytesMut::with_capacity(declared.min(EVENT_BYTES_MAX));
    let mut room = None;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_broken| Unreadable::Broken)?;
        let length = bytes.len() + chunk.len();
        if length > bytes_max {
            return Err(Unreadable::TooLarge(bytes_max));
        }
        if length > EVENT_BYTES_MAX && room.is_none() {
            room = Some(state.large_bodies.try_acquire().map_err(|_no_room| Unreadable::NoRoom)?);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body { bytes, _room: room })
}

fn declared_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The content type without its parameters.
fn essence(headers: &HeaderMap) -> Option<&[u8]> {
    let content_type = headers.get(CONTENT_TYPE)?;
    Some(content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii())
}
