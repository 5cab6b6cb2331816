//! The driver itself, against pages of a few lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::devtools::Browser;

const SOON: Duration = Duration::from_secs(10);

/// Serves one page with a form, what was asked for as text under `/echo`, and nothing else. Ends with the tests.
fn site() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A browser opens connections ahead that it may never use.
            std::thread::spawn(move || answer(stream));
        }
    });
    Ok(format!("http://site.test:{port}"))
}

fn answer(mut stream: TcpStream) -> Result<()> {
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    while lines.read_line(&mut head)? > 2 {}
    let path = head.split(' ').nth(1).unwrap_or_default();
    let (status, kind, body) = match path.split('?').next().unwrap_or_default() {
        "/" => ("200 OK", "text/html", PAGE),
        "/echo" => ("200 OK", "text/plain", head.as_str()),
        _ => ("404 Not Found", "text/plain", "nothing"),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

const PAGE: &str = "<!doctype html><title>A form</title><link rel=icon href=data:,>
    <div style='height: 3000px'>far above</div>
    <form action=/echo><input id=email name=email><button id=send>Send</button></form>
    <script>
        window.keys = [];
        addEventListener('keydown', event => keys.push(event.isTrusted && event.key));
        addEventListener('click', event => { window.clicked = event.isTrusted; });
    </script>";

#[test]
fn a_page_is_loaded_and_its_promises_are_awaited() -> Result<()> {
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    let site = site()?;
    page.goto(&site)?;
    assert_eq!(page.evaluate("document.readyState + ' ' + document.title")?, "complete A form");
    let answered = page.evaluate("fetch('/nowhere').then(answer => ({status: answer.status}))")?;
    assert_eq!(answered["status"], 404);
    let thrown = page.evaluate("undefinedName + 1").unwrap_err().to_string();
    assert!(thrown.contains("undefinedName is not defined"), "{thrown}");
    assert!(page.goto("http://127.0.0.1:9/").is_err(), "nothing listens there");
    Ok(())
}

#[test]
fn a_form_is_filled_and_sent_with_events_that_the_page_trusts() -> Result<()> {
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    let site = site()?;
    page.goto(&site)?;
    page.type_into("#email", "Ann+1@example.test")?;
    assert_eq!(page.evaluate("document.querySelector('#email').value")?, "Ann+1@example.test");
    assert_eq!(page.evaluate("keys.join('')")?, "Ann+1@example.test");
    assert_eq!(page.evaluate("clicked")?, true);
    page.click("#send")?;
    page.wait_until("location.pathname === '/echo'", SOON)?;
    assert_eq!(page.evaluate("location.search")?, "?email=Ann%2B1%40example.test");

    page.goto(&site)?;
    page.type_into("#email", "b")?;
    page.press_enter()?;
    page.wait_until("location.search === '?email=b'", SOON)?;
    assert!(page.click("#absent").unwrap_err().to_string().contains("`#absent`"));
    Ok(())
}

#[test]
fn what_a_page_says_throws_and_asks_is_collected() -> Result<()> {
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    page.goto(&site()?)?;
    page.evaluate("console.warn('look', 7, {a: 1})")?;
    page.evaluate("setTimeout(() => { throw new Error('broken') }); alert('hello'); 0")?;
    page.evaluate("fetch('/nowhere').then(() => 0)")?;
    page.wait_until("true", SOON)?;
    assert_eq!(page.dialogs()?, ["hello"]);
    let console = page.console_messages()?;
    assert_eq!(console[0], "warning: look 7 Object");
    assert!(console[1].starts_with("error: ") && console[1].contains("404"), "{console:?}");
    let exceptions = page.exceptions()?;
    assert!(exceptions.len() == 1 && exceptions[0].starts_with("Error: broken"), "{exceptions:?}");
    Ok(())
}

#[test]
fn the_browser_passes_for_one_with_a_window() -> Result<()> {
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    let site = site()?;
    page.goto(&format!("{site}/echo"))?;
    let head = page.evaluate("document.body.innerText")?.to_string();
    assert!(head.contains("Mozilla/5.0") && head.contains("Chrome/"), "{head}");
    assert!(!head.contains("Headless"), "{head}");
    let seen =
        page.evaluate("navigator.userAgent + JSON.stringify(navigator.userAgentData?.brands ?? [])")?;
    assert!(!seen.to_string().contains("Headless"), "{seen}");
    assert_eq!(page.evaluate("navigator.webdriver")?, false);
    Ok(())
}

#[test]
fn pages_of_one_browser_share_cookies_and_browsers_do_not() -> Result<()> {
    let (one, other) = (Browser::launch()?, Browser::launch()?);
    let site = site()?;
    let mut first = one.page()?;
    first.goto(&site)?;
    first.evaluate("document.cookie = 'visitor=v1; max-age=60'")?;
    let mut cookies = Vec::new();
    for mut page in [one.page()?, other.page()?] {
        page.goto(&site)?;
        cookies.push(page.evaluate("document.cookie")?);
    }
    assert_eq!(cookies, ["visitor=v1", ""]);
    Ok(())
}

#[test]
fn a_condition_that_never_holds_fails_by_its_deadline_and_says_why() -> Result<()> {
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    let error = page.wait_until("window.never", Duration::from_millis(100)).unwrap_err().to_string();
    assert!(error.contains("`window.never`") && error.contains("100 ms"), "{error}");
    let error = page.wait_until("absent.field", Duration::from_millis(100)).unwrap_err().to_string();
    assert!(error.contains("absent is not defined"), "{error}");
    Ok(())
}

#[test]
fn a_screenshot_is_a_png_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("page.png");
    let browser = Browser::launch()?;
    let mut page = browser.page()?;
    page.goto(&site()?)?;
    page.screenshot(&file)?;
    let bytes = std::fs::read(&file)?;
    assert!(
        bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.ends_with(b"IEND\xaeB`\x82"),
        "{} bytes",
        bytes.len()
    );
    Ok(())
}

#[test]
fn nothing_of_a_browser_outlives_it() -> Result<()> {
    let browser = Browser::launch()?;
    browser.page()?.goto(&site()?)?;
    let processes: Vec<PathBuf> =
        browser.processes()?.iter().map(|id| PathBuf::from(format!("/proc/{id}/exe"))).collect();
    assert!(processes.len() > 2, "{processes:?}");
    let profile = browser.profile().to_owned();
    assert!(profile.exists());
    drop(browser);
    assert!(!profile.exists());
    // An ended process that nobody has asked for yet has no program any more.
    let left: Vec<&PathBuf> = processes.iter().filter(|process| process.read_link().is_ok()).collect();
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}
