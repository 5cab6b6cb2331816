//! A site that stays as it is when its tracker's host becomes Leadtrail: first with the script of the tool that is
//! replaced, then with the same tag and our script.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context as _, Result};
use leadtrail_domain::event::{EventKind, Prop, StoredEvent};
use leadtrail_domain::id::ProjectId;
use leadtrail_domain::visit::Freshness;
use serde_json::json;

use crate::devtools::{Browser, Page};
use crate::process::{Home, PATIENCE};
use crate::stored::Stored;

/// Does as the replaced tool's script is described to do: a cookie `pxl_` and 16 hex digits of its own, copies of
/// parameters cut at the second `=`, those of the first visit where the page has none, every key in each message, JSON
/// that says so, no cookies along.
const REPLACED: &str = r"
(() => {
  const tag = document.currentScript;
  const hex = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, '0')).join('');
  const known = /(?:^|; )ppp_visitor=([^;]*)/.exec(document.cookie);
  const visitor = known ? known[1] : 'pxl_' + hex();
  document.cookie = 'ppp_visitor=' + visitor + '; path=/; max-age=31536000; samesite=lax';
  const names = ['utm_source', 'utm_medium', 'utm_campaign', 'utm_content', 'utm_term',
    'gclid', 'fbclid', 'msclkid', 'ttclid', 'twclid', 'li_fat_id', 'sc_click_id'];
  const now = {};
  location.search.slice(1).split('&').forEach((pair) => { const cut = pair.split('='); now[cut[0]] = decodeURIComponent(cut[1] || ''); });
  const first = JSON.parse(localStorage.getItem('ppp_first') || 'null') || now;
  localStorage.setItem('ppp_first', JSON.stringify(first));
  const isNow = names.some((name) => now[name]);
  window.answers = [];
  const send = (type, form) => {
    const message = {
      pixel_id: tag.getAttribute('data-pixel-id'), visitor_cookie: visitor, page_url: location.href,
      referrer_url: document.referrer || null, page_title: document.title, timestamp: new Date().toISOString(),
      event_type: type, form_data: form,
      viewport: { width: innerWidth, height: innerHeight }, screen: { width: screen.width, height: screen.height },
      attribution_source: isNow ? 'current' : 'first_visit',
    };
    names.forEach((name) => { message[name] = now[name] || first[name] || null; });
    fetch(new URL('/api/track/track', tag.src), {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(message), credentials: 'omit',
    }).then((answer) => answer.json()).then((answer) => window.answers.push(answer), (error) => window.answers.push(String(error)));
  };
  send('pageview', null);
  document.addEventListener('submit', (event) => {
    event.preventDefault();
    send('form_submit', Object.fromEntries(new FormData(event.target)));
  });
})();
";

/// A site whose pages `/old…` carry the replaced tool's script, and all others the tag of the service at `tracker`.
fn site(tracker: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tracker = tracker.clone();
            std::thread::spawn(move || answer(stream, &tracker));
        }
    });
    Ok(format!("http://www.site.test:{port}"))
}

fn answer(mut stream: TcpStream, tracker: &str) -> Result<()> {
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    while lines.read_line(&mut head)? > 2 {}
    let path = head.split(' ').nth(1).unwrap_or_default();
    let tag = format!("src='{tracker}/static/pixel.js' data-pixel-id=site-pixel");
    let script = if path.starts_with("/old") {
        // Its code stands in the page, so that nothing of it is served by us; its tag is as it was.
        format!("<script {}>{REPLACED}</script>", tag.replace("src=", "data-was="))
            .replace("tag.src", "tag.getAttribute('data-was')")
    } else if path.starts_with("/inserted") {
        // As `deploy/install/gtm.md` has it.
        format!(
            "<script>
               var pixel = document.createElement('script');
               pixel.async = true;
               pixel.src = '{tracker}/static/pixel.js';
               pixel.setAttribute('data-pixel-id', 'site-pixel');
               document.head.appendChild(pixel);
             </script>"
        )
    } else {
        format!("<script {tag} async></script>")
    };
    let body = format!(
        "<!doctype html><title>A site</title><link rel=icon href=data:,>{script}
         <form><input id=email name=email><input name=phone value=1><button>Send</button></form>"
    );
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

/// The answers that the page's script has read, once there are so many.
fn answers(page: &mut Page, count: usize) -> Result<serde_json::Value> {
    page.wait_until(&format!("window.answers?.length === {count}"), PATIENCE)?;
    page.evaluate("window.answers")
}

fn of_page<'a>(events: &'a [StoredEvent], part: &str, kind: &EventKind) -> Result<&'a StoredEvent> {
    let found = events.iter().find(|one| one.event.page_url.contains(part) && one.event.kind == *kind);
    found.with_context(|| format!("no {kind} of {part} among {events:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_with_todays_script_and_then_ours_keeps_its_visitors_and_their_first_touch() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    let project =
        home.json(&["project", "create", "--name", "Site", "--slug", "site", "--store", &store, "--json"])?;
    let made = [
        "pixel",
        "create",
        "--project",
        "site",
        "--name",
        "Site",
        "--id",
        "site-pixel",
        "--origin",
        "*.site.test",
    ];
    home.json(&[&made[..], &["--store", &store, "--json"]].concat())?;
    let service = home.start(&["serve", "--bind", "127.0.0.1:0", "--store", &store], &[])?;
    // Another site to the browser, as a tracker's host is.
    let site = site(format!("http://tracker.test:{}", service.address().port()))?;
    let browser = Browser::launch()?;
    let mut page = browser.page()?;

    page.goto(&format!("{site}/old?utm_source=google&utm_medium=cpc&gclid=a%3Db%2Bc=d"))?;
    let first = answers(&mut page, 1)?[0].clone();
    assert_eq!((&first["success"], &first["attribution"]["source"]), (&json!(true), &json!("google")));
    page.goto(&format!("{site}/old/contact"))?;
    page.type_into("#email", "ada@example.com")?;
    page.click("button")?;
    let sent = answers(&mut page, 2)?;
    for answer in [&sent[0], &sent[1]] {
        assert_eq!(
            (&answer["visitor_id"], &answer["session_id"]),
            (&first["visitor_id"], &first["session_id"])
        );
    }
    assert_eq!(page.exceptions()?, [""; 0]);

    page.goto(&format!("{site}/new"))?;
    page.wait_until("document.cookie.includes('lt_visitor=')", PATIENCE)?;
    assert_eq!(
        page.evaluate(
            "/lt_visitor=([^;]*)/.exec(document.cookie)[1] === /ppp_visitor=([^;]*)/.exec(document.cookie)[1]"
        )?,
        true
    );
    page.goto(&format!("{site}/inserted"))?;
    let stored = Stored::open(&store).await?;
    let project: ProjectId = project["id"].as_str().context("no id")?.parse()?;
    let deadline = std::time::Instant::now() + PATIENCE;
    let events = loop {
        let events = stored.events(project).await?;
        if events.len() == 5 {
            break events;
        }
        anyhow::ensure!(std::time::Instant::now() < deadline, "{events:#?}");
        page.wait_until("true", PATIENCE)?;
    };
    let visitor = serde_json::to_value(events[0].visitor_id)?;
    assert_eq!(visitor, first["visitor_id"]);
    assert!(events.iter().all(|one| one.visitor_id == events[0].visitor_id), "{events:#?}");

    let landing = of_page(&events, "/old?", &EventKind::Pageview)?;
    assert_eq!(landing.event.signals.click_id("gclid"), Some("a=b+c=d"), "the page's own, not the cut copy");
    let contact = of_page(&events, "/old/contact", &EventKind::Pageview)?;
    assert!(contact.event.signals.is_silent());
    assert_eq!(contact.event.props.get("history.utm_source"), Some(&Prop::Text("google".to_owned())));
    let form = of_page(&events, "/old/contact", &EventKind::FormSubmit)?;
    assert!(form.lead_id.is_some());
    let kept = form.event.form.clone().context("no form")?;
    assert!(kept.email.is_some() && kept.extra.is_empty(), "{kept:?}");
    of_page(&events, "/new", &EventKind::Pageview)?;
    of_page(&events, "/inserted", &EventKind::Pageview)?;

    let cookie = landing.event.visitor.cookie().context("no cookie")?.clone();
    let key = (project, cookie);
    let query = leadtrail_domain::visit::VisitQuery {
        visitors: [(key.clone(), Freshness::Current)].into(),
        ..leadtrail_domain::visit::VisitQuery::default()
    };
    let known =
        stored.visits.load(&query).await?.visitors.remove(&key).context("the visitor is not stored")?;
    let sources: Vec<_> = known.touches.iter().map(|touch| touch.source()).collect();
    assert_eq!(sources, [Some("google")], "nothing that was only remembered made a touch");
    drop(service);
    Ok(())
}
