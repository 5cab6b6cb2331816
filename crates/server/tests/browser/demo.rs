//! `leadtrail demo` as its own instructions tell a person to use it, in a real browser.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use leadtrail_domain::event::{EventKind, Size, StoredEvent};
use leadtrail_domain::id::{ProjectId, VisitorCookie};
use leadtrail_domain::sync::{JobStatus, SyncJob};
use leadtrail_domain::touch::{Touch, TouchKind};
use leadtrail_domain::visit::{Freshness, VisitQuery};
use serde_json::Value;

use crate::devtools::{Browser, Page};
use crate::process::{Home, PATIENCE, Service};
use crate::stored::Stored;

const CAMPAIGN: &str = "utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=demo-click-1";

/// The demo, started as `arguments` say.
fn demo(home: &Home, arguments: &[&str]) -> Result<Service> {
    home.start(&[&["demo", "--bind", "127.0.0.1:0"], arguments].concat(), &[])
}

/// The address that the demo asks to open.
fn tagged_url(service: &Service) -> Result<String> {
    let lines = service.lines();
    let url = lines
        .iter()
        .map(|line| line.trim())
        .find(|line| line.starts_with("http") && line.contains("utm_source"));
    url.map(str::to_owned).context("no tagged address is printed")
}

/// Clicks through to the form and sends it as Ada Lovelace.
fn click_through(page: &mut Page, shots: Option<&str>) -> Result<()> {
    let shot = |page: &mut Page, name: &str| shots.map_or(Ok(()), |of| page.screenshot(&picture(of, name)));
    shot(page, "1-home")?;
    page.click("main a[href='/demo/contact.html']")?;
    page.wait_until(
        "location.pathname === '/demo/contact.html' && document.readyState === 'complete'",
        PATIENCE,
    )?;
    page.type_into("#first_name", "Ada")?;
    page.type_into("#last_name", "Lovelace")?;
    page.type_into("#email", "ada@example.com")?;
    page.type_into("#message", "A secret garden, please.")?;
    shot(page, "2-contact")?;
    page.click("form button[type=submit]")?;
    page.wait_until(
        "location.pathname === '/demo/thanks.html' && document.readyState === 'complete'",
        PATIENCE,
    )?;
    shot(page, "3-thanks")
}

fn picture(of: &str, name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("demo-{of}-{name}.png"))
}

/// Nothing was said on the console, thrown or shown; what a page's policy forbids is said there, too.
pub(crate) fn is_quiet(page: &mut Page) -> Result<()> {
    let nothing: [String; 0] = [];
    assert_eq!(page.console_messages()?, nothing);
    assert_eq!(page.exceptions()?, nothing);
    assert_eq!(page.dialogs()?, nothing);
    Ok(())
}

fn wait_for_line(service: &mut Service, parts: &[&str]) -> Result<()> {
    let what = parts.join(" … ");
    let is_it = |line: &String| parts.iter().all(|part| line.contains(part));
    service.wait_for(&what, |lines| lines.iter().any(is_it).then_some(()))
}

/// What a visit of the tagged address, a form and the wait for the CRM show on the terminal.
fn everything_is_shown(service: &mut Service) -> Result<()> {
    for parts in [
        &["session", "of visitor"][..],
        &["page view", "/demo/?utm_source=google"],
        &["signals", "source google", "medium cpc", "campaign spring", "gclid demo-click-1"],
        &["page view", "/demo/contact.html"],
        &["form", "/demo/contact.html"],
        &["lead", "ada@example.com", "the CRM is told at"],
        &["page view", "/demo/thanks.html"],
        &["CRM", "synced"],
        &["person", "Ada Lovelace"],
        &["utm_source", "google"],
        &["gclid", "demo-click-1"],
    ] {
        wait_for_line(service, parts)?;
    }
    let lines = service.lines();
    let sessions = lines.iter().filter(|line| line.contains("  session  ")).count();
    assert_eq!(sessions, 1, "{lines:#?}");
    assert!(!lines.concat().contains("secret garden"), "the message left the browser: {lines:#?}");
    Ok(())
}

/// The whole path on a demo started so. Answers the address that was opened, with the demo stopped.
fn walk_through(home: &Home, arguments: &[&str], shots: Option<&str>) -> Result<String> {
    let mut service = demo(home, arguments)?;
    let url = tagged_url(&service)?;
    assert!(url.ends_with(CAMPAIGN), "{url}");
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    page.goto(&url)?;
    click_through(&mut page, shots)?;
    everything_is_shown(&mut service)?;
    is_quiet(&mut page)?;
    let (status, _took) = service.terminate()?;
    ensure!(status.success(), "{status}: {}", service.log()?);
    assert_eq!(service.problems()?, "", "the demo logs problems");
    for entry in std::fs::read_dir(home.path(""))? {
        let name = entry?.file_name();
        assert!(!name.to_string_lossy().contains("demo"), "it leaves {} behind", name.display());
    }
    Ok(url)
}

#[test]
fn the_demo_shows_an_ad_click_become_a_crm_update() -> Result<()> {
    walk_through(&Home::new()?, &[], Some("default")).map(drop)
}

#[test]
fn the_demo_runs_in_memory() -> Result<()> {
    walk_through(&Home::new()?, &["--store", "memory:"], None).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_on_sqlite_stores_what_the_browser_did() -> Result<()> {
    let home = Home::new()?;
    stores_what_the_browser_did(&home, &home.sqlite()).await
}

#[cfg(feature = "live")]
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_on_postgresql_stores_what_the_browser_did() -> Result<()> {
    let scratch = crate::scratch::Scratch::new()?;
    stores_what_the_browser_did(&Home::new()?, &scratch.url()).await
}

#[test]
fn who_comes_back_without_the_ad_keeps_the_first_touch() -> Result<()> {
    let home = Home::new()?;
    let mut service = demo(&home, &[])?;
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    let tagged = tagged_url(&service)?;
    page.goto(&tagged)?;
    wait_for_line(&mut service, &["page view", "/demo/?utm_source=google"])?;
    let untagged = tagged.split('?').next().unwrap_or_default();
    let mut page = browser.page()?;
    page.goto(untagged)?;
    click_through(&mut page, None)?;
    wait_for_line(&mut service, &["lead", "ada@example.com"])?;
    for field in ["utm_source", "first_utm_source"] {
        wait_for_line(&mut service, &[&format!(" {field} "), " google"])?;
    }
    is_quiet(&mut page)
}

#[test]
fn the_demo_pages_fit_a_phone() -> Result<()> {
    let home = Home::new()?;
    let service = demo(&home, &[])?;
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    page.resize(360, 740)?;
    let base = format!("http://{}/demo", service.address());
    for (path, name) in [("/", "1-home"), ("/contact.html", "2-contact"), ("/thanks.html", "3-thanks")] {
        page.goto(&format!("{base}{path}"))?;
        page.screenshot(&picture("phone", name))?;
        assert_eq!(page.evaluate("document.documentElement.scrollWidth")?, 360, "{path} scrolls sideways");
    }
    is_quiet(&mut page)
}

async fn stores_what_the_browser_did(home: &Home, store: &str) -> Result<()> {
    let opened = walk_through(home, &["--store", store], None)?;
    let base = opened.split("/demo/").next().unwrap_or_default();
    let stored = Stored::open(store).await?;
    let shown = home.json(&["project", "show", "demo", "--store", store, "--json"])?;
    let project: ProjectId = shown["id"].as_str().context("no id")?.parse()?;

    let mut events = stored.events(project).await?;
    events.sort_by_key(|stored| stored.event.occurred_at);
    assert_eq!(events.len(), 4, "{events:#?}");
    let of = |kind: EventKind| events.iter().filter(move |stored| stored.event.kind == kind);
    let urls: Vec<&str> = of(EventKind::Pageview).map(|stored| stored.event.page_url.as_str()).collect();
    assert_eq!(urls, [&opened, &format!("{base}/demo/contact.html"), &format!("{base}/demo/thanks.html")]);
    let form = of(EventKind::FormSubmit).next().context("no form")?;
    check_pages(&events, &opened)?;
    check_form(form)?;

    let visitor = visitor(&stored, project, &events[0]).await?;
    assert_eq!(visitor.touches.len(), 1, "{:#?}", visitor.touches);
    check_touch(&visitor.touches[0], &events[0], base);
    assert_eq!(visitor.sessions.len(), 1);

    let jobs = stored.jobs(project).await?;
    assert_eq!(jobs.len(), 1);
    check_job(&jobs[0], form)
}

/// The columns that only a browser fills, of every event.
fn check_pages(events: &[StoredEvent], opened: &str) -> Result<()> {
    let first = &events[0];
    for stored in events {
        let event = &stored.event;
        assert_eq!(stored.visitor_id, first.visitor_id);
        assert_eq!(stored.session_id, first.session_id);
        let viewport = event.viewport.context("no viewport")?;
        assert!(viewport.width > 1_000 && viewport.height > 500, "{viewport}");
        assert!(
            event.screen.is_some_and(|Size { width, height }| width > 100 && height > 100),
            "{:?}",
            event.screen
        );
        assert!(
            event.page_title.as_ref().is_some_and(|title| title.contains("Fernhill")),
            "{:?}",
            event.page_title
        );
        assert!(event.client.user_agent.is_some());
        assert_eq!(event.client.ip.map(|ip| ip.is_loopback()), Some(true));
    }
    let referrers: Vec<Option<&str>> =
        events.iter().map(|stored| stored.event.referrer_url.as_deref()).collect();
    assert_eq!(&referrers[..2], [None, Some(opened)]);
    Ok(())
}

fn check_form(form: &StoredEvent) -> Result<()> {
    assert!(form.event.page_url.ends_with("/demo/contact.html"), "{}", form.event.page_url);
    assert!(form.lead_id.is_some());
    let fields = serde_json::to_value(&form.event.form)?;
    let expected =
        serde_json::json!({"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"});
    assert_eq!(fields, expected, "P1: nothing else of a form is kept");
    Ok(())
}

async fn visitor(
    stored: &Stored,
    project: ProjectId,
    event: &StoredEvent,
) -> Result<Arc<leadtrail_domain::visit::KnownVisitor>> {
    let cookie: VisitorCookie = event.event.visitor.cookie().context("no cookie")?.clone();
    let key = (project, cookie);
    let query = VisitQuery {
        visitors: [(key.clone(), Freshness::Current)].into_iter().collect(),
        ..VisitQuery::default()
    };
    stored.visits.load(&query).await?.visitors.remove(&key).context("the visitor is not stored")
}

fn check_touch(touch: &Touch, landing: &StoredEvent, base: &str) {
    assert_eq!(touch.kind, TouchKind::Utm);
    assert_eq!(touch.event_id, landing.event.id);
    assert_eq!(touch.session_id, landing.session_id);
    assert_eq!((touch.source(), touch.medium()), (Some("google"), Some("cpc")));
    assert_eq!(touch.utm.campaign.as_deref(), Some("spring"));
    assert_eq!(touch.landing_page, format!("{base}/demo/"));
    let clicks: Vec<(&str, &str)> =
        touch.click_ids.iter().map(|id| (id.parameter.as_ref(), id.value.as_ref())).collect();
    assert_eq!(clicks, [("gclid", "demo-click-1")]);
}

/// The lead kept the touch that its form was sent after, and the CRM was told so.
fn check_job(job: &SyncJob, form: &StoredEvent) -> Result<()> {
    assert_eq!(job.status, JobStatus::Synced, "{:?}", job.last_error);
    assert_eq!(Some(job.lead_id), form.lead_id);
    assert_eq!(form.sync.status, Some(JobStatus::Synced));
    assert_eq!(form.sync.person_id.as_deref(), Some("1"), "Ada is the sandbox's first person");
    let told = serde_json::to_value(&job.wanted.as_ref().context("nothing was frozen")?.fields)?;
    for (name, value) in [
        ("utm_source", "google"),
        ("first_utm_source", "google"),
        ("last_utm_campaign", "spring"),
        ("gclid", "demo-click-1"),
        ("event_id", form.event.id.to_string().as_str()),
        ("session_id", form.session_id.to_string().as_str()),
    ] {
        assert_eq!(told[name]["value"], Value::from(value), "{name} in {told:#}");
    }
    Ok(())
}
