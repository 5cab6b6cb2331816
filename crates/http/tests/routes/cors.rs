//! Which pages may send, and which may read the answer.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::service::{Reply, Service, pageview, pageview_with};

const ORIGIN: &str = "access-control-allow-origin";
const CREDENTIALS: &str = "access-control-allow-credentials";

async fn from(service: &Service, origin: &str) -> Reply {
    service.post_with(pageview().to_string(), &[("origin", origin)]).await
}

#[tokio::test]
async fn a_pixel_without_origins_takes_any() {
    let service = Service::start().await;
    for origin in ["https://www.example.com", "http://other.example:8080", "null"] {
        let reply = from(&service, origin).await;
        assert_eq!(reply.status, StatusCode::OK, "{origin}");
        assert_eq!((reply.header(ORIGIN), reply.header(CREDENTIALS)), (Some("*"), None));
        assert_eq!(reply.header("vary"), Some("Origin"));
    }
}

#[tokio::test]
async fn a_pixel_with_origins_takes_these_and_no_look_alikes() {
    let service = Service::with_origins(&["www.example.com", "*.shop.example"]).await;
    assert_eq!(from(&service, "https://www.example.com").await.status, StatusCode::OK);
    assert_eq!(from(&service, "https://www.example.com:8443").await.status, StatusCode::OK);
    assert_eq!(from(&service, "https://WWW.EXAMPLE.COM").await.status, StatusCode::OK);
    for origin in [
        "https://www.example.com.evil.example",
        "https://evilwww.example.com",
        "https://example.com",
        "https://shop.example",
        "https://www.example.com@evil.example",
        "null",
        "",
        "file://",
        "www.example.com",
    ] {
        let reply = from(&service, origin).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{origin}");
        assert_eq!(reply.fields(), ["origin"]);
    }
    assert_eq!(service.stored().await.len(), 3);
}

#[tokio::test]
async fn a_pixel_with_origins_takes_no_pages_of_other_sites() {
    let service = Service::with_origins(&["www.example.com"]).await;
    let foreign = pageview_with(json!({"page_url": "https://www.example.com.evil.example/"}));
    let reply = service.track(&foreign).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert_eq!(reply.fields(), ["page_url"]);
    let gif = service.get("/api/track/pixel.gif?pixel_id=demo&page_url=https://evil.example/").await;
    assert_eq!((gif.status, gif.bytes.len()), (StatusCode::OK, 43));
    assert!(service.stored().await.is_empty());
    assert_eq!(service.track(&pageview()).await.status, StatusCode::OK, "a server names no origin");
}

#[tokio::test]
async fn only_a_page_of_our_own_site_may_send_cookies_along() {
    let service = Service::start().await;
    for (host, origin, own) in [
        ("t.example.com", "https://www.example.com", true),
        ("t.example.com", "https://example.com.evil.example", false),
        ("t.example.com", "https://evilexample.com", false),
        ("alice.github.io", "https://bob.github.io", false),
    ] {
        let reply = service.post_with(pageview().to_string(), &[("host", host), ("origin", origin)]).await;
        let wanted = if own { (Some(origin), Some("true")) } else { (Some("*"), None) };
        assert_eq!((reply.header(ORIGIN), reply.header(CREDENTIALS)), wanted, "{origin}");
    }
}

#[tokio::test]
async fn a_page_may_read_why_it_was_refused() {
    let service = Service::start().await;
    let reply = service.post_with("{", &[("origin", "https://www.example.com")]).await;
    assert_eq!((reply.status, reply.header(ORIGIN)), (StatusCode::BAD_REQUEST, Some("*")));
}

#[tokio::test]
async fn a_preflight_is_answered() {
    let service = Service::start().await;
    for path in ["/api/track", "/api/track/track"] {
        let request = service.request(Method::OPTIONS, path).header("origin", "https://www.example.com");
        let reply = Reply::of(request.header("access-control-request-method", "POST")).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT);
        assert_eq!((reply.header(ORIGIN), reply.header(CREDENTIALS)), (Some("*"), None));
        assert_eq!(reply.header("access-control-allow-methods"), Some("POST, OPTIONS"));
        assert!(
            reply
                .header("access-control-allow-headers")
                .is_some_and(|headers| headers.contains("Content-Type"))
        );
    }
}

#[tokio::test]
async fn routes_that_collect_nothing_open_nothing() {
    let service = Service::start().await;
    for path in ["/", "/health", "/nowhere"] {
        let request = service.request(Method::GET, path).header("origin", "https://www.example.com");
        assert_eq!(Reply::of(request).await.header(ORIGIN), None, "{path}");
    }
}
