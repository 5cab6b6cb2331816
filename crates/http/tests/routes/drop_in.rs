//! The script of the tool that this replaces, unchanged, pointed at our host: what it asks and sends, it is answered.

use std::time::Duration;

use leadtrail_domain::event::{HISTORY_PREFIX, Prop};
use leadtrail_domain::id::VisitorCookie;
use leadtrail_domain::ports::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::service::{Reply, Service, pageview_with};

const PATH: &str = "/api/track/track";
const ORIGIN: &str = "https://www.example.com";
const VISITOR: &str = "pxl_0123456789abcdef";

/// Its message, with some fields otherwise: every key is there, and null where it knows nothing.
fn message(service: &Service, fields: Value) -> Value {
    let nulls = [
        "form_data",
        "utm_source",
        "utm_medium",
        "utm_campaign",
        "utm_content",
        "utm_term",
        "gclid",
        "fbclid",
        "msclkid",
        "ttclid",
        "twclid",
        "li_fat_id",
        "sc_click_id",
    ];
    let mut event = pageview_with(json!({
        "visitor_cookie": VISITOR,
        "page_url": "https://www.example.com/",
        "referrer_url": "",
        "page_title": "Home",
        "timestamp": service.store.now().to_string(),
        "event_type": "pageview",
        "viewport": {"width": 1280, "height": 720},
        "screen": {"width": 1920, "height": 1080},
        "attribution_source": "current",
    }));
    for name in nulls {
        event[name] = Value::Null;
    }
    let Value::Object(fields) = fields else { panic!("fields are an object") };
    event.as_object_mut().expect("an event is an object").extend(fields);
    event
}

/// As it sends: JSON that says so, from a page elsewhere, without cookies.
async fn send(service: &Service, event: &Value) -> Reply {
    let request = service.request(Method::POST, PATH).header("content-type", "application/json");
    Reply::of(request.header("origin", ORIGIN).body(event.to_string())).await
}

/// As a browser asks before a page elsewhere may send JSON.
async fn preflight(service: &Service, origin: &str, headers: &str) -> Reply {
    let request = service.request(Method::OPTIONS, PATH).header("origin", origin);
    let request = request.header("access-control-request-method", "POST");
    Reply::of(request.header("access-control-request-headers", headers)).await
}

/// Whether a browser would go on to send, without cookies.
fn is_let_through(reply: &Reply, origin: &str) -> bool {
    let listed = |name, wanted: &str| {
        let value = reply.header(name).unwrap_or_default();
        value.split(',').any(|one| one.trim().eq_ignore_ascii_case(wanted))
    };
    let allowed = reply.header("access-control-allow-origin");
    reply.status.is_success()
        && (allowed == Some("*") || allowed == Some(origin))
        && listed("access-control-allow-methods", "POST")
        && listed("access-control-allow-headers", "content-type")
}

#[tokio::test]
async fn a_browser_is_let_through_to_send_json_whatever_the_pixels_origins() {
    for service in [Service::start().await, Service::with_origins(&["www.example.com"]).await] {
        for origin in [ORIGIN, "http://localhost:3000", "https://not-listed.example", "null"] {
            for headers in ["content-type", "Content-Type"] {
                let reply = preflight(&service, origin, headers).await;
                assert!(is_let_through(&reply, origin), "{origin}: {reply:?}");
                assert_eq!(reply.header("access-control-max-age"), Some("86400"));
                assert_eq!(reply.header("vary"), Some("Origin"), "a cache must not mix up origins");
            }
        }
        assert!(service.stored().await.is_empty());
    }
}

#[tokio::test]
async fn a_pixels_origins_decide_once_the_message_names_the_pixel_and_the_page_may_read_why() {
    let service = Service::with_origins(&["shop.example"]).await;
    let reply = send(&service, &message(&service, json!({}))).await;
    assert_eq!((reply.status, reply.fields()), (StatusCode::FORBIDDEN, vec!["origin".to_owned()]));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test]
async fn its_message_is_stored_with_every_null_as_absent() {
    let service = Service::start().await;
    let reply = send(&service, &message(&service, json!({}))).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    assert_eq!(reply.json()["visitor_cookie"], VISITOR);
    let event = service.stored().await.remove(0).event;
    assert_eq!(event.visitor.cookie().map(VisitorCookie::as_str), Some(VISITOR));
    assert!(event.signals.is_silent() && event.form.is_none() && event.props.is_empty());
    assert_eq!(event.screen.map(|size| size.to_string()).as_deref(), Some("1920x1080"));
}

#[tokio::test]
async fn the_pages_address_makes_the_touch_and_what_the_script_remembers_is_history() {
    let service = Service::start().await;
    let first = message(
        &service,
        json!({
            "page_url": "https://www.example.com/?utm_source=google&utm_medium=cpc&gclid=a%3Db%2Bc",
            "utm_source": "google", "utm_medium": "cpc", "gclid": "a",
        }),
    );
    let answer = send(&service, &first).await.json();
    assert_eq!(answer["attribution"]["source"], "google");
    let later = message(
        &service,
        json!({
            "page_url": "https://www.example.com/pricing",
            "referrer_url": "https://www.example.com/",
            "utm_source": "last-year", "gclid": "last-years", "attribution_source": "first_visit",
        }),
    );
    let answer = send(&service, &later).await.json();
    assert_eq!(answer["attribution"]["source"], "google", "of the session, untouched");
    let stored = service.stored().await;
    let of_page =
        |path: &str| stored.iter().find(|one| one.event.page_url.contains(path)).expect("it is stored");
    assert_eq!(of_page("gclid").event.signals.click_id("gclid"), Some("a=b+c"));
    let pricing = &of_page("pricing").event;
    assert!(pricing.signals.is_silent());
    let remembered = Prop::Text("last-year".to_owned());
    assert_eq!(pricing.props.get(&format!("{HISTORY_PREFIX}utm_source")), Some(&remembered));
}

#[tokio::test]
async fn its_form_is_a_lead_and_sent_twice_it_is_one() {
    let service = Service::start().await;
    let form = json!({"email": "jane@x.example", "first_name": "Jane", "last_name": "Doe"});
    let form = message(&service, json!({"event_type": "form_submit", "form_data": form}));
    let first = send(&service, &form).await.json();
    let again = send(&service, &form).await.json();
    assert_eq!((&again["event_id"], &again["duplicate"]), (&first["event_id"], &json!(true)));
    let mut tried_again = form;
    tried_again["timestamp"] = json!(service.store.now().plus(Duration::from_secs(2)).to_string());
    send(&service, &tried_again).await;
    let stored = service.stored().await;
    assert_eq!(stored.len(), 2, "the visitor pressed the button again");
    assert!(stored[0].lead_id.is_some());
    assert_eq!(stored[0].lead_id, stored[1].lead_id);
}

#[tokio::test]
async fn a_visitor_of_its_cookie_stays_the_same_one_with_ours() {
    let service = Service::start().await;
    let by_body = send(&service, &message(&service, json!({}))).await.json();
    let own = [("host", "t.example.com"), ("origin", ORIGIN)];
    let old_cookie = format!("ppp_visitor={VISITOR}");
    let page = json!({"pixel_id": "demo", "page_url": "https://www.example.com/b"}).to_string();
    let carried_over =
        service.post_with(page.clone(), &[own[0], own[1], ("cookie", old_cookie.as_str())]).await;
    let set = carried_over.header("set-cookie").expect("a page of our own site gets ours").to_owned();
    assert!(set.starts_with(&format!("lt_visitor={VISITOR}; ")), "{set}");
    let ours = set.split(';').next().unwrap_or_default().to_owned();
    let with_ours =
        service.post_with(page.clone(), &[own[0], own[1], ("cookie", ours.as_str())]).await.json();
    let both = format!("{ours}; {old_cookie}");
    let with_both = service.post_with(page, &[own[0], own[1], ("cookie", both.as_str())]).await.json();
    for answer in [carried_over.json(), with_ours, with_both] {
        assert_eq!(answer["visitor_id"], by_body["visitor_id"]);
        assert_eq!(answer["session_id"], by_body["session_id"]);
    }
}
