//! Global Privacy Control and consent: the server does as the project says, whatever the page's script does.

use leadtrail_domain::event::{EventKind, StoredEvent, VisitorName};
use leadtrail_domain::project::{ConsentMode, GpcMode, ProjectSettings};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::service::{Reply, Service, Setup, pageview_with};

const CLICKED: &str = "https://www.example.com/?utm_source=news&gclid=click-1";
/// A request to a host of the page's own site, from a browser that has its cookie.
const OWN: [(&str, &str); 2] = [("host", "t.example.com"), ("cookie", "lt_visitor=cookie-12345")];

async fn service(gpc: GpcMode, consent: ConsentMode) -> Service {
    let project = ProjectSettings { gpc, consent, ..ProjectSettings::default() };
    Service::with(Setup { project, ..Setup::default() }).await
}

fn page(more: Value) -> Value {
    let mut event =
        pageview_with(json!({"page_url": CLICKED, "visitor_cookie": "cookie-12345", "fbclid": "click-2"}));
    let Value::Object(more) = more else { panic!("fields are an object") };
    event.as_object_mut().expect("an event is an object").extend(more);
    event
}

fn form(more: Value) -> Value {
    let mut event = page(json!({"event_type": "form_submit", "form_data": {"email": "jane@x.example"}}));
    let Value::Object(more) = more else { panic!("fields are an object") };
    event.as_object_mut().expect("an event is an object").extend(more);
    event
}

async fn send(service: &Service, event: &Value, headers: &[(&str, &str)]) -> Reply {
    let headers: Vec<_> = OWN.iter().chain(headers).copied().collect();
    service.post_with(event.to_string(), &headers).await
}

/// Says Global Privacy Control by the header, and by the body.
fn by_header_and_by_body(event: &Value) -> [(Value, Vec<(&'static str, &'static str)>); 2] {
    let mut said = event.clone();
    said["gpc"] = json!(true);
    [(event.clone(), vec![("sec-gpc", "1")]), (said, Vec::new())]
}

fn assert_not_recognised(reply: &Reply, stored: &StoredEvent) {
    let answer = reply.json();
    for id in ["visitor_id", "session_id", "visitor_cookie"] {
        assert_eq!(answer[id], Value::Null, "{id}");
    }
    assert_eq!(reply.header("set-cookie"), None);
    let event = &stored.event;
    assert_eq!((&event.visitor, event.client.ip), (&VisitorName::Unlinked, None));
    assert!(event.signals.click_ids.is_empty() && !event.page_url.contains("click-1"), "{event:?}");
    assert_eq!(
        event.signals.utm.source.as_deref(),
        Some("news"),
        "which campaign it was says nothing of who"
    );
}

fn assert_recognised(reply: &Reply) {
    assert_eq!(reply.json()["visitor_cookie"], "cookie-12345");
    assert!(reply.header("set-cookie").is_some_and(|cookie| cookie.starts_with("lt_visitor=cookie-12345; ")));
}

#[tokio::test]
async fn reduce_recognises_nobody_and_links_no_visits() {
    let service = service(GpcMode::Reduce, ConsentMode::NotRequired).await;
    assert_recognised(&send(&service, &page(json!({})), &[]).await);
    for (event, headers) in by_header_and_by_body(&page(json!({"consent": "granted"}))) {
        let before = service.stored().await;
        let reply = send(&service, &event, &headers).await;
        let after = service.stored().await;
        let new: Vec<_> = after.iter().filter(|one| !before.contains(one)).collect();
        assert_not_recognised(&reply, new[0]);
        assert!(
            before
                .iter()
                .all(|one| one.visitor_id != new[0].visitor_id && one.session_id != new[0].session_id)
        );
    }
}

#[tokio::test]
async fn a_form_that_is_sent_under_reduce_and_under_honour_is_a_lead() {
    for gpc in [GpcMode::Reduce, GpcMode::Honour] {
        for (event, headers) in by_header_and_by_body(&form(json!({}))) {
            let service = service(gpc, ConsentMode::NotRequired).await;
            let reply = send(&service, &event, &headers).await;
            let stored = service.stored().await;
            assert_not_recognised(&reply, &stored[0]);
            assert!(stored[0].lead_id.is_some(), "{gpc:?}");
        }
    }
}

#[tokio::test]
async fn honour_drops_all_but_forms_and_says_so() {
    let service = service(GpcMode::Honour, ConsentMode::NotRequired).await;
    for event in [
        page(json!({})),
        page(json!({"event_type": "Clicked"})),
        page(json!({"event_type": "identify", "form_data": {"email": "jane@x.example"}})),
    ] {
        for (event, headers) in by_header_and_by_body(&event) {
            let reply = send(&service, &event, &headers).await;
            assert_eq!(
                (reply.status, reply.header("x-leadtrail-dropped")),
                (StatusCode::NO_CONTENT, Some("gpc"))
            );
            assert_eq!((reply.bytes.len(), reply.header("set-cookie")), (0, None));
        }
    }
    let gpc = page(json!({"gpc": true}));
    let batch = json!({"batch": [gpc, form(json!({"gpc": true}))]});
    let results = send(&service, &batch, &[]).await.json();
    assert_eq!(results["results"][0], json!({"success": true, "dropped": "gpc"}));
    assert!(results["results"][1]["event_id"].is_string());
    assert_eq!(service.stored().await.len(), 1);
    assert_recognised(&send(&service, &page(json!({})), &[]).await);
}

#[tokio::test]
async fn ignore_takes_no_notice() {
    let service = service(GpcMode::Ignore, ConsentMode::NotRequired).await;
    for (event, headers) in by_header_and_by_body(&page(json!({}))) {
        assert_recognised(&send(&service, &event, &headers).await);
    }
    for one in service.stored().await {
        assert_eq!(one.event.signals.click_ids.len(), 2);
    }
}

#[tokio::test]
async fn without_the_consent_that_is_required_nobody_is_recognised_whatever_the_script_sends() {
    for consent in
        [json!({}), json!({"consent": null}), json!({"consent": "denied"}), json!({"consent": "yes"})]
    {
        let service = service(GpcMode::Reduce, ConsentMode::Required).await;
        let reply = send(&service, &page(consent.clone()), &[]).await;
        assert_not_recognised(&reply, &service.stored().await[0]);
        let reply = send(&service, &form(consent), &[]).await;
        let stored = service.stored().await;
        let form = stored.iter().find(|one| one.event.kind == EventKind::FormSubmit).expect("it is stored");
        assert_not_recognised(&reply, form);
        assert!(form.lead_id.is_some());
        assert_ne!(stored[0].visitor_id, stored[1].visitor_id);
        assert_recognised(&send(&service, &page(json!({"consent": "granted"})), &[]).await);
    }
}

#[tokio::test]
async fn who_denies_is_not_recognised_even_where_nobody_is_asked() {
    let service = service(GpcMode::Reduce, ConsentMode::NotRequired).await;
    let reply = send(&service, &page(json!({"consent": "denied"})), &[]).await;
    assert_not_recognised(&reply, &service.stored().await[0]);
}

#[tokio::test]
async fn the_image_does_as_the_project_says_too() {
    let query =
        "pixel_id=demo&page_url=https%3A%2F%2Fwww.example.com%2F%3Futm_source%3Dnews%26gclid%3Dclick-1";
    let path = format!("/api/track/pixel.gif?{query}");
    for (gpc, consent, stored, sets) in [
        (GpcMode::Reduce, ConsentMode::NotRequired, 1, false),
        (GpcMode::Honour, ConsentMode::NotRequired, 0, false),
        (GpcMode::Ignore, ConsentMode::NotRequired, 1, true),
        (GpcMode::Ignore, ConsentMode::Required, 1, false),
    ] {
        let service = service(gpc, consent).await;
        let mut request = service.request(reqwest::Method::GET, &path).header("sec-gpc", "1");
        for (name, value) in OWN {
            request = request.header(name, value);
        }
        let reply = Reply::of(request).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("set-cookie").is_some(), sets, "{gpc:?} {consent:?}");
        let events = service.stored().await;
        assert_eq!(events.len(), stored, "{gpc:?} {consent:?}");
        assert!(events.iter().all(|one| one.event.signals.click_ids.is_empty() != sets));
    }
}
