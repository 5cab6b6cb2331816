//! `GET /metrics`: the numbers, for Prometheus.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;

use crate::description::{Answer as Described, Operation, Tag};
use crate::server::State;

/// The text format of Prometheus
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/>, 2026-11-23).
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) const SHOW: Operation = Operation {
    id: "metrics",
    tag: Tag::Health,
    summary: "The numbers, for Prometheus",
    detail: "Counted since the start of this process. No number is about a project.",
    path: None,
    query: &[],
    body: None,
    answers: &[Described::raw(StatusCode::OK, "The text format of Prometheus.", &["text/plain"])],
};

pub(super) fn show(state: &State) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, TEXT_FORMAT)).body((state.collector.metrics)())
}
