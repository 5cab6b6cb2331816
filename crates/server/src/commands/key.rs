use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context as _;
use leadtrail_app::access::View;
use leadtrail_app::keys::{self, KeyEntropy, NewKey};
use leadtrail_domain::id::ProjectId;
use leadtrail_domain::key::{ApiKey, KeySecret, Scope};
use leadtrail_domain::ports::Page;
use serde_json::{Value, json};

use super::{PAGE, entropy, find_project, now};
use crate::cli::KeyCommand;
use crate::output::{self, Format};
use crate::settings::Settings;
use crate::wiring::{self, Stores};

/// Manages API keys.
pub(super) async fn run(settings: &Settings, command: KeyCommand) -> anyhow::Result<ExitCode> {
    let stores = wiring::open_ready(&settings.store).await?;
    match command {
        KeyCommand::Create { scopes, project, name, expires, json } => {
            let project_id = project_id(&stores, project.as_deref()).await?;
            let now = now(&stores);
            let expires_at = expires.map(|span| now.plus(span.duration()));
            let scopes = scopes.into_iter().collect();
            let wanted = NewKey { name: Some(name), scopes, project_id, expires_at };
            let (key, secret) = keys::made(wanted.into(), now, key_entropy()?)?;
            stores.keys.create_key(&key).await?;
            let value = json!({ "id": key.id, "key": secret.reveal() });
            output::result(Format::of(json), &value, || {
                format!("{}\n{}\nkeep it: it is not shown again", line_of(&key), secret.reveal())
            })?;
        }
        KeyCommand::List { project, json } => {
            let project_id = project_id(&stores, project.as_deref()).await?;
            list(&stores, project_id, Format::of(json)).await?;
        }
        KeyCommand::Revoke { id, json } => {
            let revoked = keys::revoke(stores.keys.as_ref(), View::All, id, now(&stores)).await?;
            revoked.with_context(|| format!("there is no key {id}"))?;
            output::result(Format::of(json), &json!({ "id": id, "revoked": true }), || {
                format!("revoked {id}")
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the first key of an empty store, one that opens everything. `None` where there is a key already.
pub(super) async fn first_admin_key(stores: &Stores) -> anyhow::Result<Option<KeySecret>> {
    let wanted = NewKey {
        name: Some("first admin key".to_owned()),
        scopes: BTreeSet::from([Scope::Admin]),
        project_id: None,
        expires_at: None,
    };
    let (key, secret) = keys::made(wanted.into(), now(stores), key_entropy()?)?;
    Ok(stores.keys.create_first_key(&key).await?.then_some(secret))
}

fn key_entropy() -> anyhow::Result<KeyEntropy> {
    Ok(KeyEntropy { id: entropy()?, secret: entropy()? })
}

async fn project_id(stores: &Stores, name: Option<&str>) -> anyhow::Result<Option<ProjectId>> {
    match name {
        Some(name) => Ok(Some(find_project(stores.projects.as_ref(), name).await?.id)),
        None => Ok(None),
    }
}

async fn list(stores: &Stores, project: Option<ProjectId>, format: Format) -> anyhow::Result<()> {
    let mut page = Page::first(PAGE);
    let mut all = Vec::new();
    loop {
        let keys = stores.keys.keys(project, &page).await?;
        page.after = keys.last().map(|key| key.id);
        let whole = u32::try_from(keys.len()).is_ok_and(|count| count == PAGE);
        all.extend(keys);
        if !whole {
            break;
        }
    }
    let values: Vec<Value> = all.iter().map(shown).collect();
    output::result(format, &values, || match all.as_slice() {
        [] => "no keys".to_owned(),
        all => all.iter().map(line_of).collect::<Vec<_>>().join("\n"),
    })
}

fn shown(key: &ApiKey) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "project_id": key.project_id,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    })
}

fn line_of(key: &ApiKey) -> String {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let project = key.project_id.map_or_else(|| "all projects".to_owned(), |id| format!("project {id}"));
    let revoked = if key.revoked_at.is_some() { "  (revoked)" } else { "" };
    format!("{}  {}…  {}  {project}  {}{revoked}", key.id, key.prefix, scopes.join(","), key.name)
}
