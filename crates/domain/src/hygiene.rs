//! What is wrong with the tags of a site's links: findings over collected events, for the people who set the links.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::channel::{self, is_known_medium};
use crate::click_id::Implies;
use crate::event::Event;
use crate::signals::Signals;
use crate::source::lower;
use crate::web_url::{WebUrl, site_of, without_query};

/// How many examples a finding shows.
pub const EXAMPLES_MAX: usize = 5;

/// The longest example, in characters; longer ones are cut there.
pub const EXAMPLE_CHARS_MAX: usize = 200;

/// How many different values of one parameter are compared; further ones are counted and not compared.
pub const VALUES_MAX: usize = 10_000;

/// A click id shorter than this may be a word that stands elsewhere by chance. The networks' have 20 characters and more.
const CLICK_ID_CHARS_MIN: usize = 10;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "TagProblem"))]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// A link from a page of the same site carries UTM parameters: it overwrites where the visit came from.
    UtmOnInternalLink,
    /// Values of one parameter differ by upper and lower case only, so that reports count them apart.
    CasingVariants,
    /// A click id of an ad without any UTM parameter: network known, campaign unknown.
    AdClickWithoutUtm,
    /// A click id of an ad, and a medium that says that nobody paid.
    AdClickWithUnpaidMedium,
    /// A source without a medium.
    SourceWithoutMedium,
    /// A medium without a source.
    MediumWithoutSource,
    /// A medium that no channel rule knows.
    UnknownMedium,
    /// A placeholder that the ad network did not fill.
    UnresolvedMacro,
    /// An e-mail address in the page's address.
    EmailInUrl,
    /// The site names itself as the source.
    SelfReferral,
}

impl Problem {
    /// What is wrong, in a few words.
    pub fn title(self) -> &'static str {
        match self {
            Self::UtmOnInternalLink => "UTM parameters on links within the site",
            Self::CasingVariants => "values that differ by upper and lower case only",
            Self::AdClickWithoutUtm => "clicks on ads without UTM parameters",
            Self::AdClickWithUnpaidMedium => "clicks on ads whose medium says that nobody paid",
            Self::SourceWithoutMedium => "utm_source without utm_medium",
            Self::MediumWithoutSource => "utm_medium without utm_source",
            Self::UnknownMedium => "a medium that no channel knows",
            Self::UnresolvedMacro => "placeholders that the ad network did not fill",
            Self::EmailInUrl => "e-mail addresses in links",
            Self::SelfReferral => "the site named as its own source",
        }
    }

    /// What it means and what to do, for people.
    pub fn advice(self) -> &'static str {
        match self {
            Self::UtmOnInternalLink => {
                "remove the UTM parameters from links between pages of the same site: they overwrite the campaign"
            }
            Self::CasingVariants => "write the value the same way everywhere, best in lower case",
            Self::AdClickWithoutUtm => {
                "add utm_campaign to the ad's tracking template: only the network is known"
            }
            Self::AdClickWithUnpaidMedium => "set utm_medium of ads to cpc or paid_social",
            Self::SourceWithoutMedium => "add utm_medium: without it the channel is guessed from the source",
            Self::MediumWithoutSource => "add utm_source: the referrer stands in for it",
            Self::UnknownMedium => {
                "use a medium that channels know (cpc, email, social, referral, affiliate, …)"
            }
            Self::UnresolvedMacro => "the ad network does not know this placeholder: check its spelling",
            Self::EmailInUrl => "do not put e-mail addresses into links: they end in logs and reports",
            Self::SelfReferral => "the site's own name is no source: remove the tag from its own links",
        }
    }
}

/// One kind of problem, how often it occurred, and examples.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "TagFinding"))]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// The same in a few words, for people.
    pub title: &'static str,
    /// In how many events; of casing variants, in how many values.
    pub count: u64,
    /// Where, or which values: a few, in alphabetical order, without what might identify a person.
    pub examples: Vec<String>,
    /// What to do.
    pub advice: &'static str,
}

/// The problems of the events, as [`Inspection::into_findings`] has them.
pub fn findings<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Finding> {
    let mut inspection = Inspection::default();
    for event in events {
        inspection.take(event);
    }
    inspection.into_findings()
}

/// What was found so far, for whoever has not all events at once. Its size is bounded, whatever it is given.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Inspection {
    counts: BTreeMap<Problem, (u64, BTreeSet<String>)>,
    /// The spellings of a parameter's values, by the value in lower case.
    spellings: BTreeMap<(&'static str, String), BTreeSet<String>>,
}

impl Inspection {
    /// Looks at an event.
    pub fn take(&mut self, event: &Event) {
        let Ok((page, query)) = WebUrl::parse(&event.page_url) else { return };
        let utm = &event.signals.utm;
        let shown = without_query(&event.page_url);
        for (parameter, value) in
            [("utm_source", &utm.source), ("utm_medium", &utm.medium), ("utm_campaign", &utm.campaign)]
        {
            if let Some(value) = value.as_deref().filter(|value| hidden(value, event).is_none()) {
                self.spell(parameter, value);
            }
        }
        let ad_click = event.signals.click_ids.iter().find(|id| matches!(id.implies(), Implies::Paid { .. }));
        let own = {
            let mut own = Signals::default();
            own.offer_query(&query);
            own.utm
        };
        let referrer = event.referrer_url.as_deref().and_then(|url| WebUrl::parse(url).ok());
        let same_site = referrer.is_some_and(|(url, _)| site_of(url.host()) == site_of(page.host()));
        if same_site && !own.is_empty() {
            self.note(Problem::UtmOnInternalLink, event, shown);
        }
        match (&utm.source, &utm.medium) {
            (Some(source), None) => self.note(Problem::SourceWithoutMedium, event, source),
            (None, Some(medium)) => self.note(Problem::MediumWithoutSource, event, medium),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if let Some(id) = ad_click {
            if utm.is_empty() {
                self.note(Problem::AdClickWithoutUtm, event, &format!("{} on {shown}", id.parameter));
            } else if let Some(medium) = &utm.medium
                && is_known_medium(medium)
                && !is_bought(medium)
            {
                self.note(
                    Problem::AdClickWithUnpaidMedium,
                    event,
                    &format!("{medium} with {}", id.parameter),
                );
            }
        }
        if let Some(medium) = utm.medium.as_deref().filter(|medium| !is_known_medium(medium)) {
            self.note(Problem::UnknownMedium, event, medium);
        }
        let values = [&utm.source, &utm.medium, &utm.campaign, &utm.term, &utm.content, &utm.id];
        if let Some(value) = values.into_iter().flatten().find(|value| is_macro(value)) {
            self.note(Problem::UnresolvedMacro, event, value);
        }
        if let Some((name, _)) = query.parameters().find(|(_, value)| holds_email(value)) {
            self.note(Problem::EmailInUrl, event, &format!("{name} on {shown}"));
        } else if holds_email(shown) {
            self.note(Problem::EmailInUrl, event, &format!("a path on {}", page.host()));
        }
        let site = site_of(page.host());
        let is_own = |source: &String| site_of(&lower(source)) == site;
        if let Some(source) = utm.source.as_ref().filter(|source| is_own(source)) {
            self.note(Problem::SelfReferral, event, source);
        }
    }

    fn note(&mut self, problem: Problem, event: &Event, example: &str) {
        self.add(problem, hidden(example, event).unwrap_or(example));
    }

    fn add(&mut self, problem: Problem, example: &str) {
        let (count, examples) = self.counts.entry(problem).or_default();
        *count += 1;
        let example = cut(example);
        if !examples.contains(&*example) {
            examples.insert(example.into_owned());
            if examples.len() > EXAMPLES_MAX {
                examples.pop_last();
            }
        }
    }

    fn spell(&mut self, parameter: &'static str, value: &str) {
        let key = (parameter, lower(value).into_owned());
        if self.spellings.len() < VALUES_MAX || self.spellings.contains_key(&key) {
            let spellings = self.spellings.entry(key).or_default();
            if spellings.len() < EXAMPLES_MAX {
                spellings.insert(value.to_owned());
            }
        }
    }

    /// The problems by kind. Deterministic: the order of the events does not matter, as long as no parameter has more than
    /// [`VALUES_MAX`] values, nor a value more than [`EXAMPLES_MAX`] spellings.
    pub fn into_findings(mut self) -> Vec<Finding> {
        for ((parameter, _), spellings) in std::mem::take(&mut self.spellings) {
            if spellings.len() > 1 {
                let spellings: Vec<String> = spellings.into_iter().collect();
                self.add(Problem::CasingVariants, &format!("{parameter}: {}", spellings.join(", ")));
            }
        }
        let finding = |(problem, (count, examples)): (Problem, (u64, BTreeSet<String>))| Finding {
            problem,
            title: problem.title(),
            count,
            examples: examples.into_iter().collect(),
            advice: problem.advice(),
        };
        self.counts.into_iter().map(finding).collect()
    }
}

/// What stands for a text that would tell who somebody is; `None` where it may be shown.
fn hidden(text: &str, event: &Event) -> Option<&'static str> {
    let mut ids = event.signals.click_ids.iter().map(|id| id.value.trim());
    if holds_email(text) {
        Some("(holds an e-mail address)")
    } else if ids.any(|id| id.len() >= CLICK_ID_CHARS_MIN && text.contains(id)) {
        Some("(holds a click id)")
    } else {
        None
    }
}

fn cut(example: &str) -> Cow<'_, str> {
    match example.char_indices().nth(EXAMPLE_CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &example[..end])),
        None => Cow::Borrowed(example),
    }
}

/// Whether a medium says that somebody paid, for a click or for a banner.
fn is_bought(medium: &str) -> bool {
    let medium = lower(medium.trim());
    channel::is_paid(&medium) || matches!(&*medium, "display" | "banner" | "expandable" | "interstitial")
}

/// Whether a value is, or holds, a placeholder as ad networks write them: `{campaignid}`, `{{ad.name}}`,
/// `__CAMPAIGN_NAME__`, `[CAMPAIGN]`, `%%CLICK_ID%%`, `${campaign}`.
fn is_macro(value: &str) -> bool {
    let between = |open: &str, close: &str| {
        value.split_once(open).and_then(|(_, rest)| rest.split_once(close)).is_some_and(|(name, _)| {
            let inner = name.trim_start_matches('{');
            !inner.is_empty() && inner.chars().all(|c| c.is_ascii_alphanumeric() || "_.:- ".contains(c))
        })
    };
    let upper = |open: &str, close: &str| {
        value.split_once(open).and_then(|(_, rest)| rest.split_once(close)).is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        })
    };
    between("{", "}") || upper("__", "__") || upper("[", "]") || between("%%", "%%")
}

/// Whether a text, percent-encoded or not, holds what looks like an e-mail address.
fn holds_email(text: &str) -> bool {
    let text = crate::web_url::decode(text, true);
    text.match_indices('@').any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric());
        let host: String = text[at + 1..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
            .collect();
        before && host.trim_matches('.').contains('.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_of_ad_networks_are_known() {
        for value in [
            "{campaignid}",
            "{{campaign.name}}",
            "x_{adgroup}",
            "__CAMPAIGN_NAME__",
            "[CAMPAIGN]",
            "%%SITE%%",
            "${id}",
        ] {
            assert!(is_macro(value), "{value}");
        }
        for value in ["spring", "50%off", "a_b__c", "[de] brand", "{}", "%%", "{\"a\":1}", ""] {
            assert!(!is_macro(value), "{value}");
        }
    }

    #[test]
    fn an_email_is_seen_encoded_or_not() {
        for text in ["jane@x.example", "jane%40x.example", "to:jane@mail.x.example."] {
            assert!(holds_email(text), "{text}");
        }
        for text in ["@handle", "jane@", "a@b", "user @x.example", ""] {
            assert!(!holds_email(text), "{text}");
        }
    }
}
