//! Bad input is answered with a clear 4xx, never a 5xx, and stores nothing.

use leadtrail_http::EVENT_BYTES_MAX;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::service::{Reply, Service, pageview, pageview_with};

/// Asserts that a body is answered 400 with a complaint about `field`, and that nothing is stored.
async fn assert_refused(body: impl Into<reqwest::Body>, field: &str) {
    let service = Service::start().await;
    let reply = service.post(body).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply:?}");
    let json = reply.json();
    assert_eq!(json["success"], false);
    assert!(json["error"].is_string());
    assert!(reply.fields().iter().any(|named| named == field), "{json}");
    assert!(service.stored().await.is_empty());
}

/// Asserts that a body is stored as one event, and answers it.
async fn assert_stored(body: impl Into<reqwest::Body>) -> leadtrail_domain::event::Event {
    let service = Service::start().await;
    let reply = service.post(body).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let mut stored = service.stored().await;
    assert_eq!(stored.len(), 1);
    stored.remove(0).event
}

fn sized(bytes: usize) -> String {
    let empty = pageview_with(json!({"page_title": ""})).to_string().len();
    let body = pageview_with(json!({"page_title": "x".repeat(bytes - empty)})).to_string();
    assert_eq!(body.len(), bytes);
    body
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    for body in ["", " ", "{", "null", "[]", "pixel_id=demo", r#"{"pixel_id":"demo",}"#, "{} {}", "\u{0}"] {
        assert_refused(body, "body").await;
    }
}

#[tokio::test]
async fn what_is_not_utf8_is_refused() {
    assert_refused(
        b"{\"pixel_id\":\"demo\",\"page_url\":\"https://a.example/\",\"page_title\":\"\xff\"}".to_vec(),
        "body",
    )
    .await;
    assert_refused(b"\xff\xfe{\x00}\x00".to_vec(), "body").await;
}

#[tokio::test]
async fn a_lone_surrogate_is_refused() {
    assert_refused(r#"{"pixel_id":"demo","page_url":"https://a.example/","page_title":"\ud800"}"#, "body")
        .await;
}

#[tokio::test]
async fn a_duplicate_key_is_refused() {
    assert_refused(
        r#"{"pixel_id":"demo","page_url":"https://a.example/","page_url":"https://b.example/"}"#,
        "body",
    )
    .await;
    assert_refused(
        r#"{"pixel_id":"demo","page_url":"https://a.example/","utm_source":"a","utm_source":"b"}"#,
        "body",
    )
    .await;
}

#[tokio::test]
async fn eight_thousand_open_brackets_are_refused_and_as_many_pairs_are_skipped() {
    let open = "[".repeat(8_000);
    assert_refused(open.clone(), "body").await;
    assert_refused(format!(r#"{{"pixel_id":"demo","page_url":"https://a.example/","x":{open}"#), "body")
        .await;
    let close = "]".repeat(8_000);
    assert_stored(format!(r#"{{"pixel_id":"demo","page_url":"https://a.example/","x":{open}{close}}}"#))
        .await;
}

#[tokio::test]
async fn a_missing_unknown_or_archived_pixel_is_refused() {
    for pixel_id in [
        json!(null),
        json!(""),
        json!(7),
        json!("a b"),
        json!("nobody"),
        json!("archived"),
        json!("x".repeat(65)),
    ] {
        assert_refused(pageview_with(json!({"pixel_id": pixel_id})).to_string(), "pixel_id").await;
    }
    assert_refused("{}", "pixel_id").await;
    assert_refused("{}", "page_url").await;
}

#[tokio::test]
async fn a_page_url_that_is_no_http_address_is_refused() {
    for page_url in [
        json!(null),
        json!(""),
        json!(7),
        json!("/pricing"),
        json!("javascript:alert(1)"),
        json!("file:///etc/passwd"),
    ] {
        assert_refused(pageview_with(json!({"page_url": page_url})).to_string(), "page_url").await;
    }
}

#[tokio::test]
async fn sixty_four_kibibytes_are_taken_and_one_byte_more_is_not() {
    assert_stored(sized(EVENT_BYTES_MAX)).await;
    let service = Service::start().await;
    for bytes in [EVENT_BYTES_MAX + 1, 65 * 1_024, 900 * 1_024] {
        let reply = service.post(sized(bytes)).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(reply.fields(), ["body"]);
    }
    assert!(service.stored().await.is_empty());
}

#[tokio::test]
async fn a_click_id_of_three_megabytes_is_too_large_and_one_of_sixty_kilobytes_is_cut() {
    let service = Service::start().await;
    let huge = pageview_with(json!({"gclid": "x".repeat(3_000_000)})).to_string();
    // The service may hang up before it has read what it will not take.
    let sent = service.request(Method::POST, "/api/track").body(huge).send().await;
    assert!(sent.is_err() || sent.is_ok_and(|response| response.status() == StatusCode::PAYLOAD_TOO_LARGE));
    assert!(service.stored().await.is_empty());

    let event = assert_stored(pageview_with(json!({"gclid": "x".repeat(60_000)})).to_string()).await;
    assert_eq!(event.signals.click_id("gclid").map(str::len), Some(500));
}

#[tokio::test]
async fn a_chunked_body_without_a_length_is_bounded_too() {
    let service = Service::start().await;
    let chunks = futures::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>("x".repeat(64 * 1_024))));
    let sent =
        service.request(Method::POST, "/api/track").body(reqwest::Body::wrap_stream(chunks)).send().await;
    assert!(sent.is_err() || sent.is_ok_and(|response| response.status() == StatusCode::PAYLOAD_TOO_LARGE));
}

#[tokio::test]
async fn nul_bytes_are_removed_and_the_rest_is_kept() {
    let event = assert_stored(
        pageview_with(json!({"page_title": "a\u{0}b", "utm_campaign": "\u{0}spring"})).to_string(),
    )
    .await;
    assert_eq!(event.page_title.as_deref(), Some("ab"));
    assert_eq!(event.signals.utm.campaign.as_deref(), Some("spring"));
}

#[tokio::test]
async fn ten_thousand_parameters_do_no_harm() {
    let query = (0..4_000).map(|n| format!("p{n}={n}")).collect::<Vec<_>>().join("&");
    assert_stored(
        pageview_with(json!({"page_url": format!("https://a.example/?utm_source=x&{query}")})).to_string(),
    )
    .await;
    let fields = (0..5_500).map(|n| format!(r#""p{n}":0"#)).collect::<Vec<_>>().join(",");
    assert_stored(format!(r#"{{"pixel_id":"demo","page_url":"https://a.example/",{fields}}}"#)).await;
}

#[tokio::test]
async fn a_wrong_type_in_any_other_field_costs_only_that_field() {
    let fields = [
        "visitor_cookie",
        "event_id",
        "referrer_url",
        "page_title",
        "timestamp",
        "event_type",
        "form_data",
        "viewport",
        "screen",
        "props",
        "value",
        "utm_source",
        "gclid",
        "campaign_region",
        "language",
        "consent",
    ];
    let service = Service::start().await;
    let mut stored = 0;
    for field in fields {
        for wrong in
            [json!(null), json!(true), json!(-1.5e300), json!([[]]), json!({"a": {"b": 1}}), json!("\u{1}")]
        {
            let reply = service.track(&pageview_with(json!({field: wrong}))).await;
            assert_eq!(reply.status, StatusCode::OK, "{field}: {wrong}");
            stored += usize::from(reply.json().get("duplicate").is_none());
        }
    }
    assert_eq!(service.stored().await.len(), stored);
}

#[tokio::test]
async fn a_number_beyond_all_bounds_costs_only_itself() {
    for number in ["1e999", "-1e999", &format!("1{}", "0".repeat(400))] {
        let body = format!(
            r#"{{"pixel_id":"demo","page_url":"https://a.example/","page_title":"kept","value":{number},"x":[{number}]}}"#
        );
        let event = assert_stored(body).await;
        assert_eq!((event.page_title.as_deref(), event.value), (Some("kept"), None));
    }
}

#[tokio::test]
async fn a_compressed_body_and_other_types_are_refused() {
    let service = Service::start().await;
    let body = pageview().to_string();
    for (name, value, field) in [
        ("content-encoding", "gzip", "content-encoding"),
        ("content-encoding", "br", "content-encoding"),
        ("content-type", "application/x-www-form-urlencoded", "content-type"),
        ("content-type", "text/html", "content-type"),
    ] {
        let request = service.request(Method::POST, "/api/track").header(name, value).body(body.clone());
        let reply = Reply::of(request).await;
        assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{name}: {value}");
        assert_eq!(reply.fields(), [field]);
    }
}

#[tokio::test]
async fn json_text_and_no_type_at_all_are_read() {
    let service = Service::start().await;
    for content_type in
        ["application/json", "APPLICATION/JSON; charset=utf-8", "text/plain", "text/plain;charset=UTF-8", ""]
    {
        let request = service.request(Method::POST, "/api/track").header("content-type", content_type);
        assert_eq!(
            Reply::of(request.body(pageview().to_string())).await.status,
            StatusCode::OK,
            "{content_type}"
        );
    }
    let without = service.request(Method::POST, "/api/track").body(pageview().to_string());
    assert_eq!(Reply::of(without).await.status, StatusCode::OK);
}

#[tokio::test]
async fn other_methods_are_answered_405_with_those_that_are_taken() {
    let service = Service::start().await;
    for (path, allowed) in [
        ("/api/track", "POST, OPTIONS"),
        ("/api/track/track", "POST, OPTIONS"),
        ("/api/track/pixel.gif", "GET"),
        ("/static/pixel.js", "GET, HEAD"),
        ("/", "GET, HEAD"),
        ("/health", "GET, HEAD"),
    ] {
        for method in
            [Method::PUT, Method::DELETE, Method::PATCH, Method::TRACE, Method::from_bytes(b"BREW").unwrap()]
        {
            let reply = Reply::of(service.request(method, path)).await;
            assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
            assert_eq!(reply.header("allow"), Some(allowed));
            assert_problem(&reply, 405);
        }
    }
}

#[tokio::test]
async fn an_unknown_path_is_answered_404() {
    let service = Service::start().await;
    for path in
        ["/nowhere", "/api/", "/static/../Cargo.toml", "/static/demo%2Findex.html", "/demo/", "/%00", "/.env"]
    {
        let reply = service.get(path).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        assert_problem(&reply, 404);
    }
}

fn assert_problem(reply: &Reply, status: u16) {
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    let problem = reply.json();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], Value::from(reply.header("x-request-id")));
    for member in ["type", "title", "detail"] {
        assert!(problem[member].is_string(), "{member}");
    }
}
