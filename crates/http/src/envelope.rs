//! What every response carries, and the span every request runs in.

use std::time::Instant;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, web};
use tracing::Instrument;

use crate::connection::Connection;
use crate::server::State;
use crate::{body, security};

/// The header that names a request, in both directions.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest name a client may give.
const CLIENT_ID_BYTES_MAX: usize = 64;

/// The name of a request: the client's own where it is harmless, otherwise a random one.
#[derive(Clone)]
struct RequestId(HeaderValue);

impl RequestId {
    fn of(request: &ServiceRequest) -> Self {
        let sent = request.headers().get(X_REQUEST_ID).filter(|value| {
            let bytes = value.as_bytes();
            (1..=CLIENT_ID_BYTES_MAX).contains(&bytes.len())
                && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        });
        Self(sent.cloned().unwrap_or_else(|| {
            HeaderValue::try_from(crate::sender::random_hex::<8>())
                .expect("hexadecimal digits are a header value")
        }))
    }

    fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// The name of `request`, as its response carries it.
pub(crate) fn request_id(request: &HttpRequest) -> String {
    request.extensions().get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default()
}

pub(crate) async fn stamp<B: MessageBody + 'static>(
    state: web::Data<State>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<body::Holding>, Error> {
    let id = RequestId::of(&request);
    request.extensions_mut().insert(id.clone());
    let span = tracing::info_span!(
        "http.request",
        request.id = id.as_str(),
        http.method = request.method().as_str(),
        http.route = tracing::field::Empty,
        http.status = tracing::field::Empty,
        duration_ms = tracing::field::Empty,
    );
    let is_https = state.is_https(request.request());
    let connection = request.conn_data().map(Connection::began);
    body::set_aside(&mut request);
    let began = Instant::now();
    let mut response = next.call(request).instrument(span.clone()).await?;
    if !span.is_disabled() {
        // The pattern, never the path: a path may hold anything.
        span.record("http.route", response.request().match_pattern().as_deref().unwrap_or("none"));
        span.record("http.status", response.status().as_u16());
        span.record("duration_ms", u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        span.in_scope(|| tracing::debug!("answered"));
    }
    response.headers_mut().insert(X_REQUEST_ID, id.0);
    let status = response.status();
    security::set(response.headers_mut(), status, is_https);
    let is_empty = matches!(response.response().body().size(), BodySize::None | BodySize::Sized(0));
    if let Some(connection) = connection.as_ref().filter(|_| is_empty) {
        connection.room().await;
    }
    Ok(body::hold(response, connection))
}
