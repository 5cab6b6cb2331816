//! A running service on a free port, and what a test asks of it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use leadtrail_app::access::Access;
use leadtrail_app::accounts::Accounts;
use leadtrail_app::connections::{Connection, OwnConnections, SealKey};
use leadtrail_app::hygiene::Hygiene;
use leadtrail_app::ingest::{Ingest, IngestSettings};
use leadtrail_app::pixel_check::{Fetched, PixelChecks, Web, WebError};
use leadtrail_app::pixels::{Pixels, ServicePolicy};
use leadtrail_crm_sandbox::SandboxCrm;
use leadtrail_domain::conversion::ConversionRule;
use leadtrail_domain::event::{EventKind, StoredEvent};
use leadtrail_domain::id::{EventId, KeyId, PixelId, ProjectId, SyncJobId};
use leadtrail_domain::key::{ApiKey, KeySecret, Scope};
use leadtrail_domain::ports::{Crm, JobFilter, Keys, Maintenance, Projects, StoreError, SyncJobs, Visits};
use leadtrail_domain::project::{CrmSettings, Pixel, PixelSettings, Project, ProjectSettings, own_account};
use leadtrail_domain::sync::account::BreakerSettings;
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::visit::{Changes, Known, VisitQuery};
use leadtrail_enrich::Knowledge;
use leadtrail_http::{Collector, HttpSettings, listen};
use leadtrail_store_memory::MemoryStore;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use url::Url;

use crate::log;

pub(crate) const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Read once for all services: it takes a moment, and nothing that a test does changes it.
static KNOWLEDGE: LazyLock<Arc<Knowledge>> = LazyLock::new(|| Arc::new(Knowledge::new(None)));

pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) project: ProjectId,
    pub(crate) handle: actix_web::dev::ServerHandle,
    pub(crate) running: JoinHandle<io::Result<()>>,
    client: reqwest::Client,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

/// What of a service a test wants otherwise.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) settings: HttpSettings,
    pub(crate) project: ProjectSettings,
    /// Of both pixels.
    pub(crate) pixels: PixelSettings,
    pub(crate) ingest: IngestSettings,
    /// Events may be stored no sooner than this says.
    pub(crate) gate: Option<Gate>,
    /// Whether projects can have CRM connections of their own.
    pub(crate) connections: Sealing,
    /// What `/health` asks in the store's place.
    pub(crate) maintenance: Option<Arc<dyn Maintenance>>,
}

/// Whether there is a key to seal connections with.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sealing {
    #[default]
    Keyed,
    Keyless,
}

/// Settings of a project that tells its leads to a connection of its own, and counts forms as conversions.
pub(crate) fn telling() -> ProjectSettings {
    let crm = CrmSettings { account: own_account(), ..CrmSettings::default() };
    let form = ConversionRule { event: Some(EventKind::FormSubmit), ..ConversionRule::default() };
    let conversions = BTreeMap::from([("Form".parse().expect("the name of a conversion"), form)]);
    ProjectSettings { crm, conversions, ..ProjectSettings::default() }
}

/// No connection but the projects' own, of the kind `sandbox`, which has nobody.
fn accounts(store: &Arc<MemoryStore>, sealing: Sealing) -> Accounts {
    let open = |connection: &Connection| match connection.kind.as_str() {
        "sandbox" => {
            let crm: Arc<dyn Crm> = Arc::new(SandboxCrm::in_memory());
            Ok(crm)
        }
        other => Err(format!("there is no kind of CRM `{other}`")),
    };
    let key = (sealing == Sealing::Keyed).then(|| SealKey::new(&[7; 32]));
    let own = OwnConnections { connections: store.clone(), key, open: Arc::new(open) };
    Accounts::new(std::collections::BTreeMap::new(), Some(own), BreakerSettings::default())
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with_origins(origins: &[&str]) -> Self {
        let origins = origins.iter().map(|origin| origin.parse().expect("a host pattern")).collect();
        let pixels = PixelSettings { origins, ..PixelSettings::default() };
        Self::with(Setup { pixels, ..Setup::default() }).await
    }

    /// A service with a pixel `demo`, and one `archived` that collects no more.
    pub(crate) async fn with(setup: Setup) -> Self {
        log::start();
        let store = Arc::new(MemoryStore::new());
        let project = Project { settings: setup.project, ..project() };
        store.create_project(&project).await.expect("a memory store takes a project");
        for (id, archived_at) in [("demo", None), ("archived", Some(Timestamp::EPOCH))] {
            let pixel = Pixel { settings: setup.pixels.clone(), archived_at, ..pixel(id, project.id) };
            store.create_pixel(&pixel).await.expect("a memory store takes a pixel");
        }
        let visits: Arc<dyn Visits> = match setup.gate {
            Some(gate) => Arc::new(Gated { gate, store: Arc::clone(&store) }),
            None => store.clone(),
        };
        let (ingest, _tasks) = Ingest::start(&visits, &setup.ingest);
        let collector = Collector {
            ingest,
            pixels: Pixels::new(store.clone(), ServicePolicy::default()),
            pixel_checks: Arc::new(PixelChecks::new(Arc::new(OnePage), store.clone(), store.clone())),
            projects: store.clone(),
            keys: store.clone(),
            jobs: store.clone(),
            journeys: store.clone(),
            conversions: store.clone(),
            histories: store.clone(),
            hygiene: Arc::new(Hygiene::new(store.clone(), store.clone())),
            accounts: Arc::new(accounts(&store, setup.connections)),
            access: Access::new(store.clone()),
            enrich: KNOWLEDGE.clone(),
            clock: store.clone(),
            maintenance: setup.maintenance.unwrap_or_else(|| store.clone()),
            metrics: Arc::new(|| "a_number 1\n".to_owned()),
            settings: HttpSettings { workers: NonZeroUsize::new(2), ..setup.settings },
        };
        let (address, server) = listen(collector, ([127, 0, 0, 1], 0).into()).expect("a free port");
        let handle = server.handle();
        let running = tokio::spawn(server);
        Self { address, store, project: project.id, handle, running, client: client() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address)).header("user-agent", BROWSER)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        Reply::of(self.request(Method::GET, path)).await
    }

    /// Posts a body as it is, as JSON.
    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> Reply {
        self.post_with(body, &[]).await
    }

    pub(crate) async fn post_with(&self, body: impl Into<reqwest::Body>, headers: &[(&str, &str)]) -> Reply {
        let request =
            self.request(Method::POST, "/api/track").header("content-type", "application/json").body(body);
        Reply::of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    pub(crate) async fn track(&self, event: &Value) -> Reply {
        self.post(event.to_string()).await
    }

    pub(crate) async fn add_pixel(&self, id: &str) {
        self.add_pixel_of(self.project, id).await;
    }

    pub(crate) async fn add_pixel_of(&self, project: ProjectId, id: &str) {
        self.store.create_pixel(&pixel(id, project)).await.expect("a memory store takes a pixel");
    }

    /// Adds an empty project.
    pub(crate) async fn add_project(&self, slug: &str) -> ProjectId {
        let mut entropy = [0; 16];
        for (place, byte) in entropy.iter_mut().zip(slug.bytes()) {
            *place = byte;
        }
        let id = ProjectId::new(Timestamp::EPOCH, entropy);
        let project = Project { id, slug: slug.parse().expect("a slug"), name: slug.to_owned(), ..project() };
        self.store.create_project(&project).await.expect("a memory store takes a project");
        id
    }

    /// Adds a key that is valid for ever, and answers its secret.
    pub(crate) async fn add_key(&self, byte: u8, scopes: &[Scope], project: Option<ProjectId>) -> String {
        let (key, secret) = key(byte, scopes, project);
        self.store.create_key(&key).await.expect("a memory store takes a key");
        secret.reveal().to_owned()
    }

    /// Sends a form with this address to a pixel, and answers the sync job that it makes.
    pub(crate) async fn add_job(&self, project: ProjectId, pixel: &str, email: &str) -> SyncJobId {
        let form = json!({"event_type": "form_submit", "pixel_id": pixel, "form_data": {"email": email}});
        let reply = self.track(&pageview_with(form)).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let jobs = self.store.jobs(project, &JobFilter::default(), 1).await.expect("a memory store answers");
        jobs.first().expect("the form makes a job").id
    }

    /// Every event that is stored, by id.
    pub(crate) async fn stored(&self) -> Vec<StoredEvent> {
        self.store.events(self.project, None, 1_000).await.expect("a memory store answers")
    }
}

impl Reply {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("the service answers");
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.expect("the answer is whole").to_vec();
        Self { status, headers, bytes }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("the answer is JSON")
    }

    pub(crate) fn header(&self, name: &'static str) -> Option<&str> {
        self.headers.get(HeaderName::from_static(name)).map(|value| value.to_str().expect("an ASCII header"))
    }

    /// The fields that the answer complains of.
    pub(crate) fn fields(&self) -> Vec<String> {
        let json = self.json();
        let details = json["details"].as_array().expect("details are a list");
        details.iter().map(|one| one["field"].as_str().expect("a field's name").to_owned()).collect()
    }
}

/// A page view of the pixel `demo`.
pub(crate) fn pageview() -> Value {
    json!({"pixel_id": "demo", "page_url": "https://www.example.com/?utm_source=news&utm_medium=email"})
}

/// `pageview`, with some fields otherwise.
pub(crate) fn pageview_with(fields: Value) -> Value {
    let mut event = pageview();
    let Value::Object(fields) = fields else { panic!("fields are an object") };
    event.as_object_mut().expect("an event is an object").extend(fields);
    event
}

/// Holds commits back until they are let through.
#[derive(Clone)]
pub(crate) struct Gate {
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn closed() -> Self {
        Self { arrived: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }

    /// Returns once a group of events waits for its commit.
    pub(crate) async fn reached(&self) {
        self.arrived.acquire().await.expect("the gate stays").forget();
    }

    /// Lets everything through from now on.
    pub(crate) fn open(&self) {
        self.open.add_permits(Semaphore::MAX_PERMITS);
    }
}

/// A store behind a gate.
struct Gated {
    gate: Gate,
    store: Arc<MemoryStore>,
}

#[async_trait]
impl Visits for Gated {
    async fn load(&self, query: &VisitQuery) -> Result<Known, StoreError> {
        self.store.load(query).await
    }

    async fn commit(&self, changes: &Changes) -> Result<(), StoreError> {
        self.gate.arrived.add_permits(1);
        let _permit = self.gate.open.acquire().await.expect("the gate stays");
        self.store.commit(changes).await
    }

    async fn event(
        &self,
        project: ProjectId,
        pixel: &PixelId,
        event: EventId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        self.store.event(project, pixel, event).await
    }

    async fn events(
        &self,
        project: ProjectId,
        after: Option<(EventId, PixelId)>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.events(project, after, limit).await
    }
}

/// A web whose one site, `https://www.example.com`, carries the pixel `demo` on every page.
struct OnePage;

#[async_trait]
impl Web for OnePage {
    async fn get(&self, url: &Url) -> Result<Fetched, WebError> {
        match url.host_str() {
            Some("www.example.com") => Ok(Fetched {
                status: 200,
                headers: vec![("content-type".to_owned(), "text/html".to_owned())],
                body: br#"<script src="https://t.example/static/pixel.js" data-pixel-id="demo"></script>"#
                    .to_vec(),
            }),
            Some("t.example") => Err(WebError::Failed("nobody is there".to_owned())),
            _ => Err(WebError::NotAllowed("is not a page of this web".to_owned())),
        }
    }
}

fn project() -> Project {
    let at = Timestamp::EPOCH;
    Project {
        id: ProjectId::new(at, [7; 16]),
        slug: "demo".parse().expect("a slug"),
        name: "Demo".to_owned(),
        settings: ProjectSettings::default(),
        created_at: at,
        archived_at: None,
    }
}

fn pixel(id: &str, project_id: ProjectId) -> Pixel {
    Pixel {
        id: id.parse().expect("a pixel id"),
        project_id,
        name: id.to_owned(),
        settings: PixelSettings::default(),
        created_at: Timestamp::EPOCH,
        archived_at: None,
    }
}

/// A key made of `byte`, with its secret.
pub(crate) fn key(byte: u8, scopes: &[Scope], project_id: Option<ProjectId>) -> (ApiKey, KeySecret) {
    let secret = KeySecret::new([byte; 32]);
    let key = ApiKey {
        id: KeyId::new(Timestamp::EPOCH, [byte; 16]),
        name: format!("key {byte}"),
        prefix: secret.prefix().to_owned(),
        hash: secret.hash(),
        scopes: scopes.iter().copied().collect(),
        project_id,
        created_at: Timestamp::EPOCH,
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    };
    (key, secret)
}

fn client() -> reqwest::Client {
    // Whichever test comes first installs it; the service itself speaks no TLS.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a client without a proxy")
}
