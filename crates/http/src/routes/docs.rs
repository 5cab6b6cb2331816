//! The description of the interface, for programs and for people.

use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, EntityTag, REFERRER_POLICY};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::assets::{UNCHANGED, entity_tag, serve, unless_known};
use crate::description::{Answer as Described, Header, Operation, Parameter, Tag};
use crate::problem::Problem;

/// The files that the page uses, in `static/docs/`.
const PAGE_FILES: [&str; 2] = ["docs.css", "docs.js"];
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The same in every process of this version, and made once in each.
static DESCRIPTION: LazyLock<(Bytes, EntityTag)> = LazyLock::new(|| {
    let text = super::openapi().to_string();
    let tag = entity_tag(&Sha256::digest(text.as_bytes()).into());
    (text.into(), tag)
});

pub(super) const OPENAPI: Operation = Operation {
    id: "openapi",
    tag: Tag::Pages,
    summary: "This description",
    detail: "OpenAPI 3.1.",
    path: None,
    query: &[],
    body: None,
    answers: &[
        Described::json(StatusCode::OK, "The description.", |_schemas| json!({"type": "object"}))
            .with(&[Header::ETag]),
        UNCHANGED,
    ],
};

pub(super) const PAGE: Operation = Operation {
    id: "docs",
    summary: "This description as a page",
    detail: "",
    answers: &[Described::raw(StatusCode::OK, "The page.", &["text/html"]).with(&[Header::ETag]), UNCHANGED],
    ..OPENAPI
};

pub(super) const PAGE_FILE: Operation = Operation {
    id: "docsFile",
    summary: "What that page is made of",
    detail: "",
    path: Some(Parameter {
        name: "name",
        about: "The file's name.",
        schema: |_schemas| json!({"type": "string", "enum": PAGE_FILES}),
    }),
    answers: &[
        Described::raw(StatusCode::OK, "The file.", &["text/css", "text/javascript"]).with(&[Header::ETag]),
        UNCHANGED,
        Described::problem(StatusCode::NOT_FOUND, "There is no such file."),
    ],
    ..OPENAPI
};

pub(super) async fn openapi(request: HttpRequest) -> HttpResponse {
    let (text, tag) = &*DESCRIPTION;
    unless_known(&request, tag, "application/json", text.clone(), |response| {
        response.insert_header((CACHE_CONTROL, "no-cache"));
    })
}

pub(super) async fn page(request: HttpRequest) -> HttpResponse {
    serve(&request, "docs/index.html", |response| {
        response
            .insert_header((CACHE_CONTROL, "no-cache"))
            .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
            .insert_header((REFERRER_POLICY, "no-referrer"));
    })
}

pub(super) async fn page_file(request: HttpRequest, name: web::Path<String>) -> HttpResponse {
    if !PAGE_FILES.contains(&name.as_str()) {
        return Problem::NotFound.response(&request);
    }
    serve(&request, &format!("docs/{name}"), |response| {
        response.insert_header((CACHE_CONTROL, "no-cache"));
    })
}
