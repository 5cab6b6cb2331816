//! `/api/analytics/debug/utm-analysis`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use leadtrail_app::hygiene::{DAYS_DEFAULT, DAYS_MAX, EVENTS_MAX, HygieneError, Report, Subject};
use leadtrail_app::projects;
use leadtrail_domain::id::PixelId;
use serde_json::json;
use url::form_urlencoded;

use super::sync::{IN_QUESTION, in_question, one};
use crate::asked::{Answer, Asked};
use crate::description::{Answer as Described, Operation, Parameter, Tag, read, written};
use crate::problem::Problem;

pub(super) const SHOW: Operation = Operation {
    id: "tagHygiene",
    tag: Tag::Attribution,
    summary: "What is wrong with the tags of links",
    detail: "In the events of a project, or of one pixel: spellings that differ by case, clicks on ads without UTM \
             parameters, sources without a medium, placeholders that were not filled, e-mail addresses in links, links \
             of a site to itself that are tagged; each with how often, examples and what to do. Looks at the newest \
             200,000 events at most; `complete` says whether those are all.",
    path: None,
    query: &[
        IN_QUESTION,
        Parameter { name: "pixel", about: "Only events of this pixel.", schema: read::<PixelId> },
        Parameter {
            name: "days",
            about: "So many days back; 30 where absent.",
            schema: |_schemas| json!({"type": "integer", "minimum": 1, "maximum": DAYS_MAX, "default": DAYS_DEFAULT}),
        },
    ],
    body: None,
    answers: &[Described::json(StatusCode::OK, "What was found.", written::<Report>)],
};

pub(super) async fn show(asked: Asked) -> Answer {
    let subject = subject(&asked).await?;
    match asked.state.collector.hygiene.inspect(&subject, asked.now, |_so_far| {}).await {
        Ok(report) => Ok(HttpResponse::Ok().json(report)),
        Err(HygieneError::Busy) => Err(Problem::Unavailable),
        Err(HygieneError::Store(error)) => Err(error.into()),
    }
}

async fn subject(asked: &Asked) -> Result<Subject, Problem> {
    let query = asked.request.query_string();
    let named = |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(one, _)| one == name);
    let days = match named("days") {
        Some((_, text)) => {
            let days = text.parse().ok().filter(|days| (1..=DAYS_MAX).contains(days));
            days.ok_or_else(|| one("days", &format!("is not a number from 1 to {DAYS_MAX}")))?
        }
        None => DAYS_DEFAULT,
    };
    let pixel = match named("pixel") {
        Some((_, id)) => {
            let unknown = || one("pixel", "is not a pixel");
            let id: PixelId = id.parse().map_err(|_no_id| unknown())?;
            // One that is not in view is as one that does not exist.
            let found = projects::find_pixel(asked.projects(), asked.view(), &id).await?;
            Some(found.ok_or_else(unknown)?)
        }
        None => None,
    };
    let project = in_question(asked).await?.map(|project| project.id);
    match (project, &pixel) {
        (Some(project), Some(pixel)) if pixel.project_id != project => {
            return Err(one("pixel", "is not a pixel of this project"));
        }
        _ => {}
    }
    let project = project.or(pixel.as_ref().map(|pixel| pixel.project_id));
    let project = project.ok_or_else(|| one("project", "is required with this key, or `pixel`"))?;
    Ok(Subject { project, pixel: pixel.map(|pixel| pixel.id), days, events_max: EVENTS_MAX })
}
