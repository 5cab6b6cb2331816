//! What one landing says about where it came from: UTM parameters, click ids and ad parameters.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::click_id::{self, ClickId};
use crate::text::{self, CLICK_ID_CHARS_MAX, PARAMETER_CHARS_MAX};
use crate::web_url::{self, Query};

/// How many `utm_*` parameters beyond the known six are kept.
pub const UTM_EXTRA_MAX: usize = 10;

/// The UTM parameters of one landing, each as it was received (cleaned, cut to 500 characters).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Utm {
    /// `utm_source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `utm_medium`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
    /// `utm_campaign`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// `utm_term`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<String>,
    /// `utm_content`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// `utm_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Any other `utm_*` (the whole parameter name in lower case, its value), in the order received, ten at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<(String, String)>,
}

impl Utm {
    /// Whether no parameter is present.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn slot(&mut self, parameter: &str) -> Option<&mut Option<String>> {
        Some(match parameter {
            "utm_source" => &mut self.source,
            "utm_medium" => &mut self.medium,
            "utm_campaign" => &mut self.campaign,
            "utm_term" => &mut self.term,
            "utm_content" => &mut self.content,
            "utm_id" => &mut self.id,
            _ => return None,
        })
    }
}

/// What an ad network's tracking template says about the ad.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AdParameters {
    /// The region the campaign addressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign_region: Option<String>,
    /// The ad group or ad set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ad_group: Option<String>,
    /// The ad or creative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ad_id: Option<String>,
    /// The keyword bid on or the words searched for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_query: Option<String>,
}

/// The registry of ad parameters: which one a name of a URL or body stands for, in lower case.
///
/// Sources: Google Ads Help, "`ValueTrack` parameters" (`adgroupid`, `creative`, `keyword`); Microsoft Advertising Help,
/// "URL tracking" (`AdGroupId`, `AdId`, `QueryString`); Meta Business Help, "URL parameters" (`adset.id`, `adset.name`,
/// `ad.id`, `ad.name` as advertisers name them); TikTok Business Help, "URL parameters" (`aid`, `cid` collide with
/// others and are left out). A name that sites use for something else (`q`, `query`, `region`, `ad`) is no alias.
#[rustfmt::skip]
pub const AD_ALIASES: &[(&str, &[&str])] = &[
    ("campaign_region", &["campaign_region", "campaignregion", "campaign-region", "geo_region"]),
    ("ad_group", &["ad_group", "ad-group", "adgroup", "adgroupid", "adgroup_id", "adgroupname", "adgroup_name", "ad_group_id", "ad_group_name", "adset", "adsetid", "adset_id", "adsetname", "adset_name"]),
    ("ad_id", &["ad_id", "ad-id", "adid", "ad_name", "adname", "creative", "creativeid", "creative_id"]),
    ("search_query", &["search_query", "searchquery", "keyword", "searchterm", "search_term"]),
];

impl AdParameters {
    /// Whether no parameter is present.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn slot(&mut self, parameter: &str) -> Option<&mut Option<String>> {
        let (name, _) = AD_ALIASES.iter().find(|(_, aliases)| aliases.contains(&parameter))?;
        Some(match *name {
            "campaign_region" => &mut self.campaign_region,
            "ad_group" => &mut self.ad_group,
            "ad_id" => &mut self.ad_id,
            _ => &mut self.search_query,
        })
    }
}

/// Longer names are neither UTM parameters that anybody set nor in a registry.
const NAME_BYTES_MAX: usize = 64;

/// What a parameter's name says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recognised {
    /// It is a click id, one of the six UTM parameters or an ad parameter.
    Known,
    /// It begins with `utm_`.
    OtherUtm,
    /// It is no signal.
    Not,
}

/// What a parameter's name, in any case, says.
pub fn recognise(parameter: &str) -> Recognised {
    if parameter.len() > NAME_BYTES_MAX {
        return Recognised::Not;
    }
    let name = lower_ascii(parameter);
    let is_ad = || AD_ALIASES.iter().any(|(_, aliases)| aliases.contains(&&*name));
    if click_id::lookup(&name).is_some() || Utm::default().slot(&name).is_some() || is_ad() {
        Recognised::Known
    } else if name.starts_with("utm_") {
        Recognised::OtherUtm
    } else {
        Recognised::Not
    }
}

/// In lower case, as far as ASCII goes; only what is not yet is copied.
fn lower_ascii(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// All signals of one landing. Filled in order of precedence: what is present is never replaced, and an empty value
/// never counts as present.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Signals {
    /// UTM parameters.
    pub utm: Utm,
    /// Click ids, in the order received, each parameter once.
    pub click_ids: Vec<ClickId>,
    /// Ad parameters.
    pub ad: AdParameters,
}

impl Signals {
    /// Whether nothing says where the visit came from. Ad parameters alone say nothing about that.
    pub fn is_silent(&self) -> bool {
        self.utm.is_empty() && self.click_ids.is_empty()
    }

    /// Takes one parameter where it is a signal and still absent. `parameter` in any case, `value` already decoded.
    pub fn offer(&mut self, parameter: &str, value: &str) {
        self.offer_with(parameter, value, |value, _| Cow::Borrowed(value));
    }

    /// Takes the parameters of a query. A click id keeps its `+`; elsewhere it is a space.
    pub fn offer_query(&mut self, query: &Query) {
        for (parameter, raw) in query.parameters() {
            self.offer_with(&parameter, raw, web_url::decode);
        }
    }

    /// `read` decodes the value, with `+` as a space where it is told so.
    fn offer_with<'v>(
        &mut self,
        parameter: &str,
        value: &'v str,
        read: impl Fn(&'v str, bool) -> Cow<'v, str>,
    ) {
        if parameter.len() > NAME_BYTES_MAX || value.is_empty() {
            return;
        }
        if let Some(kind) = click_id::lookup(parameter) {
            if !self.click_ids.iter().any(|known| known.parameter == kind.parameter)
                && let Some(value) =
                    text::exact(&read(value, false), CLICK_ID_CHARS_MAX).filter(|v| !v.trim().is_empty())
            {
                self.click_ids.push(ClickId { parameter: kind.parameter.to_owned(), value });
            }
            return;
        }
        let name = lower_ascii(parameter);
        let cleaned = || text::clean(&read(value, true), PARAMETER_CHARS_MAX);
        if let Some(slot) = self.utm.slot(&name) {
            if slot.is_none() {
                *slot = cleaned();
            }
        } else if name.starts_with("utm_") {
            let extra = &mut self.utm.extra;
            if extra.len() < UTM_EXTRA_MAX
                && !extra.iter().any(|(known, _)| *known == name)
                && let (Some(name), Some(value)) = (text::clean(&name, NAME_BYTES_MAX), cleaned())
            {
                extra.push((name, value));
            }
        } else if let Some(slot) = self.ad.slot(&name)
            && slot.is_none()
        {
            *slot = cleaned();
        }
    }

    /// The value of a click id by its canonical parameter name.
    pub fn click_id(&self, parameter: &str) -> Option<&str> {
        self.click_ids.iter().find(|id| id.parameter == parameter).map(|id| id.value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web_url::WebUrl;

    fn of(query: &str) -> Signals {
        let (_, parameters) = WebUrl::parse(&format!("https://a.example/?{query}")).unwrap();
        let mut signals = Signals::default();
        signals.offer_query(&parameters);
        signals
    }

    #[test]
    fn the_first_of_repeated_keys_wins_whatever_their_case_and_empty_never_does() {
        let signals = of("utm_source=&UTM_Source=news&utm_source=other&utm_source");
        assert_eq!(signals.utm.source.as_deref(), Some("news"));
    }

    #[test]
    fn a_plus_is_a_space_but_not_in_a_click_id() {
        let signals = of("utm_campaign=spring+sale&gclid=a+b%2Bc");
        assert_eq!(signals.utm.campaign.as_deref(), Some("spring sale"));
        assert_eq!(signals.click_id("gclid"), Some("a+b+c"));
    }

    #[test]
    fn what_todays_tool_refused_or_died_on_is_kept() {
        let signals = of("utm_content=data:content_type=x&utm_term=50%off&utm_weird=1");
        assert_eq!(signals.utm.content.as_deref(), Some("data:content_type=x"));
        assert_eq!(signals.utm.term.as_deref(), Some("50%off"));
        assert_eq!(signals.utm.extra, [("utm_weird".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn spellings_of_snapchats_click_id_are_one_parameter() {
        for spelling in ["ScCid", "sccid", "scclid", "scid", "sc_click_id"] {
            assert_eq!(of(&format!("{spelling}=v")).click_id("sc_click_id"), Some("v"), "{spelling}");
        }
    }

    #[test]
    fn ad_parameters_are_known_by_their_aliases() {
        let signals = of("adset=warm&keyword=roof+repair&adid=7");
        assert_eq!(signals.ad.ad_group.as_deref(), Some("warm"));
        assert_eq!(signals.ad.search_query.as_deref(), Some("roof repair"));
        assert_eq!(signals.ad.ad_id.as_deref(), Some("7"));
        assert!(signals.is_silent());
    }
}
