//! Slow clients, full queues and the end of the service.

use std::time::Duration;

use futures::future::join_all;
use leadtrail_app::ingest::IngestSettings;
use leadtrail_domain::ports::Visits as _;
use leadtrail_http::HttpSettings;
use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::service::{BROWSER, Gate, Service, Setup, pageview, pageview_with};

/// Far longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends `head` and waits until the service hangs up; what it said until then.
async fn said_until_closed(service: &Service, head: &str) -> String {
    let mut socket = TcpStream::connect(service.address).await.expect("the service listens");
    socket.write_all(head.as_bytes()).await.expect("the service reads");
    rest(&mut socket).await
}

async fn rest(socket: &mut TcpStream) -> String {
    let mut said = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut said))
        .await
        .expect("closed in time")
        .expect("closed in order");
    String::from_utf8_lossy(&said).into_owned()
}

async fn impatient() -> Service {
    let brief = Duration::from_millis(200);
    let settings = HttpSettings { body_timeout: brief, head_timeout: brief, ..HttpSettings::default() };
    Service::with(Setup { settings, ..Setup::default() }).await
}

#[tokio::test]
async fn half_a_body_is_answered_408_and_hung_up_on() {
    let service = impatient().await;
    for form in ["Content-Length: 100\r\n\r\n{\"pixel_id\"", "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"pix"]
    {
        let said =
            said_until_closed(&service, &format!("POST /api/track HTTP/1.1\r\nHost: a.example\r\n{form}"))
                .await;
        assert!(
            said.starts_with("HTTP/1.1 408 ") && said.to_lowercase().contains("connection: close"),
            "{said}"
        );
    }
    assert!(service.stored().await.is_empty());
}

#[tokio::test]
async fn a_body_that_nobody_reads_keeps_no_connection_open() {
    let service = Service::start().await;
    let starts = ["GET /", "GET /api/track/pixel.gif", "POST /nowhere", "PUT /api/track", "GET /health/live"];
    let all = starts.map(async |start| {
        let head = "HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n";
        let said = said_until_closed(&service, &format!("{start} {head}")).await;
        assert!(
            said.starts_with("HTTP/1.1 ") && said.to_lowercase().contains("connection: close"),
            "{start}: {said}"
        );
    });
    join_all(all).await;
}

#[tokio::test]
async fn half_a_head_is_hung_up_on() {
    let service = impatient().await;
    let said = said_until_closed(&service, "POST /api/track HTTP/1.1\r\nHost: a.exa").await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
}

#[tokio::test]
async fn without_room_for_a_large_body_its_sender_is_asked_back() {
    let settings = HttpSettings { large_bodies_max: 0, ..HttpSettings::default() };
    let service = Service::with(Setup { settings, ..Setup::default() }).await;
    let large = json!({"batch": vec![pageview_with(json!({"page_title": "x".repeat(40_000)})); 2]});
    let reply = service.track(&large).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.header("retry-after").is_some());
    assert_eq!(service.track(&pageview()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_full_queue_turns_away_at_once_and_loses_nothing_it_took() {
    let gate = Gate::closed();
    let ingest = IngestSettings { shards: 1, queue_max: 1, group_max: 1 };
    let service = Service::with(Setup { ingest, gate: Some(gate.clone()), ..Setup::default() }).await;
    let event = pageview();
    let committing = service.track(&event);
    tokio::pin!(committing);
    tokio::select! {
        reply = &mut committing => panic!("answered before the commit: {reply:?}"),
        () = gate.reached() => {}
    }
    // One of these finds the only place in the queue, the other none.
    let (turned_away, queued) =
        futures::future::select(Box::pin(service.track(&event)), Box::pin(service.track(&event)))
            .await
            .factor_first();
    assert_eq!(turned_away.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(turned_away.header("retry-after"), Some("1"));
    gate.open();
    assert_eq!(committing.await.status, StatusCode::OK);
    assert_eq!(queued.await.status, StatusCode::OK);
    assert_eq!(service.stored().await.len(), 2);
}

#[tokio::test]
async fn a_stop_closes_the_door_answers_what_is_under_way_and_ends() {
    let gate = Gate::closed();
    let service = Service::with(Setup { gate: Some(gate.clone()), ..Setup::default() }).await;
    let body = pageview().to_string();
    let mut socket = TcpStream::connect(service.address).await.unwrap();
    let head = format!(
        "POST /api/track HTTP/1.1\r\nHost: a.example\r\nUser-Agent: {BROWSER}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    gate.reached().await;

    let mut idle = TcpStream::connect(service.address).await.unwrap();
    idle.write_all(b"GET /health/live HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");

    let stopped = tokio::spawn(service.handle.stop(true));
    while TcpStream::connect(service.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.open();
    let said = rest(&mut socket).await;
    assert!(said.starts_with("HTTP/1.1 200 ") && said.to_lowercase().contains("connection: close"), "{said}");
    rest(&mut idle).await;
    tokio::time::timeout(PATIENCE, stopped).await.expect("stopped in time").unwrap();
    tokio::time::timeout(PATIENCE, service.running).await.expect("ended in time").unwrap().unwrap();
    let events = service.store.events(service.project, None, 10).await.unwrap();
    assert_eq!(events.len(), 1);
}
