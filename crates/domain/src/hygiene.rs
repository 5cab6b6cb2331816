//! What is wrong with the tags of a site's links: findings over collected events, for the people who set the links.

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

/// How many different values of one parameter are compared; further ones are counted and not compared.
pub const VALUES_MAX: usize = 10_000;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
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
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// In how many events; of casing variants, in how many values.
    pub count: u64,
    /// Examples, [`EXAMPLES_MAX`] at most, without what might identify a person.
    pub examples: Vec<String>,
    /// What to do.
    pub advice: &'static str,
}

/// The problems of the events, by kind. Deterministic: the examples are the first in alphabetical order.
pub fn findings<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Finding> {
    let mut found = Found::default();
    for event in events {
        found.take(event);
    }
    found.into_findings()
}

/// What was found so far.
#[derive(Default)]
struct Found {
    counts: BTreeMap<Problem, (u64, BTreeSet<String>)>,
    /// The spellings of a parameter's values, by the value in lower case.
    spellings: BTreeMap<(&'static str, String), BTreeSet<String>>,
}

impl Found {
    fn take(&mut self, event: &Event) {
        let Ok((page, query)) = WebUrl::parse(&event.page_url) else { return };
        let utm = &event.signals.utm;
        let shown = without_query(&event.page_url);
        for (parameter, value) in
            [("utm_source", &utm.source), ("utm_medium", &utm.medium), ("utm_campaign", &utm.campaign)]
        {
            if let Some(value) = value {
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
            self.note(Problem::UtmOnInternalLink, shown);
        }
        match (&utm.source, &utm.medium) {
            (Some(source), None) => self.note(Problem::SourceWithoutMedium, source),
            (None, Some(medium)) => self.note(Problem::MediumWithoutSource, medium),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if let Some(id) = ad_click {
            if utm.is_empty() {
                self.note(Problem::AdClickWithoutUtm, &format!("{} on {shown}", id.parameter));
            } else if let Some(medium) = &utm.medium
                && is_known_medium(medium)
                && !is_bought(medium)
            {
                self.note(Problem::AdClickWithUnpaidMedium, &format!("{medium} with {}", id.parameter));
            }
        }
        if let Some(medium) = utm.medium.as_deref().filter(|medium| !is_known_medium(medium)) {
            self.note(Problem::UnknownMedium, medium);
        }
        let values = [&utm.source, &utm.medium, &utm.campaign, &utm.term, &utm.content, &utm.id];
        if let Some(value) = values.into_iter().flatten().find(|value| is_macro(value)) {
            self.note(Problem::UnresolvedMacro, value);
        }
        if let Some((name, _)) = query.parameters().find(|(_, value)| holds_email(value)) {
            self.note(Problem::EmailInUrl, &format!("{name} on {shown}"));
        }
        let site = site_of(page.host());
        let is_own = |source: &String| site_of(&lower(source)) == site;
        if let Some(source) = utm.source.as_ref().filter(|source| is_own(source)) {
            self.note(Problem::SelfReferral, source);
        }
    }

    fn note(&mut self, problem: Problem, example: &str) {
        let (count, examples) = self.counts.entry(problem).or_default();
        *count += 1;
        let example = if holds_email(example) { "(holds an e-mail address)" } else { example };
        if !examples.contains(example) {
            examples.insert(example.to_owned());
            if examples.len() > EXAMPLES_MAX {
                examples.pop_last();
            }
        }
    }

    fn spell(&mut self, parameter: &'static str, value: &str) {
        if holds_email(value) {
            return;
        }
        let key = (parameter, lower(value).into_owned());
        if self.spellings.len() < VALUES_MAX || self.spellings.contains_key(&key) {
            let spellings = self.spellings.entry(key).or_default();
            if spellings.len() < EXAMPLES_MAX {
                spellings.insert(value.to_owned());
            }
        }
    }

    fn into_findings(mut self) -> Vec<Finding> {
        for ((parameter, _), spellings) in std::mem::take(&mut self.spellings) {
            if spellings.len() > 1 {
                let spellings: Vec<String> = spellings.into_iter().collect();
                self.note(Problem::CasingVariants, &format!("{parameter}: {}", spellings.join(", ")));
            }
        }
        let finding = |(problem, (count, examples)): (Problem, (u64, BTreeSet<String>))| Finding {
            problem,
            count,
            examples: examples.into_iter().collect(),
            advice: problem.advice(),
        };
        self.counts.into_iter().map(finding).collect()
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
