//! Events: one collected message each, and the one door through which raw input becomes one.

pub(crate) mod arrival;
mod form;
mod parse;
mod raw;
#[cfg(feature = "schema")]
mod schema;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::arrival::{Arrival, Neighbourhood, ReferrerKind};
pub use self::parse::{
    CLIENT_CLOCK_AHEAD_MAX, CLIENT_CLOCK_BEHIND_MAX, Collected, FieldProblem, HISTORY_PREFIX, ParseContext,
    Rejected, Unwanted,
};
pub use self::raw::{RawEvent, RawForm, RawSize, Scalar};
use crate::email::EmailAddress;
use crate::id::{EventId, LeadId, PixelId, ProjectId, SessionId, VisitorCookie, VisitorId};
use crate::signals::Signals;
use crate::sync::JobStatus;
use crate::time::Timestamp;

/// One collected message, with its own signals only: what its session and visitor know stands with them.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Its id, unique per pixel.
    pub id: EventId,
    /// The id the client sent, where it was not a `UUIDv7`; at most 200 characters.
    pub original_id: Option<String>,
    /// The pixel's project.
    pub project_id: ProjectId,
    /// The pixel.
    pub pixel_id: PixelId,
    /// What happened.
    pub kind: EventKind,
    /// When it happened by the client's clock, within 72 hours before and 5 minutes after `received_at`.
    pub occurred_at: Timestamp,
    /// When it arrived by the store's clock.
    pub received_at: Timestamp,
    /// By what the visitor is recognised.
    pub visitor: VisitorName,
    /// The page, as received.
    pub page_url: String,
    /// The page's title, at most 1,000 characters.
    pub page_title: Option<String>,
    /// The referring address, as received, whatever its site.
    pub referrer_url: Option<String>,
    /// What page, body and referrer say about where the visit came from.
    pub signals: Signals,
    /// The form's fields, where it has some that are kept.
    pub form: Option<Form>,
    /// The size of the browser's window, in CSS pixels.
    pub viewport: Option<Size>,
    /// The size of the screen, in CSS pixels.
    pub screen: Option<Size>,
    /// The browser's language, as a BCP 47 tag as received, at most 35 characters.
    pub language: Option<String>,
    /// The site's own properties, and under [`HISTORY_PREFIX`] what the replaced tool's script remembers of an earlier
    /// visit: 30 at most, 2 KiB together.
    pub props: BTreeMap<String, Prop>,
    /// The site's own value of the event, or else the number that its property `value` is; finite, no currency.
    pub value: Option<f64>,
    /// What the visitor said about being recognised.
    pub consent: Option<Consent>,
    /// What the request told about the client.
    pub client: Client,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum EventKind {
    /// A page was shown.
    Pageview,
    /// A form was sent.
    FormSubmit,
    /// The site says who the visitor is.
    Identify,
    /// The visitor granted or denied consent.
    Consent,
    /// What the site named itself: 1 to 64 letters, digits, `_`, `-`, `.` and spaces.
    Custom(String),
}

impl EventKind {
    /// Its name on the wire and in the store.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pageview => "pageview",
            Self::FormSubmit => "form_submit",
            Self::Identify => "identify",
            Self::Consent => "consent",
            Self::Custom(name) => name,
        }
    }

    /// The kind of that name; `form_submission` is an alias. `None` where it is not a name.
    pub fn parse(name: &str) -> Option<Self> {
        const CHARS_MAX: usize = 64;
        let name = name.trim();
        Some(match name {
            "pageview" => Self::Pageview,
            "form_submit" | "form_submission" => Self::FormSubmit,
            "identify" => Self::Identify,
            "consent" => Self::Consent,
            _ => {
                let fits = !name.is_empty()
                    && name.chars().count() <= CHARS_MAX
                    && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' '));
                return fits.then(|| Self::Custom(name.to_owned()));
            }
        })
    }
}

/// A text that is not the name of an [`EventKind`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not an event's name: 1 to 64 letters, digits, `_`, `-`, `.` and spaces")]
pub struct EventKindError;

impl TryFrom<String> for EventKind {
    type Error = EventKindError;

    fn try_from(name: String) -> Result<Self, EventKindError> {
        Self::parse(&name).ok_or(EventKindError)
    }
}

impl From<EventKind> for String {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::Custom(name) => name,
            EventKind::Pageview | EventKind::FormSubmit | EventKind::Identify | EventKind::Consent => {
                kind.as_str().to_owned()
            }
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// By what an event's visitor is recognised.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum VisitorName {
    /// The cookie.
    Cookie(VisitorCookie),
    /// Nothing: the visitor does not wish to be (GPC, consent), so that the event stands alone.
    Unlinked,
}

impl VisitorName {
    /// The cookie, where there is one.
    pub fn cookie(&self) -> Option<&VisitorCookie> {
        match self {
            Self::Cookie(cookie) => Some(cookie),
            Self::Unlinked => None,
        }
    }
}

/// A width and height in pixels, each 1 to 100,000.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Size {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl fmt::Display for Size {
    /// As `1920x1080`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A property's value.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prop {
    /// True or false.
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// A text, cleaned, at most 500 characters.
    Text(String),
}

/// What a visitor said about being recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Yes.
    Granted,
    /// No.
    Denied,
}

impl Consent {
    /// Its name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
        }
    }
}

/// The fields of a form that are kept: e-mail and name, and what the pixel opted in to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Form {
    /// The e-mail address, where a usable one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailAddress>,
    /// The first name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// The last name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    /// Further fields that the pixel names, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
}

impl Form {
    /// Whether nothing of it is kept.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// First and last name joined by a space; `None` without either.
    pub fn full_name(&self) -> Option<String> {
        match (&self.first_name, &self.last_name) {
            (Some(first), Some(last)) => Some(format!("{first} {last}")),
            (Some(one), None) | (None, Some(one)) => Some(one.clone()),
            (None, None) => None,
        }
    }
}

/// What the request told about the client: by its headers and address.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Client {
    /// The address, as far as the project keeps it.
    pub ip: Option<IpAddr>,
    /// The user agent, at most 512 characters.
    pub user_agent: Option<String>,
    /// `desktop`, `mobile`, `tablet`, ….
    pub device_type: Option<String>,
    /// The browser's name.
    pub browser: Option<String>,
    /// The operating system's name.
    pub operating_system: Option<String>,
    /// The country, as ISO 3166-1 alpha-2 in upper case.
    pub country: Option<String>,
    /// The region's name.
    pub region: Option<String>,
    /// The city's name.
    pub city: Option<String>,
    /// Why it is taken for a bot; absent for people.
    pub bot: Option<String>,
}

/// An event as it stands in a store.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredEvent {
    /// The event. A visitor recognised by cookie carries it.
    pub event: Event,
    /// The visitor it was resolved to.
    pub visitor_id: VisitorId,
    /// The session it was answered with; never changes.
    pub session_id: SessionId,
    /// The lead it made, or as a repeated submission belongs to.
    pub lead_id: Option<LeadId>,
    /// What became of its sync: nothing while the job is pending or held.
    pub sync: EventSync,
}

/// What became of an event's sync to the CRM.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventSync {
    /// `None` while pending or held; `NotFound` from the first look without a match on, though more follow;
    /// otherwise the job's final status.
    pub status: Option<JobStatus>,
    /// When that was recorded.
    pub at: Option<Timestamp>,
    /// The CRM's id of the person that was written.
    pub person_id: Option<String>,
}
