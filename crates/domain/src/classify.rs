//! What the rules make of one landing, without any store: the page's address, where the visitor came from, and whose
//! site it is. The same code that decides collected events.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::channel;
use crate::click_id::{self, Implies};
use crate::event::arrival::Referrer;
use crate::event::{Arrival, Neighbourhood, ReferrerKind};
use crate::signals::{AdParameters, Signals, Utm};
use crate::touch::{Origin, RULES_VERSION, TouchKind};
use crate::web_url::{WebUrl, WebUrlError};

/// What the rules make of one landing.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Landing {
    /// The page's host, in ASCII.
    pub host: String,
    /// The referring host, whatever its site; an app's package name where an app refers.
    pub referrer_host: Option<String>,
    /// What the referrer is to the page.
    pub referrer: ReferrerKind,
    /// The UTM and ad parameters, by their whole canonical names.
    pub signals: BTreeMap<Cow<'static, str>, String>,
    /// The click ids, in the order received.
    pub click_ids: Vec<ClickIdShown>,
    /// The effective source; absent is direct, or nothing says it.
    pub source: Option<String>,
    /// The effective medium.
    pub medium: Option<String>,
    /// The campaign.
    pub campaign: Option<String>,
    /// The channel, by GA4's name of it; absent where there is none (direct, internal).
    pub channel: Option<&'static str>,
    /// Whether the landing makes a touch where it opens a session.
    pub touch: bool,
    /// What decided.
    pub rule: LandingRule,
    /// Why it makes a touch or not, in words.
    pub why: String,
    /// Why it has its channel, in words.
    pub channel_why: Option<&'static str>,
    /// The version of the rules.
    pub rules_version: u16,
}

/// A click id, with what the registry knows of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ClickIdShown {
    /// Its canonical parameter name.
    pub parameter: String,
    /// Its value.
    pub value: String,
    /// The network that makes it.
    pub network: &'static str,
    /// Whether it comes with paid clicks only.
    pub paid: bool,
}

/// What decided how a visitor arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LandingRule {
    /// A UTM parameter.
    Utm,
    /// A click id.
    ClickId,
    /// A referrer on another site.
    Referrer,
    /// A referrer on the same site.
    SameSite,
    /// A referrer on another of the pixel's sites.
    OwnSite,
    /// A referrer that visitors only pass through.
    IgnoredReferrer,
    /// Nothing: neither signal nor referrer.
    Direct,
}

impl LandingRule {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utm => "utm",
            Self::ClickId => "click_id",
            Self::Referrer => "referrer",
            Self::SameSite => "same_site",
            Self::OwnSite => "own_site",
            Self::IgnoredReferrer => "ignored_referrer",
            Self::Direct => "direct",
        }
    }
}

/// What the rules make of a landing on `url`, coming from `referrer`.
///
/// # Errors
/// `url` is not an http or https URL with a host. A referrer that is none says nothing.
///
/// ```
/// use leadtrail_domain::classify::classify;
/// use leadtrail_domain::event::Neighbourhood;
///
/// let landing = classify("https://www.example.com/?gclid=test", None, &Neighbourhood::default())?;
/// assert_eq!(landing.source.as_deref(), Some("google"));
/// assert_eq!(landing.channel, Some("Paid Search"));
/// # Ok::<(), leadtrail_domain::web_url::WebUrlError>(())
/// ```
pub fn classify(
    url: &str,
    referrer: Option<&str>,
    neighbourhood: &Neighbourhood<'_>,
) -> Result<Landing, WebUrlError> {
    let (page, query) = WebUrl::parse(url)?;
    let referrer = referrer.and_then(Referrer::new);
    let mut signals = Signals::default();
    signals.offer_query(&query);
    if let Some(referrer) = &referrer {
        signals.offer_query(&referrer.query);
    }
    let referrer_host = referrer.and_then(|referrer| referrer.host);
    let kind = neighbourhood.referrer_kind(referrer_host.as_deref(), page.host());
    let arrival = neighbourhood.arrival(&signals, page.host(), referrer_host.as_deref());
    Ok(landing(page.host(), referrer_host, kind, signals, &arrival))
}

fn landing(
    host: &str,
    referrer_host: Option<String>,
    referrer: ReferrerKind,
    signals: Signals,
    arrival: &Arrival,
) -> Landing {
    let (kind, external_host) = match arrival {
        Arrival::External { kind, referrer_host } => (*kind, referrer_host.as_deref()),
        Arrival::Internal | Arrival::Direct => (TouchKind::Direct, None),
    };
    let origin =
        Origin { kind, utm: &signals.utm, click_ids: &signals.click_ids, referrer_host: external_host };
    let attribution = origin.attribution();
    let channel = origin.channel();
    let rule = match (arrival, kind) {
        (Arrival::External { .. }, TouchKind::Utm) => LandingRule::Utm,
        (Arrival::External { .. }, TouchKind::ClickId) => LandingRule::ClickId,
        (Arrival::External { .. }, TouchKind::Referrer | TouchKind::Direct) => LandingRule::Referrer,
        (Arrival::Internal, _) => match referrer {
            ReferrerKind::OwnSite => LandingRule::OwnSite,
            ReferrerKind::Ignored => LandingRule::IgnoredReferrer,
            ReferrerKind::SameSite | ReferrerKind::None | ReferrerKind::Elsewhere => LandingRule::SameSite,
        },
        (Arrival::Direct, _) => LandingRule::Direct,
    };
    let deciding = origin.deciding_click_id().map_or("a click id", |id| id.parameter.as_str());
    let why = why(rule, deciding, host, referrer_host.as_deref());
    let click_ids = (signals.click_ids.into_iter())
        .filter_map(|id| {
            let kind = click_id::lookup(&id.parameter)?;
            let paid = matches!(kind.implies, Implies::Paid { .. });
            Some(ClickIdShown { parameter: id.parameter, value: id.value, network: kind.network, paid })
        })
        .collect();
    Landing {
        host: host.to_owned(),
        referrer_host,
        referrer,
        signals: named(signals.utm, signals.ad),
        click_ids,
        source: attribution.source,
        medium: attribution.medium,
        campaign: attribution.campaign,
        channel: channel.map(|rule| rule.channel.as_str()),
        touch: !matches!(arrival, Arrival::Internal),
        rule,
        why,
        channel_why: channel.map(|rule: &channel::Rule| rule.when),
        rules_version: RULES_VERSION,
    }
}

fn named(utm: Utm, ad: AdParameters) -> BTreeMap<Cow<'static, str>, String> {
    let known = [
        ("utm_source", utm.source),
        ("utm_medium", utm.medium),
        ("utm_campaign", utm.campaign),
        ("utm_term", utm.term),
        ("utm_content", utm.content),
        ("utm_id", utm.id),
        ("campaign_region", ad.campaign_region),
        ("ad_group", ad.ad_group),
        ("ad_id", ad.ad_id),
        ("search_query", ad.search_query),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some((Cow::Borrowed(name), value?)));
    known.chain(utm.extra.into_iter().map(|(name, value)| (Cow::Owned(name), value))).collect()
}

fn why(rule: LandingRule, deciding: &str, host: &str, referrer_host: Option<&str>) -> String {
    let from = referrer_host.unwrap_or("nowhere");
    match rule {
        LandingRule::Utm => "a touch: a UTM parameter decides, before click ids and the referrer".to_owned(),
        LandingRule::ClickId => {
            format!("a touch: {deciding} decides, before the referrer; there is no UTM parameter")
        }
        LandingRule::Referrer => {
            format!(
                "a touch: the referrer {from} lies on another site; there is neither UTM parameter nor click id"
            )
        }
        LandingRule::SameSite => format!("no touch: {from} lies on the same site as {host}"),
        LandingRule::OwnSite => format!("no touch: {from} is one of the pixel's own sites"),
        LandingRule::IgnoredReferrer => {
            format!(
                "no touch: visitors only pass through {from} (payment, sign-in, booking or ignored by the project)"
            )
        }
        LandingRule::Direct => {
            "a direct touch where it opens a session, else none: there is no signal and no referrer"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, referrer: &str) -> Landing {
        classify(url, Some(referrer), &Neighbourhood::default()).unwrap()
    }

    #[test]
    fn utm_beats_click_id_beats_referrer_beats_direct() {
        let page = "https://www.acme.example/";
        let search = "https://www.google.com/";
        for (query, referrer, rule, channel) in [
            ("?utm_source=news&utm_medium=email&gclid=x", search, LandingRule::Utm, Some("Email")),
            ("?gclid=x", search, LandingRule::ClickId, Some("Paid Search")),
            ("", search, LandingRule::Referrer, Some("Organic Search")),
            ("", "", LandingRule::Direct, None),
        ] {
            let landing = of(&format!("{page}{query}"), referrer);
            assert_eq!((landing.rule, landing.channel), (rule, channel), "{query} {referrer}");
            assert!(landing.touch);
        }
    }

    #[test]
    fn coming_from_an_own_or_ignored_site_is_no_touch_and_says_why() {
        let own = ["*.partner.example".parse().unwrap()];
        let ignored = ["pay.example".parse().unwrap()];
        let around = Neighbourhood { own_sites: &own, ignored: &ignored };
        for (referrer, rule, word) in [
            ("https://shop.acme.example/cart", LandingRule::SameSite, "same site"),
            ("https://a.partner.example/", LandingRule::OwnSite, "own sites"),
            ("https://secure.pay.example/", LandingRule::IgnoredReferrer, "pass through"),
            ("https://checkout.stripe.com/", LandingRule::IgnoredReferrer, "pass through"),
        ] {
            let landing = classify("https://www.acme.example/", Some(referrer), &around).unwrap();
            assert_eq!((landing.touch, landing.rule), (false, rule), "{referrer}");
            assert!(landing.why.contains(word), "{}", landing.why);
            assert_eq!((landing.source, landing.channel), (None, None));
        }
    }

    #[test]
    fn the_click_id_that_is_named_is_the_one_that_decides() {
        let landing = of("https://www.acme.example/?fbclid=x&gclid=y", "");
        assert_eq!(landing.source.as_deref(), Some("google"));
        assert!(landing.why.contains("gclid decides"), "{}", landing.why);
    }

    #[test]
    fn a_referrer_that_is_none_says_nothing() {
        for referrer in ["", " ", "null", "about:blank", "/path", "http://"] {
            assert_eq!(of("https://a.example/", referrer).rule, LandingRule::Direct, "{referrer}");
        }
        assert!(classify("nonsense", None, &Neighbourhood::default()).is_err());
    }
}
