//! `/api/why`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use leadtrail_app::why::{self, Explained, Sources, Subject};
use leadtrail_domain::id::EventId;
use serde_json::json;
use url::form_urlencoded;

use super::sync::{IN_QUESTION, in_question, one};
use crate::asked::{Answer, Asked};
use crate::description::{Answer as Described, Operation, Parameter, Tag, read, written};
use crate::problem::Problem;

pub(super) const SHOW: Operation = Operation {
    id: "why",
    tag: Tag::Attribution,
    summary: "Why a lead or a conversion is attributed as it is",
    detail: "The touches in their order, what was no touch and why, the credit by each model, and what the CRM was told. \
             Asked for a person's e-mail address, or for the event that made the lead or counts as a conversion.",
    path: None,
    query: &[
        IN_QUESTION,
        Parameter {
            name: "email",
            about: "The leads of the person with this e-mail address.",
            schema: |_schemas| json!({"type": "string", "format": "email"}),
        },
        Parameter {
            name: "event_id",
            about: "The lead that this event made, and as what it counts.",
            schema: read::<EventId>,
        },
    ],
    body: None,
    answers: &[Described::json(
        StatusCode::OK,
        "What is known; nothing where nobody is.",
        written::<Explained>,
    )],
};

pub(super) async fn show(asked: Asked) -> Answer {
    let subject = subject(asked.request.query_string())?;
    let project = in_question(&asked).await?.ok_or_else(|| one("project", "is required with this key"))?;
    let collector = &asked.state.collector;
    let sources = Sources {
        journeys: collector.journeys.as_ref(),
        conversions: collector.conversions.as_ref(),
        histories: collector.histories.as_ref(),
        jobs: collector.jobs.as_ref(),
        projects: asked.projects(),
        accounts: &collector.accounts,
    };
    Ok(HttpResponse::Ok().json(why::why(sources, &project, &subject).await?))
}

/// What is asked about: the first parameter that names something.
fn subject(query: &str) -> Result<Subject, Problem> {
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "email" => {
                let email = value.parse().map_err(|_not_one| one("email", "is not an e-mail address"))?;
                return Ok(Subject::Email(email));
            }
            "event_id" => return Ok(Subject::of_event(&value)),
            _ => {}
        }
    }
    Err(one("email", "is required, or `event_id`"))
}
