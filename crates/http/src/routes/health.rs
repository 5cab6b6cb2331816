//! What monitors ask.

use std::error::Error;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use leadtrail_domain::ports::{Durability, StoreError};
use serde_json::json;

use crate::collector::{Collector, Environment};
use crate::server::State;

/// Whether the process answers at all.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({"status": "live"}))
}

/// Whether events can be taken: the store answers in time.
pub(super) async fn ready(state: web::Data<State>) -> HttpResponse {
    let collector = &state.collector;
    let asked = tokio::time::timeout(collector.settings.ready_timeout, ask(collector)).await;
    let (mut response, body) = match asked {
        Ok(Ok(durability)) => {
            let (durability, relaxed_by) = match durability {
                Durability::Full => ("full", Vec::new()),
                Durability::Relaxed(reasons) => ("relaxed", reasons),
                Durability::None => ("none", Vec::new()),
            };
            let store = json!({"status": "ok", "durability": durability, "relaxed_by": relaxed_by});
            (
                HttpResponse::Ok(),
                json!({"status": "ready", "version": env!("CARGO_PKG_VERSION"), "store": store}),
            )
        }
        Ok(Err(error)) => {
            let cause: &dyn Error = &error;
            tracing::warn!(error = cause, "the store is not ready");
            let cause = match collector.settings.environment {
                Environment::Production => None,
                Environment::Development => Some(chain(&error)),
            };
            unavailable(cause.as_deref().unwrap_or("the store does not answer"))
        }
        Err(_elapsed) => {
            tracing::warn!(
                timeout_ms = collector.settings.ready_timeout.as_millis(),
                "the store does not answer in time"
            );
            unavailable("the store does not answer in time")
        }
    };
    response.insert_header((CACHE_CONTROL, "no-store")).json(body)
}

async fn ask(collector: &Collector) -> Result<Durability, StoreError> {
    collector.maintenance.ping().await?;
    collector.maintenance.durability().await
}

fn unavailable(problem: &str) -> (actix_web::HttpResponseBuilder, serde_json::Value) {
    let store = json!({"status": "unavailable", "problem": problem});
    (
        HttpResponse::ServiceUnavailable(),
        json!({"status": "unavailable", "version": env!("CARGO_PKG_VERSION"), "store": store}),
    )
}

/// An error with its causes, joined by colons.
fn chain(error: &StoreError) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
