//! Custom conversions: the named events and the pages that a project counts as a success, each kept with the touches
//! that led to it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::event::{Event, EventKind};
use crate::id::{ConversionId, EventId, PixelId, ProjectId, SessionId, VisitorId};
use crate::text;
use crate::time::Timestamp;
use crate::touch::FourTouches;
use crate::web_url::{HostPattern, decode, without_query};

/// How many kinds of conversion a project has at most.
pub const CONVERSION_RULES_MAX: usize = 50;
/// The longest name of a conversion, in characters.
pub const NAME_CHARS_MAX: usize = 64;
/// The longest [`PagePattern`], in characters.
pub const PAGE_PATTERN_CHARS_MAX: usize = 200;

/// An event that its project counts as a conversion, with the visitor's touches as they were then.
///
/// One event is one conversion of each rule that it meets: whoever loads a page twice converts twice, in one session.
#[derive(Clone, PartialEq, Debug)]
pub struct Conversion {
    /// Its id.
    pub id: ConversionId,
    /// Its project.
    pub project_id: ProjectId,
    /// Which kind of conversion.
    pub name: ConversionName,
    /// The pixel of the event.
    pub pixel_id: PixelId,
    /// The event.
    pub event_id: EventId,
    /// Who converted.
    pub visitor_id: VisitorId,
    /// In which session.
    pub session_id: SessionId,
    /// When, by the client's clock.
    pub occurred_at: Timestamp,
    /// What it is worth, without a currency: the event's own value, or else the rule's.
    pub value: Option<f64>,
    /// The four touches of the visitor up to the event; later visits do not change them.
    pub touches: FourTouches,
}

/// Which events are a conversion: those that meet all that is said here.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(transform = crate::schema::bounded))]
#[serde(default, deny_unknown_fields)]
pub struct ConversionRule {
    /// The event's name, as it is sent; absent: a page view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventKind>,
    /// The pages on which it counts; absent: all, which a page view may not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<PagePattern>,
    /// What one is worth where the event says nothing of it, without a currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

impl ConversionRule {
    /// Whether it would count every page view.
    pub fn is_boundless(&self) -> bool {
        self.page.is_none() && self.kind() == &EventKind::Pageview
    }

    fn kind(&self) -> &EventKind {
        self.event.as_ref().unwrap_or(&EventKind::Pageview)
    }

    fn is_met_by(&self, event: &Event) -> bool {
        *self.kind() == event.kind
            && !self.is_boundless()
            && self.page.as_ref().is_none_or(|page| page.matches(&event.page_url))
    }
}

/// What an event counts as.
#[derive(Clone, PartialEq, Debug)]
pub struct Converted {
    /// Which kind of conversion.
    pub name: ConversionName,
    /// What it is worth.
    pub value: Option<f64>,
}

/// As what an event counts, by name. A bot's event counts as nothing.
pub fn conversions_of(event: &Event, rules: &BTreeMap<ConversionName, ConversionRule>) -> Vec<Converted> {
    if event.client.bot.is_some() {
        return Vec::new();
    }
    (rules.iter())
        .filter(|(_, rule)| rule.is_met_by(event))
        .map(|(name, rule)| Converted { name: name.clone(), value: event.value.or(rule.value) })
        .collect()
}

/// The name of a kind of conversion: 1 to [`NAME_CHARS_MAX`] characters of plain text, without white space at its ends.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConversionName(String);

/// A text that is not a [`ConversionName`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a name of 1 to {NAME_CHARS_MAX} characters of plain text")]
pub struct ConversionNameError;

impl ConversionName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConversionName {
    type Err = ConversionNameError;

    fn from_str(text: &str) -> Result<Self, ConversionNameError> {
        let is_plain = text::clean(text, NAME_CHARS_MAX).as_deref() == Some(text);
        if is_plain { Ok(Self(text.to_owned())) } else { Err(ConversionNameError) }
    }
}

impl TryFrom<String> for ConversionName {
    type Error = ConversionNameError;

    fn try_from(text: String) -> Result<Self, ConversionNameError> {
        text.parse()
    }
}

impl From<ConversionName> for String {
    fn from(name: ConversionName) -> Self {
        name.0
    }
}

impl fmt::Display for ConversionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which pages: a path such as `/thanks` or `/order/*/done`, on every host or, as `shop.example.com/thanks`, on one
/// (`*.` before it: all below it).
///
/// `*` stands for any text without a slash, `**` for any text, also none. The path is compared as people read it
/// (percent-decoded), letter by letter; query and fragment do not count, nor does a slash at the end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PagePattern {
    host: Option<HostPattern>,
    path: String,
}

/// A text that is not a [`PagePattern`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "not a path such as /thanks, /order/**, or shop.example.com/thanks (no scheme, query or fragment; \
     {PAGE_PATTERN_CHARS_MAX} characters at most)"
)]
pub struct PagePatternError;

impl FromStr for PagePattern {
    type Err = PagePatternError;

    fn from_str(text: &str) -> Result<Self, PagePatternError> {
        let text = text::clean(text, usize::MAX).ok_or(PagePatternError)?;
        let slash = text.find('/').ok_or(PagePatternError)?;
        let (host, path) = text.split_at(slash);
        let host = if host.is_empty() {
            None
        } else {
            Some(host.parse().map_err(|_no_host: crate::web_url::HostPatternError| PagePatternError)?)
        };
        if path.starts_with("//")
            || path.contains(['?', '#'])
            || text.chars().count() > PAGE_PATTERN_CHARS_MAX
        {
            return Err(PagePatternError);
        }
        Ok(Self { host, path: path.to_owned() })
    }
}

impl TryFrom<String> for PagePattern {
    type Error = PagePatternError;

    fn try_from(text: String) -> Result<Self, PagePatternError> {
        text.parse()
    }
}

impl From<PagePattern> for String {
    fn from(pattern: PagePattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for PagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(host) = &self.host {
            host.fmt(f)?;
        }
        f.write_str(&self.path)
    }
}

impl PagePattern {
    /// Whether an address is one of these pages. What is no http or https address is none.
    pub fn matches(&self, page_url: &str) -> bool {
        let Ok(url) = Url::parse(without_query(page_url)) else { return false };
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        if self.host.as_ref().is_some_and(|pattern| !pattern.matches(host)) {
            return false;
        }
        let path = decode(url.path(), false);
        let pattern = decode(&self.path, false);
        let bare = path.strip_suffix('/').unwrap_or(&path);
        matches(&pattern, bare) || matches(&pattern, &format!("{bare}/"))
    }
}

/// Whether a path is one that a pattern means. Takes time proportional to the product of their lengths at most: each
/// character moves all places of the pattern that it may stand at.
fn matches(pattern: &str, path: &str) -> bool {
    let literal = pattern.find('*').unwrap_or(pattern.len());
    let Some(rest) = path.strip_prefix(&pattern[..literal]) else { return false };
    let steps = steps(&pattern[literal..]);
    // The places of the pattern before which the path may stand.
    let mut places = vec![false; steps.len() + 1];
    let mut next = places.clone();
    places[0] = true;
    pass_over(&steps, &mut places);
    for c in rest.chars() {
        next.fill(false);
        for (place, step) in steps.iter().enumerate().filter(|(place, _)| places[*place]) {
            match step {
                Step::Letter(letter) => next[place + 1] |= *letter == c,
                Step::WithoutSlash => next[place] |= c != '/',
                Step::Anything => next[place] = true,
            }
        }
        pass_over(&steps, &mut next);
        std::mem::swap(&mut places, &mut next);
    }
    places[steps.len()]
}

enum Step {
    Letter(char),
    WithoutSlash,
    Anything,
}

fn steps(pattern: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for c in pattern.chars() {
        match (c, steps.last_mut()) {
            ('*', Some(star @ (Step::WithoutSlash | Step::Anything))) => *star = Step::Anything,
            ('*', _) => steps.push(Step::WithoutSlash),
            (letter, _) => steps.push(Step::Letter(letter)),
        }
    }
    steps
}

/// A star may stand for nothing.
fn pass_over(steps: &[Step], places: &mut [bool]) {
    for (place, step) in steps.iter().enumerate() {
        if places[place] && matches!(step, Step::WithoutSlash | Step::Anything) {
            places[place + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_met(pattern: &str, page: &str) -> bool {
        pattern.parse::<PagePattern>().unwrap().matches(page)
    }

    #[test]
    fn a_pattern_means_the_pages_that_its_stars_say() {
        for (pattern, path, expected) in [
            ("/thanks", "/thanks", true),
            ("/thanks", "/thanks/", true),
            ("/thanks/", "/thanks", true),
            ("/thanks", "/thanks/more", false),
            ("/thanks", "/Thanks", false),
            ("/thanks", "/en/thanks", false),
            ("/thanks", "/thanks?order=1#done", true),
            ("/", "", true),
            ("/", "/thanks", false),
            ("/order/*/done", "/order/17/done", true),
            ("/order/*/done", "/order/17/18/done", false),
            ("/order/*/done", "/order//done", true),
            ("/order/**/done", "/order/17/18/done", true),
            ("/order/**", "/order", true),
            ("/order/**", "/order/17", true),
            ("/order/**", "/orders", false),
            ("/order*", "/orders", true),
            ("/order*", "/order/17", false),
            ("/**/thanks*", "/en/shop/thanks-you", true),
            ("/**", "/", true),
            ("/*", "/a/b", false),
            ("/danke schön", "/danke%20sch%C3%B6n", true),
            ("/danke%20sch%C3%B6n", "/danke%20schön", true),
            ("/a*b*c", "/aXbYbZc", true),
            ("/a*b*c", "/aXbYbZ", false),
        ] {
            let page = format!("https://www.acme.example{path}");
            assert_eq!(is_met(pattern, &page), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn a_host_before_the_path_narrows_it_to_that_host() {
        assert!(is_met("Shop.example/thanks", "https://shop.example:8443/thanks"));
        assert!(!is_met("shop.example/thanks", "https://www.shop.example/thanks"));
        assert!(is_met("*.shop.example/thanks", "https://www.shop.example./thanks"));
        assert!(!is_met("shop.example/thanks", "no address"));
    }

    #[test]
    fn what_is_no_path_is_no_pattern() {
        for bad in
            ["", "thanks", "https://shop.example/thanks", "//thanks", "/a?b=c", "/a#b", "a b/thanks", "*/x"]
        {
            assert_eq!(bad.parse::<PagePattern>(), Err(PagePatternError), "{bad}");
        }
        let long = format!("/{}", "p".repeat(PAGE_PATTERN_CHARS_MAX));
        assert_eq!(long.parse::<PagePattern>(), Err(PagePatternError));
        assert!(long[..PAGE_PATTERN_CHARS_MAX].parse::<PagePattern>().is_ok());
    }

    #[test]
    fn a_name_is_short_plain_text() {
        for bad in ["", " ", "a ", "a\u{0}b", &"x".repeat(65)] {
            assert_eq!(bad.parse::<ConversionName>(), Err(ConversionNameError), "{bad:?}");
        }
        assert_eq!("Angebot €".parse::<ConversionName>().unwrap().as_str(), "Angebot €");
    }

    /// The definition, without regard to time: a star takes as much as it may, or less.
    fn by_definition(pattern: &[char], path: &[char]) -> bool {
        match (pattern, path) {
            ([], path) => path.is_empty(),
            (['*', '*', rest @ ..], path) => {
                (0..=path.len()).any(|taken| by_definition(rest, &path[taken..]))
            }
            (['*', rest @ ..], path) => (0..=path.len())
                .take_while(|taken| !path[..*taken].contains(&'/'))
                .any(|taken| by_definition(rest, &path[taken..])),
            ([letter, rest @ ..], [c, path @ ..]) => letter == c && by_definition(rest, path),
            ([_, ..], []) => false,
        }
    }

    proptest! {
        #[test]
        fn matching_follows_the_definition(pattern in "/[ab/*]{0,6}", path in "/[ab/]{0,8}") {
            let collapsed = pattern.replace("***", "**").replace("***", "**");
            let [definition, text]: [Vec<char>; 2] = [&collapsed, &path].map(|text| text.chars().collect());
            prop_assert_eq!(matches(&pattern, &path), by_definition(&definition, &text));
        }

        #[test]
        fn a_pattern_is_read_as_it_is_written(text in "(a\\.example)?/[a-z*/ %é]{0,20}") {
            if let Ok(pattern) = text.parse::<PagePattern>() {
                prop_assert_eq!(pattern.to_string().parse::<PagePattern>(), Ok(pattern));
            }
        }
    }
}
