//! What counted as a conversion, as its readers meet it.

use leadtrail_domain::key::Scope;
use leadtrail_domain::ports::Clock as _;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::service::{Reply, Service, pageview_with};

/// A service whose project counts orders and the page of thanks, with an order of minute 1 and one of minute 3, and a
/// look at the page between; and a key that reads.
async fn service() -> (Service, String) {
    let service = Service::start().await;
    let manages = service.add_key(1, &[Scope::Manage], Some(service.project)).await;
    let rules = json!({"Order": {"event": "order", "value": 10}, "Thanks": {"page": "/thanks/**"}});
    let change = json!({"settings": {"conversions": rules}});
    let patch = service.request(Method::PATCH, "/api/projects/demo").bearer_auth(&manages).json(&change);
    let patched = Reply::of(patch).await;
    assert_eq!(
        (patched.status, &patched.json()["settings"]["conversions"]),
        (
            StatusCode::OK,
            &json!({
                "Order": {"event": "order", "value": 10.0}, "Thanks": {"page": "/thanks/**"},
            })
        )
    );
    let start = service.store.now();
    for (minute, fields) in [
        (1, json!({"event_type": "order"})),
        (2, json!({"page_url": "https://www.example.com/thanks/a"})),
        (3, json!({"event_type": "order", "value": 99.5})),
    ] {
        let mut fields = fields;
        let at = start.minus(std::time::Duration::from_mins(10 - minute));
        fields["timestamp"] = json!(at.to_string());
        fields["visitor_cookie"] = json!("cookie-a");
        assert_eq!(service.track(&pageview_with(fields)).await.status, StatusCode::OK);
    }
    let reads = service.add_key(2, &[Scope::Read], Some(service.project)).await;
    (service, reads)
}

async fn list(service: &Service, secret: &str, query: &str) -> Value {
    let path = format!("/api/conversions?{query}");
    let reply = Reply::of(service.request(Method::GET, &path).bearer_auth(secret)).await;
    assert_eq!(reply.status, StatusCode::OK, "{path}: {reply:?}");
    reply.json()
}

fn named(list: &Value) -> Vec<(&str, Option<f64>)> {
    let data = list["data"].as_array().expect("a list");
    data.iter().map(|one| (one["name"].as_str().expect("a name"), one["value"].as_f64())).collect()
}

#[tokio::test]
async fn conversions_are_listed_newest_first_by_filters_and_pages() {
    let (service, secret) = service().await;
    let (first, thanks, last) = (("Order", Some(10.0)), ("Thanks", None), ("Order", Some(99.5)));
    let all = list(&service, &secret, "").await;
    assert_eq!((named(&all), &all["next_cursor"]), (vec![last, thanks, first], &Value::Null));
    let page = list(&service, &secret, "limit=2").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = list(&service, &secret, &format!("limit=2&cursor={cursor}")).await;
    assert_eq!([named(&page), named(&rest)].concat(), [last, thanks, first]);
    let between = all["data"][1]["occurred_at"].as_str().unwrap();
    for (filter, expected) in [
        ("name=Order".to_owned(), vec![last, first]),
        ("name=nothing".to_owned(), vec![]),
        (format!("since={between}"), vec![last, thanks]),
        (format!("until={between}"), vec![first]),
    ] {
        assert_eq!(named(&list(&service, &secret, &filter).await), expected, "{filter}");
    }
}

#[tokio::test]
async fn a_conversion_tells_from_where_its_visitor_had_come() {
    let (service, secret) = service().await;
    let all = list(&service, &secret, "name=Thanks").await;
    let first = &all["data"][0]["touches"]["first"];
    assert_eq!(
        (&first["source"], &first["medium"], &first["kind"]),
        (&json!("news"), &json!("email"), &json!("utm"))
    );
    assert_eq!(first["landing_page"], "https://www.example.com/");
}

#[tokio::test]
async fn what_cannot_be_read_of_a_filter_is_named() {
    let (service, secret) = service().await;
    let path = "/api/conversions?since=yesterday&until=&name=%20";
    let reply = Reply::of(service.request(Method::GET, path).bearer_auth(&secret)).await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    let problems = reply.json();
    let fields: Vec<&str> =
        problems["errors"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["since", "until", "name"]);
}
