//! Batches: each item by itself, answers in order.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::service::{Reply, Service, pageview, pageview_with};

fn results(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    let json = reply.json();
    assert_eq!(json["success"], true);
    json["results"].as_array().expect("results are a list").clone()
}

#[tokio::test]
async fn a_bad_item_in_the_middle_never_costs_its_neighbours() {
    let large = pageview_with(json!({"page_title": "x".repeat(65 * 1_024)})).to_string();
    for bad in [
        r#"{"pixel_id":"\ud800"}"#,
        r#"{"pixel_id":"demo","pixel_id":"demo"}"#,
        r#"{"pixel_id":"nobody","page_url":"https://a.example/"}"#,
        r#"{"pixel_id":"demo","page_url":"javascript:alert(1)"}"#,
        "null",
        "[[[]]]",
        "7",
        "",
        "nonsense",
        r#"{"pixel_id":"demo",}"#,
        r#"{"pixel_id":demo}"#,
        &*large,
    ] {
        let service = Service::start().await;
        let (first, last) =
            (pageview_with(json!({"event_id": "first"})), pageview_with(json!({"event_id": "last"})));
        let results = results(&service.post(format!(r#"{{"batch":[{first},{bad},{last}]}}"#)).await);
        assert_eq!(results[0]["success"], true);
        assert_eq!(results[1]["success"], false);
        assert!(results[1]["details"].is_array());
        assert_eq!(results[2]["success"], true);
        let stored = service.stored().await;
        let mut ids: Vec<_> =
            stored.iter().filter_map(|stored| stored.event.original_id.as_deref()).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["first", "last"]);
    }
}

#[tokio::test]
async fn answers_keep_the_order_of_a_hundred_events() {
    let service = Service::start().await;
    let ids: Vec<String> = (0..100).map(|n| format!("019ab0e4-7c00-7abc-8def-{n:012}")).collect();
    let events: Vec<Value> = ids.iter().map(|id| pageview_with(json!({"event_id": id}))).collect();
    let results = results(&service.track(&json!({"batch": events})).await);
    let answered: Vec<&str> = results.iter().filter_map(|result| result["event_id"].as_str()).collect();
    assert_eq!(answered, ids);
    assert_eq!(service.stored().await.len(), 100);
}

#[tokio::test]
async fn a_hundred_and_one_events_are_too_many() {
    let service = Service::start().await;
    let reply = service.track(&json!({"batch": vec![pageview(); 101]})).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.fields(), ["batch"]);
    assert!(service.stored().await.is_empty());
}

#[tokio::test]
async fn a_batch_larger_than_one_event_may_be_is_taken_up_to_a_mebibyte() {
    let service = Service::start().await;
    let event = |bytes: usize| pageview_with(json!({"page_title": "x".repeat(bytes)}));
    assert_eq!(results(&service.track(&json!({"batch": vec![event(50_000); 20]})).await).len(), 20);
    let reply = service.track(&json!({"batch": vec![event(50_000); 21]})).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(service.stored().await.len(), 20);
}

#[tokio::test]
async fn an_empty_batch_has_no_results_and_one_that_is_no_list_is_refused() {
    let service = Service::start().await;
    assert!(results(&service.track(&json!({"batch": []})).await).is_empty());
    for batch in [json!(null), json!({}), json!("x")] {
        let reply = service.track(&json!({"batch": batch})).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert_eq!(reply.fields(), ["batch"]);
    }
}

#[tokio::test]
async fn events_of_a_batch_without_a_cookie_are_one_visitors() {
    let service = Service::start().await;
    let results = results(&service.track(&json!({"batch": vec![pageview(); 3]})).await);
    assert!(results[0]["visitor_id"].is_string());
    assert!(results.iter().all(|result| result["visitor_id"] == results[0]["visitor_id"]));
}
