//! What monitors are told, and what senders are told while the store is down.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use leadtrail_domain::ports::{Durability, Maintenance, StoreError};
use leadtrail_domain::time::Timestamp;
use leadtrail_http::{Environment, HttpSettings};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::service::{Service, Setup, pageview, pageview_with};

/// A store that keeps its events less than durably.
struct Relaxed;

#[async_trait]
impl Maintenance for Relaxed {
    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn durability(&self) -> Result<Durability, StoreError> {
        Ok(Durability::Relaxed(vec!["synchronous_commit = off".to_owned()]))
    }

    async fn upkeep(&self, _now: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A store that accepts a call and never answers it.
struct Hanging;

#[async_trait]
impl Maintenance for Hanging {
    async fn ping(&self) -> Result<(), StoreError> {
        pending().await
    }

    async fn durability(&self) -> Result<Durability, StoreError> {
        pending().await
    }

    async fn upkeep(&self, _now: Timestamp) -> Result<(), StoreError> {
        pending().await
    }
}

#[tokio::test]
async fn readiness_follows_the_store_and_liveness_does_not() {
    let service = Service::start().await;
    for down in [false, true, false] {
        service.store.set_unavailable(down);
        let wanted = if down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        for path in ["/health", "/health/ready"] {
            assert_eq!(service.get(path).await.status, wanted, "{path}");
        }
        assert_eq!(service.get("/health/live").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_store_that_hangs_is_not_ready() {
    let settings = HttpSettings { ready_timeout: Duration::from_millis(20), ..HttpSettings::default() };
    let service =
        Service::with(Setup { settings, maintenance: Some(Arc::new(Hanging)), ..Setup::default() }).await;
    assert_eq!(service.get("/health/ready").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn relaxed_durability_is_shown_with_its_reasons() {
    let service = Service::with(Setup { maintenance: Some(Arc::new(Relaxed)), ..Setup::default() }).await;
    let store = service.get("/health/ready").await.json()["store"].clone();
    assert_eq!(store["durability"], "relaxed");
    assert_eq!(store["relaxed_by"], json!(["synchronous_commit = off"]));
    let of_memory = Service::start().await.get("/health/ready").await.json();
    assert_eq!(of_memory["store"]["durability"], "none");
}

#[tokio::test]
async fn only_developers_are_told_the_cause() {
    for (environment, told) in [(Environment::Production, false), (Environment::Development, true)] {
        let settings = HttpSettings { environment, ..HttpSettings::default() };
        let service = Service::with(Setup { settings, ..Setup::default() }).await;
        service.store.set_unavailable(true);
        let text = service.get("/health/ready").await.json().to_string();
        assert_eq!(text.contains("set to be unavailable"), told, "{text}");
    }
}

#[tokio::test]
async fn while_the_store_is_down_senders_are_asked_back_and_afterwards_all_is_well() {
    let service = Service::start().await;
    let event = pageview_with(json!({"event_id": "kept"}));
    for pixel_is_known in [false, true] {
        service.store.set_unavailable(true);
        for body in [event.to_string(), json!({"batch": [event, event]}).to_string()] {
            let reply = service.post(body).await;
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "pixel known: {pixel_is_known}");
            assert_eq!(reply.json()["success"], false);
            assert!(
                reply
                    .header("retry-after")
                    .and_then(|after| after.parse::<u32>().ok())
                    .is_some_and(|after| after > 0)
            );
        }
        let gif = service.get("/api/track/pixel.gif?pixel_id=demo&page_url=https://a.example/").await;
        assert_eq!((gif.status, gif.bytes.len()), (StatusCode::OK, 43));
        service.store.set_unavailable(false);
        assert_eq!(service.track(&event).await.status, StatusCode::OK);
    }
    assert_eq!(service.stored().await.len(), 1);
}

#[tokio::test]
async fn bad_input_is_bad_input_while_the_store_is_down() {
    let service = Service::start().await;
    service.store.set_unavailable(true);
    assert_eq!(service.post("{").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        service.track(&json!({"page_url": "https://a.example/"})).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn an_event_whose_answer_was_lost_is_stored_once_when_sent_again() {
    let service = Service::start().await;
    let event = pageview_with(json!({"event_id": "019ab0e4-7c00-7abc-8def-0123456789ab"}));
    service.store.set_answers_lost(true);
    assert_eq!(service.track(&event).await.status, StatusCode::SERVICE_UNAVAILABLE);
    service.store.set_answers_lost(false);
    let answer = service.track(&event).await.json();
    assert_eq!((&answer["success"], &answer["duplicate"]), (&Value::Bool(true), &Value::Bool(true)));
    assert_eq!(service.stored().await.len(), 1);
}

#[tokio::test]
async fn a_pixel_made_a_moment_after_it_was_asked_for_is_known() {
    let service = Service::start().await;
    let event = json!({"pixel_id": "later", "page_url": "https://a.example/"});
    assert_eq!(service.track(&event).await.status, StatusCode::BAD_REQUEST);
    service.add_pixel("later").await;
    assert_eq!(service.track(&event).await.status, StatusCode::OK);
    assert_eq!(service.track(&pageview()).await.status, StatusCode::OK);
}
