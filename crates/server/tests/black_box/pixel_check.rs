//! `leadtrail pixel check` against pages of this machine.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process::{Ended, Home};

/// A site: `/` carries the tag, `/bare` none, `/moved` leads to `/` and forgets the query. The tag's script and its
/// events are those of the service at `service`.
fn site(service: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let service = service.clone();
            std::thread::spawn(move || answer(stream, &service));
        }
    });
    Ok(format!("http://{address}"))
}

fn answer(mut stream: TcpStream, service: &str) -> Result<()> {
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    while lines.read_line(&mut head)? > 2 {}
    let path = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let tag = format!("<script src='{service}/static/pixel.js' data-pixel-id='site' async></script>");
    let (status, headers, body) = match path {
        "/" => ("200 OK", "Content-Security-Policy: script-src http://127.0.0.1:*\r\n", tag),
        "/bare" => ("200 OK", "", "<p>nothing".to_owned()),
        "/moved" => ("301 Moved Permanently", "Location: /\r\n", String::new()),
        _ => ("404 Not Found", "", String::new()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}Content-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

#[test]
fn a_page_is_judged_in_lines_in_json_and_by_the_exit_code() -> Result<()> {
    let home = Home::new()?;
    home.json(&["project", "create", "--name", "Site", "--slug", "site", "--json"])?;
    home.json(&["pixel", "create", "--project", "site", "--name", "Site", "--id", "site", "--json"])?;
    let service = home.start(&["serve", "--bind", "127.0.0.1:0"], &[])?;
    let base = format!("http://{}", service.address());
    let site = site(base.clone())?;
    let check = |path: &str, more: &[&str]| -> Result<Ended> {
        let url = format!("{site}{path}");
        home.run_with(
            &[&["pixel", "check", &url][..], more].concat(),
            &[("LEADTRAIL__HTTP__PUBLIC_URL", &base)],
        )
    };
    let good = check("/", &["--pixel", "site"])?;
    assert_eq!(good.code, Some(0), "{good:?}");
    let lines: Vec<&str> = good.stdout.lines().collect();
    for part in [
        "ok    page",
        "ok    query",
        "ok    tag",
        "ok    pixel",
        "ok    csp",
        "ok    script",
        "ok    endpoint",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(part)), "{part} in {lines:#?}");
    }
    assert!(lines.iter().any(|line| line.starts_with("warn  events") && line.contains(" → ")), "{lines:#?}");

    let moved = check("/moved", &["--json"])?;
    assert_eq!(moved.code, Some(1), "{moved:?}");
    let json: Value = serde_json::from_str(&moved.stdout)?;
    assert_eq!((&json["ok"], &json["pixel_id"]), (&Value::from(false), &Value::from("site")));
    assert_eq!(json["reached"], format!("{site}/"));
    let checks = json["checks"].as_array().context("no list of checks")?;
    let failed: Vec<_> =
        checks.iter().filter(|one| one["verdict"] == "fail").map(|one| &one["name"]).collect();
    assert_eq!(failed, ["query"]);

    assert_eq!(check("/bare", &[])?.code, Some(1));
    assert_eq!(check("/absent", &[])?.code, Some(1));
    for wrong in
        ["nonsense", "http://www.example.com/", "https://user:word@www.example.com/", "file:///etc/passwd"]
    {
        let ended = home.run(&["pixel", "check", wrong])?;
        assert_eq!(ended.code, Some(2), "{wrong}: {ended:?}");
    }
    Ok(())
}
