//! What stands in a page, as far as it decides whether a pixel works there. Read as a browser that runs scripts reads
//! it: what stands in comments, in `noscript` and in templates is not there.

use std::collections::BTreeMap;

use html5gum::{DefaultEmitter, Token, Tokenizer};
use url::Url;

use super::policy::Policy;

/// Longer addresses are none: what a page names is kept for each of its tags.
const ADDRESS_BYTES_MAX: usize = 2_048;
/// How many tags are looked at. A page has one; what comes after these is not judged.
const TAGS_MAX: usize = 8;
/// How many policies of `meta` elements are looked at.
const META_POLICIES_MAX: usize = 32;

/// Where events go, as seen from the script, where the tag does not say otherwise.
const EVENTS: &str = "../api/track";

/// A page as it was answered.
pub(super) struct Page {
    /// Where it was found.
    pub(super) url: Url,
    /// Every content security policy that is enforced, headers first.
    pub(super) policies: Vec<Policy>,
    /// The tags that could be a pixel's, in their order.
    pub(super) tags: Vec<Tag>,
    /// Whether a tag stands in a comment, in `noscript` or in a template.
    pub(super) has_inert_tag: bool,
    /// Whether a script in the page mentions a tag: it may put one in.
    pub(super) has_tag_in_script: bool,
    /// Whether it loads Google Tag Manager, whose container may hold the tag.
    pub(super) has_tag_manager: bool,
}

/// A `script` element.
pub(super) struct Tag {
    /// Its attributes, names in lower case.
    attributes: BTreeMap<String, String>,
    /// Where the script comes from; `None` where that is no http or https URL.
    pub(super) script: Option<Url>,
    /// Where its events go.
    pub(super) endpoint: Option<Url>,
    /// How many policies hold for it: those of headers and of `meta` elements before it.
    pub(super) policies: usize,
}

impl Tag {
    /// An attribute's value; the empty text for one without.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    fn of(attributes: BTreeMap<String, String>, base: &Url, policies: usize) -> Self {
        let web = |given: &String| {
            let url = base.join(given.trim()).ok().filter(is_short);
            url.filter(|url| matches!(url.scheme(), "http" | "https"))
        };
        let script = attributes.get("src").and_then(web);
        let endpoint = match attributes.get("data-endpoint").filter(|given| !given.is_empty()) {
            Some(given) => web(given),
            None => script.as_ref().and_then(|script| script.join(EVENTS).ok()),
        };
        Self { attributes, script, endpoint, policies }
    }

    /// Whether it is a pixel's: it names one, or loads the script of the service at `service`.
    fn is_pixels(&self, service: &Url) -> bool {
        let is_ours = |script: &Url| {
            let file = script.path().rsplit('/').next().unwrap_or_default();
            script.origin() == service.origin()
                && (file.starts_with("pixel") || file.starts_with("px"))
                && file.rsplit('.').next() == Some("js")
        };
        self.attributes.contains_key("data-pixel-id") || self.script.as_ref().is_some_and(is_ours)
    }
}

impl Page {
    /// Reads the page found at `url`, whose headers brought `policies`; `service` is where browsers reach the service.
    pub(super) fn read(url: &Url, policies: Vec<Policy>, body: &[u8], service: &Url) -> Self {
        let mut page = Self {
            url: url.clone(),
            policies,
            tags: Vec::new(),
            has_inert_tag: false,
            has_tag_in_script: false,
            has_tag_manager: mentions(body, b"googletagmanager.com/gtm.js")
                || mentions(body, b"googletagmanager.com/ns.html"),
        };
        let mut base = None;
        let mut of_meta = 0;
        let (mut inert, mut in_script) = (0_usize, false);
        let mut emitter = DefaultEmitter::default();
        emitter.naively_switch_states(true);
        for token in Tokenizer::new_with_emitter(body, emitter) {
            let Ok(token) = token;
            match token {
                Token::StartTag(start) => {
                    let name = start.name.to_ascii_lowercase();
                    let attributes: BTreeMap<String, String> = start
                        .attributes
                        .iter()
                        .map(|(name, value)| (text(name).to_ascii_lowercase(), text(value)))
                        .collect();
                    in_script = name == b"script";
                    match &*name {
                        b"noscript" | b"template" if !start.self_closing => inert += 1,
                        b"base" if base.is_none() && inert == 0 => {
                            base =
                                attributes.get("href").and_then(|href| url.join(href).ok()).filter(is_short);
                        }
                        b"meta" if inert == 0 && of_meta < META_POLICIES_MAX => {
                            let policy = policy_of_meta(&attributes);
                            of_meta += usize::from(policy.is_some());
                            page.policies.extend(policy);
                        }
                        b"script" if page.tags.len() < TAGS_MAX => {
                            let base = base.as_ref().unwrap_or(url);
                            let tag = Tag::of(attributes, base, page.policies.len());
                            match (tag.is_pixels(service), inert) {
                                (true, 0) => page.tags.push(tag),
                                (true, _) => page.has_inert_tag = true,
                                (false, _) => {}
                            }
                        }
                        _ => {}
                    }
                }
                Token::EndTag(end) => {
                    in_script = false;
                    if matches!(&*end.name.to_ascii_lowercase(), b"noscript" | b"template") {
                        inert = inert.saturating_sub(1);
                    }
                }
                Token::Comment(comment) => page.has_inert_tag |= mentions(&comment, b"data-pixel-id"),
                Token::String(inline) if in_script => {
                    page.has_tag_in_script |=
                        mentions(&inline, b"data-pixel-id") || mentions(&inline, b"dataset.pixelId");
                }
                Token::String(_) | Token::Doctype(_) | Token::Error(_) => {}
            }
        }
        page
    }
}

fn is_short(url: &Url) -> bool {
    url.as_str().len() <= ADDRESS_BYTES_MAX
}

fn policy_of_meta(attributes: &BTreeMap<String, String>) -> Option<Policy> {
    let kind = attributes.get("http-equiv")?;
    let is_policy = kind.trim().eq_ignore_ascii_case("content-security-policy");
    is_policy.then(|| Policy::of_meta(attributes.get("content").map_or("", String::as_str)))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn mentions(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}
