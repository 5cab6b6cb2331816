//! `/api/projects/{id}/connection`.

use actix_web::HttpResponse;
use leadtrail_app::connections::{Connection, ConnectionShown, OwnConnections, use_own};
use leadtrail_app::input::{Given, Invalid, Problems, present};
use leadtrail_domain::id::{ProjectId, Slug};
use leadtrail_domain::project::Project;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::asked::{Answer, Asked};
use crate::problem::Problem;
use crate::sender::random;

/// The connection that somebody wants a project to have.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConnectionInput {
    /// Which CRM: `pipedrive`.
    #[serde(deserialize_with = "present")]
    kind: Option<String>,
    /// The company's name there, its host, or its URL.
    #[serde(deserialize_with = "present")]
    base_url: Option<String>,
    /// The API token; never answered.
    #[serde(deserialize_with = "present")]
    api_token: Option<SecretString>,
}

/// What may be told of a project's connection.
#[derive(Serialize)]
struct ConnectionBody<'a> {
    project_id: ProjectId,
    /// The connection that the project uses; `own` for the one below.
    account: &'a Slug,
    /// Its own; null where it has none.
    connection: Option<ConnectionShown>,
}

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
