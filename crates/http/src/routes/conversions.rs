//! `/api/conversions`.

use actix_web::http::StatusCode;
use leadtrail_app::conversions::ConversionShown;
use leadtrail_app::input::FieldProblem;
use leadtrail_domain::conversion::ConversionName;
use leadtrail_domain::id::ConversionId;
use leadtrail_domain::ports::ConversionFilter;
use leadtrail_domain::time::Timestamp;
use url::form_urlencoded;

use super::sync::{IN_QUESTION, in_question, instant, one};
use crate::asked::{Answer, Asked};
use crate::description::{Answer as Described, Operation, Parameter, Tag, read, written};
use crate::listing::{LISTING, ListBody, Listing};
use crate::problem::Problem;

pub(super) const LIST: Operation = Operation {
    id: "listConversions",
    tag: Tag::Attribution,
    summary: "List a project's conversions",
    detail: "The events that the project's setting `conversions` counts, newest first, each with the touches that led to \
             it. A rule that is new counts events from now on; `leadtrail reattribute` applies it to those before.",
    path: None,
    query: &[
        LISTING[0],
        LISTING[1],
        IN_QUESTION,
        Parameter { name: "name", about: "Those of this kind.", schema: read::<ConversionName> },
        Parameter { name: "since", about: "Those that occurred then or later.", schema: read::<Timestamp> },
        Parameter { name: "until", about: "Those that occurred before then.", schema: read::<Timestamp> },
    ],
    body: None,
    answers: &[Described::json(
        StatusCode::OK,
        "A page of conversions.",
        written::<ListBody<ConversionShown>>,
    )],
};

pub(super) async fn list(asked: Asked) -> Answer {
    let query = asked.request.query_string();
    let listing = Listing::<ConversionId>::of(query)?;
    let page = listing.page();
    let filter = ConversionFilter { before: page.after, ..filter(query)? };
    let project = in_question(&asked).await?.ok_or_else(|| one("project", "is required with this key"))?;
    let found = asked.state.collector.conversions.conversions(project.id, &filter, page.limit).await?;
    let bodies: Vec<ConversionShown> = found.into_iter().map(ConversionShown::from).collect();
    Ok(listing.answer(bodies, |body| body.id))
}

fn filter(query: &str) -> Result<ConversionFilter, Problem> {
    let mut filter = ConversionFilter::default();
    let mut problems = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let read = match name.as_ref() {
            "name" => value
                .parse()
                .map(|kind| filter.name = Some(kind))
                .map_err(|_not_one| "is not the name of a kind of conversion"),
            "since" => instant(&value).map(|at| filter.since = Some(at)),
            "until" => instant(&value).map(|at| filter.until = Some(at)),
            _ => Ok(()),
        };
        problems.extend(read.err().map(|problem| FieldProblem::new(&name, problem)));
    }
    if problems.is_empty() { Ok(filter) } else { Err(Problem::Invalid(problems)) }
}
