//! What browsers load: the front page, the demo site, and what they and the scripts ([`super::scripts`]) share.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, EntityTag, IfNoneMatch, LOCATION, REFERRER_POLICY,
};
use actix_web::web::Bytes;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, HttpResponseBuilder, web};
use rust_embed::RustEmbed;
use serde_json::json;

use crate::description::{Answer as Described, Header, Operation, Parameter, Tag};
use crate::problem::Problem;

/// What is embedded of `static/`.
#[derive(RustEmbed)]
#[folder = "../../static"]
pub(super) struct Files;

const INDEX: &str = "index.html";
/// The files of `static/` itself that the front page uses.
const INDEX_FILES: [&str; 2] = ["index.css", "favicon.svg"];
const INDEX_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                            frame-ancestors 'none'";
/// As a careful site would have it: what the pixel needs is scripts and connections to one origin.
const DEMO_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                           base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// As browsers have it for a site that says nothing: the pixel sees the referrers it sees elsewhere.
const DEMO_REFERRERS: &str = "strict-origin-when-cross-origin";

/// The answer to whoever has the content already.
pub(super) const UNCHANGED: Described =
    Described::empty(StatusCode::NOT_MODIFIED, "The copy that the client has is good.").with(&[Header::ETag]);

pub(super) const FRONT_PAGE: Operation = Operation {
    id: "frontPage",
    tag: Tag::Pages,
    summary: "What this is",
    detail: "",
    path: None,
    query: &[],
    body: None,
    answers: &[Described::raw(StatusCode::OK, "The page.", &["text/html"])],
};

pub(super) const INDEX_FILE: Operation = Operation {
    id: "frontPageFile",
    summary: "What the front page is made of",
    detail: "",
    path: Some(Parameter {
        name: "name",
        about: "The file's name.",
        schema: |_schemas| json!({"type": "string", "enum": INDEX_FILES}),
    }),
    answers: &[
        Described::raw(StatusCode::OK, "The file.", &["text/css", "image/svg+xml"]).with(&[Header::ETag]),
        UNCHANGED,
        Described::problem(StatusCode::NOT_FOUND, "There is no such file."),
    ],
    ..FRONT_PAGE
};

pub(super) async fn index(request: HttpRequest) -> HttpResponse {
    let Some(file) = Files::get(INDEX) else { return Problem::NotFound.response(&request) };
    let page = String::from_utf8_lossy(&file.data).replace("{{version}}", env!("CARGO_PKG_VERSION"));
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, INDEX_POLICY))
        .body(page)
}

pub(super) async fn of_index(request: HttpRequest, name: web::Path<String>) -> HttpResponse {
    if !INDEX_FILES.contains(&name.as_str()) {
        return Problem::NotFound.response(&request);
    }
    serve(&request, &name, |response| {
        response.insert_header((CACHE_CONTROL, "no-cache"));
    })
}

pub(super) async fn to_demo() -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((LOCATION, "/demo/"))
        .insert_header((REFERRER_POLICY, DEMO_REFERRERS))
        .finish()
}

pub(super) async fn of_demo(request: HttpRequest, name: web::Path<String>) -> HttpResponse {
    let name = if name.is_empty() { INDEX } else { name.as_str() };
    demo_file(&request, name)
}

pub(super) async fn of_demo_thanks(request: HttpRequest) -> HttpResponse {
    demo_file(&request, "thanks.html")
}

/// Where the demo site's form goes, as a form on any site goes to that site. What it holds is not read: the pixel has
/// seen it.
pub(super) async fn demo_form() -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((LOCATION, "/demo/thanks.html"))
        .insert_header((REFERRER_POLICY, DEMO_REFERRERS))
        .finish()
}

fn demo_file(request: &HttpRequest, name: &str) -> HttpResponse {
    serve(request, &format!("demo/{name}"), |response| {
        response
            .insert_header((CACHE_CONTROL, "no-cache"))
            .insert_header((CONTENT_SECURITY_POLICY, DEMO_POLICY))
            .insert_header((REFERRER_POLICY, DEMO_REFERRERS));
    })
}

/// Answers an embedded file, or that the client's copy is still good.
pub(super) fn serve(
    request: &HttpRequest,
    path: &str,
    set_headers: impl FnOnce(&mut HttpResponseBuilder),
) -> HttpResponse {
    let Some(file) = Files::get(path) else { return Problem::NotFound.response(request) };
    let tag = entity_tag(&file.metadata.sha256_hash());
    unless_known(request, &tag, content_type(path), bytes(file.data), set_headers)
}

/// An embedded file's content, without a copy.
pub(super) fn bytes(content: Cow<'static, [u8]>) -> Bytes {
    match content {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    }
}

/// Answers content, or that the client's copy is still good.
pub(super) fn unless_known(
    request: &HttpRequest,
    tag: &EntityTag,
    content_type: &str,
    content: Bytes,
    set_headers: impl FnOnce(&mut HttpResponseBuilder),
) -> HttpResponse {
    let is_known = match request.get_header::<IfNoneMatch>() {
        Some(IfNoneMatch::Any) => true,
        Some(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        None => false,
    };
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    set_headers(&mut response);
    response.insert_header((ETAG, tag.to_string()));
    if is_known {
        return response.finish();
    }
    response.content_type(content_type).body(content)
}

/// The first half of a content's SHA-256.
pub(super) fn entity_tag(sha256: &[u8; 32]) -> EntityTag {
    use std::fmt::Write as _;
    let mut tag = String::new();
    for byte in &sha256[..16] {
        write!(tag, "{byte:02x}").expect("writing to a string does not fail");
    }
    EntityTag::new_strong(tag)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
