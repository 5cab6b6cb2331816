//! Channels: GA4's default channel group, as an ordered table of rules over source, medium and campaign.
//!
//! Source: Analytics Help, "Default channel group", and "Campaigns and traffic sources", read in November 2026. Names
//! are GA4's, so that a report laid beside GA4's reads the same. Where this differs: what Google Ads itself knows of its
//! clicks (network, campaign type) is not in the address, so that a click id that only ads carry makes a visit paid
//! instead; AI assistants are known by their source, not only by the medium that GA4 rewrites.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::source::{Category, Source, lower};

/// The kind of way by which a visit came. Direct visits have none: absence is rendered as direct, never stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Channel {
    /// Ads that the network places by itself across its surfaces.
    #[serde(rename = "Cross-network")]
    CrossNetwork,
    /// Ads on shopping sites, and shopping campaigns.
    #[serde(rename = "Paid Shopping")]
    PaidShopping,
    /// Ads on search engines.
    #[serde(rename = "Paid Search")]
    PaidSearch,
    /// Ads on social networks.
    #[serde(rename = "Paid Social")]
    PaidSocial,
    /// Ads on video sites.
    #[serde(rename = "Paid Video")]
    PaidVideo,
    /// Banners.
    #[serde(rename = "Display")]
    Display,
    /// Any other ad.
    #[serde(rename = "Paid Other")]
    PaidOther,
    /// Shopping sites.
    #[serde(rename = "Organic Shopping")]
    OrganicShopping,
    /// Social networks.
    #[serde(rename = "Organic Social")]
    OrganicSocial,
    /// Video sites.
    #[serde(rename = "Organic Video")]
    OrganicVideo,
    /// Assistants that answer in words.
    #[serde(rename = "AI Assistant")]
    AiAssistant,
    /// Search engines.
    #[serde(rename = "Organic Search")]
    OrganicSearch,
    /// E-mail.
    #[serde(rename = "Email")]
    Email,
    /// Partners who are paid for it.
    #[serde(rename = "Affiliates")]
    Affiliates,
    /// Podcasts and other audio.
    #[serde(rename = "Audio")]
    Audio,
    /// Text messages.
    #[serde(rename = "SMS")]
    Sms,
    /// Notifications of apps.
    #[serde(rename = "Mobile Push Notifications")]
    MobilePush,
    /// Links on other sites.
    #[serde(rename = "Referral")]
    Referral,
    /// Something says where from, and no rule knows what it means.
    #[serde(rename = "Unassigned")]
    Unassigned,
}

impl Channel {
    /// Its name on the wire, in the store and in the CRM.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CrossNetwork => "Cross-network",
            Self::PaidShopping => "Paid Shopping",
            Self::PaidSearch => "Paid Search",
            Self::PaidSocial => "Paid Social",
            Self::PaidVideo => "Paid Video",
            Self::Display => "Display",
            Self::PaidOther => "Paid Other",
            Self::OrganicShopping => "Organic Shopping",
            Self::OrganicSocial => "Organic Social",
            Self::OrganicVideo => "Organic Video",
            Self::AiAssistant => "AI Assistant",
            Self::OrganicSearch => "Organic Search",
            Self::Email => "Email",
            Self::Affiliates => "Affiliates",
            Self::Audio => "Audio",
            Self::Sms => "SMS",
            Self::MobilePush => "Mobile Push Notifications",
            Self::Referral => "Referral",
            Self::Unassigned => "Unassigned",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One rule: the first of [`RULES`] that holds decides.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What it decides.
    pub channel: Channel,
    /// What must hold, in words.
    pub when: &'static str,
    holds: fn(&Facts<'_>) -> bool,
}

/// What the rules look at, in lower case.
struct Facts<'a> {
    category: Option<Category>,
    source: &'a str,
    medium: &'a str,
    campaign: &'a str,
    paid: bool,
}

impl Facts<'_> {
    fn is(&self, category: Category) -> bool {
        self.category == Some(category)
    }
}

const fn rule(channel: Channel, when: &'static str, holds: fn(&Facts<'_>) -> bool) -> Rule {
    Rule { channel, when, holds }
}

/// The rules in their order: GA4's, with AI assistants before search (some lie on a search engine's domain).
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    rule(Channel::CrossNetwork, "the campaign's name contains `cross-network`", |f| f.campaign.contains("cross-network")),
    rule(Channel::PaidShopping, "paid, from a shopping site or by a campaign named after shopping", |f| f.paid && (f.is(Category::Shopping) || is_shopping_campaign(f.campaign))),
    rule(Channel::PaidSearch, "paid, from a search engine", |f| f.paid && f.is(Category::Search)),
    rule(Channel::PaidSocial, "paid, from a social network", |f| f.paid && f.is(Category::Social)),
    rule(Channel::PaidVideo, "paid, from a video site", |f| f.paid && f.is(Category::Video)),
    rule(Channel::Display, "the medium is one of banners: display, banner, expandable, interstitial, cpm", |f| is_display(f.medium)),
    rule(Channel::PaidOther, "paid, from elsewhere", |f| f.paid),
    rule(Channel::OrganicShopping, "from a shopping site or by a campaign named after shopping", |f| f.is(Category::Shopping) || is_shopping_campaign(f.campaign)),
    rule(Channel::OrganicSocial, "from a social network, or the medium is one: social, social-network, social-media, sm", |f| f.is(Category::Social) || is_social(f.medium)),
    rule(Channel::OrganicVideo, "from a video site, or the medium contains `video`", |f| f.is(Category::Video) || f.medium.contains("video")),
    rule(Channel::AiAssistant, "from an AI assistant, or the medium is `ai-assistant`", |f| f.is(Category::AiAssistant) || f.medium == "ai-assistant"),
    rule(Channel::OrganicSearch, "from a search engine, or the medium is `organic`", |f| f.is(Category::Search) || f.medium == "organic"),
    rule(Channel::Email, "source or medium is e-mail, or from a web mailer", |f| is_email(f.source) || is_email(f.medium) || f.is(Category::Email)),
    rule(Channel::Affiliates, "the medium is `affiliate`", |f| matches!(f.medium, "affiliate" | "affiliates")),
    rule(Channel::Audio, "the medium is `audio`", |f| f.medium == "audio"),
    rule(Channel::Sms, "source or medium is `sms`", |f| f.source == "sms" || f.medium == "sms"),
    rule(Channel::MobilePush, "the medium ends with `push` or contains `mobile` or `notification`, or the source is `firebase`", |f| is_push(f.medium) || f.source == "firebase"),
    rule(Channel::Referral, "the medium is one of links: referral, app, link", |f| matches!(f.medium, "referral" | "app" | "link")),
];

/// Where no rule holds.
pub const UNASSIGNED: Rule = rule(Channel::Unassigned, "no rule knows this source and medium", |_| true);

/// The rule that decides. `ad_click`: whether a click id that only ads carry came along. It makes paid what would else be
/// organic or unassigned; a medium that names another carrier (display, e-mail, affiliate, audio, SMS, push) stays.
pub fn decide(
    source: Option<&str>,
    medium: Option<&str>,
    campaign: Option<&str>,
    ad_click: bool,
) -> &'static Rule {
    let (source, medium, campaign) = (folded(source), folded(medium), folded(campaign));
    let facts = Facts {
        category: Source::of_name(&source).map(|source| source.category),
        source: &source,
        medium: &medium,
        campaign: &campaign,
        paid: is_paid(&medium) || (ad_click && !names_carrier(&medium)),
    };
    RULES.iter().find(|rule| (rule.holds)(&facts)).unwrap_or(&UNASSIGNED)
}

fn folded(text: Option<&str>) -> std::borrow::Cow<'_, str> {
    lower(text.map_or("", str::trim))
}

/// Whether a medium, lower-case, says that somebody paid: `^(.*cp.*|ppc|retargeting|paid.*)$`.
pub fn is_paid(medium: &str) -> bool {
    medium.contains("cp") || matches!(medium, "ppc" | "retargeting") || medium.starts_with("paid")
}

/// Whether a medium, in any case, is one that the rules know by itself.
pub fn is_known_medium(medium: &str) -> bool {
    let medium = folded(Some(medium));
    let facts = Facts { category: None, source: "", medium: &medium, campaign: "", paid: is_paid(&medium) };
    RULES.iter().any(|rule| (rule.holds)(&facts))
}

/// Whether a medium, lower-case, names what carried the link, and not merely that nobody paid.
fn names_carrier(medium: &str) -> bool {
    is_display(medium)
        || is_email(medium)
        || is_push(medium)
        || matches!(medium, "affiliate" | "affiliates" | "audio" | "sms")
}

fn is_display(medium: &str) -> bool {
    matches!(medium, "display" | "banner" | "expandable" | "interstitial" | "cpm")
}

fn is_social(medium: &str) -> bool {
    matches!(
        medium,
        "social"
            | "social-network"
            | "social-media"
            | "sm"
            | "social network"
            | "social media"
            | "social_network"
            | "social_media"
    )
}

fn is_email(text: &str) -> bool {
    matches!(text, "email" | "e-mail" | "e_mail" | "e mail")
}

fn is_push(medium: &str) -> bool {
    medium.ends_with("push") || medium.contains("mobile") || medium.contains("notification")
}

/// `^(.*(([^a-df-z]|^)shop|shopping).*)$`: `shop` at the beginning, after what is no letter or after an `e`.
fn is_shopping_campaign(campaign: &str) -> bool {
    campaign.contains("shopping")
        || campaign.match_indices("shop").any(|(at, _)| {
            let before = campaign[..at].chars().next_back();
            before.is_none_or(|c| c == 'e' || !c.is_ascii_lowercase())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str, medium: &str) -> Channel {
        decide(Some(source), Some(medium), None, false).channel
    }

    #[test]
    fn a_source_alone_is_not_paid_and_a_click_id_of_ads_is() {
        assert_eq!(decide(Some("google"), None, None, false).channel, Channel::OrganicSearch);
        assert_eq!(decide(Some("google"), None, None, true).channel, Channel::PaidSearch);
        assert_eq!(decide(Some("google"), Some("organic"), None, true).channel, Channel::PaidSearch);
        assert_eq!(decide(Some("google"), Some("display"), None, true).channel, Channel::Display);
        assert_eq!(decide(Some("news"), Some("email"), None, true).channel, Channel::Email);
        assert_eq!(decide(Some("outbrain"), Some("native"), None, true).channel, Channel::PaidOther);
    }

    #[test]
    fn case_and_white_space_do_not_matter() {
        assert_eq!(of("Google", "CPC"), Channel::PaidSearch);
        assert_eq!(of(" FaceBook ", " Paid_Social "), Channel::PaidSocial);
        assert_eq!(of("Newsletter", "E-Mail"), Channel::Email);
    }

    #[test]
    fn a_campaign_is_named_after_shopping_where_the_word_begins() {
        for (campaign, is) in [
            ("shop-sale", true),
            ("spring_shopping", true),
            ("eshop", true),
            ("my shop", true),
            ("workshop", false),
            ("bishop", false),
            ("bishop-shop", true),
        ] {
            assert_eq!(is_shopping_campaign(campaign), is, "{campaign}");
        }
    }

    #[test]
    fn what_no_rule_knows_is_unassigned_and_not_a_referral() {
        assert_eq!(of("flyer", "print"), Channel::Unassigned);
        assert_eq!(decide(Some("flyer"), None, None, false).channel, Channel::Unassigned);
        assert!(!is_known_medium("print"));
        assert!(is_known_medium("Email") && is_known_medium("cpc") && is_known_medium("app"));
    }

    #[test]
    fn every_channel_is_written_by_its_name() {
        for rule in RULES.iter().chain([&UNASSIGNED]) {
            let json = serde_json::to_string(&rule.channel).unwrap();
            assert_eq!(json, format!("\"{}\"", rule.channel));
        }
    }
}
