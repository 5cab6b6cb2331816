//! The pixel beyond its core: scripts that a page pins by hash, and the extension.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context as _, Result, ensure};

use crate::demo::is_quiet;
use crate::devtools::{Browser, Page};
use crate::process::{Home, PATIENCE, Service};

/// Serves this head and body under every path of a host of its own. Ends with the tests.
fn site(head: &str, body: &'static str) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let page = format!("<!doctype html><title>A site</title><link rel=icon href=data:,>{head}{body}");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let page = page.clone();
            std::thread::spawn(move || answer(stream, &page));
        }
    });
    Ok(format!("http://site.test:{port}"))
}

fn answer(mut stream: TcpStream, page: &str) -> Result<()> {
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    while lines.read_line(&mut head)? > 2 {}
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{page}",
        page.len()
    )?;
    Ok(())
}

/// The demo's service, and what `pixel snippet demo` says to put into a page of another host, with these arguments.
fn service_and_tags(home: &Home, arguments: &[&str]) -> Result<(Service, String)> {
    let service = home.start(&["demo", "--bind", "127.0.0.1:0", "--store", &home.sqlite()], &[])?;
    let store = home.sqlite();
    let printed = home.run_with(
        &[&["pixel", "snippet", "demo", "--store", &store], arguments].concat(),
        &[("LEADTRAIL__HTTP__PUBLIC_URL", "http://track.test")],
    )?;
    ensure!(printed.code == Some(0), "{}", printed.stderr);
    let port = service.address().port();
    let tags = printed.stdout.replace("http://track.test", &format!("http://track.test:{port}"));
    Ok((service, tags))
}

fn wait_for_line(service: &mut Service, parts: &[&str]) -> Result<()> {
    let is_it = |line: &String| parts.iter().all(|part| line.contains(part));
    service.wait_for(&parts.join(" … "), |lines| lines.iter().any(is_it).then_some(()))
}

/// As a frame of another origin would send it.
fn receive(page: &mut Page, origin: &str, data: &str) -> Result<()> {
    page.evaluate(&format!(
        "dispatchEvent(new MessageEvent('message', {{ origin: '{origin}', data: {data} }}))"
    ))?;
    Ok(())
}

fn booking(email: &str) -> String {
    format!(
        "{{ meetingBookSucceeded: true, meetingsPayload: {{ bookingResponse: {{ postResponse: {{ contact: \
         {{ email: '{email}', firstName: 'Ada', lastName: 'Lovelace' }} }} }} }} }}"
    )
}

#[test]
fn a_page_that_pins_the_scripts_gets_these_and_no_others() -> Result<()> {
    let home = Home::new()?;
    let (mut service, tags) = service_and_tags(&home, &["--pinned", "--plus", "links,embeds"])?;
    assert_eq!(tags.matches("integrity=\"sha384-").count(), 2, "{tags}");
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    page.goto(&site(&tags, "")?)?;
    page.wait_until("window.leadtrail && leadtrail.plus", PATIENCE)?;
    wait_for_line(&mut service, &["page view", "http://site.test"])?;
    is_quiet(&mut page)?;

    let forged = tags.replace("integrity=\"sha384-", "integrity=\"sha384-AAAA");
    let mut page = browser.page()?;
    page.goto(&site(&forged, "")?)?;
    assert_eq!(page.evaluate("typeof leadtrail")?, "undefined", "the browser checks the hash");
    Ok(())
}

#[test]
fn a_booking_in_a_frame_is_a_lead_if_the_frame_is_who_it_says() -> Result<()> {
    let home = Home::new()?;
    let (mut service, tags) = service_and_tags(&home, &["--plus", "embeds"])?;
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    page.goto(&site(&tags, "")?)?;
    page.wait_until("window.leadtrail && leadtrail.plus", PATIENCE)?;
    for stranger in ["https://meetings.hubspot.com.evil.example", "http://meetings.hubspot.com", "null"] {
        receive(&mut page, stranger, &booking("forged@example.com"))?;
    }
    receive(&mut page, "https://meetings.hubspot.com", &booking("ada@example.com"))?;
    let tally = "JSON.stringify({ event: 'Tally.FormSubmitted', payload: { fields: [{ type: 'INPUT_TEXT' }, \
                 { type: 'INPUT_EMAIL', answer: { value: 'grace@example.com' } }] } })";
    receive(&mut page, "https://tally.so", tally)?;
    for email in ["ada@example.com", "grace@example.com"] {
        wait_for_line(&mut service, &["lead", email])?;
    }
    assert!(!service.lines().concat().contains("forged"), "{:#?}", service.lines());
    is_quiet(&mut page)
}

#[test]
fn links_are_told_and_hidden_fields_filled_where_they_are_asked_for() -> Result<()> {
    let home = Home::new()?;
    let (mut service, tags) = service_and_tags(&home, &["--plus", "links,fill"])?;
    let body = "<a id=out href='http://other.test/there?secret=1'>there</a>
        <form><input type=hidden name=utm_source><input type=hidden name=visitor_id>
        <input type=hidden name=utm_medium value=own></form>
        <script>addEventListener('click', (event) => event.preventDefault());
        addEventListener('load', () => setTimeout(() => {
            document.body.insertAdjacentHTML('beforeend', '<form><input type=hidden name=gclid></form>');
        }, 100));</script>";
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    page.goto(&format!("{}/?utm_source=google&utm_medium=cpc&gclid=click-1", site(&tags, body)?))?;
    page.wait_until("document.forms[1]?.elements.gclid.value === 'click-1'", PATIENCE)?;
    let filled = "Array.from(document.forms[0].elements, (input) => input.value).join()";
    let filled = page.evaluate(filled)?;
    let filled = filled.as_str().context("a text")?.to_owned();
    assert!(filled.starts_with("google,") && filled.ends_with(",own"), "{filled}");
    let kept = page.evaluate("document.cookie.split('lt_visitor=')[1]")?;
    assert_eq!(Some(filled.split(',').nth(1).unwrap_or_default()), kept.as_str());
    page.click("#out")?;
    wait_for_line(&mut service, &["outbound"])?;
    assert!(!service.lines().concat().contains("secret"), "{:#?}", service.lines());
    is_quiet(&mut page)
}
