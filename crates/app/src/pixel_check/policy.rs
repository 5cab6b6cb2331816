//! Content security policies, as far as they decide over a script and over where it sends: CSP Level 3
//! (<https://www.w3.org/TR/CSP3/>, sections 6.1, 6.7 and 8.2).

use std::collections::BTreeMap;

use url::Url;

/// One policy that a browser enforces.
pub(super) struct Policy {
    /// What a person looks for to change it.
    pub(super) place: &'static str,
    /// Source lists by directive, both in their order of precedence: of a directive named twice the first counts.
    directives: BTreeMap<String, Vec<String>>,
}

/// Why a policy blocks something.
#[derive(Debug)]
pub(super) struct Blocked<'a> {
    /// The directive that does.
    pub(super) directive: &'a str,
    /// Whether hosts in its list count for nothing, because it has `'strict-dynamic'`.
    pub(super) is_strict: bool,
    /// Whether it lists a nonce: then the tag is to bear that.
    pub(super) has_nonce: bool,
}

/// A script that a page loads.
#[derive(Clone, Copy)]
pub(super) struct Script<'a> {
    pub(super) url: &'a Url,
    pub(super) nonce: Option<&'a str>,
    pub(super) integrity: Option<&'a str>,
}

impl Policy {
    /// The policies of one header: several are separated by commas.
    pub(super) fn of_header(value: &str) -> impl Iterator<Item = Self> {
        value.split(',').map(|policy| Self::read(policy, "the header Content-Security-Policy"))
    }

    /// The policy of a `meta` element.
    pub(super) fn of_meta(content: &str) -> Self {
        Self::read(content, "the page's <meta http-equiv=\"Content-Security-Policy\">")
    }

    fn read(policy: &str, place: &'static str) -> Self {
        let mut directives = BTreeMap::new();
        for directive in policy.split(';') {
            let mut words = directive.split_ascii_whitespace();
            if let Some(name) = words.next() {
                let sources = words.map(str::to_owned).collect();
                directives.entry(name.to_ascii_lowercase()).or_insert(sources);
            }
        }
        Self { place, directives }
    }

    /// Whether a script element of the page may load its script.
    pub(super) fn lets_load(&self, script: Script<'_>, page: &Url) -> Result<(), Blocked<'_>> {
        if let Some(flags) = self.directives.get("sandbox")
            && !flags.iter().any(|flag| flag.eq_ignore_ascii_case("allow-scripts"))
        {
            return Err(Blocked { directive: "sandbox", is_strict: false, has_nonce: false });
        }
        let Some((directive, sources)) = self.first_of(&["script-src-elem", "script-src", "default-src"])
        else {
            return Ok(());
        };
        let nonces = || sources.iter().filter_map(|source| quoted(source)?.strip_prefix("nonce-"));
        let is_strict = has_keyword(sources, "strict-dynamic");
        let bears_nonce =
            script.nonce.is_some_and(|nonce| !nonce.is_empty() && nonces().any(|one| one == nonce));
        let lets = bears_nonce
            || script.integrity.is_some_and(|integrity| lists_all(sources, integrity))
            || (!is_strict && sources.iter().any(|source| matches(source, script.url, page)));
        if lets {
            Ok(())
        } else {
            Err(Blocked { directive, is_strict, has_nonce: nonces().next().is_some() })
        }
    }

    /// Whether a script of the page may send to `to`.
    pub(super) fn lets_connect(&self, to: &Url, page: &Url) -> Result<(), Blocked<'_>> {
        match self.first_of(&["connect-src", "default-src"]) {
            Some((directive, sources)) if !sources.iter().any(|source| matches(source, to, page)) => {
                Err(Blocked { directive, is_strict: false, has_nonce: false })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn first_of(&self, names: &[&'static str]) -> Option<(&'static str, &[String])> {
        names.iter().find_map(|name| self.directives.get(*name).map(|sources| (*name, sources.as_slice())))
    }
}

fn quoted(source: &str) -> Option<&str> {
    source.strip_prefix('\'')?.strip_suffix('\'')
}

fn has_keyword(sources: &[String], keyword: &str) -> bool {
    sources.iter().any(|source| quoted(source).is_some_and(|word| word.eq_ignore_ascii_case(keyword)))
}

/// Whether each hash of an `integrity` attribute is listed: then the script may load from anywhere.
fn lists_all(sources: &[String], integrity: &str) -> bool {
    let mut hashes = integrity.split_ascii_whitespace().peekable();
    hashes.peek().is_some()
        && hashes.all(|hash| {
            let hash = hash.split('?').next().unwrap_or_default();
            sources.iter().any(|source| quoted(source) == Some(hash))
        })
}

/// Whether a source expression matches a URL that no redirect led to.
fn matches(source: &str, url: &Url, page: &Url) -> bool {
    if source == "*" {
        return matches!(url.scheme(), "http" | "https" | "ws" | "wss") || url.scheme() == page.scheme();
    }
    if let Some(keyword) = quoted(source) {
        return keyword.eq_ignore_ascii_case("self")
            && url.host() == page.host()
            && lets_scheme(page.scheme(), url.scheme())
            && (url.port_or_known_default() == page.port_or_known_default()
                || (is_default_port(url) && is_default_port(page)));
    }
    if let Some(scheme) = source.strip_suffix(':') {
        return lets_scheme(&scheme.to_ascii_lowercase(), url.scheme());
    }
    let (scheme, rest) = match source.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => (page.scheme().to_owned(), source),
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (host, port) = split_port(authority);
    lets_scheme(&scheme, url.scheme())
        && lets_host(&host.to_ascii_lowercase(), url)
        && lets_port(port, url)
        && lets_path(path, url.path())
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port == "*" || port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, Some(port))
        }
        Some(_) | None => (authority, None),
    }
}

/// What is listed for http holds for https as well.
fn lets_scheme(listed: &str, asked: &str) -> bool {
    listed == asked || matches!((listed, asked), ("http" | "wss", "https") | ("ws", "wss" | "http" | "https"))
}

fn lets_host(listed: &str, url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match listed.strip_prefix('*') {
        Some(suffix) if suffix.starts_with('.') => host.len() > suffix.len() && host.ends_with(suffix),
        Some(rest) => rest.is_empty(),
        None => listed == host,
    }
}

fn lets_port(listed: Option<&str>, url: &Url) -> bool {
    match listed {
        None => is_default_port(url),
        Some("*") => true,
        Some(port) => {
            let asked = url.port_or_known_default();
            asked.is_some_and(|asked| port.parse() == Ok(asked)) || (port == "80" && asked == Some(443))
        }
    }
}

fn is_default_port(url: &Url) -> bool {
    url.port().is_none()
}

/// A path that ends in `/` stands for all below it.
fn lets_path(listed: &str, asked: &str) -> bool {
    if listed.is_empty() || listed == "/" {
        true
    } else if listed.ends_with('/') {
        asked.starts_with(listed)
    } else {
        asked == listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "https://www.acme.example/landing";
    const SCRIPT: &str = "https://t.track.example/static/pixel.js";

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn policy(text: &str) -> Policy {
        Policy::of_header(text).next().unwrap()
    }

    #[test]
    fn a_script_is_let_through_by_its_source() {
        for (listed, lets) in [
            ("img-src 'none'", true),
            ("script-src *", true),
            ("script-src https:", true),
            ("script-src http:", true),
            ("SCRIPT-SRC T.Track.Example", true),
            ("script-src https://t.track.example", true),
            ("script-src http://t.track.example", true),
            ("script-src t.track.example:443", true),
            ("script-src t.track.example:80", true),
            ("script-src t.track.example:*", true),
            ("script-src *.track.example", true),
            ("script-src https://t.track.example/static/", true),
            ("script-src https://t.track.example/static/pixel.js", true),
            ("default-src 'none'; script-src t.track.example", true),
            ("script-src 'none'; script-src-elem t.track.example", true),
            ("script-src t.track.example; script-src 'none'", true),
            ("script-src 'self'", false),
            ("script-src", false),
            ("script-src 'none'", false),
            ("default-src 'self'", false),
            ("script-src-elem 'self'; script-src *", false),
            ("script-src track.example", false),
            ("script-src *.t.track.example", false),
            ("script-src t.track.example:8443", false),
            ("script-src wss:", true),
            ("script-src https://t.track.example/static", false),
            ("script-src https://t.track.example/other/", false),
            ("script-src 'nonce-abc'", false),
            ("script-src 'unsafe-inline' 'unsafe-eval'", false),
            ("script-src 'strict-dynamic' https: *", false),
            ("sandbox allow-forms", false),
            ("sandbox allow-scripts allow-forms", true),
        ] {
            let (script, page) = (url(SCRIPT), url(PAGE));
            let script = Script { url: &script, nonce: None, integrity: None };
            assert_eq!(policy(listed).lets_load(script, &page).is_ok(), lets, "{listed}");
        }
    }

    #[test]
    fn a_nonce_or_a_hash_lets_a_script_through_wherever_it_comes_from() {
        let (script, page) = (url(SCRIPT), url(PAGE));
        for (listed, nonce, integrity, lets) in [
            ("script-src 'nonce-abc'", Some("abc"), None, true),
            ("script-src 'nonce-abc' 'strict-dynamic'", Some("abc"), None, true),
            ("script-src 'nonce-abc'", Some("ABC"), None, false),
            ("script-src 'nonce-'", Some(""), None, false),
            ("script-src 'sha384-xyz'", None, Some("sha384-xyz"), true),
            ("script-src 'sha384-xyz' 'strict-dynamic'", None, Some("sha384-xyz?x"), true),
            ("script-src 'sha384-xyz'", None, Some("sha384-xyz sha512-uvw"), false),
            ("script-src 'sha384-xyz'", None, Some(""), false),
        ] {
            let script = Script { url: &script, nonce, integrity };
            assert_eq!(
                policy(listed).lets_load(script, &page).is_ok(),
                lets,
                "{listed} {nonce:?} {integrity:?}"
            );
        }
        let policy = policy("script-src 'nonce-abc' 'strict-dynamic'");
        let without = Script { url: &script, nonce: None, integrity: None };
        let blocked = policy.lets_load(without, &page).unwrap_err();
        assert!(blocked.is_strict && blocked.has_nonce);
    }

    #[test]
    fn what_is_sent_needs_a_source_of_its_own() {
        let page = url(PAGE);
        for (listed, to, lets) in [
            ("script-src t.track.example", "https://t.track.example/api/track", true),
            ("connect-src t.track.example", "https://t.track.example/api/track", true),
            ("connect-src 'self'", "https://t.track.example/api/track", false),
            ("default-src 'self'", "https://t.track.example/api/track", false),
            ("default-src 'self'; connect-src *", "https://t.track.example/api/track", true),
            ("connect-src 'self'", "https://www.acme.example/px/track", true),
            ("connect-src 'self'", "https://www.acme.example:444/px/track", false),
            ("connect-src 'self'", "http://www.acme.example/px/track", false),
            ("connect-src 'nonce-abc'", "https://t.track.example/api/track", false),
        ] {
            assert_eq!(policy(listed).lets_connect(&url(to), &page).is_ok(), lets, "{listed} {to}");
        }
        let http = url("http://localhost:3000/");
        let own = policy("connect-src 'self'");
        assert!(own.lets_connect(&url("http://localhost:3000/api/track"), &http).is_ok());
        assert!(own.lets_connect(&url("http://localhost:8080/api/track"), &http).is_err());
    }

    #[test]
    fn a_header_may_hold_several_policies() {
        let all: Vec<_> = Policy::of_header("script-src *, script-src 'none'").collect();
        let (script, page) = (url(SCRIPT), url(PAGE));
        let script = Script { url: &script, nonce: None, integrity: None };
        assert_eq!(all.iter().filter(|policy| policy.lets_load(script, &page).is_ok()).count(), 1);
    }
}
