//! The projects' own CRM connections: set, kept encrypted, opened, never shown.

use std::sync::Arc;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use leadtrail_domain::id::ProjectId;
use leadtrail_domain::ports::{Connections, Crm, Projects, SealedConnection, StoreError};
use leadtrail_domain::project::{Project, own_account};
use leadtrail_domain::time::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::access::View;
use crate::input::{Invalid, Problems};
use crate::projects::{self, Change, ManageError, ProjectInput};

/// Bytes of the random part of a sealed connection.
pub const NONCE_BYTES: usize = 24;
/// What a sealed connection begins with; another form would begin with another number.
const VERSION: u8 = 1;

/// How a project's CRM is reached.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Which CRM, by the name that the settings have for it: `pipedrive`.
    pub kind: String,
    /// Where its API is.
    pub base_url: String,
    /// The token.
    pub api_token: SecretString,
}

#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    kind: std::borrow::Cow<'a, str>,
    base_url: std::borrow::Cow<'a, str>,
    api_token: std::borrow::Cow<'a, str>,
}

/// The key that connections are sealed with.
#[derive(Clone)]
pub struct SealKey(XChaCha20Poly1305);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(***)")
    }
}

/// A sealed connection that cannot be read: the key is another one, or the row is damaged or another project's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the CRM connection cannot be unsealed: is the key (crm.connection_key) the one it was sealed with?")]
pub struct UnsealError;

impl SealKey {
    /// A key of these bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(bytes.into()))
    }

    /// Seals a project's connection. `nonce` is drawn at random. No other project can unseal it.
    pub fn seal(
        &self,
        project: ProjectId,
        connection: &Connection,
        set_at: Timestamp,
        nonce: [u8; NONCE_BYTES],
    ) -> SealedConnection {
        let plain = Plain {
            kind: connection.kind.as_str().into(),
            base_url: connection.base_url.as_str().into(),
            api_token: connection.api_token.expose_secret().into(),
        };
        let plain = serde_json::to_vec(&plain).expect("texts always serialise");
        let payload = Payload { msg: &plain, aad: project.0.as_bytes() };
        let encrypted =
            self.0.encrypt(&XNonce::from(nonce), payload).expect("a connection is shorter than 256 GiB");
        let sealed = [&[VERSION][..], &nonce, &encrypted].concat();
        SealedConnection { project_id: project, sealed, set_at }
    }

    /// Unseals it.
    ///
    /// # Errors
    /// It was sealed with another key, for another project, or is damaged.
    pub fn unseal(&self, sealed: &SealedConnection) -> Result<Connection, UnsealError> {
        let (version, rest) = sealed.sealed.split_first().ok_or(UnsealError)?;
        let (nonce, encrypted) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(UnsealError)?;
        if *version != VERSION {
            return Err(UnsealError);
        }
        let payload = Payload { msg: encrypted, aad: sealed.project_id.0.as_bytes() };
        let plain = self.0.decrypt(&XNonce::from(*nonce), payload).map_err(|_another_key| UnsealError)?;
        let plain: Plain<'_> = serde_json::from_slice(&plain).map_err(|_another_form| UnsealError)?;
        Ok(Connection {
            kind: plain.kind.into_owned(),
            base_url: plain.base_url.into_owned(),
            api_token: SecretString::from(plain.api_token.into_owned()),
        })
    }
}

/// What makes a CRM of a connection.
pub type OpenCrm = dyn Fn(&Connection) -> Result<Arc<dyn Crm>, String> + Send + Sync;

/// Where the projects' own connections are, and what opens them.
#[derive(Clone)]
pub struct OwnConnections {
    /// Where they are kept.
    pub connections: Arc<dyn Connections>,
    /// What they are sealed with; without it none can be set or opened.
    pub key: Option<SealKey>,
    /// What opens them.
    pub open: Arc<OpenCrm>,
}

impl OwnConnections {
    pub(crate) async fn sealed(&self, project: ProjectId) -> Result<Option<SealedConnection>, StoreError> {
        self.connections.connection(project).await
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// `Rejected` when there is no key, or not the right one, or what is sealed cannot be opened.
    pub fn open(&self, sealed: &SealedConnection) -> Result<Arc<dyn Crm>, StoreError> {
        let Some(key) = &self.key else {
            return Err(StoreError::rejected(
                "the project has a CRM connection, and no key to unseal it is set",
            ));
        };
        let connection = key.unseal(sealed).map_err(|error| StoreError::rejected(error.to_string()))?;
        (self.open)(&connection).map_err(StoreError::rejected)
    }
}

/// What may be told of a project's connection: never its token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "CrmConnection"))]
pub struct ConnectionShown {
    /// Which CRM; absent where the connection cannot be unsealed.
    pub kind: Option<String>,
    /// The host of its API, or the company's name as it was given; absent where the connection cannot be unsealed.
    pub host: Option<String>,
    /// When it was set.
    pub set_at: Timestamp,
}

/// The longest token.
const TOKEN_CHARS_MAX: usize = 1_000;

impl OwnConnections {
    /// What a project's connection is, where it has one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn shown(&self, project: ProjectId) -> Result<Option<ConnectionShown>, StoreError> {
        let Some(sealed) = self.sealed(project).await? else { return Ok(None) };
        let opened = self.key.as_ref().and_then(|key| key.unseal(&sealed).ok());
        let (kind, host) = opened.map(|opened| (opened.kind, host(&opened.base_url))).unzip();
        Ok(Some(ConnectionShown { kind, host, set_at: sealed.set_at }))
    }

    /// Sets a project's connection in place of the one it had, sealed. `nonce` is drawn at random.
    ///
    /// # Errors
    /// `Invalid` for what cannot be opened, or without a key to seal with; those of the store.
    pub async fn set(
        &self,
        project: ProjectId,
        connection: &Connection,
        now: Timestamp,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<ConnectionShown, ManageError> {
        let Some(key) = &self.key else {
            let problem =
                "cannot be set: the service has no key to seal it with (its setting crm.connection_key)";
            return Err(Invalid::one("connection", problem).into());
        };
        let mut problems = Problems::default();
        let token = connection.api_token.expose_secret();
        if token.is_empty() || token.len() > TOKEN_CHARS_MAX || !token.bytes().all(|b| b.is_ascii_graphic()) {
            problems.add("api_token", "is empty, too long or no token");
        }
        if let Err(problem) = (self.open)(connection) {
            problems.add("base_url", &format!("is not taken: {problem}"));
        }
        problems.unless_none(())?;
        let sealed = key.seal(project, connection, now, nonce);
        self.connections.put_connection(&sealed).await.map_err(ManageError::Store)?;
        let (kind, host) = (connection.kind.clone(), host(&connection.base_url));
        Ok(ConnectionShown { kind: Some(kind), host: Some(host), set_at: now })
    }

    /// Removes a project's connection; whether there was one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn remove(&self, project: ProjectId) -> Result<bool, StoreError> {
        self.connections.remove_connection(project).await
    }
}

/// Lets a project use its own connection.
///
/// # Errors
/// `Gone`; `Store`.
pub async fn use_own(projects: &dyn Projects, project: Project) -> Result<Project, ManageError> {
    let settings = Some(json!({ "crm": { "account": own_account() } }));
    let input = ProjectInput { settings, ..ProjectInput::default() };
    projects::update(projects, View::All, project, input.into(), Change::Merge).await
}

fn host(base_url: &str) -> String {
    let rest = base_url.trim().strip_prefix("https://").unwrap_or(base_url.trim());
    rest.split('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(byte: u8) -> ProjectId {
        ProjectId::new(Timestamp::EPOCH, [byte; 16])
    }

    fn sealed(key: &SealKey) -> SealedConnection {
        let connection = Connection {
            kind: "pipedrive".into(),
            base_url: "https://acme.example/api/v2".into(),
            api_token: SecretString::from("not-a-real-token"),
        };
        key.seal(project(1), &connection, Timestamp::EPOCH, [7; NONCE_BYTES])
    }

    #[test]
    fn what_is_sealed_is_unsealed_by_the_same_key_for_the_same_project_only() {
        let key = SealKey::new(&[1; 32]);
        let sealed = sealed(&key);
        assert_eq!(key.unseal(&sealed).unwrap().api_token.expose_secret(), "not-a-real-token");
        assert!(SealKey::new(&[2; 32]).unseal(&sealed).is_err());
        assert!(key.unseal(&SealedConnection { project_id: project(2), ..sealed.clone() }).is_err());
        for damaged in [Vec::new(), vec![1; 10], vec![2; 60], {
            let mut bytes = sealed.sealed.clone();
            bytes[40] ^= 1;
            bytes
        }] {
            assert!(key.unseal(&SealedConnection { sealed: damaged, ..sealed.clone() }).is_err());
        }
    }

    #[test]
    fn neither_what_is_sealed_nor_how_it_prints_shows_the_token() {
        let sealed = sealed(&SealKey::new(&[1; 32]));
        let token = b"not-a-real-token";
        assert!(!sealed.sealed.windows(token.len()).any(|window| window == token));
        let opened = SealKey::new(&[1; 32]).unseal(&sealed).unwrap();
        assert!(!format!("{sealed:?} {opened:?}").contains("not-a-real"));
    }
}
