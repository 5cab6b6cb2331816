//! The registry of click ids: one row each. A new network is one row here.

use serde::{Deserialize, Serialize};

/// What a click id's presence says about the visit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Implies {
    /// A paid click, with this source and medium where the URL names none.
    Paid {
        /// The source, as a well-tagged URL of the network would have it.
        source: &'static str,
        /// The medium, as a well-tagged URL of the network would have it.
        medium: &'static str,
    },
    /// A visit from this source, paid or not.
    Source {
        /// The source, as a well-tagged URL of the network would have it.
        source: &'static str,
        /// The medium, as a well-tagged URL of the network would have it.
        medium: &'static str,
    },
    /// Nothing: the parameter accompanies others.
    Nothing,
}

/// One row of the registry.
#[derive(Clone, Copy, Debug)]
pub struct ClickIdKind {
    /// The canonical parameter name, lower-case.
    pub parameter: &'static str,
    /// Other spellings of it, lower-case.
    pub aliases: &'static [&'static str],
    /// The network that makes it.
    pub network: &'static str,
    /// What it says about the visit.
    pub implies: Implies,
    /// How many days the network accepts it for a conversion; 0 where it does not say.
    pub lifetime_days: u16,
    /// Where the fact stands.
    pub fact_source: &'static str,
    /// A value of the form the network makes; not a real click.
    pub example: &'static str,
}

const fn row(
    parameter: &'static str,
    aliases: &'static [&'static str],
    network: &'static str,
    implies: Implies,
    lifetime_days: u16,
    fact_source: &'static str,
    example: &'static str,
) -> ClickIdKind {
    ClickIdKind { parameter, aliases, network, implies, lifetime_days, fact_source, example }
}

const fn paid(source: &'static str, medium: &'static str) -> Implies {
    Implies::Paid { source, medium }
}

const fn from(source: &'static str, medium: &'static str) -> Implies {
    Implies::Source { source, medium }
}

/// Every click id that is recognised. Order matters only where a URL carries several that imply a source: the first
/// row wins, and a paid one before any other.
#[rustfmt::skip]
pub const REGISTRY: &[ClickIdKind] = &[
    row("gclid", &[], "Google Ads", paid("google", "cpc"), 90, "Google Ads Help: Google Click ID (GCLID)", "Cj0KCQjwtest-gclid_example"),
    row("gbraid", &[], "Google Ads (app conversions of iOS, web to app)", paid("google", "cpc"), 90, "Google Ads Help: About WBRAID and GBRAID", "0AAAAAtest-gbraid"),
    row("wbraid", &[], "Google Ads (web conversions of iOS, app to web)", paid("google", "cpc"), 90, "Google Ads Help: About WBRAID and GBRAID", "Cj8KCQtest-wbraid"),
    row("dclid", &[], "Google Marketing Platform", paid("google", "display"), 90, "Display & Video 360 Help: enhanced attribution appends DCLID when an ad is clicked", "CMtest-dclid"),
    row("gad_campaignid", &[], "Google Ads", paid("google", "cpc"), 0, "Google Ads Help: About gad_* URL parameters; any URL coming from a Google ad has it", "1234567890"),
    row("gad_source", &["gad"], "Google Ads", paid("google", "cpc"), 0, "Google Ads Help: About gad_* URL parameters; any URL coming from a Google ad has it, formerly `gad`", "1"),
    row("msclkid", &[], "Microsoft Advertising", paid("bing", "cpc"), 90, "Microsoft Advertising Help: MSCLKID", "0123456789abcdeftest-msclkid"),
    row("ttclid", &[], "TikTok", paid("tiktok", "paid_social"), 28, "TikTok Business Help: About TikTok Click ID", "E.C.P.test-ttclid"),
    row("twclid", &[], "X", paid("x", "paid_social"), 30, "X Business Help: conversion tracking, click id", "2-test-twclid"),
    row("li_fat_id", &[], "LinkedIn", paid("linkedin", "paid_social"), 30, "LinkedIn Help: first-party tracking, li_fat_id", "00000000-test-li-fat-id"),
    row("sc_click_id", &["sccid", "scclid", "scid"], "Snapchat", paid("snapchat", "paid_social"), 28, "Snap Business Help: Conversions API, click id (ScCid)", "test-sccid"),
    row("rdt_cid", &[], "Reddit", paid("reddit", "paid_social"), 28, "Reddit Ads Help: click id", "test-rdt-cid"),
    row("qclid", &[], "Quora", paid("quora", "paid_social"), 0, "Quora Ads Help: auto-tagging", "test-qclid"),
    row("yclid", &[], "Yandex Direct", paid("yandex", "cpc"), 21, "Yandex Direct Help: yclid", "12345678901234567890"),
    row("oppref", &[], "OpenAI Ads", paid("chatgpt", "cpc"), 0, "OpenAI Ads documentation: click reference", "test-oppref"),
    row("ob_click_id", &[], "Outbrain", paid("outbrain", "native"), 0, "Outbrain Help: click id", "v1-test-ob-click-id"),
    row("tblci", &[], "Taboola", paid("taboola", "native"), 0, "Taboola Help: click id of server-to-server tracking", "GiTest-tblci"),
    row("irclickid", &[], "Impact", from("impact", "affiliate"), 0, "Impact Help: click id", "test-irclickid"),
    row("irclid", &[], "Impact", from("impact", "affiliate"), 0, "Impact Help: click id (older spelling of the parameter)", "test-irclid"),
    row("sscid", &[], "ShareASale", from("shareasale", "affiliate"), 90, "ShareASale: tracking with SSCID", "41k7_test-sscid"),
    row("awc", &[], "Awin", from("awin", "affiliate"), 0, "Awin: click checksum of server-to-server tracking", "1234_1700000000_test-awc"),
    row("cjevent", &[], "CJ", from("cj", "affiliate"), 0, "CJ: CJ Event ID", "test-cjevent"),
    row("epik", &[], "Pinterest", from("pinterest", "social"), 60, "Pinterest Developers: conversions, click_id; on pins as on ads, not proof of paid", "dj0yJnUtest-epik"),
    row("fbclid", &[], "Meta", from("facebook", "social"), 90, "Meta for Developers: fbc and fbp; on every outbound link, not proof of paid", "IwAR0test-fbclid"),
    row("igshid", &["igsh"], "Meta (Instagram share)", from("instagram", "social"), 0, "Instagram share links; `igsh` since 2024", "test-igshid"),
    row("srsltid", &[], "Google Merchant Center", from("google", "organic"), 0, "Merchant Center Help: auto-tagging of free listings and other organic results", "AfmBOoTest-srsltid"),
    row("ysclid", &[], "Yandex", from("yandex", "organic"), 0, "Yandex Metrica Help: ysclid, visits from search results", "test-ysclid"),
    row("mc_cid", &[], "Mailchimp", from("mailchimp", "email"), 0, "Mailchimp Help: campaign id", "test-mc-cid"),
    row("mc_eid", &[], "Mailchimp", from("mailchimp", "email"), 0, "Mailchimp Help: subscriber id", "test-mc-eid"),
    row("_hsenc", &[], "HubSpot", from("hubspot", "email"), 0, "HubSpot Knowledge: tracking parameters of e-mails", "p2ANqtztest-hsenc"),
    row("_hsmi", &[], "HubSpot", from("hubspot", "email"), 0, "HubSpot Knowledge: tracking parameters of e-mails", "1234567"),
    row("_kx", &[], "Klaviyo", from("klaviyo", "email"), 0, "Klaviyo Help: _kx parameter", "test-kx.K1aV1o"),
    row("mkt_tok", &[], "Marketo", from("marketo", "email"), 0, "Marketo Engage documentation: mkt_tok on tracked links of e-mails", "test-mkt-tok"),
    row("gclsrc", &[], "Google", Implies::Nothing, 90, "Search Ads 360 Help: gclsrc says where the gclid came from", "aw.ds"),
    row("s_kwcid", &[], "Adobe Advertising", Implies::Nothing, 0, "Adobe Advertising: s_kwcid", "AL!1234!3!test"),
];

/// The seven that are columns of an event as well, in the order of the columns.
pub const COLUMNS: [&str; 7] = ["gclid", "fbclid", "msclkid", "ttclid", "twclid", "li_fat_id", "sc_click_id"];

/// With which letters the names and aliases begin: bit n for the ASCII character n.
const INITIALS: u128 = {
    let mut initials = 0;
    let mut row = 0;
    while row < REGISTRY.len() {
        initials |= 1 << (REGISTRY[row].parameter.as_bytes()[0] & 0x7f);
        let mut alias = 0;
        while alias < REGISTRY[row].aliases.len() {
            initials |= 1 << (REGISTRY[row].aliases[alias].as_bytes()[0] & 0x7f);
            alias += 1;
        }
        row += 1;
    }
    initials
};

/// The row of a parameter name, whatever its case, by its canonical name or an alias.
pub fn lookup(parameter: &str) -> Option<&'static ClickIdKind> {
    place(parameter).map(|place| &REGISTRY[place])
}

/// The place in [`REGISTRY`] of a parameter name.
pub(crate) fn place(parameter: &str) -> Option<usize> {
    const LONGEST: usize = 16;
    let first = parameter.bytes().next()?.to_ascii_lowercase();
    if parameter.len() > LONGEST || !first.is_ascii() || INITIALS & (1 << first) == 0 {
        return None;
    }
    REGISTRY.iter().position(|kind| {
        kind.parameter.eq_ignore_ascii_case(parameter)
            || kind.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(parameter))
    })
}

/// A click id as one URL carried it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ClickId {
    /// The canonical parameter name; a row of [`REGISTRY`] when it was recorded.
    pub parameter: String,
    /// The value, byte for byte.
    pub value: String,
}

impl ClickId {
    /// What this click id says about the visit; nothing when its row has since been removed.
    pub fn implies(&self) -> Implies {
        lookup(&self.parameter).map_or(Implies::Nothing, |kind| kind.implies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_alias_stands_once_and_leads_to_its_own_row() {
        let mut seen = std::collections::BTreeSet::new();
        for kind in REGISTRY {
            for name in std::iter::once(&kind.parameter).chain(kind.aliases) {
                assert!(seen.insert(*name), "{name} stands twice");
                assert_eq!(*name, name.to_ascii_lowercase());
                assert_eq!(lookup(&name.to_ascii_uppercase()).map(|k| k.parameter), Some(kind.parameter));
            }
        }
        for column in COLUMNS {
            assert!(lookup(column).is_some(), "{column}");
        }
    }

    #[test]
    fn every_row_names_its_network_its_source_and_an_example_that_is_no_real_click() {
        for kind in REGISTRY {
            let ClickIdKind { parameter, network, fact_source, example, .. } = kind;
            assert!(!network.is_empty() && !fact_source.is_empty() && !example.is_empty(), "{parameter}");
            let is_number = example.bytes().all(|b| b.is_ascii_digit());
            assert!(
                is_number || example.contains("test") || example.contains("Test") || example.len() < 12,
                "{parameter}"
            );
        }
    }

    #[test]
    fn what_any_address_of_a_google_ad_carries_is_proof_of_a_paid_click() {
        for parameter in ["gclid", "gbraid", "wbraid", "dclid", "gad_source", "gad", "gad_campaignid"] {
            assert!(matches!(lookup(parameter).unwrap().implies, Implies::Paid { .. }), "{parameter}");
        }
        assert_eq!(lookup("gclsrc").unwrap().implies, Implies::Nothing);
    }

    #[test]
    fn metas_click_id_is_not_proof_of_a_paid_click() {
        assert!(matches!(lookup("fbclid").unwrap().implies, Implies::Source { .. }));
        assert!(matches!(lookup("gclid").unwrap().implies, Implies::Paid { .. }));
    }
}
