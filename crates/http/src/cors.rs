//! Which pages may read an answer of the tracking routes.

use actix_web::HttpResponse;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue, VARY,
};
use leadtrail_domain::web_url::HostPattern;

use crate::security::CROSS_ORIGIN_RESOURCE_POLICY;
use crate::sender::Sender;

/// How long a browser may remember the answer to a preflight: Firefox's bound.
const PREFLIGHT_SECONDS: &str = "86400";

/// What of an answer a page may read beside its body.
const EXPOSED: &str = "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, X-Request-Id, \
                       X-Leadtrail-Dropped";

/// Whether pages of `host` may use a pixel with these origins; `None` is a page without a host, such as a sandboxed
/// frame.
pub(crate) fn is_listed(origins: &[HostPattern], host: Option<&str>) -> bool {
    origins.is_empty() || host.is_some_and(|host| origins.iter().any(|origin| origin.matches(host)))
}

/// Lets the sender's page read the answer. Only a page of our own site may send cookies along, since only its cookies
/// are ours.
pub(crate) fn allow(sender: &Sender<'_>, response: &mut HttpResponse) {
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    // A beacon does not ask for leave, and reads nothing.
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    let Some(origin) = &sender.origin else { return };
    if origin.host.as_deref().is_some_and(|host| sender.is_same_site_as(host)) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.header.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    } else {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}

/// The answer to a preflight. The pixel is in the body still to come, so its origins are not known yet.
pub(crate) fn preflight(sender: &Sender<'_>) -> HttpResponse {
    let mut response = HttpResponse::NoContent()
        .insert_header((ACCESS_CONTROL_ALLOW_METHODS, "POST, OPTIONS"))
        .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, X-Request-Id"))
        .insert_header((ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS))
        .finish();
    allow(sender, &mut response);
    response
}
