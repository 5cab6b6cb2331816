//! The visitor's cookie: which one a request carries, and how an answer sets it.

use actix_web::http::header::{COOKIE, HeaderMap, HeaderValue};
use leadtrail_domain::cookie::{self, NAMES};
use leadtrail_domain::id::VisitorCookie;
use leadtrail_domain::web_url::site_of;

/// 395 days: 13 months, the longest that regulators accept, under the 400 days that browsers cut to.
const MAX_AGE_SECONDS: u32 = 34_128_000;

/// The visitor's cookie among those of a request; a malformed one is passed over.
pub(crate) fn sent(headers: &HeaderMap) -> Option<VisitorCookie> {
    cookie::sent(headers.get_all(COOKIE).map(HeaderValue::as_bytes))
}

/// The `Set-Cookie` that keeps `cookie` on the site that `host` belongs to, readable by the page's script.
pub(crate) fn set(cookie: &VisitorCookie, host: &str, is_https: bool) -> String {
    use std::fmt::Write as _;
    let mut header = format!("{}={cookie}; Path=/; Max-Age={MAX_AGE_SECONDS}; SameSite=Lax", NAMES[0]);
    if let Some(domain) = domain(host) {
        write!(header, "; Domain={domain}").expect("writing to a string does not fail");
    }
    if is_https {
        header.push_str("; Secure");
    }
    header
}

/// The domain a cookie set by `host` is for; `None` where it can only be for the host itself.
fn domain(host: &str) -> Option<&str> {
    let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    (!is_address).then(|| site_of(host)).filter(|site| site.contains('.'))
}

#[cfg(test)]
mod tests {
    use leadtrail_domain::cookie::HEADER_BYTES_MAX;

    use super::*;

    fn among(cookies: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(cookies).unwrap());
        sent(&headers).map(String::from)
    }

    #[test]
    fn ours_is_taken_before_the_replaced_tools_wherever_they_stand() {
        assert_eq!(
            among("ppp_visitor=pxl_0123456789abcdef; a=b; lt_visitor=abcdefgh").as_deref(),
            Some("abcdefgh")
        );
        assert_eq!(among("ppp_visitor=pxl_0123456789abcdef").as_deref(), Some("pxl_0123456789abcdef"));
    }

    #[test]
    fn a_malformed_one_is_passed_over() {
        assert_eq!(
            among("lt_visitor=<script>; ppp_visitor=pxl_0123456789abcdef").as_deref(),
            Some("pxl_0123456789abcdef")
        );
        assert_eq!(among("lt_visitor=short; lt_visitor=longenough").as_deref(), Some("longenough"));
        for none in [
            "",
            ";;;",
            "lt_visitor",
            "lt_visitor=",
            "LT_VISITOR=abcdefgh",
            &format!("lt_visitor={}", "x".repeat(65)),
        ] {
            assert_eq!(among(none), None, "{none}");
        }
    }

    #[test]
    fn what_lies_beyond_the_bound_is_not_read() {
        assert_eq!(among(&format!("a={}; lt_visitor=abcdefgh", "x".repeat(HEADER_BYTES_MAX))), None);
    }

    #[test]
    fn it_is_for_the_registrable_domain_or_for_the_host_alone() {
        for (host, wanted) in [
            ("track.shop.example.co.uk", Some("example.co.uk")),
            ("example.com", Some("example.com")),
            ("localhost", None),
            ("intranet", None),
            ("127.0.0.1", None),
            ("[::1]", None),
        ] {
            assert_eq!(domain(host), wanted, "{host}");
        }
    }

    #[test]
    fn it_is_secure_on_https_only_and_never_http_only() {
        let cookie: VisitorCookie = "abcdefgh".parse().unwrap();
        assert_eq!(
            set(&cookie, "t.example.com", true),
            "lt_visitor=abcdefgh; Path=/; Max-Age=34128000; SameSite=Lax; Domain=example.com; Secure"
        );
        assert_eq!(
            set(&cookie, "localhost", false),
            "lt_visitor=abcdefgh; Path=/; Max-Age=34128000; SameSite=Lax"
        );
    }
}
