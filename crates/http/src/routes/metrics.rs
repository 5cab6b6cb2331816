//! `GET /metrics`: the numbers, for Prometheus.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;

use crate::server::State;

/// The text format of Prometheus
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/>, 2026-11-23).
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn show(state: &State) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, TEXT_FORMAT)).body((state.collector.metrics)())
}
