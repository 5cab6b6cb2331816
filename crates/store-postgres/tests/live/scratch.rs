//! A migrated database of its own for each test, on the server that `LEADTRAIL_TEST_POSTGRES_URL` names.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use leadtrail_store_postgres::{PostgresSettings, PostgresStore};
use tokio::sync::Mutex;

/// A database, dropped with it.
pub(crate) struct Scratch {
    database: Database,
    /// Kept until the last test that may copy it is done.
    _template: Option<Arc<Database>>,
}

struct Database {
    name: String,
}

/// The template of this process, as long as a test runs.
static TEMPLATE: Mutex<Weak<Database>> = Mutex::const_new(Weak::new());

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Scratch {
    /// A migrated database.
    pub(crate) async fn new() -> Self {
        let template = template().await;
        let database = Database::create(&format!(" TEMPLATE {}", template.name));
        Self { database, _template: Some(template) }
    }

    /// A database without a schema.
    #[allow(dead_code, reason = "not every test target migrates by itself")]
    pub(crate) fn empty() -> Self {
        Self { database: Database::create(""), _template: None }
    }

    pub(crate) async fn store(&self) -> PostgresStore {
        connect(&self.database.url()).await
    }

    /// A connection beside the store's.
    #[allow(dead_code, reason = "not every test target looks beside the store")]
    pub(crate) fn connection(&self) -> PgConnection {
        PgConnection::establish(&self.database.url()).expect("the scratch database takes connections")
    }
}

async fn connect(url: &str) -> PostgresStore {
    // Many tests at once share one small server.
    let settings = PostgresSettings {
        writers: 2,
        readers: 3,
        acquire_timeout: std::time::Duration::from_secs(20),
        ..PostgresSettings::default()
    };
    PostgresStore::connect(url, settings).await.expect("the scratch database takes connections")
}

async fn template() -> Arc<Database> {
    let mut shared = TEMPLATE.lock().await;
    if let Some(template) = shared.upgrade() {
        return template;
    }
    let template = Arc::new(Database::create(""));
    connect(&template.url()).await.migrate().await.expect("the migrations run");
    *shared = Arc::downgrade(&template);
    template
}

impl Database {
    fn create(how: &str) -> Self {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("leadtrail_test_{}_{n}", std::process::id());
        on_server(&format!("CREATE DATABASE {name}{how}"));
        Self { name }
    }

    fn url(&self) -> String {
        url_of(&self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        on_server(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

fn on_server(statement: &str) {
    let mut server = PgConnection::establish(&server_url()).expect("LEADTRAIL_TEST_POSTGRES_URL takes connections");
    server.batch_execute(statement).expect("LEADTRAIL_TEST_POSTGRES_URL may create and drop databases");
}

fn url_of(database: &str) -> String {
    let url = server_url();
    let (base, query) = url.split_once('?').map_or((url.as_str(), String::new()), |(base, query)| (base, format!("?{query}")));
    let host_end = base.find("://").map_or(0, |scheme| scheme + 3);
    let host = base[host_end..].find('/').map_or(base, |slash| &base[..host_end + slash]);
    format!("{host}/{database}{query}")
}

#[expect(clippy::disallowed_methods, reason = "the server is the business of whoever runs the tests")]
fn server_url() -> String {
    std::env::var("LEADTRAIL_TEST_POSTGRES_URL")
        .expect("LEADTRAIL_TEST_POSTGRES_URL must be the postgres:// URL of a server that may create databases")
}
