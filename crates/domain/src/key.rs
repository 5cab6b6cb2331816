//! API keys: who may do what.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{KeyId, ProjectId};
use crate::time::Timestamp;

/// What a key opens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Sending events from a server.
    Ingest,
    /// Reading reports, events and leads.
    Read,
    /// Exporting everything.
    Export,
    /// Managing projects and pixels.
    Manage,
    /// Managing the queue of syncs.
    Sync,
    /// Receiving archives.
    Archive,
    /// Everything.
    Admin,
}

impl Scope {
    /// Every scope, weakest first.
    pub const ALL: [Self; 7] =
        [Self::Ingest, Self::Read, Self::Export, Self::Manage, Self::Sync, Self::Archive, Self::Admin];

    /// Its name on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Export => "export",
            Self::Manage => "manage",
            Self::Sync => "sync",
            Self::Archive => "archive",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a [`Scope`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a scope (ingest, read, export, manage, sync, archive, admin)")]
pub struct ScopeError(pub String);

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or_else(|| ScopeError(text.to_owned()))
    }
}

/// SHA-256 of a key's secret: all that a store holds of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyHash(pub [u8; 32]);

/// The secret of a key, `lt_` and 64 hexadecimal digits (256 random bits). Shown once, when it is made; `Debug` shows
/// nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(String);

impl KeySecret {
    /// The secret made of `entropy`, drawn at random by the caller.
    pub fn new(entropy: [u8; 32]) -> Self {
        use fmt::Write as _;
        let mut text = String::from("lt_");
        for byte in entropy {
            write!(text, "{byte:02x}").expect("writing to a string does not fail");
        }
        Self(text)
    }

    /// The secret somebody presents, whatever it is; `None` where it cannot be one.
    pub fn presented(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("lt_")?;
        (digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| Self(text.to_owned()))
    }

    /// The secret itself, for the one time it is shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the store holds.
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// What lists show of it: the first ten characters.
    pub fn prefix(&self) -> &str {
        &self.0[..10]
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(***)")
    }
}

/// An API key, without its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// Its name for people, 1 to 200 characters.
    pub name: String,
    /// What lists show of the secret.
    pub prefix: String,
    /// The secret's hash, unique in the store.
    pub hash: KeyHash,
    /// What it opens; not empty.
    pub scopes: BTreeSet<Scope>,
    /// The one project it is bound to; absent: all.
    pub project_id: Option<ProjectId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last presented, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// Whether it opens anything at `now`.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none_or(|at| at > now) && self.expires_at.is_none_or(|at| at > now)
    }

    /// Whether it opens `scope`, in `project` where one is meant.
    pub fn opens(&self, scope: Scope, project: Option<ProjectId>) -> bool {
        (self.scopes.contains(&Scope::Admin) || self.scopes.contains(&scope))
            && match (self.project_id, project) {
                (None, _) => true,
                (Some(own), Some(meant)) => own == meant,
                (Some(_), None) => false,
            }
    }
}
