//! When the visitor's cookie is set, and which one is read.

use leadtrail_domain::id::VisitorCookie;
use leadtrail_http::HttpSettings;
use reqwest::Method;
use serde_json::json;

use crate::service::{Reply, Service, Setup, pageview, pageview_with};

async fn set_cookie(service: &Service, headers: &[(&str, &str)]) -> Option<String> {
    service.post_with(pageview().to_string(), headers).await.header("set-cookie").map(str::to_owned)
}

#[tokio::test]
async fn a_page_of_our_own_site_gets_it_for_the_whole_site() {
    let service = Service::start().await;
    let reply = service.post_with(pageview().to_string(), &[("host", "t.example.com")]).await;
    let cookie = reply.json()["visitor_cookie"].as_str().unwrap().to_owned();
    let wanted = format!("lt_visitor={cookie}; Path=/; Max-Age=34128000; SameSite=Lax; Domain=example.com");
    assert_eq!(reply.header("set-cookie"), Some(&*wanted));
}

#[tokio::test]
async fn a_page_of_another_site_gets_none() {
    let service = Service::start().await;
    for host in ["tracker.example", "example.com.evil.example", "evilexample.com", "com", ""] {
        assert_eq!(set_cookie(&service, &[("host", host)]).await, None, "{host}");
    }
    for origin in ["https://evil.example", "null"] {
        let headers = [("host", "t.example.com"), ("origin", origin)];
        assert_eq!(
            set_cookie(&service, &headers).await,
            None,
            "a page that lies about its address: {origin}"
        );
    }
}

#[tokio::test]
async fn it_is_secure_where_the_world_uses_https() {
    let public_url = "https://t.example.com".parse().ok();
    let service = Service::with(Setup {
        settings: HttpSettings { public_url, ..HttpSettings::default() },
        ..Setup::default()
    })
    .await;
    assert!(
        set_cookie(&service, &[("host", "t.example.com")])
            .await
            .is_some_and(|cookie| cookie.ends_with("; Secure"))
    );
}

#[tokio::test]
async fn on_an_address_or_a_single_name_it_is_for_the_host_alone() {
    let service = Service::start().await;
    for (page, host) in
        [("http://127.0.0.1:3000/", "127.0.0.1:8080"), ("http://localhost/", "localhost:8080")]
    {
        let event = pageview_with(json!({"page_url": page}));
        let reply = service.post_with(event.to_string(), &[("host", host)]).await;
        assert!(reply.header("set-cookie").is_some_and(|cookie| !cookie.contains("Domain")), "{host}");
    }
}

#[tokio::test]
async fn the_one_sent_is_kept_and_a_malformed_one_replaced() {
    let service = Service::start().await;
    for (sent, wanted) in [
        ("lt_visitor=abcdefgh", Some("abcdefgh")),
        ("ppp_visitor=pxl_0123456789abcdef", Some("pxl_0123456789abcdef")),
        ("ppp_visitor=pxl_0123456789abcdef; lt_visitor=abcdefgh", Some("abcdefgh")),
        ("lt_visitor=<script>", None),
        ("lt_visitor=\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", None),
    ] {
        let answer = service.post_with(pageview().to_string(), &[("cookie", sent)]).await.json();
        let cookie = answer["visitor_cookie"].as_str().unwrap();
        match wanted {
            Some(wanted) => assert_eq!(cookie, wanted),
            None => assert_eq!(cookie.len(), 32, "{sent}"),
        }
    }
}

#[tokio::test]
async fn the_gif_reads_and_sets_it() {
    let service = Service::start().await;
    let path = "/api/track/pixel.gif?pixel_id=demo&page_url=https://www.example.com/";
    let request = service.request(Method::GET, path).header("host", "t.example.com");
    let reply = Reply::of(request.header("cookie", "lt_visitor=abcdefgh")).await;
    assert!(reply.header("set-cookie").is_some_and(|cookie| cookie.starts_with("lt_visitor=abcdefgh; ")));
    assert_eq!(service.stored().await[0].event.visitor.cookie().map(VisitorCookie::as_str), Some("abcdefgh"));
}
