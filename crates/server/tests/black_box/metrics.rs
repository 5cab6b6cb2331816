//! The numbers that `/metrics` tells, against what clients saw.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::client::{BROWSER, Connection, Reply};
use crate::process::{Home, Service, poll};

const SITE: &str = "https://www.acme.example/?utm_source=letter";
const RECEIVED: &str = "leadtrail_events_received_total";

/// A service with a pixel `acme-site` for one site, of a project that honours Global Privacy Control.
fn service(home: &Home) -> Result<Service> {
    let store = home.sqlite();
    home.json(&["project", "create", "--name", "Acme", "--set", "gpc=honour", "--store", &store, "--json"])?;
    home.json(&[
        "pixel",
        "create",
        "--project",
        "acme",
        "--name",
        "Site",
        "--id",
        "acme-site",
        "--origin",
        "www.acme.example",
        "--store",
        &store,
        "--json",
    ])?;
    home.start(&["serve", "--bind", "127.0.0.1:0", "--store", &store], &[])
}

fn event(number: u32) -> Value {
    let id = format!("019ab0e4-7c00-7abc-8def-{number:012x}");
    json!({"pixel_id": "acme-site", "event_id": id, "page_url": SITE})
}

fn post(service: &Service, body: &str, headers: &str) -> Result<Reply> {
    let head = "POST /api/track HTTP/1.1\r\nHost: track.example\r\nContent-Type: application/json\r\n";
    let length = body.len();
    let request = format!("{head}{headers}Content-Length: {length}\r\n\r\n{body}");
    Ok(Connection::open(service.address())?.exchange(request.as_bytes())?)
}

fn get(service: &Service, path: &str) -> Result<Reply> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: track.example\r\nUser-Agent: {BROWSER}\r\n\r\n");
    Ok(Connection::open(service.address())?.exchange(request.as_bytes())?)
}

/// Every number by its name and labels.
fn numbers(service: &Service) -> Result<BTreeMap<String, f64>> {
    let reply = get(service, "/metrics")?;
    assert_eq!(reply.status, 200, "{reply:?}");
    let lines = reply.text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').context("a line without a value")?;
            Ok((name.to_owned(), value.parse().with_context(|| line.to_owned())?))
        })
        .collect()
}

#[test]
fn every_event_that_came_has_exactly_one_outcome() -> Result<()> {
    let home = Home::new()?;
    let service = service(&home)?;
    let browser = format!("User-Agent: {BROWSER}\r\n");
    let single = |number| event(number).to_string();
    let foreign = json!({"pixel_id": "acme-site", "page_url": "https://evil.example/"});
    let no_page = json!({"pixel_id": "acme-site", "page_url": "no address"});
    let unknown = json!({"pixel_id": "nobodys", "page_url": SITE});
    let mixed = json!({"batch": [event(1), event(3), event(3), 7, foreign, unknown, event(4)]}).to_string();
    let too_many = json!({"batch": vec![event(9); 101]}).to_string();
    let too_large = format!("{{\"pixel_id\": \"acme-site\", \"x\": \"{}\"}}", "x".repeat(70_000));
    let gpc = format!("{browser}Sec-GPC: 1\r\n");
    for (body, headers, status) in [
        (&single(1), &browser, 200),
        (&single(2), &browser, 200),
        (&single(2), &browser, 200),
        (&mixed, &browser, 200),
        (&r#"{"batch": []}"#.to_owned(), &browser, 200),
        (&too_many, &browser, 400),
        (&too_large, &browser, 413),
        (&"{".to_owned(), &browser, 400),
        (&unknown.to_string(), &browser, 400),
        (&no_page.to_string(), &browser, 400),
        (&foreign.to_string(), &browser, 403),
        (&single(5), &"User-Agent: Googlebot/2.1 (+http://www.google.com/bot.html)\r\n".to_owned(), 204),
        (&single(6), &gpc, 204),
    ] {
        let reply = post(&service, body, headers)?;
        assert_eq!(reply.status, status, "{} {headers} {reply:?}", &body[..body.len().min(200)]);
    }
    for query in ["pixel_id=acme-site&page_url=https%3A%2F%2Fwww.acme.example%2F", "pixel_id=nobodys", ""] {
        assert_eq!(get(&service, &format!("/api/track/pixel.gif?{query}"))?.status, 200);
    }

    let wanted = [
        (r#"{outcome="stored"}"#, 5.0),
        (r#"{outcome="duplicate"}"#, 3.0),
        (r#"{outcome="dropped",reason="bot"}"#, 1.0),
        (r#"{outcome="dropped",reason="gpc"}"#, 1.0),
        (r#"{outcome="rejected",reason="malformed"}"#, 3.0),
        (r#"{outcome="rejected",reason="too_large"}"#, 1.0),
        (r#"{outcome="rejected",reason="unknown_pixel"}"#, 4.0),
        (r#"{outcome="rejected",reason="invalid"}"#, 1.0),
        (r#"{outcome="rejected",reason="foreign_site"}"#, 2.0),
    ];
    let numbers = numbers(&service)?;
    let outcomes: BTreeMap<&str, f64> = numbers
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("leadtrail_events_total")?, *value)))
        .filter(|(_, value)| *value > 0.0)
        .collect();
    assert_eq!(outcomes, BTreeMap::from(wanted));
    // What a client that counts knows: those alone, those of the mixed batch, the images.
    let sent = 11.0 + 7.0 + 3.0;
    assert!((numbers[RECEIVED] - sent).abs() < f64::EPSILON, "{} of {sent}", numbers[RECEIVED]);
    assert!((outcomes.values().sum::<f64>() - sent).abs() < f64::EPSILON, "{outcomes:?}");
    Ok(())
}

#[test]
fn requests_groups_queue_pool_and_jobs_are_measured_and_no_label_is_a_clients() -> Result<()> {
    let home = Home::new()?;
    let service = service(&home)?;
    for number in 0..3 {
        assert_eq!(
            post(&service, &event(number).to_string(), &format!("User-Agent: {BROWSER}\r\n"))?.status,
            200
        );
    }
    get(&service, "/canary/of/a/path?canary=1")?;
    get(&service, "/api/projects/canary")?;
    let numbers = numbers(&service)?;
    for (name, wanted) in [
        (r#"leadtrail_http_requests_total{method="POST",route="/api/track",status="200"}"#, 3.0),
        (r#"leadtrail_http_requests_total{method="GET",route="none",status="404"}"#, 1.0),
        (r#"leadtrail_http_requests_total{method="GET",route="/api/projects/{id}",status="401"}"#, 1.0),
        (r#"leadtrail_http_request_duration_seconds_count{route="/api/track"}"#, 3.0),
        (r#"leadtrail_http_request_duration_seconds_bucket{route="/api/track",le="+Inf"}"#, 3.0),
        ("leadtrail_ingest_group_events_sum", 3.0),
        (r#"leadtrail_ingest_group_events_bucket{le="1"}"#, 3.0),
        ("leadtrail_ingest_group_duration_seconds_count", 3.0),
        ("leadtrail_ingest_commit_duration_seconds_count", 3.0),
        ("leadtrail_ingest_queue_events", 0.0),
        (r#"leadtrail_store_pool_connections_max{pool="writer"}"#, 1.0),
        (r#"leadtrail_store_pool_in_use{pool="writer"}"#, 0.0),
        (r#"leadtrail_store_pool_waiting{pool="readers"}"#, 0.0),
        (concat!("leadtrail_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        let value = numbers.get(name).with_context(|| format!("{name} in {numbers:#?}"))?;
        assert!((value - wanted).abs() < f64::EPSILON, "{name}: {value}");
    }
    assert!(!numbers.keys().any(|name| name.contains("canary") || name.contains("acme")), "{numbers:#?}");
    poll("the count of jobs", || {
        let numbers = self::numbers(&service)?;
        Ok(["leadtrail_sync_jobs_pending", "leadtrail_sync_jobs_due", "leadtrail_sync_oldest_due_seconds"]
            .iter()
            .all(|name| numbers.contains_key(*name))
            .then_some(()))
    })
}

#[test]
fn a_name_that_is_measured_is_described() -> Result<()> {
    let home = Home::new()?;
    let service = service(&home)?;
    let text = get(&service, "/metrics")?.text;
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).context("a type without a name")?;
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no description");
        assert!(name.starts_with("leadtrail_"), "{name}");
    }
    Ok(())
}
