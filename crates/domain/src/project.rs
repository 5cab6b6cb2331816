//! Projects (the tenants), their pixels and their settings.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::conversion::{ConversionName, ConversionRule};
use crate::crm::{FieldName, WritePolicy};
use crate::id::{PixelId, ProjectId, Slug};
use crate::model::ModelSettings;
use crate::time::{Span, Timestamp};
use crate::web_url::HostPattern;

/// A client's account with us. Everything else belongs to exactly one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its short name, unique in the store.
    pub slug: Slug,
    /// Its name for people, 1 to 200 characters.
    pub name: String,
    /// Its settings.
    pub settings: ProjectSettings,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was archived; its pixels then collect nothing.
    pub archived_at: Option<Timestamp>,
}

/// A pixel: what one site embeds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Pixel {
    /// Its public name, unique in the store.
    pub id: PixelId,
    /// The project its events belong to.
    pub project_id: ProjectId,
    /// Its name for people, 1 to 200 characters.
    pub name: String,
    /// Its settings.
    #[serde(default)]
    pub settings: PixelSettings,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was archived; it then collects nothing.
    pub archived_at: Option<Timestamp>,
}

/// Settings of a pixel.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct PixelSettings {
    /// The sites it may be used on; empty: any. Their pages are internal to each other.
    pub origins: Vec<HostPattern>,
    /// Form fields kept beside e-mail and name, by their exact names in lower case; 20 at most.
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::schema::form_fields"))]
    pub form_fields: Vec<String>,
}

/// Settings of a project. Every one has a default; unknown ones are refused.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ProjectSettings {
    /// The time zone of its reports and of dates in the CRM; an IANA name.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::TimeZone"))]
    pub time_zone: Tz,
    /// How many days events are kept; absent: as long as the service keeps them.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 4_294_967_295_u32)))]
    pub retention_days: Option<u32>,
    /// Whether a visitor must consent before being recognised.
    pub consent: ConsentMode,
    /// What a browser's Global Privacy Control means.
    pub gpc: GpcMode,
    /// How much of an IP address is kept.
    pub ip: IpMode,
    /// What happens to events of bots.
    pub bots: BotMode,
    /// Hosts, with all below them, whose referrals make no touch, beside [`IGNORED_REFERRERS`].
    #[cfg_attr(
        feature = "schema",
        schemars(
            description = "Hosts, with all below them, whose referrals make no touch, beside those of well-known payment, \
                       sign-in and booking services."
        )
    )]
    pub ignore_referrers: Vec<HostPattern>,
    /// Whether a new external signal inside a session opens a new one.
    pub split_sessions_on_campaign: bool,
    /// What counts as a conversion, by its name; 50 at most.
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::schema::conversions"))]
    pub conversions: BTreeMap<ConversionName, ConversionRule>,
    /// How long after a form the CRM is told; absent: as the service is set up.
    pub sync_delay: Option<Span>,
    /// What the attribution models count with.
    pub attribution: ModelSettings,
    /// The CRM.
    pub crm: CrmSettings,
}

impl Default for ProjectSettings {
    fn default() -> Self {
        Self {
            time_zone: Tz::UTC,
            retention_days: None,
            consent: ConsentMode::NotRequired,
            gpc: GpcMode::Reduce,
            ip: IpMode::Full,
            bots: BotMode::Drop,
            ignore_referrers: Vec::new(),
            split_sessions_on_campaign: false,
            conversions: BTreeMap::new(),
            sync_delay: None,
            attribution: ModelSettings::default(),
            crm: CrmSettings::default(),
        }
    }
}

/// Hosts, each with all below it, of payment, sign-in and booking services: returning from one is not a new visit.
///
/// Source: each service's own documentation of the page it sends the visitor to and back from.
pub const IGNORED_REFERRERS: &[&str] = &[
    // Payment.
    "paypal.com",
    "stripe.com",
    "klarna.com",
    "mollie.com",
    "adyen.com",
    "adyenpayments.com",
    "checkout.com",
    "sofort.com",
    "paddle.com",
    "braintreegateway.com",
    "squareup.com",
    "worldpay.com",
    "sagepay.com",
    "authorize.net",
    "2checkout.com",
    "afterpay.com",
    "clearpay.co.uk",
    "affirm.com",
    "giropay.de",
    "paydirekt.de",
    "ideal.nl",
    "bancontact.com",
    "przelewy24.pl",
    "payu.com",
    "razorpay.com",
    "mercadopago.com",
    "saferpay.com",
    "datatrans.com",
    "computop-paygate.com",
    "unzer.com",
    "payone.com",
    "gocardless.com",
    "pay.amazon.com",
    "payments.amazon.com",
    "pay.google.com",
    "checkout.shopify.com",
    "shop.app",
    "cardinalcommerce.com",
    "arcot.com",
    "3dsecure.io",
    // Sign-in.
    "accounts.google.com",
    "login.microsoftonline.com",
    "login.live.com",
    "b2clogin.com",
    "appleid.apple.com",
    "okta.com",
    "oktapreview.com",
    "auth0.com",
    "onelogin.com",
    "pingone.com",
    "amazoncognito.com",
    "login.salesforce.com",
    // Booking.
    "calendly.com",
    "meetings.hubspot.com",
    "cal.com",
    "acuityscheduling.com",
    "savvycal.com",
];

/// Whether a visitor must consent before being recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConsentMode {
    /// Everybody is recognised unless they deny it.
    NotRequired,
    /// Only who granted it; every other event stands alone.
    Required,
}

/// What a browser's Global Privacy Control (`Sec-GPC: 1`, or `gpc` of the body) means, whatever `consent` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum GpcMode {
    /// Events are kept without recognising the visitor: no cookie, no click ids, no IP address.
    Reduce,
    /// Page views are not kept at all; forms as with `reduce`.
    Honour,
    /// Nothing.
    Ignore,
}

/// How much of an IP address is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum IpMode {
    /// All of it.
    Full,
    /// The network: /24 of an IPv4 address, /48 of an IPv6 address.
    Masked,
    /// Nothing.
    None,
}

/// What happens to events of bots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BotMode {
    /// They are counted and not kept.
    Drop,
    /// They are kept, with the reason.
    Mark,
    /// They are kept as anybody's.
    Allow,
}

/// A project's dealings with its CRM.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CrmSettings {
    /// Whether leads are told to the CRM, where the service has a connection.
    pub enabled: bool,
    /// The connection used.
    pub account: Slug,
    /// Whose touch the plain fields are.
    pub touch: TouchChoice,
    /// What happens when several persons have the e-mail.
    pub on_many: OnMany,
    /// Whether a person may be found by name when the e-mail is unknown.
    pub name_match: NameMatch,
    /// How much of a page's query is told.
    pub url_query: UrlQuery,
    /// How many visited pages are told at most; 0: all.
    #[cfg_attr(feature = "schema", schemars(range(max = 4_294_967_295_u32)))]
    pub visited_pages_max: u32,
    /// Our fields whose target or policy differs from the preset (the CRM's field of the same name).
    pub mapping: BTreeMap<FieldName, FieldTarget>,
}

impl Default for CrmSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            account: default_account(),
            touch: TouchChoice::FirstNonDirect,
            on_many: OnMany::Ambiguous,
            name_match: NameMatch::Unique,
            url_query: UrlQuery::AllowList,
            visited_pages_max: 50,
            mapping: BTreeMap::new(),
        }
    }
}

/// The account that the plain `crm.*` settings of the service describe.
pub fn default_account() -> Slug {
    "default".parse().expect("a constant slug")
}

/// The name that stands for a project's own connection; the service's own may not bear it.
pub fn own_account() -> Slug {
    "own".parse().expect("a constant slug")
}

/// A CRM connection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Account {
    /// One of the service's settings, by name; projects may share it.
    Service(Slug),
    /// A project's own.
    Own(ProjectId),
}

impl Account {
    /// The connection that a project means by a name.
    pub fn of(project: ProjectId, name: &Slug) -> Self {
        if *name == own_account() { Self::Own(project) } else { Self::Service(name.clone()) }
    }
}

impl std::fmt::Display for Account {
    /// As `default`, or `own:` and the project's id.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service(name) => name.fmt(f),
            Self::Own(project) => write!(f, "own:{project}"),
        }
    }
}

/// Whose touch the plain fields (utm_*, click ids, ad parameters) are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TouchChoice {
    /// The visitor's first.
    First,
    /// The visitor's first that is not direct.
    FirstNonDirect,
    /// That of the session the form was sent in.
    Session,
    /// The visitor's last that is not direct.
    LastNonDirect,
}

/// What happens when several persons have the e-mail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnMany {
    /// Nothing is written; a human picks.
    Ambiguous,
    /// The one added last.
    Newest,
    /// Each of them.
    All,
}

/// Whether a person may be found by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NameMatch {
    /// Only where exactly one person bears it.
    Unique,
    /// Never.
    Off,
}

/// How much of a page's query is told to the CRM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UrlQuery {
    /// UTM parameters and click ids only, so that e-mails in URLs do not travel.
    AllowList,
    /// All of it.
    Full,
}

/// Where one of our fields goes, and when it may be written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FieldTarget {
    /// The CRM's field, by key or by name; absent: the field of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::schema::crm_field"))]
    pub field: Option<String>,
    /// When it may be written; absent: the field's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<WritePolicy>,
}

/// A pixel together with its project: what one event is judged by.
#[derive(Clone, PartialEq, Debug)]
pub struct PixelContext {
    /// The pixel.
    pub pixel: Pixel,
    /// Its project.
    pub project: Project,
}

impl PixelContext {
    /// Whether the pixel collects: neither it nor its project is archived.
    pub fn is_active(&self) -> bool {
        self.pixel.archived_at.is_none() && self.project.archived_at.is_none()
    }
}
