//! Errors of everything but the tracking routes, as RFC 9457 describes them. The one place they are made.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use crate::request_id;

/// What went wrong, by what a client can do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    /// There is nothing at this path.
    NotFound,
    /// There is something, but not by this method; these are the ones it takes.
    MethodNotAllowed(&'static str),
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
}

impl Problem {
    fn kind(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::NotFound => ("urn:leadtrail:problem:not-found", "Not found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed(_) => (
                "urn:leadtrail:problem:method-not-allowed",
                "Method not allowed",
                StatusCode::METHOD_NOT_ALLOWED,
            ),
        }
    }

    /// The response that says so.
    pub(crate) fn response(self, request: &HttpRequest) -> HttpResponse {
        let (kind, title, status) = self.kind();
        let mut response = HttpResponse::build(status);
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        let detail = match self {
            Self::NotFound => "there is nothing at this path".to_owned(),
            Self::MethodNotAllowed(allowed) => {
                response.insert_header((ALLOW, allowed));
                format!("this path takes {allowed}")
            }
        };
        let request_id = request_id::of(request);
        let document = Document {
            r#type: kind,
            title,
            status: status.as_u16(),
            detail: &detail,
            request_id: &request_id,
        };
        response.body(serde_json::to_string(&document).expect("texts and numbers always serialise"))
    }
}
