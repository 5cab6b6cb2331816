use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use leadtrail_app::access::Access;
use leadtrail_app::accounts::Accounts;
use leadtrail_app::hygiene::Hygiene;
use leadtrail_app::ingest::Ingest;
use leadtrail_app::pixel_check::PixelChecks;
use leadtrail_app::pixels::Pixels;
use leadtrail_domain::ports::{
    Clock, Conversions, Enrich, Histories, Journeys, Keys, Maintenance, Projects, SyncJobs,
};
use url::Url;

use crate::client_address::Proxies;
use crate::limits::Limits;

/// What the routes work with.
#[derive(Clone)]
pub struct Collector {
    /// The way in for events.
    pub ingest: Ingest,
    /// The pixels they are sent to.
    pub pixels: Pixels,
    /// Whether they work on the pages that carry them.
    pub pixel_checks: Arc<PixelChecks>,
    /// The projects and pixels that are managed.
    pub projects: Arc<dyn Projects>,
    /// The keys that are managed.
    pub keys: Arc<dyn Keys>,
    /// The queue of what the CRM is still to be told.
    pub jobs: Arc<dyn SyncJobs>,
    /// What led to a lead.
    pub journeys: Arc<dyn Journeys>,
    /// Stored pasts.
    pub histories: Arc<dyn Histories>,
    /// What is wrong with the tags of links.
    pub hygiene: Arc<Hygiene>,
    /// What was counted as a conversion.
    pub conversions: Arc<dyn Conversions>,
    /// The CRM connections, and how each stands.
    pub accounts: Arc<Accounts>,
    /// Who asks, by the keys presented.
    pub access: Access,
    /// What is known of browsers and places.
    pub enrich: Arc<dyn Enrich>,
    /// The store's clock.
    pub clock: Arc<dyn Clock>,
    /// The store, as far as `/health` asks.
    pub maintenance: Arc<dyn Maintenance>,
    /// What `/metrics` answers: every number, in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The settings.
    pub settings: HttpSettings,
}

/// Settings of the web service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpSettings {
    /// Where the world reaches the service, where that is known. Its scheme decides whether cookies are `Secure`:
    /// behind a proxy the connection itself does not tell.
    pub public_url: Option<Url>,
    /// The proxies in front. None by default: then every address is that of the connection's other end.
    pub proxies: Proxies,
    /// How often a client may ask. As often as it likes by default.
    pub limits: Limits,
    /// Whose eyes see what goes wrong.
    pub environment: Environment,
    /// Who may read `/metrics`.
    pub metrics: MetricsAccess,
    /// Whether `/demo/` is served.
    pub demo_site: bool,
    /// Threads that answer; absent: one per core.
    pub workers: Option<NonZeroUsize>,
    /// Connections that are open at once, over all workers; further ones wait to be accepted. Each keeps
    /// [`FILES_PER_CONNECTION`](crate::FILES_PER_CONNECTION) files open.
    pub connections_max: usize,
    /// How many bodies larger than one event are held at once, over all workers; further ones are put off.
    pub large_bodies_max: usize,
    /// How long a client may take to send a request's head.
    pub head_timeout: Duration,
    /// How long it may take to send the body.
    pub body_timeout: Duration,
    /// How long it may take to read the next part of an answer.
    pub read_timeout: Duration,
    /// How long an idle connection is kept open.
    pub keep_alive: Duration,
    /// How long `/health/ready` waits for the store.
    pub ready_timeout: Duration,
    /// How long a stop waits for what is under way; whole seconds.
    pub shutdown_timeout: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            public_url: None,
            proxies: Proxies::default(),
            limits: Limits::default(),
            environment: Environment::Production,
            metrics: MetricsAccess::Local,
            demo_site: false,
            workers: None,
            connections_max: 8_192,
            large_bodies_max: 16,
            head_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(15),
            ready_timeout: Duration::from_secs(2),
            shutdown_timeout: Duration::from_secs(6),
        }
    }
}

impl HttpSettings {
    pub(crate) fn is_https(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}

/// Who may read `/metrics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricsAccess {
    /// Whoever asks from this machine or a private network, and whoever has a key of scope `admin`.
    Local,
    /// Everybody.
    Open,
    /// Nobody.
    Off,
}

/// Whose eyes see what goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Environment {
    /// Strangers': causes stay in the log.
    Production,
    /// The developer's own: answers name causes.
    Development,
}
