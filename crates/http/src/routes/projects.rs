//! `/api/projects`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use leadtrail_app::projects::{self, Change, ProjectInput};
use leadtrail_domain::id::{ProjectId, Slug};
use leadtrail_domain::ports::Created;
use leadtrail_domain::project::{Project, ProjectSettings};
use leadtrail_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::asked::{Answer, Asked, JSON, MERGE_PATCH};
use crate::description::{Answer as Described, Body, Header, Operation, PROJECT, Tag, written};
use crate::listing::{LISTING, ListBody, Listing};
use crate::sender::random;

/// A client's account.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Project")]
pub(super) struct ProjectBody<'a> {
    id: ProjectId,
    /// Its short name, unique in the service; paths take it in the id's place.
    slug: &'a Slug,
    /// Its name for people.
    name: &'a str,
    settings: &'a ProjectSettings,
    created_at: Timestamp,
    /// When it was archived; its pixels then collect nothing.
    archived_at: Option<Timestamp>,
}

const SHOWN: Described = Described::json(StatusCode::OK, "The project.", written::<ProjectBody<'static>>);
const TAKEN: Described = Described::problem(StatusCode::CONFLICT, "Another project has the slug.");

pub(super) const LIST: Operation = Operation {
    id: "listProjects",
    tag: Tag::Projects,
    summary: "List projects",
    detail: "Archived ones too.",
    path: None,
    query: LISTING,
    body: None,
    answers: &[Described::json(
        StatusCode::OK,
        "A page of projects.",
        written::<ListBody<ProjectBody<'static>>>,
    )],
};

pub(super) const CREATE: Operation = Operation {
    id: "createProject",
    tag: Tag::Projects,
    summary: "Create a project",
    detail: "Repeatable: where a project has the slug already, that is answered as it is, and nothing is changed.",
    path: None,
    query: &[],
    body: Some(Body {
        media_types: JSON,
        schema: |schemas| {
            let reference = schemas.body::<ProjectInput>("NewProject", &["name"]);
            let schema = schemas.added("NewProject");
            schema["description"] =
                json!("A slug is made of the name where none is given and the name allows it.");
            schema["anyOf"] =
                json!([{"required": ["slug"]}, {"properties": {"name": {"pattern": "[A-Za-z0-9]"}}}]);
            reference
        },
    }),
    answers: &[
        Described::json(StatusCode::CREATED, "The new project.", written::<ProjectBody<'static>>)
            .with(&[Header::Location]),
        Described::json(StatusCode::OK, "The project that has the slug.", written::<ProjectBody<'static>>)
            .with(&[Header::Location]),
    ],
};

pub(super) const SHOW: Operation = Operation {
    id: "showProject",
    tag: Tag::Projects,
    summary: "Show a project",
    detail: "",
    path: Some(PROJECT),
    query: &[],
    body: None,
    answers: &[SHOWN],
};

pub(super) const REPLACE: Operation = Operation {
    id: "replaceProject",
    summary: "Replace a project's name, slug and settings",
    detail: "Settings that are not named go to their defaults. With a key that is bound to the project the slug stays.",
    body: Some(Body {
        media_types: JSON,
        schema: |schemas| schemas.body::<ProjectInput>("ProjectReplacement", &["name", "slug"]),
    }),
    answers: &[SHOWN, TAKEN],
    ..SHOW
};

pub(super) const MERGE: Operation = Operation {
    id: "changeProject",
    summary: "Change parts of a project",
    detail: "A JSON merge patch (RFC 7396): what is not named stays, and a setting that is null goes to its default.",
    body: Some(Body {
        media_types: MERGE_PATCH,
        schema: |schemas| schemas.body::<ProjectInput>("ProjectChange", &[]),
    }),
    answers: &[SHOWN, TAKEN],
    ..SHOW
};

pub(super) const ARCHIVE: Operation = Operation {
    id: "archiveProject",
    summary: "Archive a project",
    detail: "Its pixels collect nothing any more; what was collected stays. One that is archived keeps its time.",
    ..SHOW
};

impl<'a> ProjectBody<'a> {
    fn of(project: &'a Project) -> Self {
        Self {
            id: project.id,
            slug: &project.slug,
            name: &project.name,
            settings: &project.settings,
            created_at: project.created_at,
            archived_at: project.archived_at,
        }
    }
}

pub(super) async fn list(asked: Asked) -> Answer {
    let listing = Listing::of(asked.request.query_string())?;
    let found = projects::list(asked.projects(), asked.view(), &listing.page()).await?;
    let bodies: Vec<_> = found.iter().map(ProjectBody::of).collect();
    Ok(listing.answer(bodies, |body| body.id))
}

/// 201 with the new project, or 200 with the one that has the slug already.
pub(super) async fn create(asked: Asked) -> Answer {
    let input = asked.input().await?;
    let created = projects::create(asked.projects(), input, asked.now, random()).await?;
    let (status, project) = match &created {
        Created::New(project) => (StatusCode::CREATED, project),
        Created::Existing(project) => (StatusCode::OK, project),
    };
    let place = format!("/api/projects/{}", project.id);
    Ok(HttpResponse::build(status).insert_header((LOCATION, place)).json(ProjectBody::of(project)))
}

pub(super) async fn show(asked: Asked) -> Answer {
    Ok(shown(&asked.project().await?))
}

pub(super) async fn replace(asked: Asked) -> Answer {
    update(&asked, Change::Replace).await
}

pub(super) async fn merge(asked: Asked) -> Answer {
    update(&asked, Change::Merge).await
}

pub(super) async fn archive(asked: Asked) -> Answer {
    let project = asked.project().await?;
    Ok(shown(&projects::archive(asked.projects(), project, asked.now).await?))
}

async fn update(asked: &Asked, change: Change) -> Answer {
    let project = asked.project().await?;
    let input = asked.input().await?;
    Ok(shown(&projects::update(asked.projects(), asked.view(), project, input, change).await?))
}

fn shown(project: &Project) -> HttpResponse {
    HttpResponse::Ok().json(ProjectBody::of(project))
}
