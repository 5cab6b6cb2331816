//! What monitors ask.

use std::error::Error;

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, HttpResponseBuilder, web};
use leadtrail_domain::ports::{Durability, StoreError};
use schemars::JsonSchema;
use serde::Serialize;

use crate::collector::{Collector, Environment};
use crate::description::{Answer as Described, Operation, Tag, written};
use crate::server::State;

/// Whether the process answers.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Liveness")]
struct LiveBody {
    #[schemars(extend("const" = "live"))]
    status: &'static str,
}

/// Whether events can be taken.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Readiness")]
struct ReadyBody {
    #[schemars(extend("enum" = ["ready", "unavailable"]))]
    status: &'static str,
    /// Of the service.
    version: &'static str,
    store: StoreBody,
}

#[derive(Serialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
#[schemars(rename = "StoreReadiness")]
enum StoreBody {
    /// It answers.
    Ok {
        /// What survives a crash of the machine: all that was answered (`full`), less (`relaxed`), or nothing.
        #[schemars(extend("enum" = ["full", "relaxed", "none"]))]
        durability: &'static str,
        /// The settings that make it less than full.
        relaxed_by: Vec<String>,
    },
    /// It does not.
    Unavailable {
        /// Why not.
        problem: String,
    },
}

pub(super) const LIVE: Operation = Operation {
    id: "live",
    tag: Tag::Health,
    summary: "Whether the process answers",
    detail: "",
    path: None,
    query: &[],
    body: None,
    answers: &[Described::json(StatusCode::OK, "It does.", written::<LiveBody>)],
};

pub(super) const READY: Operation = Operation {
    id: "ready",
    summary: "Whether events can be taken",
    detail: "Asks the store, and waits two seconds for its answer.",
    answers: &[
        Described::json(StatusCode::OK, "They can.", written::<ReadyBody>),
        Described::json(StatusCode::SERVICE_UNAVAILABLE, "The store does not answer.", written::<ReadyBody>),
    ],
    ..LIVE
};

/// For monitors of the tool that this replaces.
pub(super) const READY_ALIAS: Operation =
    Operation { id: "health", summary: "Whether events can be taken (older path)", ..READY };

/// Whether the process answers at all.
pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(LiveBody { status: "live" })
}

/// Whether events can be taken: the store answers in time.
pub(super) async fn ready(state: web::Data<State>) -> HttpResponse {
    let collector = &state.collector;
    let asked = tokio::time::timeout(collector.settings.ready_timeout, ask(collector)).await;
    let (mut response, status, store) = match asked {
        Ok(Ok(durability)) => {
            let (durability, relaxed_by) = match durability {
                Durability::Full => ("full", Vec::new()),
                Durability::Relaxed(reasons) => ("relaxed", reasons),
                Durability::None => ("none", Vec::new()),
            };
            (HttpResponse::Ok(), "ready", StoreBody::Ok { durability, relaxed_by })
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
    let body = ReadyBody { status, version: env!("CARGO_PKG_VERSION"), store };
    response.insert_header((CACHE_CONTROL, "no-store")).json(body)
}

async fn ask(collector: &Collector) -> Result<Durability, StoreError> {
    collector.maintenance.ping().await?;
    collector.maintenance.durability().await
}

fn unavailable(problem: &str) -> (HttpResponseBuilder, &'static str, StoreBody) {
    let store = StoreBody::Unavailable { problem: problem.to_owned() };
    (HttpResponse::ServiceUnavailable(), "unavailable", store)
}

/// An error with its causes, joined by colons.
fn chain(error: &StoreError) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
