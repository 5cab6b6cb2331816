//! How a visitor arrived at a page: from elsewhere, from the same site, or nobody knows.

use serde::Serialize;
use url::Url;

use super::Event;
use crate::click_id::Implies;
use crate::project::{IGNORED_REFERRERS, PixelContext};
use crate::signals::Signals;
use crate::text::{self, URL_CHARS_MAX};
use crate::touch::TouchKind;
use crate::web_url::{HostPattern, Query, WebUrl, site_of};

/// How a visitor arrived at a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// From elsewhere: something says where from.
    External {
        /// What decided.
        kind: TouchKind,
        /// The referring host, where it lies on another site.
        referrer_host: Option<String>,
    },
    /// From the same site, or one that does not count (payment, sign-in).
    Internal,
    /// Nothing says from where.
    Direct,
}

/// What a referrer is to a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferrerKind {
    /// There is none, or it has no host.
    None,
    /// It lies on the page's own site: the same registrable domain.
    SameSite,
    /// It lies on another site of the same pixel.
    OwnSite,
    /// Visitors only pass through it: payment, sign-in, booking, or what the project ignores.
    Ignored,
    /// It lies on another site.
    Elsewhere,
}

impl ReferrerKind {
    /// Whether coming from there is no arrival.
    pub fn is_internal(self) -> bool {
        matches!(self, Self::SameSite | Self::OwnSite | Self::Ignored)
    }
}

/// Which sites are a pixel's own, and which do not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Neighbourhood<'a> {
    /// The pixel's own sites beside the page's.
    pub own_sites: &'a [HostPattern],
    /// Hosts, with all below them, that visitors only pass through, beside [`IGNORED_REFERRERS`].
    pub ignored: &'a [HostPattern],
}

impl<'a> From<&'a PixelContext> for Neighbourhood<'a> {
    fn from(context: &'a PixelContext) -> Self {
        Self {
            own_sites: &context.pixel.settings.origins,
            ignored: &context.project.settings.ignore_referrers,
        }
    }
}

impl Neighbourhood<'_> {
    /// What a referring host is to a page's host, both lower-case.
    pub fn referrer_kind(&self, host: Option<&str>, page_host: &str) -> ReferrerKind {
        let Some(host) = host else { return ReferrerKind::None };
        let below =
            |parent: &str| host.strip_suffix(parent).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
        let site = site_of(host);
        // The page's own host may be one that is ignored elsewhere: a booking page is its own site.
        if host == page_host || site == site_of(page_host) {
            ReferrerKind::SameSite
        } else if self.own_sites.iter().any(|own| site == site_of(own.host())) {
            ReferrerKind::OwnSite
        } else if IGNORED_REFERRERS.iter().any(|ignored| below(ignored))
            || self.ignored.iter().any(|ignored| below(ignored.host()))
        {
            ReferrerKind::Ignored
        } else {
            ReferrerKind::Elsewhere
        }
    }

    /// What the referrer of a stored event is to its page; an address that is none is none.
    pub fn kind_of(&self, event: &Event) -> ReferrerKind {
        let referrer = event.referrer_url.as_deref().and_then(|url| Referrer::new(url)?.host);
        WebUrl::parse(&event.page_url)
            .map_or(ReferrerKind::None, |(page, _)| self.referrer_kind(referrer.as_deref(), page.host()))
    }

    /// How a visitor arrived, by what the landing says and then by the referrer.
    pub(crate) fn arrival(&self, signals: &Signals, page_host: &str, referrer_host: Option<&str>) -> Arrival {
        let referrer = self.referrer_kind(referrer_host, page_host);
        let referrer_host = referrer_host.filter(|_| !referrer.is_internal()).map(str::to_owned);
        let kind = if !signals.utm.is_empty() {
            TouchKind::Utm
        } else if signals.click_ids.iter().any(|id| id.implies() != Implies::Nothing) {
            TouchKind::ClickId
        } else if referrer_host.is_some() {
            TouchKind::Referrer
        } else if referrer.is_internal() {
            return Arrival::Internal;
        } else {
            return Arrival::Direct;
        };
        Arrival::External { kind, referrer_host }
    }
}

/// A referring address: kept as received, with its host and query where it has them.
pub(crate) struct Referrer {
    /// Cleaned, at most 2,048 characters.
    pub(crate) kept: String,
    /// Lower-case; an app's package name for `android-app:` and `ios-app:`.
    pub(crate) host: Option<String>,
    /// Its query; empty for an app's.
    pub(crate) query: Query,
}

impl Referrer {
    /// Reads a referrer; `None` where nothing is left of it.
    pub(crate) fn new(raw: &str) -> Option<Self> {
        if let Ok((url, query)) = WebUrl::parse(raw) {
            let host = Some(url.host().to_owned());
            return Some(Self { kept: url.into(), host, query });
        }
        // Apps refer as `android-app://com.example.app/`; the rest says nothing about where from.
        let whole = text::clean(raw, usize::MAX)?;
        let host = Url::parse(&whole)
            .ok()
            .filter(|url| matches!(url.scheme(), "android-app" | "ios-app"))
            .and_then(|url| url.host_str().map(str::to_ascii_lowercase));
        let kept = text::clean(&whole, URL_CHARS_MAX)?;
        Some(Self { kept, host, query: Query::default() })
    }
}
