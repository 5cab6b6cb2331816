//! A proxy in front that nobody trusts.

use anyhow::Result;

use crate::client::Connection;
use crate::process::{Home, Service};

const MEND: &str = "http.trusted_proxies";

/// What a service says where nobody asks for more.
const USUAL: (&str, &str) = ("LEADTRAIL__LOG__LEVEL", "");

fn start(home: &Home, environment: &[(&str, &str)]) -> Result<Service> {
    home.start(&["serve", "--bind", "127.0.0.1:0", "--store", &home.sqlite()], environment)
}

#[test]
fn a_start_warns_where_a_proxy_must_be_in_front_and_none_is_trusted() -> Result<()> {
    let home = Home::new()?;
    let https = ("LEADTRAIL__HTTP__PUBLIC_URL", "https://track.example");
    let log = start(&home, &[https, USUAL])?.log()?;
    assert_eq!(log.matches(MEND).count(), 1, "{log}");
    let trusting = [https, ("LEADTRAIL__HTTP__TRUSTED_PROXIES", "127.0.0.1"), USUAL];
    assert_eq!(start(&home, &trusting)?.problems()?, "");
    let plain = [("LEADTRAIL__HTTP__PUBLIC_URL", "http://track.example"), USUAL];
    assert_eq!(start(&home, &plain)?.problems()?, "");
    Ok(())
}

#[test]
fn the_first_request_that_a_proxy_passes_on_is_warned_of_once() -> Result<()> {
    let home = Home::new()?;
    let service = start(&home, &[USUAL])?;
    for _ in 0..3 {
        let request =
            b"GET /api/track/pixel.gif HTTP/1.1\r\nHost: t.example\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
        assert_eq!(Connection::open(service.address())?.exchange(request)?.status, 200);
    }
    let log = service.log()?;
    assert_eq!(log.matches(MEND).count(), 1, "{log}");
    assert!(!log.contains("203.0.113.9"), "{log}");
    Ok(())
}
