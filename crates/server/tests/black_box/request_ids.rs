//! Every line that a request leaves in the log has its name.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::client::{BROWSER, Connection};
use crate::process::{Home, Service, poll};

/// The web server's own lines are about no request, and it says some of them when it already listens.
const OF_NO_REQUEST: &str = "actix_server";

fn ask(service: &Service, id: &str, rest: &str, body: &str) -> Result<u16> {
    let (line, headers) = rest.split_once('\n').unwrap_or((rest, ""));
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: track.example\r\nUser-Agent: {BROWSER}\r\nX-Request-Id: {id}\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    );
    Ok(Connection::open(service.address())?.exchange(request.as_bytes())?.status)
}

/// What a request adds to the log, once it says that it was answered.
fn lines_of(service: &Service, id: &str, rest: &str, body: &str, status: u16) -> Result<Vec<String>> {
    let before = service.log()?.len();
    assert_eq!(ask(service, id, rest, body)?, status, "{rest}");
    let lines = poll("the last line of a request", || {
        let log = service.log()?;
        let added = log.get(before..).context("the log grows")?;
        Ok(added.contains("answered").then(|| added.to_owned()))
    })?;
    Ok(lines.lines().filter(|line| !line.contains(OF_NO_REQUEST)).map(str::to_owned).collect())
}

/// Requests that have something logged, on the way in, at the store, or by whoever refuses them.
const ASKED: [(&str, &str, u16); 6] = [
    ("POST /api/track\nContent-Type: application/json\r\n", "{", 400),
    (
        "POST /api/track\nContent-Type: application/json\r\n",
        r#"{"pixel_id":"x","page_url":"https://a.example/"}"#,
        400,
    ),
    ("GET /api/track/pixel.gif", "", 200),
    ("GET /api/projects", "", 401),
    ("GET /api/keys?api_key=1", "", 400),
    ("GET /health/ready", "", 200),
];

#[test]
fn in_the_log_for_people() -> Result<()> {
    let home = Home::new()?;
    let service = home.start(&["serve", "--bind", "127.0.0.1:0", "--store", &home.sqlite()], &[])?;
    for (number, (rest, body, status)) in ASKED.into_iter().enumerate() {
        let id = format!("request-{number}");
        for line in lines_of(&service, &id, rest, body, status)? {
            assert!(line.contains(&format!("request.id=\"{id}\"")), "{rest}: {line}");
        }
    }
    Ok(())
}

#[test]
fn in_the_log_for_machines() -> Result<()> {
    let home = Home::new()?;
    let json = [("LEADTRAIL__LOG__FORMAT", "json")];
    let service = home.start(&["serve", "--bind", "127.0.0.1:0", "--store", &home.sqlite()], &json)?;
    for (number, (rest, body, status)) in ASKED.into_iter().enumerate() {
        let id = format!("request-{number}");
        for line in lines_of(&service, &id, rest, body, status)? {
            let value: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            let request_id = &value["span"]["request.id"];
            assert_eq!(request_id, id.as_str(), "{rest}: {line}");
        }
    }
    Ok(())
}

#[test]
fn also_where_only_errors_are_logged() -> Result<()> {
    let home = Home::new()?;
    let quiet = [("LEADTRAIL__LOG__LEVEL", "error")];
    let store = home.sqlite();
    home.json(&["project", "create", "--name", "Acme", "--store", &store, "--json"])?;
    let service = home.start(&["serve", "--bind", "127.0.0.1:0", "--store", &store], &quiet)?;
    // What is put into the database's place is none.
    std::fs::write(home.path("store.db"), vec![b'x'; 65_536])?;
    let body = r#"{"pixel_id":"acme-site","page_url":"https://a.example/"}"#;
    let track = "POST /api/track\nContent-Type: application/json\r\n";
    assert_eq!(ask(&service, "request-of-an-error", track, body)?, 503);
    let log = service.log()?;
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("could not be looked up")).collect();
    assert_eq!(errors.len(), 1, "{log}");
    assert!(errors[0].contains("request.id=\"request-of-an-error\""), "{log}");
    Ok(())
}
