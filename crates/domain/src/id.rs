//! Identifiers. The domain draws none at random: what it makes follows from what caused it, so that a retried or
//! repeated decision names the same things.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::conversion::ConversionName;
use crate::time::Timestamp;

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

uuid_ids! {
    /// A client's account with us; the tenant.
    ProjectId,
    /// A browser as one project knows it: the same cookie on two clients' sites is two visitors.
    VisitorId,
    /// A run of events of one visitor without a gap of 30 minutes.
    SessionId,
    /// A submitted form with an e-mail.
    LeadId,
    /// An event that its project counts as a conversion.
    ConversionId,
    /// One pending or ended update of a CRM person.
    SyncJobId,
    /// An API key's public name.
    KeyId,
}

impl ProjectId {
    /// The id of a project created at `at`; `entropy` is drawn at random by the caller.
    pub fn new(at: Timestamp, entropy: [u8; 16]) -> Self {
        Self(derive(at, "project", &[&entropy]))
    }
}

impl KeyId {
    /// The id of an API key created at `at`; `entropy` is drawn at random by the caller.
    pub fn new(at: Timestamp, entropy: [u8; 16]) -> Self {
        Self(derive(at, "key", &[&entropy]))
    }
}

impl VisitorId {
    /// The visitor whom `project` first saw at `first_seen_at` under `name` (its cookie, or for a visit that may not
    /// be linked to others, the event's id).
    pub fn derive(first_seen_at: Timestamp, project: ProjectId, name: &str) -> Self {
        Self(derive(first_seen_at, "visitor", &[project.0.as_bytes(), name.as_bytes()]))
    }
}

impl SessionId {
    /// The session of `visitor` that the event `opening` of `pixel` opened at `started_at`.
    pub fn derive(started_at: Timestamp, visitor: VisitorId, pixel: &PixelId, opening: EventId) -> Self {
        let parts = [visitor.0.as_bytes(), pixel.as_str().as_bytes(), opening.0.as_bytes()];
        Self(derive(started_at, "session", &parts))
    }
}

impl LeadId {
    /// The lead that the form event `event` of `pixel`, received at `received_at`, made.
    pub fn derive(received_at: Timestamp, pixel: &PixelId, event: EventId) -> Self {
        Self(derive(received_at, "lead", &[pixel.as_str().as_bytes(), event.0.as_bytes()]))
    }
}

impl ConversionId {
    /// What the event `event` of `pixel`, of `occurred_at`, is as a conversion of the kind `name`.
    pub fn derive(occurred_at: Timestamp, pixel: &PixelId, event: EventId, name: &ConversionName) -> Self {
        let parts = [pixel.as_str().as_bytes(), event.0.as_bytes(), name.as_str().as_bytes()];
        Self(derive(occurred_at, "conversion", &parts))
    }
}

impl SyncJobId {
    /// The sync job that `lead`, received at `received_at`, made.
    pub fn derive(received_at: Timestamp, lead: LeadId) -> Self {
        Self(derive(received_at, "sync job", &[lead.0.as_bytes()]))
    }
}

/// The id of an event: a `UUIDv7` from the client or from our edge, or one made from any other text.
///
/// Unique per pixel. Equal ids on one pixel are the same event, however often and from wherever they arrive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct EventId(Uuid);

impl EventId {
    /// Where [`partition_at`](Self::partition_at) places ids that carry no credible time: 1970-01-01.
    pub const UNDATED: Timestamp = Timestamp::EPOCH;
    /// 2020-01-01, the earliest time an id is believed.
    const DATED_FROM_MS: u64 = 1_577_836_800_000;
    /// 2100-01-01, the first time an id is no longer believed.
    const DATED_UNTIL_MS: u64 = 4_102_444_800_000;

    /// Takes a `UUIDv7` (any case, with hyphens) as it is; any other text is hashed to a `UUIDv8`, the same each time.
    pub fn of_text(text: &str) -> Self {
        if text.len() == 36
            && let Ok(uuid) = text.parse::<Uuid>()
            && uuid.get_version_num() == 7
        {
            return Self(uuid);
        }
        Self(hashed(8, &digest("event", &[text.as_bytes()])))
    }

    /// The id of a message that has none but its time and its content: the same each time, in the partition of `at`.
    pub fn of_content(at: Timestamp, parts: &[&[u8]]) -> Self {
        Self(derive(at, "message", parts))
    }

    /// The id as stored.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The id as stored.
    pub fn uuid(self) -> Uuid {
        self.0
    }

    /// The time that decides in which partition the event lies.
    ///
    /// A function of the id alone, so that a retry after midnight meets its first copy: the time inside a `UUIDv7`
    /// from 2020 until 2100, [`UNDATED`](Self::UNDATED) for every other id.
    pub fn partition_at(self) -> Timestamp {
        let bytes = self.0.as_bytes();
        let millis = bytes[..6].iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        if self.0.get_version_num() == 7 && (Self::DATED_FROM_MS..Self::DATED_UNTIL_MS).contains(&millis) {
            Timestamp::from_millis(i64::try_from(millis).unwrap_or(0))
        } else {
            Self::UNDATED
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! name_ids {
    ($($(#[$doc:meta])* $name:ident, $error:ident, $min:literal..=$max:literal, $form:literal);+ $(;)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        #[doc = concat!("A text that is not a [`", stringify!($name), "`].")]
        #[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
        #[error($form)]
        pub struct $error;

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                let fits = ($min..=$max).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                if fits { Ok(Self(text.into())) } else { Err($error) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

name_ids! {
    /// The public name of a pixel, written into the pages it counts: 1 to 64 of `A-Z a-z 0-9 _ -`, so that ids
    /// already in clients' pages stay valid.
    PixelId, PixelIdError, 1..=64, "not 1 to 64 letters, digits, `_` or `-`";
    /// The value of the visitor's cookie: 8 to 64 of `A-Z a-z 0-9 _ -`; today's `pxl_<16 hex>` is one.
    VisitorCookie, VisitorCookieError, 8..=64, "not 8 to 64 letters, digits, `_` or `-`";
    /// A project's or account's short name: 1 to 64 of `A-Z a-z 0-9 _ -`.
    Slug, SlugError, 1..=64, "not 1 to 64 letters, digits, `_` or `-`";
}

/// A UUID of version 7's shape: `at` in front, so that what is made together lies together in an index, and behind it
/// the hash of what it follows from.
fn derive(at: Timestamp, kind: &str, parts: &[&[u8]]) -> Uuid {
    let mut bytes = digest(kind, parts);
    let millis = u64::try_from(at.millis()).unwrap_or(0).to_be_bytes();
    bytes[..6].copy_from_slice(&millis[2..]);
    hashed(7, &bytes)
}

fn digest(kind: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(b"leadtrail ");
    hash.update(kind.as_bytes());
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes
}

fn hashed(version: u8, bytes: &[u8; 16]) -> Uuid {
    let mut bytes = *bytes;
    bytes[6] = (bytes[6] & 0x0f) | (version << 4);
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Uuid::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_v7_is_taken_as_it_is_and_lies_at_its_own_time() {
        let id = EventId::of_text("019AB0E4-7C00-7abc-8def-0123456789ab");
        assert_eq!(id.to_string(), "019ab0e4-7c00-7abc-8def-0123456789ab");
        assert_eq!(id.partition_at().to_string(), "2025-11-23T13:25:55.328000Z");
    }

    #[test]
    fn any_other_text_is_hashed_to_the_same_undated_id_each_time() {
        for text in
            ["order-17", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "019ab0e47c007abc8def0123456789ab", ""]
        {
            let id = EventId::of_text(text);
            assert_eq!(id, EventId::of_text(text));
            assert_eq!(id.uuid().get_version_num(), 8, "{text}");
            assert_eq!(id.partition_at(), EventId::UNDATED);
        }
        assert_ne!(EventId::of_text("a"), EventId::of_text("b"));
    }

    #[test]
    fn an_id_from_before_2020_or_after_2099_is_undated() {
        for text in ["00000000-0000-7000-8000-000000000000", "ffffffff-ffff-7000-8000-000000000000"] {
            assert_eq!(EventId::of_text(text).partition_at(), EventId::UNDATED);
        }
    }

    #[test]
    fn ids_already_in_clients_pages_survive() {
        assert!("pxl_0123456789abcdef".parse::<VisitorCookie>().is_ok());
        assert!("x".parse::<PixelId>().is_ok());
        for bad in ["", "a b", "é", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<PixelId>().is_err(), "{bad}");
        }
    }
}
