//! `GET /api/track/pixel.gif`: an event as an image, for pages without scripts.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, web};
use leadtrail_domain::event::RawEvent;
use serde_json::json;
use url::form_urlencoded;

use super::track::X_LEADTRAIL_DROPPED;
use crate::description::{Answer as Described, Operation, Parameter, Tag};
use crate::limits::Allowance;
use crate::security::CROSS_ORIGIN_RESOURCE_POLICY;
use crate::server::State;
use crate::take::{Taken, take};

/// One transparent pixel, 43 bytes.
const GIF: &[u8] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\
                     \x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

pub(super) const GET: Operation = Operation {
    id: "trackByImage",
    tag: Tag::Collecting,
    summary: "Take in one event as an image",
    detail: "For pages without scripts: the fields of an event as a query. It is a transparent GIF of one pixel whatever \
             becomes of the event.",
    path: None,
    query: &[
        Parameter {
            name: "pixel_id",
            about: "The pixel's id.",
            schema: |_schemas| json!({"type": "string"}),
        },
        Parameter {
            name: "page_url",
            about: "The address of the page; where absent, what the browser names as the referring page.",
            schema: |_schemas| json!({"type": "string"}),
        },
    ],
    body: None,
    answers: &[Described::raw(StatusCode::OK, "The image.", &["image/gif"])],
};

/// Answers the image whatever becomes of the event: a broken image would be the site's shame, not ours.
pub(super) async fn get(state: web::Data<State>, request: HttpRequest) -> HttpResponse {
    let sender = state.sender(&request);
    let mut response = HttpResponse::Ok();
    response
        .content_type("image/gif")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CROSS_ORIGIN_RESOURCE_POLICY, "cross-origin"));
    // The HTTP layer bounds the query: an address has 65,534 bytes at most.
    let mut raw = RawEvent::from_query_pairs(form_urlencoded::parse(request.query_string().as_bytes()));
    if let Some(page) = sender.referer.filter(|_| !raw.has_page_url()) {
        raw.set_page_url(page);
    }
    let allowance = Allowance::of(&state.limiters, state.client(&request));
    match take(&state, &sender, None, &allowance, &raw).await {
        Ok(Taken::Stored { set_cookie: Some(cookie), .. }) => {
            response.insert_header((SET_COOKIE, cookie));
        }
        Ok(Taken::Stored { set_cookie: None, .. } | Taken::Dropped(_)) => {}
        Err(refusal) => {
            refusal.log();
            if let (true, Some(reason)) = (refusal.is_temporary(), refusal.outcome().reason()) {
                response.insert_header((X_LEADTRAIL_DROPPED, reason));
            }
        }
    }
    let mut response = response.body(GIF);
    allowance.tell(response.headers_mut());
    response
}
