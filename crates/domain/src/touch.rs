//! Touchpoints: from where a visit came, as one immutable set.

use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::channel;
use crate::click_id::{self, ClickId, Implies};
use crate::id::{EventId, PixelId, SessionId};
use crate::signals::{AdParameters, Utm};
use crate::source::Source;
use crate::time::Timestamp;

/// The version of the rules in this crate, stored with each result they gave. It grows whenever an address that was
/// decided before would be decided otherwise: a rule, a row of a registry or a known source.
///
/// 1: precedence of signals. 2: channels, known sources, payment and sign-in services.
pub const RULES_VERSION: u16 = 2;

/// Which kind of signal decided, strongest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TouchKind {
    /// An explicit UTM parameter.
    Utm,
    /// A click id.
    ClickId,
    /// A referrer on another site.
    Referrer,
    /// No signal and no referrer.
    Direct,
}

impl TouchKind {
    /// Its name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utm => "utm",
            Self::ClickId => "click_id",
            Self::Referrer => "referrer",
            Self::Direct => "direct",
        }
    }
}

/// From where one visit came. Written whole, never merged with another and never changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Touch {
    /// The event that carried it; with `at`, its place in the order of all touches.
    pub event_id: EventId,
    /// The pixel of that event: event ids are unique per pixel only.
    pub pixel_id: PixelId,
    /// The session it fell into.
    pub session_id: SessionId,
    /// When it occurred (the event's `occurred_at`).
    pub at: Timestamp,
    /// What decided.
    pub kind: TouchKind,
    /// The UTM parameters of the landing.
    #[serde(default, skip_serializing_if = "Utm::is_empty")]
    pub utm: Utm,
    /// The click ids of the landing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub click_ids: Vec<ClickId>,
    /// The ad parameters of the landing.
    #[serde(default, skip_serializing_if = "AdParameters::is_empty")]
    pub ad: AdParameters,
    /// The referring address, where it lies on another site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referrer_url: Option<String>,
    /// That address's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referrer_host: Option<String>,
    /// The page landed on, without its query.
    pub landing_page: String,
    /// The [`RULES_VERSION`] that made it.
    pub rules_version: u16,
}

impl Touch {
    /// Its place in the order of touches and events: by time, then by event id.
    pub fn order(&self) -> (Timestamp, EventId) {
        (self.at, self.event_id)
    }

    /// What tells it from every other touch of its visitor, in their order.
    pub fn key(&self) -> (Timestamp, EventId, &PixelId) {
        (self.at, self.event_id, &self.pixel_id)
    }

    /// Whether it names a place the visit came from.
    pub fn is_direct(&self) -> bool {
        self.kind == TouchKind::Direct
    }

    /// Whether both say the same about where the visit came from (reloading a landing page makes no second touch).
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.utm == other.utm
            && self.click_ids == other.click_ids
            && self.ad == other.ad
            && (self.kind != TouchKind::Referrer || self.referrer_host == other.referrer_host)
    }

    /// What it says about where the visit came from.
    pub fn origin(&self) -> Origin<'_> {
        Origin {
            kind: self.kind,
            utm: &self.utm,
            click_ids: &self.click_ids,
            referrer_host: self.referrer_host.as_deref(),
        }
    }

    /// The effective source; `None` is direct, or nothing says it.
    pub fn source(&self) -> Option<&str> {
        self.origin().source()
    }

    /// The effective medium; `None` where nothing says it.
    pub fn medium(&self) -> Option<&str> {
        self.origin().medium()
    }

    /// What an answer and a report show of it.
    pub fn attribution(&self) -> Attribution {
        self.origin().attribution()
    }
}

/// What one landing says about where the visit came from, and what the rules make of it: the same for a touch that is
/// stored and for an address that is only asked about.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// What decided.
    pub kind: TouchKind,
    /// The UTM parameters.
    pub utm: &'a Utm,
    /// The click ids.
    pub click_ids: &'a [ClickId],
    /// The referring host in lower case, where it lies on another site.
    pub referrer_host: Option<&'a str>,
}

impl<'a> Origin<'a> {
    /// The effective source: the UTM parameter, else what a click id implies, else the referrer: by its name where it is
    /// a [known](Source) one, else its host without `www.`.
    pub fn source(&self) -> Option<&'a str> {
        self.effective().source
    }

    /// The effective medium: the UTM parameter, else what a click id implies, else (where no UTM parameter names the
    /// source) what the referrer is.
    pub fn medium(&self) -> Option<&'a str> {
        self.effective().medium
    }

    /// The rule that decides its channel; `None` for a direct one, which has no channel.
    pub fn channel(&self) -> Option<&'static channel::Rule> {
        self.channel_of(&self.effective())
    }

    /// What an answer and a report show of it.
    pub fn attribution(&self) -> Attribution {
        let effective = self.effective();
        Attribution {
            source: effective.source.map(str::to_owned),
            medium: effective.medium.map(str::to_owned),
            campaign: self.utm.campaign.clone(),
            channel: self.channel_of(&effective).map(|rule| rule.channel.as_str().to_owned()),
        }
    }

    fn channel_of(&self, effective: &Effective<'_>) -> Option<&'static channel::Rule> {
        let Effective { source, medium, ad_click } = *effective;
        let campaign = self.utm.campaign.as_deref();
        (self.kind != TouchKind::Direct).then(|| channel::decide(source, medium, campaign, ad_click))
    }

    fn effective(&self) -> Effective<'a> {
        if self.kind == TouchKind::Direct {
            return Effective::default();
        }
        let (implied, ad_click) = self.implied();
        let (named, medium) = match self.kind {
            TouchKind::Utm => (self.utm.source.as_deref(), self.utm.medium.as_deref()),
            TouchKind::ClickId | TouchKind::Referrer | TouchKind::Direct => (None, None),
        };
        let is_open = named.is_none() && implied.is_none();
        let referrer = self.referrer_host.filter(|_| is_open).map(|host| match Source::of_host(host) {
            Some(site) => (site.name, site.category.referred_medium()),
            None => (host.strip_prefix("www.").unwrap_or(host), "referral"),
        });
        Effective {
            source: named.or(implied.map(|(source, _)| source)).or(referrer.map(|(source, _)| source)),
            medium: medium.or(implied.map(|(_, medium)| medium)).or(referrer.map(|(_, medium)| medium)),
            ad_click,
        }
    }

    /// The click id that says most: a paid click before a mere source, in the registry's order; `None` where none implies
    /// anything.
    pub fn deciding_click_id(&self) -> Option<&'a ClickId> {
        let place = |id: &&ClickId| {
            let place = click_id::place(&id.parameter)?;
            match click_id::REGISTRY.get(place)?.implies {
                Implies::Paid { .. } => Some((false, place)),
                Implies::Source { .. } => Some((true, place)),
                Implies::Nothing => None,
            }
        };
        let places = self.click_ids.iter().filter_map(|id| Some((place(&id)?, id)));
        places.min_by_key(|(place, _)| *place).map(|(_, id)| id)
    }

    /// What the deciding click id implies, and whether it is a paid click.
    fn implied(&self) -> (Option<(&'static str, &'static str)>, bool) {
        match self.deciding_click_id().map(ClickId::implies) {
            Some(Implies::Paid { source, medium }) => (Some((source, medium)), true),
            Some(Implies::Source { source, medium }) => (Some((source, medium)), false),
            Some(Implies::Nothing) | None => (None, false),
        }
    }
}

/// What an [`Origin`] comes down to.
#[derive(Clone, Copy, Default)]
struct Effective<'a> {
    source: Option<&'a str>,
    medium: Option<&'a str>,
    /// Whether a click id that only ads carry came along.
    ad_click: bool,
}

/// Source, medium, campaign and channel of a touch; all absent is direct.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Attribution {
    /// The effective source.
    pub source: Option<String>,
    /// The effective medium.
    pub medium: Option<String>,
    /// The campaign.
    pub campaign: Option<String>,
    /// The channel, by GA4's name of it.
    pub channel: Option<String>,
}

/// The four touches that are kept of every visitor, lead and conversion.
///
/// Each is a whole touch; where two coincide they are the same one.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FourTouches {
    /// The earliest.
    pub first: Option<Arc<Touch>>,
    /// The earliest that is not direct.
    pub first_non_direct: Option<Arc<Touch>>,
    /// The latest that is not direct.
    pub last_non_direct: Option<Arc<Touch>>,
    /// The latest.
    pub last: Option<Arc<Touch>>,
}

impl FourTouches {
    /// The four among `touches`, in whatever order they come, that lie at or before `until`.
    pub fn among<'a>(touches: impl IntoIterator<Item = &'a Arc<Touch>>, until: (Timestamp, EventId)) -> Self {
        let mut four = Self::default();
        for touch in touches {
            if touch.order() > until {
                continue;
            }
            keep(&mut four.first, touch, Ordering::Less);
            keep(&mut four.last, touch, Ordering::Greater);
            if !touch.is_direct() {
                keep(&mut four.first_non_direct, touch, Ordering::Less);
                keep(&mut four.last_non_direct, touch, Ordering::Greater);
            }
        }
        four
    }
}

fn keep(slot: &mut Option<Arc<Touch>>, touch: &Arc<Touch>, better: Ordering) {
    if slot.as_ref().is_none_or(|old| touch.key().cmp(&old.key()) == better) {
        *slot = Some(Arc::clone(touch));
    }
}
