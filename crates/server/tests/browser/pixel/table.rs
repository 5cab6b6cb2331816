//! The table of cases, a test per row; each holds on a static site, on one with a router, behind a strict policy and
//! through a reverse proxy. What is asserted is what the service stored.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use leadtrail_domain::event::{EventKind, VisitorName};
use leadtrail_domain::id::LeadId;
use serde_json::{Value, json};

use super::gate::Health;
use super::site::{Page, Setup};
use super::stage::{Case, on_every_site};
use crate::process::{PATIENCE, poll};

const FORM: &str = "<form action=/thanks method=post>
    <input name=first_name> <input name=last_name> <input name=email type=email> <textarea name=message></textarea>
    <button>Send</button></form>";
const PAGE_WITH_FORM: Page = Page::new("/form", FORM);

/// Types an address into the form and sends it as a person does.
fn fill_and_send(case: &mut Case<'_>, email: &str) -> Result<()> {
    case.page.type_into("[name=email]", email)?;
    case.page.click("form button")
}

// load; pushState to a new path; pushState with a new query only; replaceState to a new path; history.back:
// one page view each

#[test]
fn each_address_that_is_shown_is_one_page_view() -> Result<()> {
    on_every_site(Setup::default(), |case| {
        case.open("/")?;
        case.await_views(1)?;
        case.run("history.pushState(null, '', '/a')")?;
        case.await_views(2)?;
        case.run("history.pushState(null, '', '/a?color=red')")?;
        case.await_views(3)?;
        case.run("history.replaceState(null, '', '/b')")?;
        case.await_views(4)?;
        // What a router notes about the address that is shown already, and where in the page one is, is no address.
        case.run("history.replaceState({ scroll: 9 }, ''); location.hash = 'part'")?;
        case.settle()?;
        case.run("history.go(-2)")?;
        case.views_are(&["/", "/a", "/a?color=red", "/b", "/a"])?;
        case.is_quiet()
    })
}

// back to a page from the bfcache: one more page view

#[test]
fn a_page_that_comes_back_from_the_cache_is_viewed_again() -> Result<()> {
    on_every_site(Setup::default(), |case| {
        case.open("/")?;
        case.await_views(1)?;
        case.load("/other")?;
        case.await_views(2)?;
        case.run("history.back()")?;
        case.is_shown("/")?;
        case.page
            .wait_until("window.cameFromCache", PATIENCE)
            .context("the browser did not cache the page")?;
        case.views_are(&["/", "/other", "/"])?;
        case.is_quiet()
    })
}

// a prerendered page, before and after it is shown: 0, then 1

#[test]
fn a_prerendered_page_is_viewed_when_it_is_shown() -> Result<()> {
    const LEADS_ON: &str = "fetch('/go').then(() => { location.href = '/next'; });";
    // Everything is loaded, and what was put off has had its time.
    const TELLS: &str = "addEventListener('load', () => setTimeout(() => fetch(
        document.prerendering ? '/ping?prerendering' : '/ping'), 300));";
    const PAGES: &[Page] = &[Page::new("/", "").script(LEADS_ON), Page::new("/next", "").script(TELLS)];
    let setup = Setup { pages: PAGES, prerenders: Some("/next"), ..Setup::default() };
    on_every_site(setup, |case| {
        case.visitor.show(&format!("{}/", case.base))?;
        poll("the prerendered page", || {
            let requests = case.pages.requests();
            Ok(requests.iter().any(|seen| seen.target == "/ping?prerendering").then_some(()))
        })?;
        case.await_views(1)?;
        ensure!(case.views()? == ["/"] && case.gate.events().len() == 1, "{:#?}", case.gate.events());
        case.site.signal.give();
        let next = format!("{}/next", case.base);
        case.page = poll("the page that was prerendered", || case.visitor.page_at(&next))?;
        let activation = "performance.getEntriesByType('navigation')[0].activationStart";
        let activated = case.page.evaluate(activation)?;
        ensure!(activated.as_f64().is_some_and(|at| at > 0.0), "it was loaded again: {activated}");
        case.views_are(&["/", "/next"])?;
        case.is_quiet()
    })
}

// localStorage, sessionStorage and cookies throw: 1 page view, no error on the page

#[test]
fn a_page_whose_storage_throws_is_viewed_without_an_error() -> Result<()> {
    // A document without an origin: the browser itself refuses all three.
    let setup = Setup { policy: Some("sandbox allow-scripts allow-forms"), ..Setup::default() };
    on_every_site(setup, |case| {
        case.open("/")?;
        let refused = "[() => localStorage, () => sessionStorage, () => document.cookie].map(touch => {
            try { return String(touch()); } catch (error) { return error.name; } }).join()";
        ensure!(case.page.evaluate(refused)? == "SecurityError,SecurityError,SecurityError");
        case.views_are(&["/"])?;
        case.is_quiet()
    })
}

// the same page visited again in the same tab: counted again

#[test]
fn a_page_that_is_visited_again_is_viewed_again() -> Result<()> {
    on_every_site(Setup::default(), |case| {
        case.open("/")?;
        case.await_views(1)?;
        case.follow("/other")?;
        case.await_views(2)?;
        case.follow("/")?;
        case.await_views(3)?;
        case.run("location.reload()")?;
        case.views_are(&["/", "/other", "/", "/"])?;
        case.is_quiet()
    })
}

// native submit; form.submit(); AJAX with FormData; a form added after load; a form inside a same-origin iframe:
// one lead, whatever the path of the next page

#[test]
fn a_form_that_the_browser_sends_is_one_lead_wherever_it_leads() -> Result<()> {
    let setup = Setup { pages: &[PAGE_WITH_FORM], ..Setup::default() };
    on_every_site(setup, |case| {
        for (email, action, next) in [
            ("ada@example.com", "/thanks", "/thanks"),
            ("bob@example.com", "/form", "/form"),
            ("eve@example.com", "/redirect", "/elsewhere?from=redirect"),
        ] {
            case.open("/form")?;
            case.run(&format!("document.forms[0].action = '{action}'; window.isBefore = true"))?;
            case.page.type_into("[name=first_name]", "Ada")?;
            case.page.type_into("[name=last_name]", "Lovelace")?;
            case.page.type_into("[name=message]", "Hello")?;
            fill_and_send(case, email)?;
            case.page.wait_until("!window.isBefore", PATIENCE)?;
            case.is_shown(next)?;
        }
        let forms = case.leads_are(&["ada@example.com", "bob@example.com", "eve@example.com"])?;
        let sent = serde_json::to_value(&forms[0].event.form)?;
        let kept = json!({"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"});
        ensure!(sent == kept, "{sent}");
        case.is_quiet()
    })
}

#[test]
fn a_form_that_a_script_submits_is_one_lead() -> Result<()> {
    let setup = Setup { pages: &[PAGE_WITH_FORM], ..Setup::default() };
    on_every_site(setup, |case| {
        case.open("/form")?;
        case.page.type_into("[name=email]", "ada@example.com")?;
        case.run("document.forms[0].submit()")?;
        case.is_shown("/thanks")?;
        case.leads_are(&["ada@example.com"])?;
        case.is_quiet()
    })
}

#[test]
fn a_form_that_a_script_sends_itself_is_one_lead() -> Result<()> {
    const SENDS: &str = "document.forms[0].addEventListener('submit', submission => {
        submission.preventDefault();
        const body = new FormData(submission.target);
        fetch('/save', { method: 'POST', body }).then(() => history.pushState(null, '', '/thanks'));
    });";
    let setup = Setup { pages: const { &[PAGE_WITH_FORM.script(SENDS)] }, ..Setup::default() };
    on_every_site(setup, |case| {
        case.open("/form")?;
        fill_and_send(case, "ada@example.com")?;
        // By somebody who is not sure that it was.
        case.page.click("form button")?;
        case.is_shown("/thanks")?;
        case.leads_are(&["ada@example.com"])?;
        case.is_quiet()
    })
}

#[test]
fn a_form_that_comes_late_is_one_lead() -> Result<()> {
    const PAGE: Page = Page::new(
        "/form",
        "<template><form action=/thanks method=post><input name=email type=email><button>Send</button></form></template>",
    );
    let setup = Setup { pages: &[PAGE], ..Setup::default() };
    on_every_site(setup, |case| {
        case.open("/form")?;
        case.await_views(1)?;
        case.run("document.body.append(document.querySelector('template').content.cloneNode(true))")?;
        fill_and_send(case, "ada@example.com")?;
        case.is_shown("/thanks")?;
        case.leads_are(&["ada@example.com"])?;
        case.is_quiet()
    })
}

#[test]
fn a_form_in_a_frame_of_the_site_is_one_lead() -> Result<()> {
    const INSIDE: &str =
        "<form action=/inside/thanks method=post><input name=email type=email><button>Send</button></form>";
    const PAGES: &[Page] = &[
        Page::new(
            "/framed",
            "<iframe srcdoc=elsewhere sandbox></iframe> <iframe name=inside src=/inside></iframe>",
        ),
        Page::new("/inside", INSIDE).untagged(),
        Page::new("/inside/thanks", "").untagged(),
    ];
    on_every_site(Setup { pages: PAGES, ..Setup::default() }, |case| {
        case.open("/framed")?;
        case.await_views(1)?;
        case.page.wait_until(
            "frames.inside.document.readyState === 'complete' && frames.inside.document.forms[0]",
            PATIENCE,
        )?;
        case.settle()?;
        case.run(
            "const form = frames.inside.document.forms[0]; form.elements.email.value = 'ada@example.com';
             form.querySelector('button').click()",
        )?;
        case.page.wait_until("frames.inside.location.pathname === '/inside/thanks'", PATIENCE)?;
        case.leads_are(&["ada@example.com"])?;
        case.views_are(&["/framed"])?;
        case.is_quiet()
    })
}

#[test]
fn a_form_in_a_frame_that_carries_the_pixel_too_is_one_lead() -> Result<()> {
    const INSIDE: &str =
        "<form action=/inside/thanks method=post><input name=email type=email><button>Send</button></form>";
    const PAGES: &[Page] = &[
        Page::new("/framed", "<iframe name=inside src=/inside></iframe>"),
        Page::new("/inside", INSIDE),
        Page::new("/inside/thanks", "").untagged(),
    ];
    on_every_site(Setup { pages: PAGES, ..Setup::default() }, |case| {
        case.open("/framed")?;
        case.await_views(2)?;
        case.run(
            "const form = frames.inside.document.forms[0]; form.elements.email.value = 'ada@example.com';
             form.querySelector('button').click()",
        )?;
        case.page.wait_until("frames.inside.location.pathname === '/inside/thanks'", PATIENCE)?;
        let leads = || -> Result<BTreeSet<LeadId>> {
            Ok(case.events()?.iter().filter_map(|stored| stored.lead_id).collect())
        };
        case.await_stored("the lead", || Ok((!leads()?.is_empty()).then_some(())))?;
        case.fence()?;
        let events = case.events()?;
        // Both pixels tell of it; the service knows the repetition.
        let leads: BTreeSet<LeadId> = events.iter().filter_map(|stored| stored.lead_id).collect();
        ensure!(leads.len() == 1, "{events:#?}");
        case.is_quiet()
    })
}

// a submit that navigates away at once: the lead arrives (keepalive / sendBeacon)

#[test]
fn a_form_that_leaves_the_page_at_once_is_one_lead() -> Result<()> {
    const LEAVES: &str = "document.forms[0].addEventListener('submit', submission => {
        submission.preventDefault();
        location.href = '/away';
    });";
    // Where it leads there is no pixel that could send what the page before it did not.
    const PAGES: &[Page] = &[PAGE_WITH_FORM.script(LEAVES), Page::new("/away", "").untagged()];
    on_every_site(Setup { pages: PAGES, ..Setup::default() }, |case| {
        case.open("/form")?;
        case.await_views(1)?;
        // The page is gone before its request gets through, and its window with it: in the browser's cache for pages it
        // could go on.
        case.gate.set(Health::HoldsBack);
        fill_and_send(case, "ada@example.com")?;
        let away = "location.pathname === '/away' && document.readyState === 'complete'";
        case.page.wait_until(away, PATIENCE)?;
        case.close()?;
        case.gate.set(Health::Well);
        let is_form = |kind: &EventKind| *kind == EventKind::FormSubmit;
        case.await_stored("the form", || {
            Ok(case.events()?.iter().any(|one| is_form(&one.event.kind)).then_some(()))
        })?;
        case.open("/")?;
        case.leads_are(&["ada@example.com"])?;
        case.is_quiet()
    })
}

// the endpoint fails or the browser is offline: queued (≤ 20), sent later with the same event id

/// Waits until the page has tried to send an event that has `part` in it, and answers the event's id.
fn tried(case: &mut Case<'_>, part: &str) -> Result<String> {
    poll(part, || {
        let found = case.page.sent()?.iter().find(|(_url, body)| body.contains(part));
        let Some((_url, body)) = found else { return Ok(None) };
        let event: Value = serde_json::from_str(body).with_context(|| body.clone())?;
        Ok(event["event_id"].as_str().map(str::to_owned))
    })
}

/// The store has one event with `part` in its address, under this id.
fn arrived_once(case: &Case<'_>, path: &str, id: &str) -> Result<()> {
    let events = case.events()?;
    let ids: Vec<String> = events
        .iter()
        .filter(|stored| stored.event.page_url.ends_with(path) && stored.event.kind == EventKind::Pageview)
        .map(|stored| stored.event.id.to_string())
        .collect();
    ensure!(ids == [id], "{path} was tried as {id} and is stored as {ids:?}");
    Ok(())
}

#[test]
fn what_the_endpoint_does_not_take_arrives_later_under_the_same_id() -> Result<()> {
    on_every_site(Setup::default(), |case| {
        case.open("/")?;
        case.await_views(1)?;
        let failures = [
            (Health::Answers("500 Internal Server Error"), "/500", "/after-500"),
            (Health::Answers("429 Too Many Requests"), "/429", "/after-429"),
            (Health::HangsUp, "/hung-up", "/after-hung-up"),
        ];
        for (at, (health, missed, later)) in failures.into_iter().enumerate() {
            case.gate.set(health);
            case.run(&format!("history.pushState(null, '', '{missed}')"))?;
            let id = tried(case, &format!("{missed}\""))?;
            case.settle()?;
            case.gate.set(Health::Well);
            case.load(later)?;
            case.await_views(2 * at + 3)?;
            arrived_once(case, missed, &id)?;
        }
        case.views_are(&["/", "/500", "/after-500", "/429", "/after-429", "/hung-up", "/after-hung-up"])
    })
}

#[test]
fn what_is_done_offline_arrives_when_the_browser_is_online_again() -> Result<()> {
    on_every_site(Setup::default(), |case| {
        case.open("/")?;
        case.await_views(1)?;
        case.be_online(false)?;
        case.run("history.pushState(null, '', '/offline')")?;
        let id = tried(case, "/offline\"")?;
        case.settle()?;
        case.be_online(true)?;
        case.await_views(2)?;
        arrived_once(case, "/offline", &id)?;
        case.views_are(&["/", "/offline"])
    })
}

#[test]
fn a_form_that_the_endpoint_does_not_take_is_one_lead_later() -> Result<()> {
    const STAYS: &str =
        "document.forms[0].addEventListener('submit', submission => submission.preventDefault());";
    let setup = Setup { pages: const { &[PAGE_WITH_FORM.script(STAYS)] }, ..Setup::default() };
    on_every_site(setup, |case| {
        case.open("/form")?;
        case.await_views(1)?;
        case.gate.set(Health::HangsUp);
        fill_and_send(case, "ada@example.com")?;
        let id = tried(case, "ada@example.com")?;
        case.settle()?;
        case.gate.set(Health::Well);
        case.load("/later")?;
        case.leads_are(&["ada@example.com"])?;
        let stored = case.events()?;
        ensure!(stored.iter().any(|stored| stored.event.id.to_string() == id), "tried as {id}: {stored:#?}");
        Ok(())
    })
}

#[test]
fn twenty_events_wait_at_most() -> Result<()> {
    on_every_site(Setup::default(), |case| {
        case.open("/")?;
        case.await_views(1)?;
        case.gate.set(Health::Answers("503 Service Unavailable"));
        case.run("for (let n = 1; n <= 25; n += 1) leadtrail('event', 'waiting ' + n)")?;
        tried(case, "waiting 25")?;
        poll("the refusals", || Ok((case.gate.events().len() >= 26 && case.gate.is_idle()).then_some(())))?;
        case.settle()?;
        case.gate.set(Health::Well);
        case.load("/later")?;
        let waited = || -> Result<usize> {
            let is_one = |kind: &EventKind| kind.as_str().starts_with("waiting ");
            Ok(case.events()?.iter().filter(|stored| is_one(&stored.event.kind)).count())
        };
        case.await_stored("what waited", || Ok((waited()? >= 20).then_some(())))?;
        case.fence()?;
        let waited = case.events()?;
        let names: Vec<&str> = waited
            .iter()
            .map(|stored| stored.event.kind.as_str())
            .filter(|name| name.starts_with("waiting "))
            .collect();
        ensure!(names.len() == 20, "{names:?}");
        Ok(())
    })
}

#[test]
fn what_the_endpoint_refuses_for_good_is_not_sent_again() -> Result<()> {
    on_every_site(Setup::default(), |case| {
        case.open("/")?;
        case.await_views(1)?;
        case.gate.set(Health::Answers("400 Bad Request"));
        case.run("history.pushState(null, '', '/refused')")?;
        tried(case, "/refused\"")?;
        poll("the refusal", || Ok((case.gate.events().len() >= 2 && case.gate.is_idle()).then_some(())))?;
        case.settle()?;
        case.gate.set(Health::Well);
        case.load("/later")?;
        case.views_are(&["/", "/later"])?;
        // Whatever waits is sent with what comes next.
        case.run("dispatchEvent(new Event('online'))")?;
        case.fence()?;
        case.views_are(&["/", "/later"])
    })
}

// any request: no CORS preflight

#[test]
fn no_event_of_any_kind_costs_a_preflight() -> Result<()> {
    let setup = Setup { pages: &[PAGE_WITH_FORM], ..Setup::default() };
    // That there was none is asserted after each case; here is one with every kind of event.
    on_every_site(setup, |case| {
        case.open("/form")?;
        case.run("leadtrail('event', 'signup', { plan: 'pro', value: 9 })")?;
        case.run("leadtrail('identify', 'ada@example.com')")?;
        fill_and_send(case, "bob@example.com")?;
        case.is_shown("/thanks")?;
        case.leads_are(&["bob@example.com"])?;
        let mut kinds: Vec<String> =
            case.events()?.iter().map(|stored| stored.event.kind.as_str().to_owned()).collect();
        kinds.sort();
        ensure!(kinds == ["form_submit", "identify", "pageview", "pageview", "signup"], "{kinds:?}");
        let expected = if case.is_cross_origin() { Some(case.base.as_str()) } else { None };
        for sent in case.gate.events() {
            let host = sent.header("host").unwrap_or_default();
            let is_crossing = sent.header("origin") != Some(&format!("http://{host}"));
            ensure!(is_crossing == expected.is_some(), "{sent:#?}");
        }
        case.is_quiet()
    })
}

// GPC on (project setting reduce): sent at once, no ids, nothing stored in the browser

/// A browser that asks for it from the first page on.
pub(super) const GPC_VISITOR: Setup =
    Setup { pages: &[], tag: "", policy: None, asks_for_privacy: true, prerenders: None };

#[test]
fn under_global_privacy_control_events_have_no_ids_and_nothing_is_kept() -> Result<()> {
    on_every_site(GPC_VISITOR.with_pages(&[PAGE_WITH_FORM]), |case| {
        case.open("/?utm_source=news&gclid=click-1")?;
        case.await_views(1)?;
        case.load("/form")?;
        case.await_views(2)?;
        case.kept()?.is_nothing()?;
        fill_and_send(case, "ada@example.com")?;
        case.is_shown("/thanks")?;
        case.leads_are(&["ada@example.com"])?;
        case.kept()?.is_nothing()?;
        let events = case.events()?;
        ensure!(events.len() == 4, "{events:#?}");
        for stored in &events {
            ensure!(stored.event.visitor == VisitorName::Unlinked, "{stored:#?}");
            ensure!(stored.event.signals.click_ids.is_empty(), "{stored:#?}");
        }
        for sent in case.gate.events() {
            ensure!(!sent.body.contains("visitor_cookie"), "{}", sent.body);
            ensure!(sent.header("cookie").is_none(), "{sent:#?}");
        }
        case.is_quiet()
    })
}

#[test]
fn who_turns_global_privacy_control_on_later_has_no_ids_either() -> Result<()> {
    on_every_site(Setup::default(), |case| {
        case.open("/")?;
        case.await_views(1)?;
        ensure!(!case.kept()?.cookies.is_empty(), "there is no cookie");
        case.ask_for_privacy()?;
        case.load("/later")?;
        case.views_are(&["/", "/later"])?;
        let events = case.events()?;
        ensure!(events[1].event.visitor == VisitorName::Unlinked, "{:#?}", events[1]);
        ensure!(events[0].visitor_id != events[1].visitor_id, "{events:#?}");
        case.kept()?.is_nothing()
    })
}

// consent required and not given: nothing stored; page views held in memory (≤ 50) and replayed after consent;
// revoking deletes cookie, storage and queue

const CONSENT: Setup = Setup {
    pages: &[],
    tag: "data-consent=\"required\"",
    policy: None,
    asks_for_privacy: false,
    prerenders: None,
};

#[test]
fn page_views_wait_for_consent_and_revoking_it_leaves_nothing() -> Result<()> {
    on_every_site(CONSENT, |case| {
        case.open("/")?;
        case.settle()?;
        case.run("history.pushState(null, '', '/a')")?;
        case.settle()?;
        case.kept()?.is_nothing()?;
        ensure!(case.gate.events().is_empty(), "{:#?}", case.gate.events());
        case.run("leadtrail('consent', 'granted')")?;
        case.views_are(&["/", "/a"])?;
        let events = case.events()?;
        ensure!(events.iter().all(|stored| stored.event.visitor != VisitorName::Unlinked), "{events:#?}");
        ensure!(!case.kept()?.cookies.is_empty(), "there is no cookie");
        case.load("/later")?;
        case.views_are(&["/", "/a", "/later"])?;

        case.gate.set(Health::HangsUp);
        case.run("leadtrail('event', 'queued')")?;
        tried(case, "queued")?;
        case.settle()?;
        case.run("leadtrail('consent', 'denied')")?;
        case.settle()?;
        case.gate.set(Health::Well);
        case.kept()?.is_nothing()?;
        let sent = case.gate.events().len();
        case.load("/revoked")?;
        case.settle()?;
        case.kept()?.is_nothing()?;
        ensure!(case.gate.events().len() == sent, "{:#?}", case.gate.events());
        Ok(())
    })
}

#[test]
fn fifty_page_views_wait_for_consent_at_most() -> Result<()> {
    on_every_site(CONSENT, |case| {
        case.open("/")?;
        case.settle()?;
        case.page.evaluate(
            "(async () => { for (let page = 1; page < 60; page += 1) {
                history.pushState(null, '', '/' + page);
                await new Promise(shown => setTimeout(shown, 120));
            } })()",
        )?;
        case.settle()?;
        case.run("leadtrail('consent', 'granted')")?;
        case.await_views(50)?;
        case.fence()?;
        let views = case.views()?;
        ensure!(views.len() == 50, "{views:?}");
        case.is_quiet()
    })
}

// a form library that builds FormData for validation or autosave: no lead until the form is really sent

#[test]
fn a_form_that_is_only_read_is_no_lead_until_it_is_sent() -> Result<()> {
    const READS: &str = "const form = document.forms[0];
        form.addEventListener('input', () => fetch('/save', { method: 'POST', body: new FormData(form) }));
        form.querySelector('button').addEventListener('click', click => {
            if (!new FormData(form).get('last_name')) click.preventDefault();
        });";
    let setup = Setup { pages: const { &[PAGE_WITH_FORM.script(READS)] }, ..Setup::default() };
    on_every_site(setup, |case| {
        case.open("/form")?;
        fill_and_send(case, "ada@example.com")?;
        case.run("new FormData(document.forms[0])")?;
        case.leads_are(&[])?;
        case.page.type_into("[name=last_name]", "Lovelace")?;
        case.page.click("form button")?;
        case.is_shown("/thanks")?;
        case.leads_are(&["ada@example.com"])?;
        case.is_quiet()
    })
}
