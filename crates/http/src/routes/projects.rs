//! `/api/projects`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use leadtrail_app::projects::{self, Change};
use leadtrail_domain::id::{ProjectId, Slug};
use leadtrail_domain::ports::Created;
use leadtrail_domain::project::{Project, ProjectSettings};
use leadtrail_domain::time::Timestamp;
use serde::Serialize;

use crate::asked::{Answer, Asked};
use crate::listing::Listing;
use crate::sender::random;

/// A project on the wire.
#[derive(Serialize)]
struct ProjectBody<'a> {
    id: ProjectId,
    slug: &'a Slug,
    name: &'a str,
    settings: &'a ProjectSettings,
    created_at: Timestamp,
    archived_at: Option<Timestamp>,
}

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
