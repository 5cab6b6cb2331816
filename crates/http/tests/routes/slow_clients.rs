//! Clients that keep a connection waiting: each is hung up on in time, and the others are served meanwhile.

use std::time::Duration;

use futures::future::join_all;
use leadtrail_http::{FILES_PER_CONNECTION, HttpSettings, raise_open_files};
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, timeout};

use crate::service::{BROWSER, Service, Setup, pageview};

/// Far longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for a request on a busy machine.
const BRIEF: Duration = Duration::from_secs(1);

async fn impatient() -> Service {
    let settings = HttpSettings {
        head_timeout: BRIEF,
        body_timeout: BRIEF,
        read_timeout: BRIEF,
        keep_alive: BRIEF,
        ..HttpSettings::default()
    };
    Service::with(Setup { settings, ..Setup::default() }).await
}

async fn connected(service: &Service) -> TcpStream {
    TcpStream::connect(service.address).await.expect("the service listens")
}

/// What the service says until it hangs up.
async fn rest(socket: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let read = timeout(PATIENCE, socket.read_to_end(&mut said)).await.expect("hung up on in time");
    // Where bytes of ours were not read any more, the end is a reset.
    drop(read);
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn by_default_nobody_keeps_a_connection_waiting_for_more_than_ten_seconds() {
    let HttpSettings { head_timeout, body_timeout, read_timeout, .. } = HttpSettings::default();
    assert!(head_timeout + body_timeout <= Duration::from_secs(10));
    assert!(read_timeout <= Duration::from_secs(10));
}

#[tokio::test]
async fn who_says_nothing_or_half_a_head_is_hung_up_on() {
    let service = impatient().await;
    let starts = ["", "\r\n", "P", "POST /api/track HTTP/1.1\r\nHost: a.exa", "POST / HTTP/1.1\r\nA: b\r\n"];
    let all = starts.map(async |start| {
        let mut socket = connected(&service).await;
        socket.write_all(start.as_bytes()).await.unwrap();
        let said = rest(&mut socket).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{start}: {said}");
    });
    join_all(all).await;
}

#[tokio::test]
async fn who_says_nothing_or_half_a_head_after_an_answer_is_hung_up_on() {
    let service = impatient().await;
    let nexts = ["", "G", "GET /health/live HTTP/1.1\r\nHost: a.exa"];
    let all = nexts.map(async |next| {
        let mut socket = connected(&service).await;
        socket.write_all(b"GET /health/live HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        socket.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        socket.write_all(next.as_bytes()).await.unwrap();
        let said = rest(&mut socket).await;
        assert!(!said.contains("HTTP/1.1"), "{next}: {said}");
    });
    join_all(all).await;
}

#[tokio::test]
async fn a_body_that_dribbles_for_ever_is_answered_408_and_hung_up_on() {
    let service = impatient().await;
    let dribbling = ["Content-Length: 60000", "Transfer-Encoding: chunked"].map(async |form| {
        let (mut reading, mut writing) = connected(&service).await.into_split();
        let head = format!("POST /api/track HTTP/1.1\r\nHost: a.example\r\n{form}\r\n\r\n");
        writing.write_all(head.as_bytes()).await.unwrap();
        let dribble = async {
            let mut pace = interval(BRIEF / 100);
            loop {
                pace.tick().await;
                if writing.write_all(b"1\r\n \r\n").await.is_err() {
                    return;
                }
            }
        };
        let mut said = Vec::new();
        let read = async { while matches!(reading.read_buf(&mut said).await, Ok(read) if read > 0) {} };
        let both = async { tokio::join!(dribble, read) };
        timeout(PATIENCE, both).await.expect("hung up on in time");
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.starts_with("HTTP/1.1 408 "), "{form}: {said}");
    });
    join_all(dribbling).await;
    assert!(service.stored().await.is_empty());
}

/// Sends `request` again and again, reads nothing, and returns when the service hangs up.
async fn send_until_hung_up_on(service: &Service, request: &str) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut socket = socket.connect(service.address).await.expect("the service listens");
    let sending = async { while socket.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, sending).await.expect("hung up on in time");
}

#[tokio::test]
async fn who_does_not_read_is_hung_up_on_whatever_the_answers_are() {
    // However long a connection that is read from may be idle.
    let settings = HttpSettings {
        read_timeout: BRIEF,
        keep_alive: PATIENCE * 6,
        head_timeout: PATIENCE * 6,
        ..HttpSettings::default()
    };
    let service = Service::with(Setup { settings, ..Setup::default() }).await;
    let starts = [
        "GET /static/pixel.js",
        "GET /nowhere",
        // These have no body, and the HTTP layer counts nothing else.
        "HEAD /static/pixel.js",
        "OPTIONS /api/track",
    ];
    let all = starts.map(async |start| {
        let request = format!("{start} HTTP/1.1\r\nHost: a.example\r\n\r\n").repeat(100);
        send_until_hung_up_on(&service, &request).await;
    });
    join_all(all).await;
    assert_eq!(service.get("/health/live").await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_reads_slowly_gets_every_answer() {
    let service = impatient().await;
    let mut socket = connected(&service).await;
    let request = "OPTIONS /api/track HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let last = "GET /health/live HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    let mut all = request.repeat(2_000);
    all.push_str(last);
    let (mut reading, mut writing) = socket.split();
    let mut said = Vec::new();
    let (sent, read) = timeout(PATIENCE, async {
        tokio::join!(writing.write_all(all.as_bytes()), reading.read_to_end(&mut said))
    })
    .await
    .expect("hung up on in time");
    sent.unwrap();
    read.unwrap();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(said.matches("HTTP/1.1 204 ").count(), 2_000);
    assert_eq!(said.matches("HTTP/1.1 200 ").count(), 1);
}

#[tokio::test]
async fn a_thousand_idle_connections_keep_nobody_from_being_served() {
    const IDLE: usize = 1_000;
    // The clients' ends are files of this process too.
    assert!(raise_open_files() > IDLE * (FILES_PER_CONNECTION + 1), "raise the hard limit (`ulimit -Hn`)");
    let service = Service::with(Setup {
        settings: HttpSettings { head_timeout: Duration::from_secs(2), ..HttpSettings::default() },
        ..Setup::default()
    })
    .await;
    let mut idle = join_all((0..IDLE).map(|_| connected(&service))).await;
    for socket in idle.iter_mut().step_by(2) {
        socket.write_all(b"POST /api/track HTTP/1.1\r\nHo").await.unwrap();
    }
    let served = join_all((0..50).map(|_| async { service.track(&pageview()).await.status })).await;
    assert!(served.iter().all(|status| *status == StatusCode::OK), "{served:?}");
    join_all(idle.iter_mut().map(rest)).await;
    assert_eq!(service.stored().await.len(), 50);
}

#[tokio::test]
async fn no_more_connections_are_open_than_may_be_and_further_ones_wait_their_turn() {
    let settings = HttpSettings { connections_max: 2, head_timeout: BRIEF, ..HttpSettings::default() };
    let service = Service::with(Setup { settings, ..Setup::default() }).await;
    let mut idle = join_all((0..6).map(|_| connected(&service))).await;
    let body = pageview().to_string();
    let head = format!(
        "POST /api/track HTTP/1.1\r\nHost: a.example\r\nUser-Agent: {BROWSER}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut waiting = connected(&service).await;
    waiting.write_all(head.as_bytes()).await.unwrap();
    let said = rest(&mut waiting).await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    join_all(idle.iter_mut().map(rest)).await;
}
