//! What a request's head says about who sent it.

use std::borrow::Cow;
use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderName, HeaderValue, ORIGIN, REFERER, USER_AGENT};
use leadtrail_domain::id::{EventId, VisitorCookie};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::web_url::site_of;
use url::Url;

use crate::client_address::{Proxies, ToldPlace};

/// The header of Global Privacy Control (<https://w3c.github.io/gpc/>).
const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");

/// Who sent a request.
pub(crate) struct Sender<'a> {
    /// The host it was sent to, lower-case, without port.
    pub(crate) host: Option<String>,
    /// The page's origin, where the browser names it.
    pub(crate) origin: Option<Origin<'a>>,
    /// The visitor's cookie.
    pub(crate) cookie: Option<VisitorCookie>,
    /// The cookie of whoever has none: one for the whole request.
    pub(crate) fallback_cookie: VisitorCookie,
    /// The client's address: the other end of the connection, or whom a trusted proxy there names.
    pub(crate) ip: Option<IpAddr>,
    /// Where a trusted proxy says the client is.
    pub(crate) place: Option<ToldPlace>,
    /// Whether a trusted proxy says it was asked over https.
    pub(crate) is_https: bool,
    pub(crate) user_agent: Option<Cow<'a, str>>,
    pub(crate) referer: Option<&'a str>,
    /// Whether the browser says Global Privacy Control.
    pub(crate) gpc: bool,
}

/// An `Origin` header.
pub(crate) struct Origin<'a> {
    /// As it was sent.
    pub(crate) header: &'a HeaderValue,
    /// Its host; `None` for `null` and whatever else is no http or https origin.
    pub(crate) host: Option<String>,
}

impl<'a> Sender<'a> {
    pub(crate) fn of(request: &'a HttpRequest, proxies: &Proxies) -> Self {
        let headers = request.headers();
        let peer = request.peer_addr().map(|peer| peer.ip());
        let cookie = crate::cookie::sent(headers);
        Self {
            host: headers.get(HOST).and_then(|host| host_of_authority(host.to_str().ok()?)),
            origin: headers
                .get(ORIGIN)
                .map(|header| Origin { header, host: header.to_str().ok().and_then(host_of_url) }),
            fallback_cookie: cookie.clone().unwrap_or_else(new_cookie),
            cookie,
            ip: peer.map(|peer| proxies.client(peer, headers)),
            place: peer.and_then(|peer| proxies.place(peer, headers)),
            is_https: peer.is_some_and(|peer| proxies.is_https(peer, headers)),
            user_agent: headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes())),
            referer: headers.get(REFERER).and_then(|referer| referer.to_str().ok()),
            gpc: headers.get(SEC_GPC).is_some_and(|value| value.as_bytes() == b"1"),
        }
    }

    /// Whether the host it was sent to belongs to the same site as `page_host`.
    pub(crate) fn is_same_site_as(&self, page_host: &str) -> bool {
        self.host.as_deref().is_some_and(|host| site_of(host) == site_of(page_host))
    }
}

/// The host of an http or https URL, lower-case.
pub(crate) fn host_of_url(url: &str) -> Option<String> {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.host_str().map(str::to_owned)
}

fn host_of_authority(authority: &str) -> Option<String> {
    let is_plain = !authority.contains(['/', '\\', '?', '#', '@']);
    is_plain.then(|| host_of_url(&format!("http://{authority}/"))).flatten()
}

/// So many random bytes, from the operating system.
pub(crate) fn random<const BYTES: usize>() -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)
        .expect("the operating system's random numbers do not fail once it has booted");
    bytes
}

/// So many random bytes, as hexadecimal digits.
pub(crate) fn random_hex<const BYTES: usize>() -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = random::<BYTES>().into_iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

/// A cookie nobody can guess: 128 random bits.
fn new_cookie() -> VisitorCookie {
    random_hex::<16>().parse().expect("32 hexadecimal digits are a cookie")
}

/// The id of an event that came without one, at `now`: a `UUIDv7`.
pub(crate) fn new_event_id(now: Timestamp) -> EventId {
    let millis = u64::try_from(now.millis()).unwrap_or_default();
    EventId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &random()).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_read_without_its_port_and_only_from_an_authority() {
        for (authority, host) in [
            ("Track.Example.com:8080", Some("track.example.com")),
            ("127.0.0.1:80", Some("127.0.0.1")),
            ("[::1]:80", Some("[::1]")),
            ("a.example/evil.example", None),
            ("a@evil.example", None),
            ("", None),
        ] {
            assert_eq!(host_of_authority(authority).as_deref(), host, "{authority}");
        }
    }

    #[test]
    fn an_event_id_made_here_lies_at_its_own_time() {
        let now = Timestamp::from_millis(1_764_000_000_000);
        assert_eq!(new_event_id(now).partition_at(), now);
        assert_ne!(new_event_id(now), new_event_id(now));
    }

    #[test]
    fn null_and_other_schemes_have_no_host() {
        for origin in ["null", "", "file://", "chrome-extension://abcdefgh", "moz-extension://x"] {
            assert_eq!(host_of_url(origin), None, "{origin}");
        }
    }
}
