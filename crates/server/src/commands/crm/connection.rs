//! A project's own CRM account.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use leadtrail_app::connections::{Connection, ConnectionShown, use_own};
use leadtrail_domain::project::{Project, own_account};
use secrecy::SecretString;
use serde_json::json;

use crate::cli::ConnectionCommand;
use crate::commands::{entropy, find_project, now};
use crate::output::{self, Format, shown_at};
use crate::settings::Settings;
use crate::wiring;

/// A token is shorter.
const TOKEN_BYTES_MAX: u64 = 4_096;

/// Sets, shows or removes it.
pub(super) async fn run(settings: &Settings, command: ConnectionCommand) -> anyhow::Result<ExitCode> {
    let stores = wiring::open_ready(&settings.store).await?;
    let accounts = wiring::accounts(settings, &stores)?;
    let own = accounts.own_connections().context("projects have no connections of their own here")?;
    match command {
        ConnectionCommand::Set { project, company, token_file, json } => {
            let project = find_project(stores.projects.as_ref(), &project).await?;
            let connection = Connection {
                kind: wiring::OWN_KIND.to_owned(),
                base_url: company,
                api_token: token(token_file.as_deref())?,
            };
            let shown = own.set(project.id, &connection, now(&stores), entropy()?).await?;
            let project = use_own(stores.projects.as_ref(), project).await?;
            print(&project, Some(&shown), json, "set; look at it with `leadtrail crm verify`")?;
        }
        ConnectionCommand::Show { project, json } => {
            let project = find_project(stores.projects.as_ref(), &project).await?;
            print(&project, own.shown(project.id).await?.as_ref(), json, "")?;
        }
        ConnectionCommand::Remove { project, json } => {
            let project = find_project(stores.projects.as_ref(), &project).await?;
            let removed = own.remove(project.id).await?;
            let next = if project.settings.crm.account == own_account() {
                "leads wait until another is set, or the project's crm.account names one of the service's"
            } else {
                "the project does not use it"
            };
            output::result(Format::of(json), &json!({ "removed": removed }), || {
                if removed {
                    format!("{}: removed; {next}", project.slug)
                } else {
                    format!("{}: there was none", project.slug)
                }
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The token from a file, or from standard input: an argument would stand in the shell's history and in the list of
/// processes.
fn token(file: Option<&Path>) -> anyhow::Result<SecretString> {
    let mut text = String::new();
    match file {
        Some(file) => {
            let opened =
                std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
            opened.take(TOKEN_BYTES_MAX).read_to_string(&mut text)
        }
        None => std::io::stdin().lock().take(TOKEN_BYTES_MAX).read_to_string(&mut text),
    }
    .context("cannot read the token")?;
    Ok(SecretString::from(text.trim().to_owned()))
}

fn print(
    project: &Project,
    connection: Option<&ConnectionShown>,
    json: bool,
    done: &str,
) -> anyhow::Result<()> {
    let account = &project.settings.crm.account;
    let value = json!({ "project_id": project.id, "account": account, "connection": connection });
    output::result(Format::of(json), &value, || {
        let slug = &project.slug;
        let Some(connection) = connection else {
            return format!("{slug}: no connection of its own; it uses `{account}`");
        };
        let what = match (&connection.kind, &connection.host) {
            (Some(kind), Some(host)) => format!("{kind} at {host}"),
            _ => "one that cannot be unsealed (crm.connection_key), and has to be set again".to_owned(),
        };
        let used =
            if *account == own_account() { String::new() } else { format!("; it uses `{account}` though") };
        let done = if done.is_empty() { String::new() } else { format!(": {done}") };
        format!("{slug}: {what}, set {}{used}{done}", shown_at(connection.set_at))
    })
}
