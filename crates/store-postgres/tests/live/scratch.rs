//! A migrated database of its own for each test, on the server that `LEADTRAIL_TEST_POSTGRES_URL` names.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use leadtrail_store_postgres::{PostgresSettings, PostgresStore};
use tokio::sync::Mutex;

/// A database, dropped with it.
pub(crate) struct Scratch {
    name: String,
    /// Kept until the last test that may copy it is done.
    _template: Option<Arc<Scratch>>,
}

/// The template of this process, as long as a test runs.
static TEMPLATE: Mutex<Weak<Scratch>> = Mutex::const_new(Weak::new());

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Scratch {
    /// A migrated database.
    pub(crate) async fn new() -> Self {
        let template = template().await;
        Self { name: create(&format!(" TEMPLATE {}", template.name)), _template: Some(template) }
    }

    /// A database without a schema.
    pub(crate) fn empty() -> Self {
        Self { name: create(""), _template: None }
    }

    /// A store of its own on the database. Many tests at once share one small server: few connections, long waits.
    pub(crate) async fn store_with(&self, writers: u32, readers: u32) -> PostgresStore {
        let acquire_timeout = Duration::from_secs(20);
        let settings = PostgresSettings { writers, readers, acquire_timeout, ..PostgresSettings::default() };
        PostgresStore::connect(&self.url(), settings).await.expect("the scratch database takes connections")
    }

    pub(crate) fn url(&self) -> String {
        let url = server_url();
        let (base, query) = url.split_at(url.find('?').unwrap_or(url.len()));
        let host = base.find("://").map_or(0, |scheme| scheme + 3);
        let host_end = base[host..].find('/').map_or(base.len(), |slash| host + slash);
        format!("{}/{}{query}", &base[..host_end], self.name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        on_server(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

async fn template() -> Arc<Scratch> {
    let mut shared = TEMPLATE.lock().await;
    if let Some(template) = shared.upgrade() {
        return template;
    }
    let template = Arc::new(Scratch::empty());
    template.store_with(1, 1).await.migrate().await.expect("the migrations run");
    *shared = Arc::downgrade(&template);
    template
}

fn create(how: &str) -> String {
    let name = format!("leadtrail_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    on_server(&format!("CREATE DATABASE {name}{how}"));
    name
}

fn on_server(statement: &str) {
    let mut server =
        PgConnection::establish(&server_url()).expect("LEADTRAIL_TEST_POSTGRES_URL takes connections");
    server.batch_execute(statement).expect("LEADTRAIL_TEST_POSTGRES_URL may create and drop databases");
}

#[expect(clippy::disallowed_methods, reason = "the server is the business of whoever runs the tests")]
fn server_url() -> String {
    std::env::var("LEADTRAIL_TEST_POSTGRES_URL").expect(
        "LEADTRAIL_TEST_POSTGRES_URL must be the postgres:// URL of a server that may create databases",
    )
}
