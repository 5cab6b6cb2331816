//! Requests as raw bytes: where two readers could see two requests in them, they are refused (RFC 9112, section 11.2).

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::service::Service;

/// Far longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a smuggler wants answered.
const HIDDEN: &str = "GET /static/index.css HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

/// What the service says to `bytes`.
async fn said_to(service: &Service, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(service.address).await.expect("the service listens");
    // The service may hang up before it has read what it will not take.
    let sent = socket.write_all(bytes).await;
    let mut said = Vec::new();
    let read = async { while matches!(socket.read_buf(&mut said).await, Ok(read) if read > 0) {} };
    tokio::time::timeout(PATIENCE, read).await.expect("closed in time");
    assert!(sent.is_ok() || said.is_empty() || said.starts_with(b"HTTP/1.1 4"));
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn a_body_whose_length_can_be_read_in_two_ways_is_refused_and_what_follows_is_no_request() {
    let service = Service::start().await;
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "Content-Length: 0, 0\r\n\r\n",
        "Content-Length: +0\r\n\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 0x0\r\n\r\n",
        "Content-Length: 1e0\r\n\r\n",
        "Content-Length: 0 0\r\n\r\n",
        "Content-Length:\r\n\r\n",
        "Content-Length: 18446744073709551616\r\n\r\n",
        "Content-Length : 0\r\n\r\n",
        "Content-Length\r\n\r\n",
        ": 0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: identity\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "X-A: b\r\n c\r\n\r\n",
        "X-A: b\r\n\tc\r\n\r\n",
        "X-A: b\rContent-Length: 0\r\n\r\n",
        "X-A: b\0c\r\n\r\n",
        "X A: b\r\n\r\n",
        "Host: b.example\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nz\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n+1\r\n \r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0x1\r\n \r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n-1\r\n \r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\n \r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1\r\n   \r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1\n \n0\n\n",
        "Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\n \r\n0\r\n\r\n",
    ] {
        let request = format!("POST /api/track HTTP/1.1\r\nHost: a.example\r\n{framing}{HIDDEN}");
        let said = said_to(&service, request.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{framing:?}: {said}");
        // A chunk that is none breaks off a body that is being answered already: it is told of twice.
        let answers = said.matches("HTTP/1.1 ").count();
        assert_eq!(said.matches("HTTP/1.1 400 ").count(), answers, "{framing:?}: {said}");
    }
    assert!(service.stored().await.is_empty());
}

#[tokio::test]
async fn a_head_that_is_none_is_refused() {
    let service = Service::start().await;
    for head in [
        "GET /health/live HTTP/1.1\r\n\r\n",
        "POST /api/track HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a.example\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a.example\r\n\r\n",
        "GET / http/1.1\r\nHost: a.example\r\n\r\n",
        "GET /\u{1} HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "G\u{7f}T / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}",
    ] {
        let said = said_to(&service, head.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{head:?}: {said}");
    }
}

#[tokio::test]
async fn fifty_headers_are_read_and_more_or_larger_ones_than_there_is_room_for_are_not() {
    let service = Service::start().await;
    let with = async |headers: String| {
        let head =
            format!("GET /health/live HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n{headers}\r\n");
        said_to(&service, head.as_bytes()).await
    };
    let so_many = |count: usize| (0..count).map(|n| format!("X-{n}: y\r\n")).collect::<Vec<_>>().concat();
    for taken in [so_many(50), format!("X-A: {}\r\n", "y".repeat(60_000))] {
        let said = with(taken).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    }
    let said = with(so_many(150)).await;
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
    // Of a head that is not read to its end the answer may be lost with the connection.
    let said = with(format!("X-A: {}\r\n", "y".repeat(200_000))).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431 "), "{said}");
}

#[tokio::test]
async fn what_is_framed_well_is_read_as_often_as_it_stands_there() {
    let service = Service::start().await;
    let body = "{}";
    let plain = format!("POST /api/track HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\n{body}");
    let chunked = "POST /api/track HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n\
                   1;name=value\r\n{\r\n01\r\n}\r\n0\r\nTrailer: x\r\n\r\n";
    let said = said_to(&service, format!("{plain}{chunked}{plain}{HIDDEN}").as_bytes()).await;
    assert_eq!(said.matches("HTTP/1.1 400 ").count(), 3, "{said}");
    assert_eq!(said.matches("not a valid event").count(), 3, "{said}");
    assert_eq!(said.matches("HTTP/1.1 200 ").count(), 1, "{said}");
}
