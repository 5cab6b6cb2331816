//! Who may use a route: its class, and the key that a request presents.

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use leadtrail_app::access::View;
use leadtrail_domain::key::{ApiKey, KeySecret, Scope};
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::time::Timestamp;
use url::form_urlencoded;

use crate::collector::MetricsAccess;
use crate::problem::Problem;
use crate::server::State;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Names of query parameters that keys are sent in elsewhere.
const QUERY_NAMES: [&str; 7] =
    ["access_token", "api_key", "api-key", "apikey", "authorization", "key", "x-api-key"];

/// Who may use a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Everybody.
    Public,
    /// Who presents a key that opens this.
    Key(Needs),
    /// Who asks from this machine or a private network himself, or presents a key of scope `admin` that is bound to no
    /// project; [`MetricsAccess`] may say otherwise.
    Local,
}

/// What a key must open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Needs {
    /// One of these scopes; `admin` always does.
    pub scopes: &'static [Scope],
    /// What the route reaches.
    pub reach: Reach,
}

/// What a route reaches, as far as a key that is bound to a project is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// The whole service: not for bound keys.
    Service,
    /// Whatever the key sees: a bound one sees its project alone.
    View,
    /// The one thing that the path names: absent for a bound key of another project.
    Named,
}

/// What is needed of whoever is not near.
pub(crate) const FROM_AFAR: Needs = Needs { scopes: &[Scope::Admin], reach: Reach::Service };

/// Lets in whom the settings let read what [`Class::Local`] is about.
///
/// # Errors
/// `NotFound` where nobody may; as [`key`] for whoever needs one.
pub(crate) async fn local(state: &State, request: &HttpRequest, now: Timestamp) -> Result<(), Problem> {
    let settings = &state.collector.settings;
    let near = || {
        let peer = request.peer_addr();
        peer.is_some_and(|peer| settings.proxies.is_local(peer.ip(), request.headers()))
    };
    match settings.metrics {
        MetricsAccess::Off => Err(Problem::NotFound),
        MetricsAccess::Open => Ok(()),
        MetricsAccess::Local if near() => Ok(()),
        MetricsAccess::Local => admit(&*key(state, request, now).await?, FROM_AFAR),
    }
}

/// The valid key that a request presents.
///
/// # Errors
/// `Malformed` for a key in the address, where logs and histories keep it; `Unauthenticated` without a valid key, or
/// `TooManyRequests` after too many of those.
pub(crate) async fn key(
    state: &State,
    request: &HttpRequest,
    now: Timestamp,
) -> Result<Arc<ApiKey>, Problem> {
    if has_key(request.query_string()) {
        let why = "a key in the address is not taken, since addresses are logged: send it as \
                   `Authorization: Bearer` or `X-API-Key`, and revoke it if it was sent over a network";
        return Err(Problem::Malformed(Cow::Borrowed(why)));
    }
    let Some(presented) = presented(request.headers()) else {
        tracing::debug!("refused: no key, or several");
        return Err(unauthenticated(state, request));
    };
    let Some(key) = state.collector.access.key(presented, now).await? else {
        tracing::info!("refused: no valid key");
        return Err(unauthenticated(state, request));
    };
    Ok(key)
}

/// Every such refusal counts against its address; only those, so that a valid key behind the same one still opens.
fn unauthenticated(state: &State, request: &HttpRequest) -> Problem {
    let standing = state.limiters.charge_failure(state.client(request));
    standing
        .filter(|standing| standing.retry_after.is_some())
        .map_or(Problem::Unauthenticated, Problem::TooManyRequests)
}

/// Whether `key` opens what is needed.
///
/// # Errors
/// `Forbidden` where it does not.
pub(crate) fn admit(key: &ApiKey, needs: Needs) -> Result<(), Problem> {
    // Whether the project is in view is decided by the look-ups, which answer 404.
    if !needs.scopes.iter().any(|scope| key.opens(*scope, key.project_id)) {
        tracing::info!(key.id = %key.id, "refused: the key lacks the scope");
        return Err(Problem::Forbidden("the key lacks the scope for this"));
    }
    if needs.reach == Reach::Service && View::of(key) != View::All {
        tracing::info!(key.id = %key.id, "refused: the key is bound to a project");
        return Err(Problem::Forbidden("the key is bound to a project, and this is not of one"));
    }
    Ok(())
}

/// Whether `key` opens sending events for some project, so that it is a server's, which speaks for many visitors.
pub(crate) fn may_ingest(key: &ApiKey) -> bool {
    key.opens(Scope::Ingest, key.project_id)
}

/// The valid key that a request to a public route presents, if any. One that is not valid opens nothing, and the route
/// is public without it; it counts as a failed authentication all the same.
///
/// # Errors
/// The key cannot be looked up now.
pub(crate) async fn offered_key(
    state: &State,
    request: &HttpRequest,
    now: Timestamp,
) -> Result<Option<Arc<ApiKey>>, StoreError> {
    let Some(presented) = presented(request.headers()) else { return Ok(None) };
    let key = state.collector.access.key(presented, now).await?;
    if key.is_none() {
        state.limiters.charge_failure(state.client(request));
    }
    Ok(key)
}

fn has_key(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| {
        QUERY_NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
            || KeySecret::presented(value.trim()).is_some()
    })
}

/// The one key among the headers; `None` where there is none, or more than one.
fn presented(headers: &HeaderMap) -> Option<&str> {
    let bearers = headers.get_all(AUTHORIZATION).map(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let keys = headers.get_all(X_API_KEY).map(|value| value.to_str().ok().map(str::trim));
    let mut all = bearers.chain(keys);
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn among(headers: &[(&HeaderName, &'static str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append((*name).clone(), HeaderValue::from_static(value));
        }
        presented(&map).map(str::to_owned)
    }

    #[test]
    fn a_key_is_taken_from_either_header_and_not_where_two_differ() {
        assert_eq!(among(&[(&AUTHORIZATION, "Bearer lt_a")]).as_deref(), Some("lt_a"));
        assert_eq!(among(&[(&AUTHORIZATION, "bearer  lt_a ")]).as_deref(), Some("lt_a"));
        assert_eq!(among(&[(&X_API_KEY, "lt_a")]).as_deref(), Some("lt_a"));
        assert_eq!(among(&[(&X_API_KEY, "lt_a"), (&AUTHORIZATION, "Bearer lt_a")]).as_deref(), Some("lt_a"));
        assert_eq!(among(&[(&X_API_KEY, "lt_a"), (&AUTHORIZATION, "Bearer lt_b")]), None);
        assert_eq!(among(&[(&X_API_KEY, "lt_a"), (&X_API_KEY, "lt_b")]), None);
        assert_eq!(among(&[(&AUTHORIZATION, "Basic lt_a")]), None);
        assert_eq!(among(&[(&AUTHORIZATION, "lt_a")]), None);
        assert_eq!(among(&[]), None);
    }

    #[test]
    fn a_key_in_the_query_is_seen_by_its_name_or_by_its_form() {
        let secret = KeySecret::new([0; 32]);
        assert!(has_key(&format!("x={}", secret.reveal())));
        for query in ["api_key=1", "limit=1&Access_Token=", "key"] {
            assert!(has_key(query), "{query}");
        }
        for query in ["", "limit=5&cursor=lt_1"] {
            assert!(!has_key(query), "{query}");
        }
    }
}
