//! Web addresses as they were received, and which of them belong together.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::text::{self, URL_CHARS_MAX};

/// How many query parameters of one URL are read; further ones are ignored.
pub const QUERY_PARAMETERS_MAX: usize = 500;

/// An http or https address with a host, kept as it was received (control characters removed, cut to 2,048
/// characters: the fragment goes first, then the path's end, the query last).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebUrl {
    text: String,
    host: String,
}

/// A text that is not a [`WebUrl`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an http or https URL with a host")]
pub struct WebUrlError;

impl WebUrl {
    /// Reads an address and, from the whole of it, its query parameters in their order.
    ///
    /// # Errors
    /// Not an absolute http or https URL with a host.
    pub fn parse(raw: &str) -> Result<(Self, Query), WebUrlError> {
        let whole = text::clean(raw, usize::MAX).ok_or(WebUrlError)?;
        // Neither query nor fragment can make an address invalid or change its host; parsing them costs as much as the rest.
        let url = Url::parse(without_query(&whole)).map_err(|_not_a_url| WebUrlError)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(WebUrlError);
        }
        // `example.com.` and `example.com` are one host (RFC 1034, 3.1).
        let host = url.host_str().map(|host| host.trim_end_matches('.'));
        let host = host.filter(|host| !host.is_empty()).ok_or(WebUrlError)?.to_owned();
        // As it will be read again when the fragment is cut off.
        let query = Query(raw_query(&whole).unwrap_or_default().trim_end().to_owned());
        Ok((Self { text: cut(whole), host }, query))
    }

    /// The address as kept.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, lower-case, in ASCII (punycode), without final dots; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// An address up to its query or fragment.
pub fn without_query(url: &str) -> &str {
    &url[..url.find(['?', '#']).unwrap_or(url.len())]
}

impl From<WebUrl> for String {
    fn from(url: WebUrl) -> Self {
        url.text
    }
}

fn raw_query(url: &str) -> Option<&str> {
    let until_fragment = url.split('#').next().unwrap_or(url);
    until_fragment.split_once('?').map(|(_, query)| query)
}

/// An address without its fragment and with those of its parameters whose names (decoded) are wanted.
pub fn with_parameters(url: &str, wanted: impl Fn(&str) -> bool) -> String {
    let base = without_query(url);
    let Some(query) = raw_query(url) else { return base.to_owned() };
    let is_wanted = |pair: &&str| wanted(&decode(pair.split('=').next().unwrap_or(pair), true));
    let kept: Vec<&str> = query.split('&').filter(is_wanted).collect();
    if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) }
}

/// The query of an address, whole, as it was received.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query(String);

impl Query {
    /// The parameters in their order, names percent-decoded with `+` as a space, values still raw;
    /// [`QUERY_PARAMETERS_MAX`] at most.
    pub fn parameters(&self) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
        self.0.split('&').filter(|pair| !pair.is_empty()).take(QUERY_PARAMETERS_MAX).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name, true), value)
        })
    }
}

/// Percent-decodes once; what is not a valid escape is left as it is. `+` becomes a space when asked. Only what changes is
/// copied.
pub(crate) fn decode(raw: &str, plus_is_space: bool) -> Cow<'_, str> {
    let bytes = raw.as_bytes();
    if !bytes.iter().any(|byte| *byte == b'%' || (plus_is_space && *byte == b'+')) {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = (byte == b'%').then(|| raw.get(at + 1..at + 3)).flatten();
        let hex = escape.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        if let Some(value) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            decoded.push(value);
            at += 3;
        } else {
            decoded.push(if byte == b'+' && plus_is_space { b' ' } else { byte });
            at += 1;
        }
    }
    Cow::Owned(
        String::from_utf8(decoded)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

fn cut(whole: String) -> String {
    if whole.len() <= URL_CHARS_MAX || whole.chars().count() <= URL_CHARS_MAX {
        return whole;
    }
    let mut cut = without_what_is_too_much(&whole);
    // White space that stood inside is at the end now.
    cut.truncate(cut.trim_end().len());
    cut
}

fn without_what_is_too_much(whole: &str) -> String {
    let take = |part: &str, chars_max: usize| part.chars().take(chars_max).collect::<String>();
    let until_fragment = whole.split('#').next().unwrap_or(whole);
    let Some((path, query)) = until_fragment.split_once('?') else {
        return take(until_fragment, URL_CHARS_MAX);
    };
    // The path gives way first, down to half of the room; only then the query.
    let query_chars = query.chars().count() + 1;
    let path_room = URL_CHARS_MAX.saturating_sub(query_chars).max(URL_CHARS_MAX / 2);
    let path = take(path, path_room);
    let query_room = URL_CHARS_MAX - path.chars().count() - 1;
    format!("{path}?{}", take(query, query_room))
}

/// The registrable domain of a host (`shop.example.co.uk` → `example.co.uk`) by the public suffix list; an IP address
/// or a host without one (`localhost`) stands for itself. Lower-case in, lower-case out.
pub fn site_of(host: &str) -> &str {
    if host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok() {
        return host;
    }
    psl::domain_str(host).unwrap_or(host)
}

/// A host pattern: an exact host, or `*.` before a host for any subdomain of it (not the host itself).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern(String);

/// A text that is not a [`HostPattern`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a host name such as example.com or *.example.com (no scheme, port or path)")]
pub struct HostPatternError;

impl std::str::FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let text = text.trim();
        let (star, name) = match text.strip_prefix("*.") {
            Some(name) => ("*.", name),
            None => ("", text),
        };
        match Host::parse(name) {
            Ok(host) if !name.is_empty() && !name.contains('*') => Ok(Self(format!("{star}{host}"))),
            _ => Err(HostPatternError),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostPatternError;

    fn try_from(text: String) -> Result<Self, HostPatternError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.0
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl HostPattern {
    /// Whether a host, lower-case, is one this pattern means.
    pub fn matches(&self, host: &str) -> bool {
        match self.0.strip_prefix("*.") {
            Some(parent) => host.strip_suffix(parent).is_some_and(|sub| sub.len() > 1 && sub.ends_with('.')),
            None => self.0 == host,
        }
    }

    /// The host the pattern names, without the star.
    pub fn host(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> WebUrl {
        WebUrl::parse(raw).unwrap().0
    }

    #[test]
    fn only_http_addresses_with_a_host_are_pages() {
        for bad in [
            "",
            "/pricing",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "ftp://a.example/",
            "http://",
            "mailto:a@b.example",
        ] {
            assert_eq!(WebUrl::parse(bad).map(|_| ()), Err(WebUrlError), "{bad}");
        }
        assert_eq!(parse("HTTPS://Shop.Example/A?b=C#d").as_str(), "HTTPS://Shop.Example/A?b=C#d");
        assert_eq!(parse("https://Bücher.example/").host(), "xn--bcher-kva.example");
        assert_eq!(parse("https://www.example.com./").host(), "www.example.com");
    }

    #[test]
    fn a_malformed_escape_is_left_as_it_is_and_the_rest_is_decoded_once() {
        assert_eq!(decode("50%off", true), "50%off");
        assert_eq!(decode("a%20b+c%2Bd", true), "a b c+d");
        assert_eq!(decode("a+b%2Bc", false), "a+b+c");
        assert_eq!(decode("%2520", true), "%20");
        assert_eq!(decode("%", true), "%");
        assert_eq!(decode("%é1", true), "%é1");
    }

    #[test]
    fn of_an_over_long_url_the_query_is_cut_last() {
        let fragment = parse(&format!("https://a.example/p?utm_source=x#{}", "f".repeat(5_000)));
        assert_eq!(fragment.as_str(), "https://a.example/p?utm_source=x");
        let path = parse(&format!("https://a.example/{}?utm_source=x", "p".repeat(5_000)));
        assert!(path.as_str().ends_with("?utm_source=x"));
        let query = parse(&format!("https://a.example/p?q={}", "q".repeat(5_000)));
        assert!(query.as_str().starts_with("https://a.example/p?q=qqq"));
        for url in [path, query] {
            assert_eq!(url.as_str().chars().count(), URL_CHARS_MAX);
        }
    }

    #[test]
    fn what_was_kept_of_an_over_long_url_is_kept_again() {
        let spaced =
            |before: usize| format!("https://a.example/?q={} #{}", "q".repeat(before), "f".repeat(5_000));
        for raw in [spaced(9), spaced(URL_CHARS_MAX), format!("https://a.example/{} p", "p".repeat(2_029))] {
            let kept = WebUrl::parse(&raw).unwrap();
            let is_whole = kept.1.0.chars().count() < URL_CHARS_MAX / 2;
            let again = WebUrl::parse(kept.0.as_str()).unwrap();
            assert_eq!((&again.0, is_whole.then_some(&again.1)), (&kept.0, is_whole.then_some(&kept.1)));
        }
    }

    #[test]
    fn ten_thousand_parameters_are_read_up_to_the_bound() {
        let query = (0..10_000).map(|n| format!("p{n}={n}")).collect::<Vec<_>>().join("&");
        let (_, query) = WebUrl::parse(&format!("https://a.example/?{query}")).unwrap();
        assert_eq!(query.parameters().count(), QUERY_PARAMETERS_MAX);
    }

    #[test]
    fn hosts_of_one_registrable_domain_are_one_site() {
        for (host, site) in [
            ("www.example.com", "example.com"),
            ("a.b.example.co.uk", "example.co.uk"),
            ("alice.github.io", "alice.github.io"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(site_of(host), site);
        }
    }

    #[test]
    fn a_look_alike_host_does_not_match() {
        let exact: HostPattern = "A.com".parse().unwrap();
        assert!(exact.matches("a.com"));
        for other in ["a.com.evil", "evila.com", "sub.a.com"] {
            assert!(!exact.matches(other), "{other}");
        }
        let below: HostPattern = "*.a.com".parse().unwrap();
        assert!(below.matches("x.a.com") && below.matches("y.x.a.com"));
        for other in ["a.com", ".a.com", "evila.com"] {
            assert!(!below.matches(other), "{other}");
        }
        for bad in ["", "*", "*.", "https://a.com", "a.com/x", "a.com:80"] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }
}
