//! The sites that the pixel stands in: the same pages, served in four ways.

use std::sync::{Condvar, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::web::{Request, Response};
use crate::process::PATIENCE;

/// A way to build and serve a site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A document per page; the tracker is on another site.
    Static,
    /// One document, and a router that changes it; the tracker is on a subdomain of the site.
    Spa,
    /// A policy that allows scripts by nonce and connections to the tracker and the site, and nothing else that the
    /// pages do not need.
    StrictPolicy,
    /// nginx serves the pages and, under `/lt/`, the service.
    Proxied,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Static, Kind::Spa, Kind::StrictPolicy, Kind::Proxied];

/// One page of a site.
#[derive(Clone, Copy)]
pub(crate) struct Page {
    pub(crate) path: &'static str,
    pub(crate) html: &'static str,
    /// The site's own code on it.
    pub(crate) script: &'static str,
    /// Whether it carries the pixel.
    pub(crate) is_tagged: bool,
}

impl Page {
    pub(crate) const fn new(path: &'static str, html: &'static str) -> Self {
        Self { path, html, script: "", is_tagged: true }
    }

    pub(crate) const fn script(self, script: &'static str) -> Self {
        Self { script, ..self }
    }

    pub(crate) const fn untagged(self) -> Self {
        Self { is_tagged: false, ..self }
    }
}

/// What a case needs of a site. Every other path is an empty page with the pixel, but `/save`, which takes what it is
/// sent, `/redirect`, which leads to `/elsewhere?from=redirect`, and `/go`, which is answered when the test says so.
#[derive(Clone, Copy, Default)]
pub(crate) struct Setup {
    pub(crate) pages: &'static [Page],
    /// Attributes of the tag beside those that every tag has.
    pub(crate) tag: &'static str,
    /// A policy that every page has beside the site's own.
    pub(crate) policy: Option<&'static str>,
    /// Whether the visitor's browser asks for Global Privacy Control from the first page on.
    pub(crate) asks_for_privacy: bool,
    /// A path that the browser is told to prerender.
    pub(crate) prerenders: Option<&'static str>,
}

impl Setup {
    pub(crate) const fn with_pages(self, pages: &'static [Page]) -> Self {
        Self { pages, ..self }
    }
}

/// A site that is served.
pub(crate) struct Site {
    pub(crate) kind: Kind,
    pub(crate) setup: Setup,
    /// Before the paths of the service, without a slash at the end.
    pub(crate) tracker: String,
    pub(crate) pixel_id: String,
    pub(crate) signal: Signal,
}

/// What the answer to `/go` waits for.
#[derive(Default)]
pub(crate) struct Signal {
    is_given: Mutex<bool>,
    given: Condvar,
}

impl Signal {
    pub(crate) fn give(&self) {
        *self.is_given.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.given.notify_all();
    }

    fn wait(&self) {
        let is_given = self.is_given.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.given.wait_timeout_while(is_given, PATIENCE, |is_given| !*is_given);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// The one that the pages of a policy repeat; a real site draws one for each answer.
const NONCE: &str = "bm9uY2U";

impl Site {
    pub(crate) fn answer(&self, request: &Request) -> Response {
        match request.path() {
            "/favicon.ico" | "/save" | "/ping" => Response::new("204 No Content", &[], ""),
            "/go" => {
                self.signal.wait();
                Response::new("204 No Content", &[], "")
            }
            "/redirect" => Response::new("303 See Other", &[("Location", "/elsewhere?from=redirect")], ""),
            path => self.document(path),
        }
    }

    fn document(&self, path: &str) -> Response {
        let page = self.page(path);
        let (nonce, policy) = match self.kind {
            Kind::StrictPolicy => (format!(" nonce={NONCE}"), Some(self.strict_policy())),
            Kind::Static | Kind::Spa | Kind::Proxied => (String::new(), None),
        };
        let tag = if page.is_tagged { self.tag(&nonce) } else { String::new() };
        let rules = match self.setup.prerenders {
            Some(prerendered) if path != prerendered => format!(
                "<script type=speculationrules{nonce}>{}</script>",
                json!({"prerender": [{"urls": [prerendered], "eagerness": "immediate"}]})
            ),
            Some(_) | None => String::new(),
        };
        let body = if self.kind == Kind::Spa && page.is_tagged {
            format!("<main></main><script>{}</script>", self.router())
        } else {
            format!("{}<script{nonce}>{SHOWN}{}</script>", page.html, page.script)
        };
        let html = format!(
            "<!doctype html><html lang=en><head><meta charset=utf-8><title>Page {path}</title>{tag}{rules}</head>\
             <body>{body}</body></html>"
        );
        let mut headers = vec![("Content-Type", "text/html; charset=utf-8")];
        let policies = policy.as_deref().into_iter().chain(self.setup.policy);
        headers.extend(policies.map(|policy| ("Content-Security-Policy", policy)));
        Response::new("200 OK", &headers, &html)
    }

    fn page(&self, path: &str) -> Page {
        let found = self.setup.pages.iter().find(|page| page.path == path);
        found.copied().unwrap_or(const { Page::new("", "") })
    }

    fn tag(&self, nonce: &str) -> String {
        let Self { tracker, pixel_id, .. } = self;
        // On the site's own host the proxy's path stands before the service's.
        let endpoint = match self.kind {
            Kind::Proxied => format!(" data-endpoint=\"{tracker}/api/track\""),
            Kind::Static | Kind::Spa | Kind::StrictPolicy => String::new(),
        };
        let more = self.setup.tag;
        format!(
            "<script async src=\"{tracker}/static/pixel.js\" data-pixel-id=\"{pixel_id}\"{endpoint}{nonce} {more}></script>"
        )
    }

    fn strict_policy(&self) -> String {
        format!(
            "default-src 'none'; script-src 'nonce-{NONCE}'; connect-src 'self' {}; form-action 'self'; \
             frame-src 'self'; base-uri 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; \
             trusted-types 'none'",
            self.tracker
        )
    }

    fn router(&self) -> String {
        let tagged = self.setup.pages.iter().filter(|page| page.is_tagged);
        let pages: Map<String, Value> = tagged
            .map(|page| (page.path.to_owned(), json!({"html": page.html, "script": page.script})))
            .collect();
        let pages = Value::Object(pages).to_string().replace("</", "<\\/");
        format!("const pages = {pages};{ROUTER}{SHOWN}")
    }
}

/// Lets the tests see how a page came to be shown.
const SHOWN: &str = "addEventListener('pageshow', shown => { window.cameFromCache = shown.persisted; });";

const ROUTER: &str = "
const show = () => {
    const page = pages[location.pathname] || { html: '', script: '' };
    document.querySelector('main').innerHTML = page.html;
    document.title = 'Page ' + location.pathname;
    new Function(page.script)();
};
addEventListener('popstate', show);
addEventListener('click', click => {
    const link = click.target.closest('a[href]');
    if (!link || link.origin !== location.origin || link.relList.contains('external')) return;
    click.preventDefault();
    history.pushState(null, '', link.href);
    show();
});
show();
";
