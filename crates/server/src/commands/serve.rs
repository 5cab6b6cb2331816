use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use leadtrail_app::access::Access;
use leadtrail_app::accounts::Accounts;
use leadtrail_app::hygiene::Hygiene;
use leadtrail_app::ingest::{Ingest, IngestTasks};
use leadtrail_app::pixel_check::PixelChecks;
use leadtrail_app::pixels::{Pixels, ServicePolicy};
use leadtrail_app::sync_loop::{self, SyncLoop};
use leadtrail_app::{crm_account, shutdown, upkeep};
use leadtrail_enrich::Knowledge;
use leadtrail_http::{Collector, FILES_PER_CONNECTION, HttpSettings, raise_open_files};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use super::key::first_admin_key;
use crate::measures::Measures;
use crate::output;
use crate::settings::Settings;
use crate::web::{OnBehalfOf, Pages};
use crate::wiring::{self, Stores};

/// How long a stop waits for a job that is being told to the CRM. Its lease runs out by itself.
const SYNC_STOP_MAX: Duration = Duration::from_secs(2);

/// Files that are open beside connections: those of the store, above all.
const OTHER_FILES: usize = 128;

/// Runs the service until it is told to stop.
pub(super) async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let stop = StopSignal::listen()?;
    let measures = Measures::install()?;
    if settings.http.overlooks_a_proxy() {
        tracing::warn!(
            "http.public_url is https, which this service does not speak itself, and no proxy is trusted: all visitors \
             will have the one address of the proxy in front; list it in http.trusted_proxies"
        );
    }
    let stores = wiring::open_ready(&settings.store).await?;
    wiring::require_durability(&stores, &settings.store).await?;
    if let Some(secret) = first_admin_key(&stores).await? {
        output::line(&format!("admin key: {}", secret.reveal()))?;
    }
    let accounts = Arc::new(wiring::accounts(settings, &stores)?);
    let service = Service::start(settings, &stores, accounts, &measures, settings.http.bind, false).await?;
    output::line(&format!("listening on http://{}", service.address))?;
    stop.received().await;
    service.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// A running service.
pub(super) struct Service {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// The way in for events.
    pub(super) ingest: Ingest,
    /// What tells the CRM.
    pub(super) sync: Arc<SyncLoop>,
    http: actix_web::dev::ServerHandle,
    serving: JoinHandle<std::io::Result<()>>,
    ingesting: IngestTasks,
    syncing: JoinHandle<()>,
    /// What goes on by itself and may end at any moment.
    keeping: [JoinHandle<()>; 4],
    trigger: shutdown::Trigger,
}

impl Service {
    /// Starts everything that serves.
    pub(super) async fn start(
        settings: &Settings,
        stores: &Stores,
        accounts: Arc<Accounts>,
        measures: &Measures,
        bind: SocketAddr,
        demo_site: bool,
    ) -> anyhow::Result<Self> {
        // Read by a thread of its own while the store is prepared.
        let knowledge = Arc::new(Knowledge::new(settings.geo_file.clone()));
        stores.maintenance.upkeep(stores.clock.now()).await.context("cannot prepare the store")?;
        let service =
            ServicePolicy { accounts: accounts.names().cloned().collect(), sync_delay: settings.sync_delay };
        let (trigger, due) = shutdown::channel();
        let (ingest, ingesting) = Ingest::start(&stores.visits, &settings.ingest);
        let sync = Arc::new(SyncLoop::new(
            Arc::clone(&stores.jobs),
            Arc::clone(&stores.projects),
            Arc::clone(&accounts),
            Arc::clone(&stores.clock),
            settings.sync.clone(),
        ));
        let collector = Collector {
            ingest: ingest.clone(),
            pixels: Pixels::new(Arc::clone(&stores.projects), service),
            pixel_checks: Arc::new(PixelChecks::new(
                Arc::new(Pages::new(OnBehalfOf::Client)),
                Arc::clone(&stores.projects),
                Arc::clone(&stores.journeys),
            )),
            projects: Arc::clone(&stores.projects),
            keys: Arc::clone(&stores.keys),
            jobs: Arc::clone(&stores.jobs),
            journeys: Arc::clone(&stores.journeys),
            conversions: Arc::clone(&stores.conversions),
            histories: Arc::clone(&stores.histories),
            hygiene: Arc::new(Hygiene::new(Arc::clone(&stores.events), Arc::clone(&stores.projects))),
            accounts: Arc::clone(&accounts),
            access: Access::new(Arc::clone(&stores.keys)),
            enrich: knowledge.clone(),
            clock: Arc::clone(&stores.clock),
            maintenance: Arc::clone(&stores.maintenance),
            metrics: measures.shown(),
            settings: HttpSettings {
                metrics: settings.http.metrics,
                public_url: settings.http.public_url.clone(),
                proxies: settings.http.proxies.clone(),
                limits: settings.limits.clone(),
                environment: settings.environment,
                workers: settings.http.workers,
                connections_max: fitting(settings.http.connections_max),
                demo_site,
                ..HttpSettings::default()
            },
        };
        knowledge.wait();
        let (address, server) =
            leadtrail_http::listen(collector, bind).with_context(|| format!("cannot listen on {bind}"))?;
        let http = server.handle();
        let syncing = tokio::spawn({
            let (sync, due) = (Arc::clone(&sync), due.clone());
            async move { sync.run(due).await }
        });
        let reported = Arc::clone(&accounts);
        let keeping = [
            tokio::spawn(upkeep::run(
                Arc::clone(&stores.maintenance),
                Arc::clone(&stores.clock),
                due.clone(),
            )),
            tokio::spawn(sync_loop::keep_counting(
                Arc::clone(&stores.jobs),
                accounts,
                Arc::clone(&stores.clock),
                due,
            )),
            tokio::spawn(measures.clone().keep_sorted()),
            tokio::spawn(crm_account::report_mappings(Arc::clone(&stores.projects), reported)),
        ];
        let serving = tokio::spawn(server);
        Ok(Self { address, ingest, sync, http, serving, ingesting, syncing, keeping, trigger })
    }

    /// Stops in the order that loses nothing: no new requests, those under way answered, what they queued committed,
    /// the job that is being told finished.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.trigger.fire();
        self.http.stop(true).await;
        self.serving.await.context("the web server ended early")??;
        drop(self.ingest);
        self.ingesting.finished().await;
        if tokio::time::timeout(SYNC_STOP_MAX, self.syncing).await.is_err() {
            tracing::info!("left a job that is being told; it is taken up again when its lease runs out");
        }
        for task in self.keeping {
            task.abort();
        }
        Ok(())
    }
}

/// As many connections as are wanted, or as there may be files for.
fn fitting(wanted: usize) -> usize {
    let files_max = raise_open_files();
    let fitting = (files_max.saturating_sub(OTHER_FILES) / FILES_PER_CONNECTION).max(1);
    if fitting < wanted {
        tracing::warn!(
            wanted,
            fitting,
            files_max,
            "fewer connections than http.connections_max: the process may not open more files (`ulimit -Hn`)"
        );
    }
    wanted.min(fitting)
}

/// What tells the process to stop: SIGTERM, or Ctrl-C.
pub(super) struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    /// Listens from now on. Before that, either ends the process on the spot: whoever is told that the service runs may
    /// stop it at once.
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
        })
    }

    /// Returns when the process is told to stop.
    pub(super) async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
