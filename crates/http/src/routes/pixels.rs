//! `/api/projects/{id}/pixels`, `/api/projects/pixels/{id}`, `/api/pixels/{id}/snippet` and `…/check`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use leadtrail_app::input::FieldProblem;
use leadtrail_app::pixel_check::{CheckError, Checked, Subject};
use leadtrail_app::projects::{self, Change, NewPixelInput, PixelInput};
use leadtrail_domain::id::{PixelId, ProjectId};
use leadtrail_domain::ports::Created;
use leadtrail_domain::project::{ConsentMode, Pixel, PixelSettings};
use leadtrail_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::asked::{Answer, Asked, JSON, MERGE_PATCH};
use crate::description::{
    Answer as Described, Body, Header, Operation, PROJECT, Parameter, Tag, read, written,
};
use crate::listing::{LISTING, ListBody, Listing};
use crate::problem::Problem;
use crate::sender::random;

/// What one site embeds.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Pixel")]
pub(super) struct PixelBody<'a> {
    id: &'a PixelId,
    project_id: ProjectId,
    /// Its name for people.
    name: &'a str,
    settings: &'a PixelSettings,
    created_at: Timestamp,
    /// When it was archived; it then collects nothing.
    archived_at: Option<Timestamp>,
    /// The line to put into the site's pages.
    snippet: String,
}

impl<'a> PixelBody<'a> {
    fn of(pixel: &'a Pixel, consent: ConsentMode, base: &str) -> Self {
        Self {
            id: &pixel.id,
            project_id: pixel.project_id,
            name: &pixel.name,
            settings: &pixel.settings,
            created_at: pixel.created_at,
            archived_at: pixel.archived_at,
            snippet: projects::snippet(base, &pixel.id, consent),
        }
    }
}

/// How a site embeds a pixel.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Snippet")]
pub(super) struct SnippetBody<'a> {
    pixel_id: &'a PixelId,
    /// The line to put into the site's pages.
    snippet: String,
}

/// Which page to look at.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CheckInput {
    /// The page: https, at a public address.
    #[schemars(with = "String", extend("format" = "uri", "pattern" = "^https://"))]
    url: Option<String>,
}

const PIXEL: Parameter = Parameter { name: "id", about: "The pixel's id.", schema: read::<PixelId> };
const SHOWN: Described = Described::json(StatusCode::OK, "The pixel.", written::<PixelBody<'static>>);

pub(super) const LIST: Operation = Operation {
    id: "listPixels",
    tag: Tag::Pixels,
    summary: "List a project's pixels",
    detail: "Archived ones too.",
    path: Some(PROJECT),
    query: LISTING,
    body: None,
    answers: &[Described::json(StatusCode::OK, "A page of pixels.", written::<ListBody<PixelBody<'static>>>)],
};

pub(super) const CREATE: Operation = Operation {
    id: "createPixel",
    tag: Tag::Pixels,
    summary: "Create a pixel",
    detail: "Repeatable: where the project has a pixel of the id already, that is answered as it is, and nothing is \
             changed. Without an id, one is drawn at random.",
    path: Some(PROJECT),
    query: &[],
    body: Some(Body {
        media_types: JSON,
        schema: |schemas| schemas.body::<NewPixelInput>("NewPixel", &["name"]),
    }),
    answers: &[
        Described::json(StatusCode::CREATED, "The new pixel.", written::<PixelBody<'static>>)
            .with(&[Header::Location]),
        Described::json(StatusCode::OK, "The pixel that has the id.", written::<PixelBody<'static>>)
            .with(&[Header::Location]),
        Described::problem(StatusCode::CONFLICT, "Another project's pixel has the id."),
    ],
};

pub(super) const SHOW: Operation = Operation {
    id: "showPixel",
    tag: Tag::Pixels,
    summary: "Show a pixel",
    detail: "",
    path: Some(PIXEL),
    query: &[],
    body: None,
    answers: &[SHOWN],
};

pub(super) const REPLACE: Operation = Operation {
    id: "replacePixel",
    summary: "Replace a pixel's name and settings",
    detail: "Settings that are not named go to their defaults.",
    body: Some(Body {
        media_types: JSON,
        schema: |schemas| schemas.body::<PixelInput>("PixelReplacement", &["name"]),
    }),
    ..SHOW
};

pub(super) const MERGE: Operation = Operation {
    id: "changePixel",
    summary: "Change parts of a pixel",
    detail: "A JSON merge patch (RFC 7396): what is not named stays, and a setting that is null goes to its default.",
    body: Some(Body {
        media_types: MERGE_PATCH,
        schema: |schemas| schemas.body::<PixelInput>("PixelChange", &[]),
    }),
    ..SHOW
};

pub(super) const ARCHIVE: Operation = Operation {
    id: "archivePixel",
    summary: "Archive a pixel",
    detail: "It collects nothing any more; what was collected stays. One that is archived keeps its time.",
    ..SHOW
};

pub(super) const SNIPPET: Operation = Operation {
    id: "showSnippet",
    summary: "Show how a site embeds a pixel",
    answers: &[Described::json(StatusCode::OK, "The snippet.", written::<SnippetBody<'static>>)],
    ..SHOW
};

pub(super) const CHECK: Operation = Operation {
    id: "checkPixel",
    summary: "Check whether a pixel works on a page",
    detail: "The page is fetched as a visitor who clicked an ad would, redirects included, and judged without running \
             its scripts: whether it has the tag, whether its security policy lets script and events through, whether \
             campaign parameters reach it, and whether events arrive. Each check says what mends it.",
    body: Some(Body {
        media_types: JSON,
        schema: |schemas| schemas.body::<CheckInput>("PixelCheckInput", &["url"]),
    }),
    answers: &[Described::json(StatusCode::OK, "What was found.", written::<Checked>)],
    ..SHOW
};

pub(super) async fn list(asked: Asked) -> Answer {
    let listing = Listing::of(asked.request.query_string())?;
    let project = asked.project().await?;
    let found = asked.projects().pixels(project.id, &listing.page()).await?;
    let base = asked.base_url();
    let consent = project.settings.consent;
    let bodies: Vec<_> = found.iter().map(|pixel| PixelBody::of(pixel, consent, &base)).collect();
    Ok(listing.answer(bodies, |body| body.id.clone()))
}

/// 201 with the new pixel, or 200 with the project's one that has the id already. That another project has it is told,
/// 409: a pixel's id is public, it stands in pages.
pub(super) async fn create(asked: Asked) -> Answer {
    let project = asked.project().await?;
    let input = asked.input().await?;
    let created = projects::create_pixel(asked.projects(), project.id, input, asked.now, random()).await?;
    let (status, pixel) = match &created {
        Created::New(pixel) => (StatusCode::CREATED, pixel),
        Created::Existing(pixel) => (StatusCode::OK, pixel),
    };
    let place = format!("/api/projects/pixels/{}", pixel.id);
    let body = PixelBody::of(pixel, project.settings.consent, &asked.base_url());
    Ok(HttpResponse::build(status).insert_header((LOCATION, place)).json(body))
}

pub(super) async fn show(asked: Asked) -> Answer {
    shown(&asked, &find(&asked).await?).await
}

pub(super) async fn replace(asked: Asked) -> Answer {
    update(&asked, Change::Replace).await
}

pub(super) async fn merge(asked: Asked) -> Answer {
    update(&asked, Change::Merge).await
}

pub(super) async fn archive(asked: Asked) -> Answer {
    let pixel = find(&asked).await?;
    shown(&asked, &projects::archive_pixel(asked.projects(), pixel, asked.now).await?).await
}

pub(super) async fn snippet(asked: Asked) -> Answer {
    let pixel = find(&asked).await?;
    let snippet = projects::snippet(&asked.base_url(), &pixel.id, consent_of(&asked, &pixel).await?);
    Ok(HttpResponse::Ok().json(SnippetBody { pixel_id: &pixel.id, snippet }))
}

pub(super) async fn check(asked: Asked) -> Answer {
    let pixel = find(&asked).await?;
    let input = asked.input::<CheckInput>().await?;
    let text = input.problems.unless_none(input.fields.url)?;
    let text = text.ok_or_else(|| wrong_url("is required"))?;
    let url = text.parse::<Url>().map_err(|_not_one| wrong_url("is not a URL"))?;
    let service = asked.base_url().parse::<Url>().map_err(|_no_url| Problem::Unavailable)?;
    let subject = Subject { url: &url, pixel: Some(&pixel.id), service: &service };
    match asked.state.collector.pixel_checks.check(subject, asked.now).await {
        Ok(checked) => Ok(HttpResponse::Ok().json(checked)),
        Err(CheckError::Url(why)) => Err(wrong_url(&why)),
        Err(CheckError::Busy) => Err(Problem::Unavailable),
        Err(CheckError::Store(error)) => Err(error.into()),
    }
}

fn wrong_url(problem: &str) -> Problem {
    Problem::Invalid(vec![FieldProblem::new("url", problem)])
}

async fn update(asked: &Asked, change: Change) -> Answer {
    let pixel = find(asked).await?;
    let input = asked.input().await?;
    shown(asked, &projects::update_pixel(asked.projects(), pixel, input, change).await?).await
}

async fn find(asked: &Asked) -> Result<Pixel, Problem> {
    let found = projects::find_pixel(asked.projects(), asked.view(), &asked.id()?).await?;
    found.ok_or(Problem::NotFound)
}

/// What the project of a pixel in view says of consent.
async fn consent_of(asked: &Asked, pixel: &Pixel) -> Result<ConsentMode, Problem> {
    let project = asked.projects().project(pixel.project_id).await?.ok_or(Problem::NotFound)?;
    Ok(project.settings.consent)
}

async fn shown(asked: &Asked, pixel: &Pixel) -> Answer {
    let consent = consent_of(asked, pixel).await?;
    Ok(HttpResponse::Ok().json(PixelBody::of(pixel, consent, &asked.base_url())))
}
