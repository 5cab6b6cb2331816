//! P2: what visitors, bearers and operators send is nowhere in the log, however much is logged. Whatever is planted here
//! has `canary` in it, which `cargo xtask test` looks for in the logs of all tests.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use crate::client::{BROWSER, Connection, Reply};
use crate::process::{Home, Service, poll};

/// Of a client behind the proxy that is trusted.
const CLIENT: &str = "203.0.113.77";
const PERSON: &str = "canary@canary.example";
const COOKIE: &str = "pxl_canary0123456789abcdef";
const WRONG_KEY: &str = "lt_canary0000000000000000000000000000000000000000000000000000000000";

#[test]
fn what_is_sent_is_not_in_the_log_for_people() -> Result<()> {
    what_is_sent_is_not_logged("pretty")
}

#[test]
fn what_is_sent_is_not_in_the_log_for_machines() -> Result<()> {
    what_is_sent_is_not_logged("json")
}

fn project_and_pixel(home: &Home) -> Result<()> {
    let store = home.sqlite();
    home.json(&["project", "create", "--name", "Canary", "--slug", "acme", "--store", &store, "--json"])?;
    home.json(&[
        "pixel",
        "create",
        "--project",
        "acme",
        "--name",
        "Canary",
        "--id",
        "acme-site",
        "--form-field",
        "phone",
        "--store",
        &store,
        "--json",
    ])?;
    Ok(())
}

fn exchange(service: &Service, head: &str, body: &str) -> Result<Reply> {
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    Ok(Connection::open(service.address())?.exchange(request.as_bytes())?)
}

/// The head of a request that tells all that a head can tell.
fn head(method: &str, target: &str, marker: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: canary.example\r\nUser-Agent: {BROWSER} Canary/1.0\r\n\
         Referer: https://www.google.com/search?q=canary\r\nCookie: lt_visitor={COOKIE}; session=canary\r\n\
         X-Forwarded-For: {CLIENT}\r\nX-Canary: canary\r\nAccept-Language: canary\r\nX-Request-Id: {marker}\r\n"
    )
}

fn form() -> String {
    json!({
        "pixel_id": "acme-site",
        "event_type": "form_submit",
        "visitor_cookie": COOKIE,
        "page_url": "https://www.canary.example/canary?utm_source=canary&gclid=canary-click&email=canary%40canary.example",
        "page_title": "Canary",
        "referrer_url": "https://canary.example/?q=canary",
        "form_data": {
            "email": PERSON, "first_name": "Canary", "last_name": "Canaria", "phone": "canary 5550199",
            "message": "canary",
        },
    })
    .to_string()
}

fn what_is_sent_is_not_logged(format: &str) -> Result<()> {
    let home = Home::new()?;
    project_and_pixel(&home)?;
    let store = home.sqlite();
    let loud = [
        ("LEADTRAIL__LOG__LEVEL", "trace"),
        ("LEADTRAIL__LOG__FORMAT", format),
        ("LEADTRAIL__CRM__KIND", "sandbox"),
        ("LEADTRAIL__SYNC__DELAY", "0s"),
        ("LEADTRAIL__SYNC__POLL", "20ms"),
        ("LEADTRAIL__HTTP__TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let person =
        ["crm", "sandbox-person", "--email", PERSON, "--first-name", "Canary", "--last-name", "Canaria"];
    ensure!(home.run_with(&person, &loud)?.code == Some(0), "there is no such person");
    let key =
        home.json(&["key", "create", "--scope", "admin", "--name", "canary", "--store", &store, "--json"])?;
    let key = key["key"].as_str().context("no key")?;
    let mut service = home.start(&["serve", "--bind", "127.0.0.1:0", "--store", &store], &loud)?;
    // A line with this name shows the search that it looked at something.
    let marker = format!("log-scan-marker-{format}");
    let json = "Content-Type: application/json\r\n";
    let bearer = |secret: &str| format!("Authorization: Bearer {secret}\r\n");
    let in_query = format!("/api/projects?api_key={key}");
    let image = "/api/track/pixel.gif?pixel_id=acme-site&page_url=https%3A%2F%2Fcanary.example%2F&email=canary%40canary.example";
    let project = json!({"name": "Canary", "slug": "canary", "canary@canary.example": 1}).to_string();
    let batch = format!("{{\"batch\": [{}, {{\"pixel_id\": [\"canary\"]}}, \"canary\"]}}", form());
    for (method, target, more, body, status) in [
        ("POST", "/api/track", json.to_owned(), form().as_str(), 200),
        ("POST", "/api/track?canary=canary", json.to_owned(), &batch, 200),
        ("POST", "/api/track", format!("{json}{}", bearer(key)), &form(), 200),
        ("POST", "/api/track", format!("{json}{}", bearer(WRONG_KEY)), &form(), 200),
        ("POST", "/api/track", json.to_owned(), "{\"email\": \"canary@canary.example\", canary", 400),
        ("POST", "/api/track", json.to_owned(), "{\"pixel_id\": \"canary canary@canary.example\"}", 400),
        ("POST", "/api/track", "Content-Type: text/canary\r\n".to_owned(), "canary", 415),
        (
            "POST",
            "/api/track",
            "Content-Type: text/plain\r\nOrigin: https://canary.example\r\n".to_owned(),
            &form(),
            200,
        ),
        ("GET", image, String::new(), "", 200),
        ("GET", "/api/track/pixel.gif?canary=canary%40canary.example", String::new(), "", 200),
        ("GET", "/canary/canary%40canary.example?canary", String::new(), "", 404),
        ("BREW", "/api/track?canary", String::new(), "", 405),
        ("GET", "/api/projects", bearer(key), "", 200),
        ("GET", "/api/projects", bearer(WRONG_KEY), "", 401),
        ("GET", "/api/projects", "Authorization: Basic Y2FuYXJ5OmNhbmFyeQ==\r\n".to_owned(), "", 401),
        ("GET", "/api/projects", format!("X-API-Key: {WRONG_KEY}\r\n"), "", 401),
        ("GET", &in_query, String::new(), "", 400),
        ("GET", "/api/projects/canary", bearer(key), "", 404),
        ("GET", "/metrics?canary", bearer(WRONG_KEY), "", 401),
        ("POST", "/api/projects", format!("{json}{}", bearer(key)), &project, 422),
        (
            "PATCH",
            "/api/projects/acme",
            format!("{json}{}", bearer(key)),
            "{\"name\": \"canary@canary.example\"}",
            200,
        ),
        ("PATCH", "/api/projects/acme", format!("{json}{}", bearer(key)), "{\"canary@canary.example", 400),
        (
            "POST",
            "/api/keys",
            format!("{json}{}", bearer(key)),
            "{\"name\": \"canary\", \"scopes\": [\"read\"]}",
            201,
        ),
    ] {
        let reply = exchange(&service, &format!("{}{more}", head(method, target, &marker)), body)?;
        assert_eq!(reply.status, status, "{method} {target} {more} {body}: {reply:?}");
    }
    // What is no request at all.
    for broken in
        ["GET /canary@canary.example\r\n\r\n", "canary\r\n\r\n", "GET / HTTP/1.1\r\ncanary: \0\r\n\r\n"]
    {
        let _reply = Connection::open(service.address())?.exchange(broken.as_bytes());
    }
    poll("the word of the CRM", || Ok(service.log()?.contains("settled an attempt").then_some(())))?;
    service.terminate()?;
    let log = service.log()?;
    assert!(log.contains(&marker), "the log is not about these requests: {log}");
    is_clean(&log, &[key])
}

/// Whatever is known of by its form is found by the search through all logs.
fn is_clean(log: &str, secrets: &[&str]) -> Result<()> {
    for planted in ["canary", "Canary", CLIENT].iter().chain(secrets) {
        let line = log.lines().find(|line| line.contains(planted));
        ensure!(line.is_none(), "`{planted}` is in the log: {line:?}");
    }
    Ok(())
}

#[test]
fn what_is_told_to_an_unreachable_crm_is_not_logged_and_its_token_neither() -> Result<()> {
    let home = Home::new()?;
    project_and_pixel(&home)?;
    let service = home.start(
        &["serve", "--bind", "127.0.0.1:0", "--store", &home.sqlite()],
        &[
            ("LEADTRAIL__CRM__KIND", "pipedrive"),
            ("LEADTRAIL__CRM__PIPEDRIVE__API_TOKEN", "canary-token"),
            ("LEADTRAIL__CRM__PIPEDRIVE__BASE_URL", "http://127.0.0.1:1/api/v2"),
            ("LEADTRAIL__SYNC__DELAY", "0s"),
            ("LEADTRAIL__SYNC__POLL", "20ms"),
        ],
    )?;
    let head =
        format!("{}Content-Type: application/json\r\n", head("POST", "/api/track", "log-scan-marker-crm"));
    assert_eq!(exchange(&service, &head, &form())?.status, 200);
    poll("a failed attempt", || Ok(service.log()?.contains("settled an attempt").then_some(())))?;
    is_clean(&service.log()?, &[])
}

#[test]
fn an_unreachable_database_is_told_without_its_password() -> Result<()> {
    let home = Home::new()?;
    let loud = [("LEADTRAIL__LOG__LEVEL", "trace")];
    let commands = [&["migrate"][..], &["serve", "--bind", "127.0.0.1:0"], &["check-config"], &["doctor"]];
    let urls = [
        "postgres://user:canary-password@127.0.0.1:1/database",
        "postgres://user:canary password@127.0.0.1:1/database",
        "postgres://user:canary%zz@127.0.0.1:1/database",
        "postgres://127.0.0.1:1/database?password=canary",
        "mysql://user:canary-password@127.0.0.1:1/database",
    ];
    let run = |command: &[&str], url: &str| {
        let ended = home.run_with(&[command, &["--store", url]].concat(), &loud)?;
        ensure!(command == ["check-config"] || ended.code == Some(1), "{ended:?}");
        is_clean(&format!("{}{}", ended.stdout, ended.stderr), &[])
            .with_context(|| format!("{command:?} {url}"))
    };
    // Each waits a while for a database to come up.
    std::thread::scope(|scope| {
        let pairs = urls.into_iter().flat_map(|url| commands.map(|command| (command, url)));
        let running: Vec<_> = pairs.map(|(command, url)| scope.spawn(move || run(command, url))).collect();
        running.into_iter().try_for_each(|run| run.join().unwrap_or_else(|_panic| bail!("a run panicked")))
    })
}
