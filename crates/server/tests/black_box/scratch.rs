//! A database of its own on the server that `LEADTRAIL_TEST_POSTGRES_URL` names.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::pg::PgConnection;
use url::Url;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// An empty database; dropped with it.
pub(crate) struct Scratch {
    server: Url,
    name: String,
}

impl Scratch {
    pub(crate) fn new() -> Result<Self> {
        let server = server_url()?;
        let name = format!("leadtrail_box_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let scratch = Self { server, name };
        scratch.on_server(&format!("CREATE DATABASE {}", scratch.name))?;
        Ok(scratch)
    }

    pub(crate) fn url(&self) -> String {
        let mut url = self.server.clone();
        url.set_path(&self.name);
        url.to_string()
    }

    fn on_server(&self, statement: &str) -> Result<()> {
        let mut connection = PgConnection::establish(self.server.as_str())
            .context("LEADTRAIL_TEST_POSTGRES_URL takes no connections")?;
        connection.batch_execute(statement).with_context(|| statement.to_owned())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.on_server(&format!("DROP DATABASE {} WITH (FORCE)", self.name)) {
            eprintln!("{error:#}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the server is the business of whoever runs the tests")]
fn server_url() -> Result<Url> {
    let url = std::env::var("LEADTRAIL_TEST_POSTGRES_URL").context(
        "the feature `live` needs LEADTRAIL_TEST_POSTGRES_URL, the postgres:// URL of a server that may create \
         databases; `cargo xtask test` makes one",
    )?;
    Url::parse(&url).context("LEADTRAIL_TEST_POSTGRES_URL is no URL")
}
