//! The log under senders who write to its readers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::process::{Home, PATIENCE};

/// Ends a line, begins one of its own, and paints a terminal red.
const FORGED: &str = "x\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}\u{1b}[31m\u{202e}\0";

#[test]
fn whatever_is_sent_every_line_of_the_log_is_one_of_ours() -> Result<()> {
    let home = Home::new()?;
    let store = home.sqlite();
    let verbose = [("LEADTRAIL__LOG__FORMAT", "json"), ("LEADTRAIL__LOG__LEVEL", "trace")];
    let mut service = home.start(&["serve", "--bind", "127.0.0.1:0", "--store", &store], &verbose)?;
    let text = Value::from(FORGED).to_string();
    let event = format!(
        r#"{{"pixel_id":{text},"page_url":{text},"page_title":{text},"event_type":{text},"form_data":{{{text}:{text}}}}}"#
    );
    let escaped = "x%0d%0a%7b%22level%22%3a%22ERROR%22%7d%1b[31m%00";
    // 0x9b alone begins a terminal's commands, where it is no part of a longer character.
    let header = b"x\t{\"level\":\"ERROR\"} \x9b31m \xe2\x80\xae";
    for (line, body) in [
        ("POST /api/track".to_owned(), event.as_str()),
        (format!("POST /api/track?{escaped}"), text.as_str()),
        (format!("GET /{escaped}"), ""),
        (format!("GET /api/projects/{escaped}?cursor={escaped}"), ""),
        (format!("GET /api/track/pixel.gif?pixel_id={escaped}&page_url={escaped}"), ""),
    ] {
        let mut socket = TcpStream::connect(service.address())?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            socket,
            "{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: {length}\r\n"
        )?;
        for name in
            ["User-Agent", "Referer", "Origin", "X-Request-Id", "X-API-Key", "Cookie", "X-Forwarded-For"]
        {
            write!(socket, "{name}: ")?;
            socket.write_all(header)?;
            socket.write_all(b"\r\n")?;
        }
        write!(socket, "\r\n{body}")?;
        let mut said = Vec::new();
        socket.read_to_end(&mut said)?;
        ensure!(said.starts_with(b"HTTP/1.1 "), "{line}: {said:?}");
        ensure!(!said.starts_with(b"HTTP/1.1 5"), "{line}: {}", String::from_utf8_lossy(&said));
    }
    // No request at all, and no error of ours.
    TcpStream::connect(service.address())?.write_all(b"\x1b[31m\r\n\r\n")?;
    service.terminate()?;
    let log = service.log()?;
    ensure!(log.lines().count() > 10, "{log}");
    for line in log.lines() {
        let read: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(read["timestamp"].is_string() && read["target"].is_string(), "{line}");
        ensure!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line}");
        ensure!(read["level"] != "ERROR", "{line}");
    }
    Ok(())
}
