//! The rules: what was seen of a page, and what that means for its pixel.

use std::time::Duration;

use leadtrail_domain::id::PixelId;
use leadtrail_domain::project::{ConsentMode, PixelContext};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::web_url::site_of;
use url::Url;

use super::page::{Page, Tag};
use super::policy::{Blocked, Script};
use super::{CHECK_MAX, Fetched, PROBES, REDIRECTS_MAX, WebError};
use crate::finding::Finding;

/// A site with visitors sends something within this time.
const EVENTS_AGE_MAX: Duration = Duration::from_hours(24);
/// The media types of a page.
const PAGES: [&str; 2] = ["text/html", "application/xhtml+xml"];

/// The page, or what it led to, cannot be had.
pub(super) fn unreached(url: &Url, error: &WebError) -> Finding {
    let found = format!("{} cannot be had: {error}", shown(url));
    let mend =
        format!("see that it answers anybody, within {} s and without signing in", CHECK_MAX.as_secs());
    Finding::fail("page", found, mend)
}

pub(super) fn endless(url: &Url) -> Finding {
    let found = format!("more than {REDIRECTS_MAX} redirects, the last from {}", shown(url));
    Finding::fail("page", found, "let the ad's address lead to the page at once")
}

/// Whether what answered is a page.
pub(super) fn arrival(url: &Url, answer: &Fetched, findings: &mut Vec<Finding>) -> bool {
    let kind = answer.header("content-type").unwrap_or("text/html");
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_page = PAGES.contains(&kind.as_str());
    findings.push(if answer.status != 200 {
        let found = format!("{} answers {}", shown(url), answer.status);
        let mend = "a page that visitors see answers 200; a firewall may turn robots away that browsers pass";
        Finding::fail("page", found, mend)
    } else if !is_page {
        Finding::fail("page", format!("{} is {kind}, no page", shown(url)), "name a page")
    } else {
        Finding::ok("page", format!("{} answers", shown(url)))
    });
    is_page && (200..300).contains(&answer.status)
}

/// Whether a campaign's parameters reach the page.
pub(super) fn query(ways: &[(Url, Url)], reached: &Url) -> Finding {
    let lost = |url: &Url| -> Vec<&str> {
        let has = |probe: &(&str, &str)| url.query_pairs().any(|(name, value)| (&*name, &*value) == *probe);
        PROBES.iter().filter(|probe| !has(probe)).map(|(name, _)| *name).collect()
    };
    let missing = lost(reached);
    if missing.is_empty() {
        return Finding::ok("query", "campaign parameters reach the page");
    }
    let culprit = ways.iter().find(|(from, to)| lost(from).len() < lost(to).len());
    let found = match culprit {
        Some((from, to)) => {
            format!("the redirect from {} to {} strips {}", shown(from), shown(to), missing.join(" and "))
        }
        None => format!("{} did not reach the page", missing.join(" and ")),
    };
    Finding::fail("query", found, "let the redirect pass the query on, or let ads lead to the last address")
}

/// The tag that counts, where there is one.
pub(super) fn tag<'a>(
    page: &'a Page,
    wanted: Option<&PixelId>,
    findings: &mut Vec<Finding>,
) -> Option<&'a Tag> {
    const PUT_IN: &str = "put what `leadtrail pixel snippet` prints into the page's <head>";
    let id = |tag: &Tag| tag.attribute("data-pixel-id").map(str::to_owned);
    let is_wanted =
        |tag: &&Tag| wanted.is_none_or(|wanted| tag.attribute("data-pixel-id") == Some(wanted.as_str()));
    let Some(first) = page.tags.first() else {
        findings.push(if page.has_tag_manager {
            let mend = "see in Tag Manager's preview that the tag fires, and below whether events arrive";
            Finding::warn("tag", "there is none, but Google Tag Manager, which may put it in", mend)
        } else if page.has_tag_in_script {
            Finding::warn(
                "tag",
                "there is none, but a script that may put it in",
                "see below whether events arrive",
            )
        } else if page.has_inert_tag {
            let found = "it stands where no browser runs it: in a comment, in <noscript> or in a template";
            Finding::fail("tag", found, PUT_IN)
        } else {
            Finding::fail("tag", "there is none", PUT_IN)
        });
        return None;
    };
    let chosen = page.tags.iter().find(is_wanted).unwrap_or(first);
    findings.push(match (id(chosen), wanted) {
        (None, _) => Finding::fail("tag", "it names no pixel", "add data-pixel-id=\"YOUR-PIXEL\""),
        (Some(found), _) if found.parse::<PixelId>().is_err() => {
            let mend = "an id is 1 to 64 letters, digits, `_` or `-`; `leadtrail pixel list` shows them";
            Finding::fail("tag", format!("`{}` is no pixel's id", short(&found)), mend)
        }
        (Some(found), Some(wanted)) if found != wanted.as_str() => {
            let mend = format!("set data-pixel-id=\"{wanted}\"");
            Finding::fail("tag", format!("it names the pixel `{found}`, not `{wanted}`"), mend)
        }
        (Some(found), _) if !std::ptr::eq(chosen, first) => {
            let found = format!("`{found}` is the page's second pixel: only the first one works");
            Finding::fail("tag", found, "take the other tag out")
        }
        (Some(found), _) => Finding::ok("tag", format!("it names the pixel `{found}`")),
    });
    if page.tags.len() > 1 {
        let found = format!("the page has {} tags, of which the first works", page.tags.len());
        findings.push(Finding::warn("tags", found, "leave one"));
    }
    Some(chosen)
}

pub(super) fn pixel(id: &PixelId, known: Option<&PixelContext>) -> Finding {
    match known {
        None => {
            let mend = "`leadtrail pixel list` shows the ids; the service may be another one";
            Finding::fail("pixel", format!("this service has no pixel `{id}`"), mend)
        }
        Some(pixel) if pixel.pixel.archived_at.is_some() => {
            Finding::fail("pixel", format!("`{id}` is archived and collects nothing"), "use another pixel")
        }
        Some(pixel) if pixel.project.archived_at.is_some() => {
            let found = format!("the project of `{id}` is archived and collects nothing");
            Finding::fail("pixel", found, "use a pixel of another project")
        }
        Some(_) => Finding::ok("pixel", format!("`{id}` collects")),
    }
}

/// What of the page and of the tag itself is in the way.
pub(super) fn placement(page: &Page, tag: &Tag, pixel: Option<&PixelContext>) -> Vec<Finding> {
    let mut findings = attributes(page, tag);
    if let Some(pixel) = pixel {
        findings.push(origin(page, pixel));
        findings.extend(consent(tag, pixel));
    }
    findings.extend(policies(page, tag));
    findings
}

/// What of the tag's attributes keeps a browser from running the script.
fn attributes(page: &Page, tag: &Tag) -> Vec<Finding> {
    const NAME: &str = "tag";
    let mut findings = Vec::new();
    if tag.script.is_none() {
        findings.push(Finding::fail(NAME, "it loads no script", "add src=\"…/static/pixel.js\""));
    }
    let mixed = |url: &Option<Url>| {
        page.url.scheme() == "https"
            && url.as_ref().is_some_and(|url| url.scheme() == "http" && !is_local(url))
    };
    if mixed(&tag.script) || mixed(&tag.endpoint) {
        let found = "the page is https and the tag http: browsers block that";
        findings.push(Finding::fail(NAME, found, "begin src and data-endpoint with https://"));
    }
    match tag.attribute("type").map(|kind| kind.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "text/javascript" | "application/javascript" | "module") => {}
        Some(other) => {
            let found =
                format!("it says type=\"{}\": it runs only once a consent tool changes that", short(other));
            let mend = "see that the tool does, or use data-consent=\"required\" instead";
            findings.push(Finding::warn(NAME, found, mend));
        }
    }
    if tag.attribute("nomodule").is_some() {
        findings.push(Finding::fail(
            NAME,
            "it says nomodule: today's browsers pass it over",
            "leave nomodule out",
        ));
    }
    let moving =
        tag.script.as_ref().is_some_and(|script| ["/static/pixel.js", "/px.js"].contains(&script.path()));
    if moving && tag.attribute("integrity").is_some_and(|hash| !hash.trim().is_empty()) {
        let found = "it says integrity, of a script whose content changes with each version";
        findings.push(Finding::warn(NAME, found, "leave integrity out, or name the script by its hash"));
    }
    findings
}

fn origin(page: &Page, pixel: &PixelContext) -> Finding {
    let origins = &pixel.pixel.settings.origins;
    let host = page.url.host_str().unwrap_or_default();
    if origins.is_empty() {
        return Finding::ok("origin", "the pixel may be used on any site");
    }
    if origins.iter().any(|origin| origin.matches(host)) {
        return Finding::ok("origin", format!("the pixel may be used on {host}"));
    }
    let listed: Vec<String> = origins.iter().map(|origin| format!("--origin '{origin}'")).collect();
    let mend = format!("`leadtrail pixel update {} {} --origin {host}`", pixel.pixel.id, listed.join(" "));
    Finding::fail("origin", format!("the pixel may not be used on {host}"), mend)
}

fn consent(tag: &Tag, pixel: &PixelContext) -> Option<Finding> {
    let asks = tag.attribute("data-consent").is_some_and(|mode| mode.trim() == "required");
    match (pixel.project.settings.consent, asks) {
        (ConsentMode::Required, false) => {
            let found = "the project requires consent, and the tag does not say so: the service recognises nobody \
                         before consent, but the script keeps a cookie";
            Some(Finding::warn("consent", found, "add data-consent=\"required\""))
        }
        (ConsentMode::NotRequired, true) => {
            let found = "the tag waits for consent, which the project does not require";
            let mend = "take data-consent out, or set the project's consent to `required`";
            Some(Finding::warn("consent", found, mend))
        }
        (ConsentMode::Required, true) | (ConsentMode::NotRequired, false) => None,
    }
}

/// What the page's content security policies block.
fn policies(page: &Page, tag: &Tag) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(url) = &tag.script {
        let (nonce, integrity) = (tag.attribute("nonce"), tag.attribute("integrity"));
        let script = Script { url, nonce, integrity };
        for policy in &page.policies[..tag.policies] {
            if let Err(blocked) = policy.lets_load(script, &page.url) {
                let found = format!("{} blocks the script ({})", policy.place, blocked.directive);
                findings.push(Finding::fail("csp", found, mend_of_script(&blocked, url)));
            }
        }
    }
    if let Some(endpoint) = &tag.endpoint {
        for policy in &page.policies {
            if let Err(blocked) = policy.lets_connect(endpoint, &page.url) {
                let found = format!("{} blocks the events ({})", policy.place, blocked.directive);
                let mend = format!("add {} to connect-src", endpoint.origin().ascii_serialization());
                findings.push(Finding::fail("csp", found, mend));
            }
        }
    }
    if findings.is_empty() && !page.policies.is_empty() {
        findings
            .push(Finding::ok("csp", "the page's content security policy lets script and events through"));
    }
    findings
}

fn mend_of_script(blocked: &Blocked<'_>, script: &Url) -> String {
    if blocked.directive == "sandbox" {
        "add allow-scripts to it".to_owned()
    } else if blocked.has_nonce {
        "give the tag the page's nonce: nonce=\"…\", a new one with each answer".to_owned()
    } else if blocked.is_strict {
        "give the tag a nonce: with 'strict-dynamic' a list of hosts counts for nothing".to_owned()
    } else {
        format!("add {} to script-src", script.origin().ascii_serialization())
    }
}

/// A script that does not come from where the service says it is reached.
pub(super) fn script(page: &Page, url: &Url, service: &Url, answer: Result<&Fetched, &WebError>) -> Finding {
    const NAME: &str = "script";
    let place = shown(url);
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let mend = "see that it answers, and that the tag names it rightly";
            return Finding::fail(NAME, format!("{place} cannot be had: {error}"), mend);
        }
    };
    let kind = answer.header("content-type").unwrap_or_default().to_ascii_lowercase();
    let is_ours = answer.body.windows(9).any(|window| window.eq_ignore_ascii_case(b"leadtrail"));
    if answer.status != 200 {
        let mend = "pass that path on to the service, or mend the tag's src; a firewall may block it";
        return Finding::fail(NAME, format!("{place} answers {}", answer.status), mend);
    }
    if !kind.contains("javascript") || !is_ours {
        return Finding::fail(
            NAME,
            format!("{place} is not the pixel's script"),
            "pass that path on to the service",
        );
    }
    let host = url.host_str().unwrap_or_default();
    if site_of(host) == site_of(page.url.host_str().unwrap_or_default()) {
        return Finding::ok(NAME, format!("it comes from the site's own host, {host}"));
    }
    let found = format!("it comes from {host}; this service says it is at {}", shown(service));
    Finding::warn(
        NAME,
        found,
        "set http.public_url to where browsers reach the service, or mend the tag's src",
    )
}

/// Where events go, at the service itself.
pub(super) fn own_endpoint(endpoint: &Url, service: &Url) -> Finding {
    let below = endpoint.path().strip_prefix(service.path().trim_end_matches('/')).unwrap_or_default();
    if ["/api/track", "/api/track/track"].contains(&below) {
        Finding::ok("endpoint", "events go to this service")
    } else {
        let found = format!("events go to {}, where the service takes none", shown(endpoint));
        Finding::fail("endpoint", found, "leave data-endpoint out, or let it end in /api/track")
    }
}

/// Where events go, elsewhere: the service tells a question from an event, and answers that it takes these by POST.
pub(super) fn endpoint(endpoint: &Url, answer: Result<&Fetched, &WebError>) -> Finding {
    const NAME: &str = "endpoint";
    let place = shown(endpoint);
    match answer {
        Ok(answer)
            if answer.status == 405 && answer.header("allow").is_some_and(|allow| allow.contains("POST")) =>
        {
            Finding::ok(NAME, format!("events reach the service by way of {place}"))
        }
        Ok(answer) => {
            let found = format!("{place} answers {}: events do not reach the service", answer.status);
            Finding::fail(NAME, found, "pass that path on to the service's /api/track, or set data-endpoint")
        }
        Err(error) => Finding::fail(
            NAME,
            format!("{place} cannot be had: {error}"),
            "see that it answers, or set data-endpoint",
        ),
    }
}

/// Whether events arrive.
pub(super) fn events(last: Option<Timestamp>, now: Timestamp) -> Finding {
    const NAME: &str = "events";
    let Some(last) = last else {
        return Finding::warn(NAME, "none has arrived yet", "open the page in a browser, and check again");
    };
    let age = now.since(last);
    let found = format!("the latest is of {last}");
    if age > EVENTS_AGE_MAX {
        let found = format!("{found}, {} h ago", age.as_secs() / 3_600);
        Finding::warn(NAME, found, "open the page in a browser, and check again")
    } else {
        Finding::ok(NAME, found)
    }
}

/// An address without its query, which may hold what is nobody's business.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// Browsers trust their own machine as they trust https.
fn is_local(url: &Url) -> bool {
    url.host_str().is_some_and(|host| host == "localhost" || host == "127.0.0.1" || host == "[::1]")
}

/// A value of the page, as far as it is shown.
fn short(text: &str) -> String {
    leadtrail_domain::text::clean(text, 64).unwrap_or_default()
}
