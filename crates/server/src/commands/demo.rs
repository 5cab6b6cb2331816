use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use leadtrail_app::projects::NewPixelInput;
use leadtrail_app::sync_loop::SyncOutcome;
use leadtrail_crm_sandbox::{NewPerson, SandboxCrm};
use leadtrail_domain::event::{EventKind, StoredEvent};
use leadtrail_domain::sync::NextStep;
use leadtrail_domain::time::Timestamp;
use secrecy::ExposeSecret as _;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::serve::{Service, StopSignal};
use super::{crm, pixel, project};
use crate::cli::{Common, DemoArgs, Setting};
use crate::measures::Measures;
use crate::output;
use crate::settings::{Flags, Layers, Settings, StoreUrl};
use crate::{telemetry, wiring};

/// How long after a form the CRM is told in the demo.
const SYNC_DELAY: &str = "5s";
/// How often the demo asks for due jobs.
const SYNC_POLL: &str = "500ms";
const PIXEL: &str = "demo";
const BIND: &str = "127.0.0.1:8080";

/// The persons a salesperson has typed into the sandbox CRM.
const PERSONS: [(&str, &str, &str); 3] = [
    ("Ada", "Lovelace", "ada@example.com"),
    ("Grace", "Hopper", "grace@example.com"),
    ("Alan", "Turing", "alan@example.com"),
];

/// Runs everything on this machine and shows what happens.
pub(super) async fn run(
    common: &Common,
    environment: &BTreeMap<String, String>,
    args: DemoArgs,
) -> anyhow::Result<ExitCode> {
    let stop = StopSignal::listen()?;
    let folder =
        tempfile::Builder::new().prefix("leadtrail-demo-").tempdir().context("no temporary folder")?;
    let store = format!("sqlite:{}", folder.path().join("leadtrail.db").display());
    let flags = Flags {
        values: vec![
            ("store.url", common.store.clone().unwrap_or(store)),
            ("crm.kind", "sandbox".to_owned()),
            ("crm.sandbox.file", folder.path().join("sandbox-crm.json").display().to_string()),
            ("sync.delay", SYNC_DELAY.to_owned()),
            ("sync.poll", SYNC_POLL.to_owned()),
            // Everybody who looks at it, scripts too, is one client: this machine.
            ("limits.tracking", "off".to_owned()),
        ],
    };
    let layers =
        Layers::read(common.config.as_deref(), environment, &flags).context("cannot read the settings")?;
    let settings = Settings::from_layers(&layers)?;
    telemetry::start(&settings.log);

    let measures = Measures::install()?;
    let stores = wiring::open_ready(&settings.store).await?;
    // Whoever looks at the demo is welcome, a headless browser or a script too.
    let everybody = Setting { path: "bots".to_owned(), value: "allow".to_owned() };
    let demo = project::create(&stores, "Demo", None, &[everybody]).await?.into_inner();
    let pixel =
        NewPixelInput { id: Some(PIXEL.parse()?), name: Some("Demo site".to_owned()), settings: None };
    pixel::create(&stores, demo.id, pixel).await?;
    let sandbox = wiring::sandbox(&settings)?;
    for (first_name, last_name, email) in PERSONS {
        if sandbox.person_by_email(email)?.is_none() {
            sandbox.add_person(NewPerson {
                first_name: first_name.to_owned(),
                last_name: last_name.to_owned(),
                emails: vec![email.to_owned()],
                added_at: crm::wall_clock(),
            })?;
        }
    }
    let service = start(&settings, &stores, &measures, args.bind).await?;
    let config = write_config(folder.path(), &settings)?;
    introduce(service.address, folder.path(), &config)?;
    let view = View { sandbox, last_session: None };
    let watching = tokio::spawn(view.run(service.ingest.watch(), service.sync.watch()));
    stop.received().await;
    watching.abort();
    service.stop().await?;
    let kept = if common.store.is_some() { "but for the given store, " } else { "" };
    output::line(&format!("stopped; {kept}everything the demo kept is removed"))?;
    Ok(ExitCode::SUCCESS)
}

/// Starts where it was asked to; where it was not, on the usual port, or on any other where that one is taken.
async fn start(
    settings: &Settings,
    stores: &wiring::Stores,
    measures: &Measures,
    bind: Option<SocketAddr>,
) -> anyhow::Result<Service> {
    let accounts = Arc::new(wiring::accounts(settings, stores)?);
    let usual = BIND.parse()?;
    let is_taken = |error: &anyhow::Error| {
        error.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::AddrInUse)
    };
    match Service::start(settings, stores, Arc::clone(&accounts), measures, bind.unwrap_or(usual), true).await
    {
        Err(error) if bind.is_none() && is_taken(&error) => {
            Service::start(settings, stores, accounts, measures, ([127, 0, 0, 1], 0).into(), true).await
        }
        started => started,
    }
}

/// Writes the settings by which other commands find the demo's store and sandbox. The folder is open to its owner only.
fn write_config(folder: &Path, settings: &Settings) -> anyhow::Result<PathBuf> {
    let store = match &settings.store.url {
        StoreUrl::Memory => "memory:",
        StoreUrl::Sqlite(url) => url,
        StoreUrl::Postgres(url) => url.expose_secret(),
    };
    // JSON's texts are TOML's.
    let text = |text: &str| serde_json::to_string(text);
    let crm = text(&settings.sandbox_file.display().to_string())?;
    let config = format!(
        "[store]\nurl = {}\n\n[crm]\nkind = \"sandbox\"\n\n[crm.sandbox]\nfile = {crm}\n",
        text(store)?
    );
    let file = folder.join("leadtrail.toml");
    std::fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn introduce(address: SocketAddr, folder: &Path, config: &Path) -> anyhow::Result<()> {
    let base = format!("http://{address}");
    let config = config.display();
    output::line(&format!(
        "\
Leadtrail demo: an ad click, a form, and the CRM that learns of it. Nothing leaves this machine. Times are UTC.

  1  Open the demo site as if you had clicked an ad:
     {base}/demo/?utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=demo-click-1
     Below, a page view appears with the touch it makes.

  2  Go to the contact page and send the form as Ada Lovelace, ada@example.com
     (grace@example.com and alan@example.com are in the sandbox CRM too). The lead appears at once.

  3  Wait {SYNC_DELAY}. The sandbox CRM's person is told: the fields are printed below.
     They stand in {}

  Come back without the ad ({base}/demo/) and send another form: the first touch stays.

  Look behind it in another terminal:
     export LEADTRAIL_CONFIG={config}
     leadtrail sync list --project demo                    the queue; `sync show JOB` tells each attempt
     leadtrail why ada@example.com --project demo          the touches, the rule, what the CRM was told
     leadtrail crm test-email ada@example.com --project demo
     leadtrail crm verify --project demo
     leadtrail crm sandbox-script --outage transient       an outage: send a form, see it wait and the breaker open
     leadtrail sync health
     leadtrail crm sandbox-script                          well again
  Ctrl-C ends the demo.
",
        folder.join("sandbox-crm.json").display()
    ))?;
    output::line(&format!("listening on {base}"))
}

/// The terminal's view of what happens.
struct View {
    sandbox: SandboxCrm,
    last_session: Option<leadtrail_domain::id::SessionId>,
}

impl View {
    async fn run(
        mut self,
        mut events: Receiver<std::sync::Arc<[StoredEvent]>>,
        mut outcomes: Receiver<SyncOutcome>,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                group = events.recv() => match group {
                    Ok(group) => group.iter().try_for_each(|event| self.event(event))?,
                    Err(RecvError::Lagged(missed)) => output::line(&format!("… {missed} groups not shown"))?,
                    Err(RecvError::Closed) => return Ok(()),
                },
                outcome = outcomes.recv() => match outcome {
                    Ok(outcome) => self.outcome(&outcome)?,
                    Err(RecvError::Lagged(missed)) => output::line(&format!("… {missed} updates not shown"))?,
                    Err(RecvError::Closed) => return Ok(()),
                },
            }
        }
    }

    fn event(&mut self, stored: &StoredEvent) -> anyhow::Result<()> {
        let event = &stored.event;
        let at = clock_time(event.received_at);
        if self.last_session != Some(stored.session_id) {
            self.last_session = Some(stored.session_id);
            output::line(&format!(
                "{at}  session    {} of visitor {}",
                stored.session_id, stored.visitor_id
            ))?;
        }
        let what = match &event.kind {
            EventKind::Pageview => "page view".to_owned(),
            EventKind::FormSubmit => "form".to_owned(),
            EventKind::Identify | EventKind::Consent | EventKind::Custom(_) => event.kind.to_string(),
        };
        output::line(&format!("{at}  {what:<9}  {}", event.page_url))?;
        let utm = &event.signals.utm;
        let parts = [("source", &utm.source), ("medium", &utm.medium), ("campaign", &utm.campaign)];
        let mut signals: Vec<String> =
            parts.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?))).collect();
        signals.extend(event.signals.click_ids.iter().map(|id| format!("{} {}", id.parameter, id.value)));
        if !signals.is_empty() {
            output::line(&format!("          signals    {}", signals.join(", ")))?;
        }
        let email = event.form.as_ref().and_then(|form| form.email.as_ref());
        if let (Some(_), Some(email)) = (stored.lead_id, email) {
            let delay: leadtrail_domain::time::Span = SYNC_DELAY.parse()?;
            let due = clock_time(event.received_at.plus(Duration::from(delay)));
            output::line(&format!("          lead       {}; the CRM is told at {due}", email.as_str()))?;
        }
        Ok(())
    }

    fn outcome(&self, outcome: &SyncOutcome) -> anyhow::Result<()> {
        let at = clock_time(outcome.settlement.at);
        match &outcome.settlement.next {
            NextStep::End { status, persons, written } => {
                output::line(&format!("{at}  CRM        {status}"))?;
                for id in persons {
                    if let Some(person) = self.sandbox.person(id)? {
                        output::line(&indented(&crm::described(&person)))?;
                    }
                }
                if written.is_empty() {
                    output::line(&format!("          note       {}", outcome.settlement.note))?;
                }
            }
            NextStep::PutOff { .. } => {
                output::line(&format!("{at}  CRM        {}", outcome.settlement.note))?;
            }
        }
        Ok(())
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("          {line}")).collect::<Vec<_>>().join("\n")
}

fn clock_time(at: Timestamp) -> String {
    at.to_string().get(11..19).unwrap_or_default().to_owned()
}
