//! What all cases share (a browser, a service, a proxy), and what each has for itself.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use leadtrail_domain::event::{EventKind, StoredEvent};
use leadtrail_domain::id::ProjectId;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::gate::Gate;
use super::nginx::Nginx;
use super::site::{KINDS, Kind, Setup, Signal, Site};
use super::web::{Request, Server};
use crate::client::Connection;
use crate::devtools::{Browser, Page, Visitor};
use crate::process::{Home, PATIENCE, Service, poll};
use crate::stored::Stored;

/// Longer than anything that the pixel puts off for a moment, such as a page view until the title is set. Timers of a
/// page end in the order of their times, so that what waits this long in the page comes after all of those.
const SETTLED_MS: u32 = 300;

/// Every case makes a project. What a trace gives away is for other tests to find: it costs too much here.
const SETTINGS: [(&str, &str); 2] =
    [("LEADTRAIL__LIMITS__MANAGING", "off"), ("LEADTRAIL__LOG__LEVEL", "debug")];

/// One for all cases that run at the same time; begun by the first and ended with the last.
pub(crate) struct Stage {
    pub(crate) browser: Browser,
    nginx: Nginx,
    service: Service,
    admin_key: String,
    stored: Stored,
    runtime: Runtime,
    _home: Home,
}

static STAGE: Mutex<Weak<Stage>> = Mutex::new(Weak::new());

impl Stage {
    pub(crate) fn shared() -> Result<Arc<Self>> {
        let mut current = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stage) = current.upgrade() {
            return Ok(stage);
        }
        let stage = Arc::new(Self::start()?);
        *current = Arc::downgrade(&stage);
        Ok(stage)
    }

    fn start() -> Result<Self> {
        let home = Home::new()?;
        let arguments = ["serve", "--bind", "127.0.0.1:0", "--store", &home.sqlite()];
        let mut service = home.start(&arguments, &SETTINGS)?;
        let admin_key = service.wait_for("its first key", |lines| {
            lines.iter().find_map(|line| line.strip_prefix("admin key: ").map(str::to_owned))
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let stored = runtime.block_on(Stored::open(&home.sqlite()))?;
        let nginx = Nginx::start(&home)?;
        Ok(Self { browser: Browser::launch()?, nginx, service, admin_key, stored, runtime, _home: home })
    }

    fn manage(&self, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: track.test\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.admin_key,
            body.len()
        );
        let reply = Connection::open(self.service.address())?.exchange(request.as_bytes())?;
        ensure!(reply.status == 201, "{path}: {reply:?}");
        Ok(reply.body)
    }
}

/// One kind of site with somebody who visits it.
pub(crate) struct Case<'a> {
    pub(crate) kind: Kind,
    pub(crate) visitor: Visitor<'a>,
    pub(crate) page: Page,
    pub(crate) gate: Gate,
    pub(crate) site: Arc<Site>,
    pub(crate) pages: Server,
    /// Of the site, without a slash at the end.
    pub(crate) base: String,
    stage: &'a Stage,
    project: ProjectId,
    fences: u32,
}

/// Runs a case on each kind of site.
///
/// # Errors
/// It failed on some; each is named.
pub(crate) fn on_every_site(setup: Setup, case: impl Fn(&mut Case<'_>) -> Result<()> + Sync) -> Result<()> {
    on_sites(&KINDS, setup, case)
}

/// Runs a case on some kinds of site.
///
/// # Errors
/// As [`on_every_site`].
pub(crate) fn on_sites(
    kinds: &[Kind],
    setup: Setup,
    case: impl Fn(&mut Case<'_>) -> Result<()> + Sync,
) -> Result<()> {
    let stage = Stage::shared()?;
    let run = |kind| {
        let mut begun = Case::begin(&stage, kind, setup)?;
        let outcome = case(&mut begun).and_then(|()| begun.gate.saw_no_preflight());
        outcome.with_context(|| begun.seen())
    };
    let failed: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = kinds.iter().map(|kind| (kind, scope.spawn(|| run(*kind)))).collect();
        let ended = running.into_iter().map(|(kind, running)| (kind, running.join()));
        ended
            .filter_map(|(kind, outcome)| match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("{kind:?}: {error:#}")),
                Err(_panic) => Some(format!("{kind:?}: it panicked, see above")),
            })
            .collect()
    });
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("{} of {} sites\n{}", failed.len(), kinds.len(), failed.join("\n\n"))
    }
}

impl<'a> Case<'a> {
    fn begin(stage: &'a Stage, kind: Kind, setup: Setup) -> Result<Self> {
        let project = stage.manage("/api/projects", &json!({"name": format!("{kind:?} {}", unique())}))?;
        let project = project["id"].as_str().context("a project without an id")?;
        let pixel = stage.manage(&format!("/api/projects/{project}/pixels"), &json!({"name": "Site"}))?;
        let pixel_id = pixel["id"].as_str().context("a pixel without an id")?.to_owned();
        let gate = Gate::start(stage.service.address())?;
        let tracker = match kind {
            Kind::Static | Kind::StrictPolicy => format!("http://track.test:{}", gate.port()),
            Kind::Spa => format!("http://stats.site.test:{}", gate.port()),
            Kind::Proxied => "/lt".to_owned(),
        };
        let site = Arc::new(Site { kind, setup, tracker, pixel_id, signal: Signal::default() });
        let served = Arc::clone(&site);
        let pages = Server::start(move |request, _connection| served.answer(request))?;
        let base = match kind {
            Kind::Static | Kind::Spa | Kind::StrictPolicy => format!("http://www.site.test:{}", pages.port()),
            Kind::Proxied => format!(
                "http://pages-{}-gate-{}.proxy.test:{}",
                pages.port(),
                gate.port(),
                stage.nginx.port()
            ),
        };
        let mut visitor = stage.browser.visitor()?;
        let page = visitor.page()?;
        let project = project.parse()?;
        let mut case = Self { kind, visitor, page, gate, site, pages, base, stage, project, fences: 0 };
        if setup.asks_for_privacy {
            case.ask_for_privacy()?;
        }
        Ok(case)
    }

    /// Loads a page with the pixel.
    pub(crate) fn open(&mut self, path: &str) -> Result<()> {
        self.page.goto(&format!("{}{path}", self.base))?;
        self.is_shown(path)
    }

    /// Waits until the page there is shown, and its pixel runs.
    pub(crate) fn is_shown(&mut self, path: &str) -> Result<()> {
        let is_there = format!("location.pathname + location.search === {}", Value::from(path));
        let condition = format!("document.readyState === 'complete' && {is_there} && {PIXEL_RUNS}");
        self.page.wait_until(&condition, PATIENCE)
    }

    /// Follows a link of the site: where it has a router, that takes it.
    pub(crate) fn follow(&mut self, path: &str) -> Result<()> {
        self.link(path, "")?;
        self.is_shown(path)
    }

    /// Follows a link that loads another document, on any site.
    pub(crate) fn load(&mut self, path: &str) -> Result<()> {
        self.link(path, "external")?;
        self.is_shown(path)
    }

    /// Clicks on a link that the page is given for it.
    pub(crate) fn link(&mut self, path: &str, relation: &str) -> Result<()> {
        let (path, relation) = (Value::from(path), Value::from(relation));
        self.run(&format!(
            "{{ const link = document.createElement('a'); link.href = {path}; link.rel = {relation};
                document.body.append(link); link.click(); }}"
        ))
    }

    /// Closes the window, and goes on in another.
    pub(crate) fn close(&mut self) -> Result<()> {
        let url = self.page.evaluate("location.href")?;
        let url = url.as_str().context("a page without an address")?;
        let mut closed = std::mem::replace(&mut self.page, self.visitor.page()?);
        closed.call("Page.close", &json!({}))?;
        poll("the end of the page", || Ok(self.visitor.shown_at(url)?.is_none().then_some(())))
    }

    /// Runs statements in the page as code of the site.
    pub(crate) fn run(&mut self, statements: &str) -> Result<()> {
        self.page.evaluate(&format!("(() => {{ {statements} }})()")).map(drop)
    }

    /// The store's events of this site, fences aside, in the order in which they happened.
    pub(crate) fn events(&self) -> Result<Vec<StoredEvent>> {
        let all = self.everything()?;
        Ok(all.into_iter().filter(|stored| !is_fence(&stored.event.kind)).collect())
    }

    fn everything(&self) -> Result<Vec<StoredEvent>> {
        let mut events = self.stage.runtime.block_on(self.stage.stored.events(self.project))?;
        events.sort_by_key(|stored| (stored.event.occurred_at, stored.event.id));
        Ok(events)
    }

    /// Everything that the page has sent so far is stored: what comes after it is.
    pub(crate) fn fence(&mut self) -> Result<()> {
        self.fences += 1;
        let name = format!("fence {}", self.fences);
        self.settle()?;
        self.run(&format!("leadtrail('event', '{name}')"))?;
        self.await_stored(&name, || {
            let arrived = self.everything()?.iter().any(|stored| stored.event.kind.as_str() == name);
            Ok((arrived && self.gate.is_idle()).then_some(()))
        })
    }

    /// Asks until there is an answer, whenever something passed the gate: otherwise nothing changes in the store.
    pub(crate) fn await_stored<T>(&self, what: &str, ask: impl Fn() -> Result<Option<T>>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut answered = 0;
        loop {
            if let Some(answer) = ask()? {
                return Ok(answer);
            }
            ensure!(Instant::now() < deadline, "{what} is not stored within {} s", PATIENCE.as_secs());
            answered = self.gate.answered(answered, Duration::from_millis(250));
        }
    }

    /// What the page puts off for a moment has happened.
    pub(crate) fn settle(&mut self) -> Result<()> {
        let settled = format!("new Promise(settled => setTimeout(settled, {SETTLED_MS}))");
        self.page.evaluate(&settled).map(drop)
    }

    /// Waits until the store has this many page views.
    pub(crate) fn await_views(&self, count: usize) -> Result<()> {
        let views = || Ok((self.views()?.len() >= count).then_some(()));
        self.await_stored(&format!("page view {count}"), views).with_context(|| format!("{:?}", self.views()))
    }

    /// The pages that the store has views of, as paths with queries.
    pub(crate) fn views(&self) -> Result<Vec<String>> {
        let of = |stored: StoredEvent| {
            let url = stored.event.page_url;
            (stored.event.kind == EventKind::Pageview)
                .then(|| url.strip_prefix(&self.base).map_or(url.clone(), str::to_owned))
        };
        Ok(self.events()?.into_iter().filter_map(of).collect())
    }

    /// The store has exactly these page views, in this order.
    pub(crate) fn views_are(&mut self, paths: &[&str]) -> Result<()> {
        self.await_views(paths.len())?;
        self.fence()?;
        let views = self.views()?;
        ensure!(views == paths, "page views\n  stored   {views:?}\n  expected {paths:?}");
        Ok(())
    }

    /// The store has exactly one form of each of these people, and each is a lead. Answers them.
    pub(crate) fn leads_are(&mut self, emails: &[&str]) -> Result<Vec<StoredEvent>> {
        let forms = || -> Result<Vec<StoredEvent>> {
            let is_form = |stored: &StoredEvent| stored.event.kind == EventKind::FormSubmit;
            Ok(self.events()?.into_iter().filter(is_form).collect())
        };
        self.await_stored("the forms", || Ok((forms()?.len() >= emails.len()).then_some(())))
            .with_context(|| format!("{:?}", forms()))?;
        self.fence()?;
        let forms: Vec<StoredEvent> =
            self.events()?.into_iter().filter(|stored| stored.event.kind == EventKind::FormSubmit).collect();
        let stored: Vec<&str> = forms
            .iter()
            .map(|stored| {
                let form = stored.event.form.as_ref();
                form.and_then(|form| form.email.as_ref()).map_or("", |email| email.as_str())
            })
            .collect();
        ensure!(stored == emails, "forms\n  stored   {stored:?}\n  expected {emails:?}\n{forms:#?}");
        ensure!(forms.iter().all(|stored| stored.lead_id.is_some()), "no leads: {forms:#?}");
        Ok(forms)
    }

    /// Nothing was said on the console, thrown or shown.
    pub(crate) fn is_quiet(&mut self) -> Result<()> {
        let mut said = self.page.console_messages()?.to_vec();
        said.extend_from_slice(self.page.exceptions()?);
        said.extend_from_slice(self.page.dialogs()?);
        ensure!(said.is_empty(), "the page is told {said:#?}");
        Ok(())
    }

    /// Whether the events go to another origin than the pages'.
    pub(crate) fn is_cross_origin(&self) -> bool {
        self.kind != Kind::Proxied
    }

    /// Has the browser ask for Global Privacy Control from the next document on. Chromium has no switch for it: what
    /// other browsers do (<https://www.w3.org/TR/gpc/>) is done to it.
    pub(crate) fn ask_for_privacy(&mut self) -> Result<()> {
        const PROPERTY: &str =
            "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true });";
        self.page.call("Page.addScriptToEvaluateOnNewDocument", &json!({"source": PROPERTY}))?;
        self.page.call("Network.setExtraHTTPHeaders", &json!({"headers": {"Sec-GPC": "1"}})).map(drop)
    }

    /// Takes the browser off the network, or back.
    pub(crate) fn be_online(&mut self, is_online: bool) -> Result<()> {
        let conditions =
            json!({"offline": !is_online, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        self.page.call("Network.emulateNetworkConditions", &conditions).map(drop)
    }

    /// What the browser keeps for the site.
    pub(crate) fn kept(&mut self) -> Result<Kept> {
        let stored = "Promise.all([
            [...Array(localStorage.length).keys()].map(at => localStorage.key(at)),
            [...Array(sessionStorage.length).keys()].map(at => sessionStorage.key(at)),
            indexedDB.databases().then(all => all.map(one => one.name)),
            window.caches ? caches.keys() : [],
        ])";
        let mut answer = self.page.evaluate(stored)?;
        let mut names = |at: usize| -> Vec<String> {
            let names = answer[at].as_array_mut().map(std::mem::take).unwrap_or_default();
            let mut names: Vec<String> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            names.sort();
            names
        };
        let (local_storage, session_storage) = (names(0), names(1));
        let others = [names(2), names(3)].concat();
        Ok(Kept { cookies: self.visitor.cookies()?, local_storage, session_storage, others })
    }

    /// What a reader of a failure wants to know.
    fn seen(&self) -> String {
        let requests = self.gate.requests();
        let line = |request: &Request| format!("{} {} {}", request.method, request.target, request.body);
        format!(
            "{:?} at {}; what passed the gate:\n{}",
            self.kind,
            self.base,
            requests.iter().map(line).collect::<Vec<_>>().join("\n")
        )
    }
}

/// What a browser keeps for a site.
#[derive(Debug)]
pub(crate) struct Kept {
    /// As the protocol describes them.
    pub(crate) cookies: Vec<Value>,
    pub(crate) local_storage: Vec<String>,
    pub(crate) session_storage: Vec<String>,
    /// Databases and caches.
    pub(crate) others: Vec<String>,
}

impl Kept {
    pub(crate) fn is_nothing(&self) -> Result<()> {
        let Self { cookies, local_storage, session_storage, others } = self;
        let is_empty =
            cookies.is_empty() && local_storage.is_empty() && session_storage.is_empty() && others.is_empty();
        ensure!(is_empty, "the browser keeps {self:#?}");
        Ok(())
    }
}

/// True as soon as the script has taken over from the stub.
const PIXEL_RUNS: &str = "Boolean(window.leadtrail && (leadtrail.loaded || leadtrail.version))";

fn is_fence(kind: &EventKind) -> bool {
    kind.as_str().starts_with("fence ")
}

/// A number that no other case of this process has.
fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static DRAWN: AtomicU32 = AtomicU32::new(0);
    DRAWN.fetch_add(1, Ordering::Relaxed)
}
