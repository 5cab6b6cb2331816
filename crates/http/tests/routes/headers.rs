//! The headers that every answer has, whatever the route, the method and the outcome.

use leadtrail_domain::key::Scope;
use leadtrail_http::{Class, HttpSettings, Proxies, routes};
use reqwest::header::{HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::service::{Reply, Service, Setup, pageview};

/// The headers that have one value everywhere.
const EVERYWHERE: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), display-capture=(), geolocation=(), microphone=(), midi=(), payment=(), usb=()",
    ),
];
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

async fn serving_everything() -> Service {
    let settings = HttpSettings { demo_site: true, ..HttpSettings::default() };
    Service::with(Setup { settings, ..Setup::default() }).await
}

fn assert_safe(reply: &Reply, asked: &str) {
    for (name, value) in EVERYWHERE {
        assert_eq!(reply.header(name), Some(value), "{asked}: {name}");
    }
    let policy = reply.header("content-security-policy").unwrap_or_default();
    for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action "] {
        assert!(policy.contains(directive), "{asked}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{asked}: {policy}");
    if !reply.header("content-type").is_some_and(|form| form.starts_with("text/html")) {
        assert!(policy == NO_PAGE || asked.contains(" /demo"), "{asked}: {policy}");
    }
    // A redirect says which referrer the request after it has.
    let is_demo = asked.contains(" /demo") && reply.status.as_u16() < 400;
    let referrers = if is_demo { "strict-origin-when-cross-origin" } else { "no-referrer" };
    assert_eq!(reply.header("referrer-policy"), Some(referrers), "{asked}");
    if reply.status.is_client_error() || reply.status.is_server_error() {
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{asked}");
    }
    assert!(reply.header("cache-control").is_some(), "{asked}");
    assert!(reply.header("x-request-id").is_some(), "{asked}");
    for told in ["server", "x-powered-by", "strict-transport-security"] {
        assert_eq!(reply.header(told), None, "{asked}");
    }
    let is_for_all_sites =
        ["/api/track", "/static/p", "/px.js", "/px-plus.js"].iter().any(|at| asked.contains(at))
            && ![StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_FOUND].contains(&reply.status);
    let may_load = if is_for_all_sites { "cross-origin" } else { "same-origin" };
    assert_eq!(reply.header("cross-origin-resource-policy"), Some(may_load), "{asked}");
}

#[tokio::test]
async fn every_route_answers_with_them_whether_it_succeeds_or_not() {
    let service = serving_everything().await;
    let secret = service.add_key(1, &[Scope::Admin], None).await;
    for route in routes() {
        let path = route.path.replace("{id}", "demo").replace("{name}", "index.css").replace("{name:.*}", "");
        let methods = match route.method {
            "GET" => vec![Method::GET, Method::HEAD, Method::TRACE],
            other => vec![Method::from_bytes(other.as_bytes()).unwrap(), Method::TRACE],
        };
        for method in methods {
            for key in [None, Some("nonsense"), Some(secret.as_str())] {
                let asked = format!("{method} {path} with {key:?}");
                let mut request = service.request(method.clone(), &path);
                if let Some(key) = key {
                    request = request.header("x-api-key", key);
                }
                let (reply, no_json) = (
                    Reply::of(request.try_clone().expect("no body")).await,
                    Reply::of(request.header("content-type", "application/json").body("{")).await,
                );
                assert_safe(&reply, &asked);
                assert_safe(&no_json, &asked);
                if route.class != Class::Public {
                    assert_eq!(reply.header("cache-control"), Some("no-store"), "{asked}");
                    assert_eq!(reply.header("access-control-allow-origin"), None, "{asked}");
                    let is_let_in = key == Some(&secret) || route.class == Class::Local;
                    assert!(reply.status != StatusCode::OK || is_let_in, "{asked}");
                }
            }
        }
    }
}

#[tokio::test]
async fn answers_without_a_body_and_paths_that_lead_nowhere_have_them_too() {
    let service = serving_everything().await;
    let tag = service.get("/static/pixel.js").await.header("etag").expect("a tag").to_owned();
    let not_modified = service.request(Method::GET, "/static/pixel.js").header("if-none-match", tag);
    let not_modified = Reply::of(not_modified).await;
    assert_eq!(not_modified.status, StatusCode::NOT_MODIFIED);
    assert_safe(&not_modified, "304 /static/pixel.js");
    let dropped = service
        .request(Method::POST, "/api/track")
        .headers(HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static("curl/8.14.1"))]));
    let dropped = Reply::of(dropped.body(pageview().to_string())).await;
    assert_eq!(dropped.status, StatusCode::NO_CONTENT);
    assert_safe(&dropped, "204 /api/track");
    let preflight = Reply::of(service.request(Method::OPTIONS, "/api/track")).await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT);
    assert_safe(&preflight, "OPTIONS /api/track");
    for (path, status) in [
        ("/nowhere", StatusCode::NOT_FOUND),
        ("/api/nowhere", StatusCode::NOT_FOUND),
        ("/%00", StatusCode::NOT_FOUND),
        ("/static/%ff", StatusCode::NOT_FOUND),
        ("/demo/%ff%2e%2e/", StatusCode::NOT_FOUND),
        ("/static/../Cargo.toml", StatusCode::NOT_FOUND),
        ("/api/projects/%ff", StatusCode::UNAUTHORIZED),
        ("/?%ff=%", StatusCode::OK),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let reply = Reply::of(service.request(method.clone(), path)).await;
            assert_eq!(reply.status, status, "{method} {path}");
            assert_safe(&reply, path);
        }
    }
    let large = Reply::of(service.request(Method::POST, "/api/track").body("x".repeat(100_000))).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_safe(&large, "413 /api/track");
    service.store.set_unavailable(true);
    for reply in [service.track(&pageview()).await, service.get("/health/ready").await] {
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        let asked = if reply.header("retry-after").is_some() { "503 /api/track" } else { "503" };
        assert_safe(&reply, asked);
    }
}

#[tokio::test]
async fn other_sites_may_load_the_pixel_and_nothing_else() {
    let service = serving_everything().await;
    for path in [
        "/static/pixel.js",
        "/px.js",
        "/px-plus.js",
        "/static/pixel.src.js",
        "/api/track/pixel.gif",
        "/api/track/pixel.gif?pixel_id=demo&page_url=https://a.example/",
    ] {
        let reply = service.get(path).await;
        assert_eq!(
            (reply.status, reply.header("cross-origin-resource-policy")),
            (StatusCode::OK, Some("cross-origin")),
            "{path}"
        );
    }
    assert_eq!(service.get("/px.js").await.header("access-control-allow-origin"), Some("*"));
    let tracked = service.track(&pageview()).await;
    assert_eq!(tracked.header("cross-origin-resource-policy"), Some("cross-origin"));
    for path in ["/", "/static/index.css", "/demo/", "/health", "/api/projects"] {
        let reply = service.get(path).await;
        assert_eq!(reply.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), None, "{path}");
    }
}

#[tokio::test]
async fn browsers_are_bound_to_https_only_where_the_service_is_reached_by_it() {
    let public = |url: &str| HttpSettings { public_url: url.parse().ok(), ..HttpSettings::default() };
    let trusted = vec!["127.0.0.0/8".parse().expect("a network")];
    let behind =
        HttpSettings { proxies: Proxies { trusted, ..Proxies::default() }, ..HttpSettings::default() };
    for (settings, forwarded_proto, is_bound) in [
        (HttpSettings::default(), None, false),
        // Nobody trusts whoever says so.
        (HttpSettings::default(), Some("https"), false),
        (public("http://localhost:8080"), Some("https"), false),
        (public("https://track.example.com"), None, true),
        (behind.clone(), None, false),
        (behind.clone(), Some("http"), false),
        (behind, Some("https"), true),
    ] {
        let service = Service::with(Setup { settings, ..Setup::default() }).await;
        for path in ["/", "/static/pixel.js", "/nowhere", "/api/projects"] {
            let mut request = service.request(Method::GET, path);
            if let Some(proto) = forwarded_proto {
                request = request.header("x-forwarded-proto", proto);
            }
            let reply = Reply::of(request).await;
            // Not for the hosts below: they are the site's own.
            let expected = is_bound.then_some("max-age=63072000");
            assert_eq!(reply.header("strict-transport-security"), expected, "{path} {forwarded_proto:?}");
        }
    }
}

#[tokio::test]
async fn what_a_key_is_shown_is_kept_by_no_cache() {
    let service = Service::start().await;
    let secret = service.add_key(1, &[Scope::Admin], None).await;
    for path in ["/api/projects", "/api/projects/demo", "/api/pixels/demo/snippet", "/api/keys"] {
        let request = service.request(Method::GET, path).bearer_auth(&secret);
        let reply = Reply::of(request).await;
        assert_eq!(
            (reply.status, reply.header("cache-control")),
            (StatusCode::OK, Some("no-store")),
            "{path}"
        );
    }
    let created = service.request(Method::POST, "/api/projects").bearer_auth(&secret);
    let created = Reply::of(created.json(&json!({"name": "Another"}))).await;
    assert_eq!((created.status, created.header("cache-control")), (StatusCode::CREATED, Some("no-store")));
}
