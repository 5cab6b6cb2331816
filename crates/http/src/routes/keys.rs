//! `/api/keys`.

use std::collections::BTreeSet;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use leadtrail_app::input::{Given, present};
use leadtrail_app::keys::{self, KeyEntropy, NewKey};
use leadtrail_app::projects;
use leadtrail_domain::id::{KeyId, ProjectId};
use leadtrail_domain::key::{ApiKey, Scope};
use leadtrail_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::asked::{Answer, Asked, JSON};
use crate::description::{Answer as Described, Body, Header, Operation, Parameter, Tag, read, written};
use crate::listing::{LISTING, ListBody, Listing};
use crate::problem::Problem;
use crate::sender::random;

/// What somebody wants a key to be.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct KeyInput {
    /// Its name for people.
    #[serde(deserialize_with = "present")]
    #[schemars(schema_with = "leadtrail_app::input::name_schema")]
    name: Option<String>,
    /// What it opens.
    #[schemars(with = "Vec<Scope>", length(min = 1))]
    scopes: BTreeSet<Scope>,
    /// The id or slug of the one project it is bound to; absent: all that the creator sees.
    project: Option<String>,
    /// When it ends by itself; in the future.
    expires_at: Option<Timestamp>,
}

/// An API key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub(super) struct KeyBody<'a> {
    id: KeyId,
    /// Its name for people.
    name: &'a str,
    /// The first characters of the secret, to tell keys apart.
    prefix: &'a str,
    /// What it opens.
    scopes: &'a BTreeSet<Scope>,
    /// The one project it is bound to.
    project_id: Option<ProjectId>,
    created_at: Timestamp,
    /// When it ends by itself.
    expires_at: Option<Timestamp>,
    /// When it was last presented, to the minute.
    last_used_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    /// The secret; in the answer to its creation, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl<'a> KeyBody<'a> {
    fn of(key: &'a ApiKey) -> Self {
        Self {
            id: key.id,
            name: &key.name,
            prefix: &key.prefix,
            scopes: &key.scopes,
            project_id: key.project_id,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
            key: None,
        }
    }
}

const KEY: Parameter = Parameter { name: "id", about: "The key's id.", schema: read::<KeyId> };
const SHOWN: Described =
    Described::json(StatusCode::OK, "The key, without its secret.", written::<KeyBody<'static>>);

pub(super) const LIST: Operation = Operation {
    id: "listKeys",
    tag: Tag::Keys,
    summary: "List keys",
    detail: "Revoked and expired ones too.",
    path: None,
    query: LISTING,
    body: None,
    answers: &[Described::json(StatusCode::OK, "A page of keys.", written::<ListBody<KeyBody<'static>>>)],
};

pub(super) const CREATE: Operation = Operation {
    id: "createKey",
    tag: Tag::Keys,
    summary: "Create a key",
    detail: "The secret is in this answer and never shown again. A key that is bound to a project makes keys that are \
             bound to it.",
    path: None,
    query: &[],
    body: Some(Body {
        media_types: JSON,
        schema: |schemas| schemas.body::<KeyInput>("NewKey", &["name", "scopes"]),
    }),
    answers: &[Described::json(
        StatusCode::CREATED,
        "The new key, with its secret.",
        written::<KeyBody<'static>>,
    )
    .with(&[Header::Location])],
};

pub(super) const SHOW: Operation = Operation {
    id: "showKey",
    tag: Tag::Keys,
    summary: "Show a key",
    detail: "",
    path: Some(KEY),
    query: &[],
    body: None,
    answers: &[SHOWN],
};

pub(super) const REVOKE: Operation = Operation {
    id: "revokeKey",
    summary: "Revoke a key",
    detail: "It opens nothing from now on. One that is revoked keeps its time.",
    ..SHOW
};

pub(super) async fn list(asked: Asked) -> Answer {
    let listing = Listing::of(asked.request.query_string())?;
    let found = asked.state.collector.keys.keys(asked.view().project(), &listing.page()).await?;
    let bodies: Vec<_> = found.iter().map(KeyBody::of).collect();
    Ok(listing.answer(bodies, |body| body.id))
}

pub(super) async fn create(asked: Asked) -> Answer {
    let Given { fields: input, mut problems } = asked.input::<KeyInput>().await?;
    let project_id = match &input.project {
        None => asked.view().project(),
        Some(name) => {
            // One that is not in view is as one that does not exist.
            let found = projects::find(asked.projects(), asked.view(), name).await?;
            if found.is_none() {
                problems.add("project", "is not a project");
            }
            found.map(|project| project.id)
        }
    };
    let KeyInput { name, scopes, expires_at, project: _ } = input;
    let wanted = Given { fields: NewKey { name, scopes, project_id, expires_at }, problems };
    let entropy = KeyEntropy { id: random(), secret: random() };
    let (key, secret) = keys::made(wanted, asked.now, entropy)?;
    asked.state.collector.keys.create_key(&key).await?;
    let body = KeyBody { key: Some(secret.reveal()), ..KeyBody::of(&key) };
    Ok(HttpResponse::Created().insert_header((LOCATION, format!("/api/keys/{}", key.id))).json(body))
}

pub(super) async fn show(asked: Asked) -> Answer {
    let found = keys::find(asked.state.collector.keys.as_ref(), asked.view(), asked.id()?).await?;
    Ok(shown(&found.ok_or(Problem::NotFound)?))
}

pub(super) async fn revoke(asked: Asked) -> Answer {
    let keys = asked.state.collector.keys.as_ref();
    let revoked = keys::revoke(keys, asked.view(), asked.id()?, asked.now).await?;
    let key = revoked.ok_or(Problem::NotFound)?;
    asked.state.collector.access.forget(&key).await;
    Ok(shown(&key))
}

fn shown(key: &ApiKey) -> HttpResponse {
    HttpResponse::Ok().json(KeyBody::of(key))
}
