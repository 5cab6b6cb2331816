//! Which server is connected to, and how each connection is set up.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::R2D2Connection;

/// Why no connection was made. Never shows the URL or its password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL asks for TLS, which this build does not have.
    #[error(
        "the database URL says sslmode={sslmode}, but this build has no TLS to PostgreSQL: build it with the feature \
         `pg-tls`"
    )]
    NoTls {
        /// What the URL says.
        sslmode: String,
    },
    /// The server or libpq refused, in their words.
    #[error("PostgreSQL cannot be reached: {0}")]
    Refused(String),
    /// The connection was made and refused its settings.
    #[error("PostgreSQL does not take the session's settings")]
    Settings(#[source] diesel::result::Error),
    /// The connection was made before others to the same server were found cut.
    #[error("the connection is older than the last cut")]
    Outlived,
}

/// A server, by its URL (`postgres://…`) or libpq connection string (`host=… dbname=…`).
#[derive(Clone)]
pub(crate) struct Server {
    target: String,
    statement_timeout: Duration,
    /// How often a connection was found cut. When one is, the others mostly are too: those made before are replaced
    /// when they are next taken from the pool, without a round trip that asks them.
    cuts: Arc<AtomicU64>,
}

/// A connection of a pool.
pub(crate) struct ServerConnection {
    pub(crate) pg: PgConnection,
    made_after_cuts: u64,
    cut: bool,
}

/// A network that swallows packets is noticed after about half a minute, where the URL says nothing else.
const LIBPQ_DEFAULTS: [(&str, &str); 5] = [
    ("application_name", "leadtrail"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "25000"),
];

/// Plans are made once, without a look at the parameters: every statement here goes by keys, and planning the hot one
/// takes longer than running it. What was planned while the tables were small must still be right when they are not,
/// so that scans, hashes and merges of whole tables are ruled out. JIT compilation never pays for such statements.
const SESSION: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
     SET enable_mergejoin = off; SET jit = off";

impl Server {
    /// # Errors
    /// [`ConnectError::NoTls`].
    pub(crate) fn new(
        url: &str,
        connect_timeout: Duration,
        statement_timeout: Duration,
    ) -> Result<Self, ConnectError> {
        if let Some(sslmode) = parameter(url, "sslmode")
            && matches!(sslmode, "require" | "verify-ca" | "verify-full")
            && cfg!(not(feature = "pg-tls"))
        {
            return Err(ConnectError::NoTls { sslmode: sslmode.to_owned() });
        }
        let mut target = url.to_owned();
        // libpq counts whole seconds and takes none below 2.
        let seconds = connect_timeout.as_secs().max(2).to_string();
        for (name, value) in [("connect_timeout", seconds.as_str())].into_iter().chain(LIBPQ_DEFAULTS) {
            if parameter(url, name).is_none() {
                let separator = match (is_url(url), target.contains('?')) {
                    (true, false) => '?',
                    (true, true) => '&',
                    (false, _) => ' ',
                };
                target.push(separator);
                target.push_str(name);
                target.push('=');
                target.push_str(value);
            }
        }
        Ok(Self { target, statement_timeout, cuts: Arc::new(AtomicU64::new(0)) })
    }

    /// A connection of its own, outside any pool, whose statements may take as long as they like.
    pub(crate) fn connect_patiently(&self) -> Result<PgConnection, ConnectError> {
        PgConnection::establish(&self.target)
            .map_err(|error| ConnectError::Refused(self.without_secrets(&error)))
    }

    /// What was said, without the parts of the target that may belong to a password. A malformed URL is quoted by
    /// libpq, whole or in pieces.
    fn without_secrets(&self, said: &impl fmt::Display) -> String {
        let mut said = said.to_string();
        for secret in secrets(&self.target) {
            said = said.replace(secret, "***");
        }
        said
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("statement_timeout", &self.statement_timeout).finish_non_exhaustive()
    }
}

impl ServerConnection {
    /// Remembers that the connection is of no further use.
    pub(crate) fn was_cut(&mut self) {
        self.cut = true;
    }
}

impl r2d2::ManageConnection for Server {
    type Connection = ServerConnection;
    type Error = ConnectError;

    fn connect(&self) -> Result<ServerConnection, ConnectError> {
        let made_after_cuts = self.cuts.load(Ordering::Acquire);
        let mut pg = self.connect_patiently()?;
        let timeout = format!("SET statement_timeout = {}", self.statement_timeout.as_millis());
        pg.batch_execute(SESSION)
            .and_then(|()| pg.batch_execute(&timeout))
            .map_err(ConnectError::Settings)?;
        Ok(ServerConnection { pg, made_after_cuts, cut: false })
    }

    fn is_valid(&self, connection: &mut ServerConnection) -> Result<(), ConnectError> {
        if connection.made_after_cuts == self.cuts.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(ConnectError::Outlived)
        }
    }

    fn has_broken(&self, connection: &mut ServerConnection) -> bool {
        if connection.cut && connection.made_after_cuts == self.cuts.load(Ordering::Acquire) {
            self.cuts.fetch_add(1, Ordering::AcqRel);
        }
        connection.cut || std::thread::panicking() || connection.pg.is_broken()
    }
}

fn is_url(target: &str) -> bool {
    target.starts_with("postgres://") || target.starts_with("postgresql://")
}

/// The value of a libpq parameter, as far as it is written without quotes and escapes.
fn parameter<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let (list, separators): (&str, &[char]) = if is_url(target) {
        (target.split_once('?').map_or("", |(_, query)| query), &['&'])
    } else {
        (target, &[' ', '\t', '\n'])
    };
    list.split(separators)
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

/// Everything in the target that may be a password or a part of one.
fn secrets(target: &str) -> Vec<&str> {
    let mut secrets: Vec<&str> = parameter(target, "password").into_iter().collect();
    if let Some((_, rest)) = target.split_once("://")
        && let Some((userinfo, _)) = rest.rsplit_once('@')
        && let Some((_, password)) = userinfo.split_once(':')
    {
        secrets.push(password);
        // A password with characters that should have been escaped: libpq reads its pieces as host, port and database.
        secrets.extend(password.split(['@', ':', '/', '?', '#', '%', '&', '[', ']']));
    } else if !is_url(target)
        && let Some((_, rest)) = target.split_once("password")
    {
        // A quoted or misspelt password of a connection string: everything behind it.
        secrets.push(rest);
        secrets.extend(rest.split([' ', '\'', '"', '=', '\\']));
    }
    secrets.retain(|secret| !secret.is_empty());
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

#[cfg(test)]
mod tests {
    use r2d2::ManageConnection as _;

    use super::*;

    fn server(url: &str) -> Result<Server, ConnectError> {
        Server::new(url, Duration::from_secs(2), Duration::from_secs(1))
    }

    #[test]
    #[cfg(not(feature = "pg-tls"))]
    fn a_url_that_demands_tls_is_told_which_feature_is_missing() {
        for url in [
            "postgres://u@h/d?sslmode=require",
            "host=h sslmode=verify-full",
            "postgresql://h?a=b&sslmode=verify-ca",
        ] {
            let error = server(url).unwrap_err();
            assert!(error.to_string().contains("`pg-tls`"), "{error}");
        }
        for url in ["postgres://u@h/d?sslmode=prefer", "postgres://sslmode=require@h/d", "host=h"] {
            assert!(server(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_the_url_says_is_kept_and_the_rest_is_bounded() {
        let server = server("postgres://h/d?connect_timeout=9&keepalives_idle=1").unwrap();
        assert!(
            server.target.starts_with(
                "postgres://h/d?connect_timeout=9&keepalives_idle=1&application_name=leadtrail&"
            )
        );
        assert_eq!(server.target.matches("connect_timeout").count(), 1);
    }

    #[test]
    fn a_password_is_neither_in_an_error_nor_in_debug() {
        let hosts = "127.0.0.1:1";
        for url in [
            format!("postgres://user:qux-fake-zebra@{hosts}/d"),
            format!("postgres://user:qux@fake-zebra@{hosts}/d"),
            format!("postgres://user:qux:fake/zebra@{hosts}/d"),
            format!("postgres://user:qux%zzfake-zebra@{hosts}/d"),
            format!("postgres://user:qux?fake-zebra@{hosts}/d"),
            "host=127.0.0.1 port=1 password=qux-fake-zebra".to_owned(),
            "host=127.0.0.1 port=1 password='qux fake-zebra".to_owned(),
            "host=127.0.0.1 port=1 password 'qux fake-zebra'".to_owned(),
            format!("postgres://user@{hosts}/d?password=qux-fake-zebra&nonsense=1"),
        ] {
            let server = server(&url).unwrap();
            let Err(error) = server.connect() else { panic!("nobody listens there") };
            for shown in [format!("{error:?}"), error.to_string(), format!("{server:?}")] {
                assert!(
                    !shown.contains("qux") && !shown.contains("fake") && !shown.contains("zebra"),
                    "{url}: {shown}"
                );
            }
        }
    }
}
