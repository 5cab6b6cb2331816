//! `/api/keys`.

use std::collections::BTreeSet;

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use leadtrail_app::input::{Given, present};
use leadtrail_app::keys::{self, KeyEntropy, NewKey};
use leadtrail_app::projects;
use leadtrail_domain::id::{KeyId, ProjectId};
use leadtrail_domain::key::{ApiKey, Scope};
use leadtrail_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::asked::{Answer, Asked};
use crate::listing::Listing;
use crate::problem::Problem;
use crate::sender::random;

/// What somebody wants a key to be.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct KeyInput {
    #[serde(deserialize_with = "present")]
    name: Option<String>,
    scopes: BTreeSet<Scope>,
    /// The id or slug of the one project it is bound to; absent: all that the creator sees.
    project: Option<String>,
    expires_at: Option<Timestamp>,
}

/// A key on the wire.
#[derive(Serialize)]
struct KeyBody<'a> {
    id: KeyId,
    name: &'a str,
    prefix: &'a str,
    scopes: &'a BTreeSet<Scope>,
    project_id: Option<ProjectId>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
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
