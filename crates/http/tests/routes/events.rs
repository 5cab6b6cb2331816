//! What becomes of a good event, whichever way it comes.

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::service::{BROWSER, Reply, Service, pageview, pageview_with};

const GIF_BYTES: usize = 43;

#[tokio::test]
async fn the_answer_names_event_visitor_session_cookie_and_attribution() {
    let service = Service::start().await;
    for path in ["/api/track", "/api/track/track"] {
        let reply = Reply::of(service.request(Method::POST, path).body(pageview().to_string())).await;
        assert_eq!(reply.status, StatusCode::OK);
        let answer = reply.json();
        assert_eq!(answer["success"], true);
        for id in ["event_id", "visitor_id", "session_id"] {
            assert!(answer[id].as_str().is_some_and(|id| id.len() == 36), "{id}");
        }
        assert_eq!(answer["visitor_cookie"].as_str().map(str::len), Some(32));
        assert_eq!(answer["attribution"]["source"], "news");
        assert_eq!(answer["attribution"]["medium"], "email");
        assert!(answer.get("duplicate").is_none());
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn an_event_without_an_id_gets_a_uuid_v7_of_now() {
    let service = Service::start().await;
    let answer = service.track(&pageview()).await.json();
    assert_eq!(answer["event_id"].as_str().and_then(|id| id.chars().nth(14)), Some('7'));
    let stored = service.stored().await;
    let apart = stored[0].event.received_at.millis() - stored[0].event.id.partition_at().millis();
    assert_eq!(apart, 0);
}

#[tokio::test]
async fn the_same_event_sent_a_hundred_times_at_once_is_stored_once_and_answered_the_same() {
    let service = Service::start().await;
    let event = pageview_with(
        json!({"event_id": "019ab0e4-7c00-7abc-8def-0123456789ab", "visitor_cookie": "abcdefgh"}),
    );
    let replies = join_all((0..100).map(|_| service.track(&event))).await;
    let mut answers: Vec<Value> = replies.iter().map(Reply::json).collect();
    let duplicates =
        answers.iter_mut().filter_map(|answer| answer.as_object_mut()?.remove("duplicate")).count();
    assert_eq!(duplicates, 99);
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer["success"] == true));
    assert_eq!(service.stored().await.len(), 1);
}

#[tokio::test]
async fn twelve_first_events_at_once_make_one_visitor_and_one_session() {
    let service = Service::start().await;
    let event = pageview_with(json!({"visitor_cookie": "abcdefgh"}));
    let replies = join_all((0..12).map(|_| service.track(&event))).await;
    let answers: Vec<Value> = replies.iter().map(Reply::json).collect();
    assert!(answers[0]["visitor_id"].is_string());
    for member in ["visitor_id", "session_id"] {
        assert!(answers.iter().all(|answer| answer[member] == answers[0][member]), "{member}");
    }
    assert_eq!(service.stored().await.len(), 12);
}

#[tokio::test]
async fn the_request_tells_address_user_agent_and_referer() {
    let service = Service::start().await;
    let event = json!({"pixel_id": "demo", "page_url": "https://www.example.com/"});
    service.post_with(event.to_string(), &[("referer", "https://www.example.com/?gclid=test")]).await;
    let stored = service.stored().await;
    assert_eq!(stored[0].event.client.ip, Some([127, 0, 0, 1].into()));
    assert_eq!(stored[0].event.client.user_agent.as_deref(), Some(BROWSER));
    assert_eq!(stored[0].event.signals.click_id("gclid"), Some("test"));
}

#[tokio::test]
async fn an_address_that_a_client_claims_is_not_believed() {
    let service = Service::start().await;
    let claims = [
        ("x-forwarded-for", "203.0.113.9"),
        ("forwarded", "for=203.0.113.9"),
        ("cf-connecting-ip", "203.0.113.9"),
    ];
    service.post_with(pageview().to_string(), &claims).await;
    assert_eq!(service.stored().await[0].event.client.ip, Some([127, 0, 0, 1].into()));
}

#[tokio::test]
async fn under_global_privacy_control_nobody_is_recognised_and_no_cookie_is_set() {
    let service = Service::start().await;
    let event = pageview_with(json!({"visitor_cookie": "abcdefgh", "gclid": "test"}));
    let headers = [("sec-gpc", "1"), ("host", "t.example.com"), ("cookie", "lt_visitor=abcdefgh")];
    let reply = service.post_with(event.to_string(), &headers).await;
    let answer = reply.json();
    for member in ["visitor_id", "session_id", "visitor_cookie"] {
        assert_eq!(answer[member], Value::Null, "{member}");
    }
    assert_eq!(reply.header("set-cookie"), None);
    let stored = service.stored().await;
    assert_eq!(stored[0].event.client.ip, None);
    assert_eq!(stored[0].event.signals.click_id("gclid"), None);
}

#[tokio::test]
async fn the_gif_stores_what_a_post_stores() {
    let service = Service::start().await;
    let id = "019ab0e4-7c00-7abc-8def-0123456789ab";
    let page = "https%3A%2F%2Fwww.example.com%2F%3Futm_source%3Dnews%26utm_medium%3Demail";
    let path = format!(
        "/api/track/pixel.gif?pixel_id=demo&page_url={page}&event_id={id}&page_title=A+page&visitor_cookie=abcdefgh&timestamp=1"
    );
    let reply = service.get(&path).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-type"), Some("image/gif"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.bytes.len(), GIF_BYTES);

    let other = Service::start().await;
    let event = pageview_with(
        json!({"event_id": id, "page_title": "A page", "visitor_cookie": "abcdefgh", "timestamp": 1}),
    );
    other.track(&event).await;
    let (mut by_gif, mut by_post) =
        (service.stored().await.remove(0).event, other.stored().await.remove(0).event);
    for event in [&mut by_gif, &mut by_post] {
        let apart = event.received_at.since(event.occurred_at);
        assert_eq!(apart, leadtrail_domain::event::CLIENT_CLOCK_BEHIND_MAX);
        event.received_at = leadtrail_domain::time::Timestamp::EPOCH;
        event.occurred_at = leadtrail_domain::time::Timestamp::EPOCH;
    }
    assert_eq!(by_gif, by_post);
}

#[tokio::test]
async fn a_gif_without_a_page_takes_the_page_that_shows_it() {
    let service = Service::start().await;
    let request = service.request(Method::GET, "/api/track/pixel.gif?pixel_id=demo");
    Reply::of(request.header("referer", "https://www.example.com/?utm_source=news")).await;
    let stored = service.stored().await;
    assert_eq!(stored[0].event.page_url, "https://www.example.com/?utm_source=news");
    assert_eq!(stored[0].event.signals.utm.source.as_deref(), Some("news"));
}

#[tokio::test]
async fn the_gif_is_an_image_whatever_is_wrong() {
    let service = Service::start().await;
    for query in [
        "",
        "?",
        "?pixel_id=nobody&page_url=https://a.example/",
        "?pixel_id=demo",
        "?pixel_id=demo&page_url=%ff%00",
        "?&&&==%",
    ] {
        let reply = service.get(&format!("/api/track/pixel.gif{query}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{query}");
        assert_eq!(reply.bytes.len(), GIF_BYTES);
        assert_eq!(reply.header("set-cookie"), None);
    }
    assert!(service.stored().await.is_empty());
}

#[tokio::test]
async fn a_request_keeps_a_harmless_name_and_gets_one_otherwise() {
    let service = Service::start().await;
    let long = "x".repeat(65);
    let named = |id: &str| service.request(Method::GET, "/health/live").header("x-request-id", id);
    assert_eq!(Reply::of(named("Trace-1.a_b")).await.header("x-request-id"), Some("Trace-1.a_b"));
    for harmful in ["", "a b", "a\"b", "<script>", &long] {
        let reply = Reply::of(named(harmful)).await;
        let made = reply.header("x-request-id").unwrap();
        assert!(made.len() == 16 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{harmful}: {made}");
    }
}
