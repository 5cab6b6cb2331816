//! `/api/projects/{id}/connection`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use leadtrail_app::connections::{Connection, ConnectionShown, OwnConnections, use_own};
use leadtrail_app::input::{Given, Invalid, Problems, present};
use leadtrail_domain::id::{ProjectId, Slug};
use leadtrail_domain::project::Project;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::asked::{Answer, Asked};
use crate::description::{Answer as Described, Body, Operation, PROJECT, Tag, written};
use crate::problem::Problem;
use crate::sender::random;

/// The connection that somebody wants a project to have.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct ConnectionInput {
    /// Which CRM: `pipedrive`.
    #[serde(deserialize_with = "present")]
    #[schemars(schema_with = "kinds")]
    kind: Option<String>,
    /// The company's name there, its host, or its URL.
    #[serde(deserialize_with = "present")]
    #[schemars(with = "String", regex(pattern = "^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$"))]
    base_url: Option<String>,
    /// The API token; never answered.
    #[serde(deserialize_with = "present")]
    #[schemars(with = "String", regex(pattern = "^[A-Za-z0-9]{1,1000}$"))]
    api_token: Option<SecretString>,
}

fn kinds(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "enum": ["pipedrive"]})
}

/// What may be told of a project's connection.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProjectConnection")]
struct ConnectionBody<'a> {
    project_id: ProjectId,
    /// The connection that the project uses; `own` for the one below.
    account: &'a Slug,
    /// Its own; null where it has none.
    connection: Option<ConnectionShown>,
}

pub(super) const SHOW: Operation = Operation {
    id: "showConnection",
    tag: Tag::Projects,
    summary: "Show a project's CRM connection",
    detail: "Never its token.",
    path: Some(PROJECT),
    query: &[],
    body: None,
    answers: &[Described::json(
        StatusCode::OK,
        "What may be told of it.",
        written::<ConnectionBody<'static>>,
    )],
};

pub(super) const PUT: Operation = Operation {
    id: "setConnection",
    summary: "Set a project's CRM connection",
    detail: "In place of the one there was; the project uses it from now on. It is kept encrypted, and its token is never \
             shown again. `base_url` may also be the company's host or URL at Pipedrive.",
    body: Some(Body {
        media_types: &["application/json"],
        schema: |schemas| {
            schemas.body::<ConnectionInput>("NewConnection", &["kind", "base_url", "api_token"])
        },
    }),
    ..SHOW
};

pub(super) const REMOVE: Operation = Operation {
    id: "removeConnection",
    summary: "Remove a project's CRM connection",
    detail: "Where the project uses it, its leads wait until there is another.",
    ..SHOW
};

pub(super) async fn show(asked: Asked) -> Answer {
    let project = asked.project().await?;
    let connection = own(&asked)?.shown(project.id).await?;
    Ok(answer(&project, connection))
}

/// Sets it in place of the one there was, and lets the project use it.
pub(super) async fn put(asked: Asked) -> Answer {
    let project = asked.project().await?;
    let Given { fields: input, mut problems } = asked.input::<ConnectionInput>().await?;
    let kind = required("kind", input.kind, &mut problems);
    let base_url = required("base_url", input.base_url, &mut problems);
    let api_token = required("api_token", input.api_token, &mut problems);
    let connection = problems.unless_none(Connection { kind, base_url, api_token })?;
    let shown = own(&asked)?.set(project.id, &connection, asked.now, random()).await?;
    let project = use_own(asked.projects(), project).await?;
    Ok(answer(&project, Some(shown)))
}

/// Removes it. Where the project uses it, its leads wait until there is another.
pub(super) async fn remove(asked: Asked) -> Answer {
    let project = asked.project().await?;
    own(&asked)?.remove(project.id).await?;
    Ok(answer(&project, None))
}

fn own(asked: &Asked) -> Result<&OwnConnections, Problem> {
    let own = asked.state.collector.accounts.own_connections();
    own.ok_or_else(|| Invalid::one("connection", "projects have none of their own here").into())
}

fn required<T: Default>(field: &str, value: Option<T>, problems: &mut Problems) -> T {
    value.unwrap_or_else(|| {
        problems.add(field, "is required");
        T::default()
    })
}

fn answer(project: &Project, connection: Option<ConnectionShown>) -> HttpResponse {
    let account = &project.settings.crm.account;
    HttpResponse::Ok().json(ConnectionBody { project_id: project.id, account, connection })
}
