//! The client against a server of this machine.

use std::time::Duration;

use leadtrail_outbound::{Destination, Outbound, OutboundError, OutboundSettings, Request};
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

const FAKE_TOKEN: &str = "obviously-fake-token";

fn small() -> Outbound {
    Outbound::new(&OutboundSettings {
        timeout: Duration::from_millis(200),
        body_bytes_max: 1_000,
        ..OutboundSettings::default()
    })
}

fn at(server: &MockServer) -> Destination {
    Destination::of_operator(&server.uri()).expect("http on this machine")
}

async fn answering(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(wiremock::matchers::any()).respond_with(answer).mount(&server).await;
    server
}

#[tokio::test]
async fn what_is_asked_arrives_and_what_is_answered_returns() {
    let server = MockServer::start().await;
    Mock::given(method("PATCH"))
        .and(path("/persons/7"))
        .and(query_param("a b", "1&2=+%"))
        .and(header("x-api-token", FAKE_TOKEN))
        .and(header("content-type", "application/json"))
        .and(header("user-agent", concat!("leadtrail/", env!("CARGO_PKG_VERSION"))))
        .and(body_json(serde_json::json!({"x": 1})))
        .respond_with(
            ResponseTemplate::new(201)
                .set_body_json(serde_json::json!([2]))
                .insert_header("Retry-After", "9"),
        )
        .mount(&server)
        .await;
    let request = Request::patch(at(&server).below(["persons", "7"]), &serde_json::json!({"x": 1}))
        .unwrap()
        .query("a b", "1&2=+%")
        .secret_header("x-api-token", &FAKE_TOKEN.into());
    let answer = small().send(request).await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (201, Some("9")));
    assert_eq!(answer.json::<Vec<u8>>().unwrap(), [2]);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = answering(ResponseTemplate::new(200)).await;
    let server =
        answering(ResponseTemplate::new(302).insert_header("location", elsewhere.uri().as_str())).await;
    assert_eq!(small().send(Request::get(at(&server))).await.unwrap().status, 302);
    assert_eq!(elsewhere.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_body_of_just_the_cap_is_taken_and_one_byte_more_is_not() {
    let full = answering(ResponseTemplate::new(200).set_body_string("x".repeat(1_000))).await;
    assert_eq!(small().send(Request::get(at(&full))).await.unwrap().body.len(), 1_000);
    let over = answering(ResponseTemplate::new(200).set_body_string("x".repeat(1_001))).await;
    let error = small().send(Request::get(at(&over))).await.unwrap_err();
    assert!(matches!(error, OutboundError::TooLong { bytes_max: 1_000, .. }), "{error:?}");
    assert!(!error.nothing_was_sent());
}

#[tokio::test]
async fn an_endless_body_without_a_length_is_cut_off_at_the_cap() {
    let port = serve_raw(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "400\r\n".to_owned() + &"x".repeat(1_024) + "\r\n",
    );
    let to = Destination::of_operator(&format!("http://127.0.0.1:{port}/")).unwrap();
    let error = small().send(Request::get(to)).await.unwrap_err();
    assert!(matches!(error, OutboundError::TooLong { .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_that_stops_halfway_is_a_timeout() {
    let port = serve_raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", String::new());
    let to = Destination::of_operator(&format!("http://127.0.0.1:{port}/")).unwrap();
    let error = small().send(Request::get(to)).await.unwrap_err();
    assert!(matches!(error, OutboundError::Timeout { .. }), "{error:?}");
    assert!(!error.nothing_was_sent());
}

#[tokio::test]
async fn a_closed_port_is_a_failed_connect_of_which_nothing_was_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let to = Destination::of_operator(&format!("http://{address}/")).unwrap();
    let error = small().send(Request::get(to)).await.unwrap_err();
    assert!(matches!(error, OutboundError::Connect { .. }), "{error:?}");
    assert!(error.nothing_was_sent());
}

#[tokio::test]
async fn no_error_and_no_debug_shows_a_query_a_header_or_a_path() {
    let server = answering(ResponseTemplate::new(200).set_body_string("x".repeat(2_000))).await;
    let slow = answering(ResponseTemplate::new(200).set_delay(Duration::from_secs(2))).await;
    let closed = Destination::of_operator("http://127.0.0.1:1/").unwrap();
    for to in [at(&server), at(&slow), closed] {
        let request = Request::get(to.below(["secret-path"]))
            .query("term", "jane@example.com")
            .secret_header("x-api-token", &FAKE_TOKEN.into());
        let mut shown = vec![format!("{request:?}")];
        let outbound = small();
        let error: Box<dyn std::error::Error> = outbound.send(request).await.unwrap_err().into();
        for link in std::iter::successors(Some(&*error), |error| error.source()) {
            shown.push(format!("{link} {link:?}"));
        }
        shown.push(format!("{outbound:?}"));
        for secret in [FAKE_TOKEN, "jane", "secret-path"] {
            assert!(shown.iter().all(|text| !text.contains(secret)), "{secret} in {shown:?}");
        }
    }
}

#[tokio::test]
async fn a_secret_that_no_header_can_carry_is_not_shown_either() {
    let server = answering(ResponseTemplate::new(200)).await;
    let request = Request::get(at(&server)).secret_header("x-api-token", &"two\nlines".to_owned().into());
    let error = small().send(request).await.unwrap_err();
    assert!(matches!(error, OutboundError::Header { name: "x-api-token" }));
    assert!(!format!("{error} {error:?}").contains("two"));
}

/// Serves one connection: `head`, then `repeated` until the other side leaves, or nothing more and the connection
/// stays open.
fn serve_raw(head: &'static str, repeated: String) -> u16 {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a bound address").port();
    std::thread::spawn(move || {
        let (mut connection, _from) = listener.accept().expect("a connection");
        let mut asked = [0; 4_096];
        let mut alive = connection.read(&mut asked).is_ok() && connection.write_all(head.as_bytes()).is_ok();
        while alive && !repeated.is_empty() {
            alive = connection.write_all(repeated.as_bytes()).is_ok();
        }
        while connection.read(&mut asked).is_ok_and(|read| read > 0) {}
    });
    port
}
