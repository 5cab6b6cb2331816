//! What every response carries, and the span every request runs in.

use std::time::Instant;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, web};
use tracing::Instrument;

use crate::connection::Connection;
use crate::measures::{NO_ROUTE, method_label};
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
    // Of the highest level, so that it is there whatever is logged: an error without its request's name helps nobody.
    let span = tracing::error_span!("http.request", request.id = id.as_str());
    let is_https = state.is_https(request.request());
    let connection = request.conn_data().map(Connection::began);
    body::set_aside(&mut request);
    let began = Instant::now();
    let mut response = next.call(request).instrument(span.clone()).await?;
    // The pattern, never the path: a path may hold anything.
    let pattern = response.request().match_pattern();
    let route = pattern.as_deref().unwrap_or(NO_ROUTE);
    let (status, took) = (response.status(), began.elapsed());
    state.measures.answered(response.request().method(), route, status, took);
    span.in_scope(|| {
        tracing::debug!(
            http.method = method_label(response.request().method()),
            http.route = route,
            http.status = status.as_u16(),
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "answered"
        );
    });
    response.headers_mut().insert(X_REQUEST_ID, id.0);
    security::set(response.headers_mut(), status, is_https);
    let is_empty = matches!(response.response().body().size(), BodySize::None | BodySize::Sized(0));
    if let Some(connection) = connection.as_ref().filter(|_| is_empty) {
        connection.room().await;
    }
    Ok(body::hold(response, connection))
}
