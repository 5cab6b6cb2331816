//! The field mapping of a project, shown and set.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use leadtrail_app::access::View;
use leadtrail_app::projects::{self, Change, ProjectInput};
use leadtrail_domain::crm::{CrmField, FieldName};
use leadtrail_domain::project::{Account, Project};
use leadtrail_domain::sync::{fields, mapping as rules};
use serde_json::{Map, Value, json};

use super::account::policy;
use super::mapping_file;
use crate::cli::MappingCommand;
use crate::commands::find_project;
use crate::output::{self, Format, row, table};
use crate::settings::Settings;
use crate::wiring::{self, Stores};

/// Shows or sets it.
pub(super) async fn run(settings: &Settings, command: MappingCommand) -> anyhow::Result<ExitCode> {
    let stores = wiring::open_ready(&settings.store).await?;
    match command {
        MappingCommand::Show { project, json } => {
            let project = find_project(stores.projects.as_ref(), &project).await?;
            let crm_fields = crm_fields(settings, &stores, &project).await?;
            show(&project, crm_fields.as_deref(), Format::of(json))?;
        }
        MappingCommand::Set { project, file, json } => {
            let project = find_project(stores.projects.as_ref(), &project).await?;
            set(&stores, project, &file, Format::of(json)).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The fields of the project's account; `None` where it does not tell them.
async fn crm_fields(
    settings: &Settings,
    stores: &Stores,
    project: &Project,
) -> anyhow::Result<Option<Vec<CrmField>>> {
    let accounts = wiring::accounts(settings, stores)?;
    let account = Account::of(project.id, &project.settings.crm.account);
    let Ok(Some(connected)) = accounts.connected(&account).await else { return Ok(None) };
    Ok(connected.crm.list_fields().await.ok())
}

fn show(project: &Project, crm_fields: Option<&[CrmField]>, format: Format) -> anyhow::Result<()> {
    let settings = &project.settings.crm;
    let findings = crm_fields.map(|fields| rules::check(settings, fields)).unwrap_or_default();
    let mut values = Vec::new();
    let mut rows = vec![row(["OUR FIELD", "CRM FIELD", "POLICY", "BY", "FOUND"])];
    for spec in fields::all() {
        let Ok(name) = spec.name.parse::<FieldName>() else { continue };
        let target = settings.mapping.get(&name).and_then(|target| target.field.as_deref());
        let when = policy(fields::policy(&name, settings));
        let by = if settings.mapping.contains_key(&name) { "mapping" } else { "preset" };
        let found = match findings.iter().find(|finding| finding.field.as_ref() == Some(&name)) {
            _ if when == "never" => "not written",
            Some(finding) => finding.what.as_str(),
            None if crm_fields.is_some() => "yes",
            None => "unknown: the CRM does not tell its fields",
        };
        let found = found.strip_prefix(&format!("{name}: ")).unwrap_or(found);
        values.push(json!({
            "field": name, "crm_field": target.unwrap_or(name.as_str()), "policy": when, "by": by, "found": found,
        }));
        rows.push(row([name.as_str(), target.unwrap_or("(same name)"), when, by, found]));
    }
    output::result(format, &values, || table(&rows))
}

async fn set(stores: &Stores, project: Project, file: &Path, format: Format) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mapping = match mapping_file::read(&text) {
        Ok(mapping) => mapping,
        Err(problems) => {
            let lines = problems.iter().map(|problem| format!("\n  {}:{problem}", file.display()));
            bail!("the mapping is not set:{}", lines.collect::<String>());
        }
    };
    let was = project.settings.crm.mapping.keys().map(|name| (name.to_string(), Value::Null));
    let mut patch: Map<String, Value> = was.collect();
    for (name, target) in &mapping {
        let target = json!({ "field": target.field, "policy": target.policy });
        patch.insert(name.to_string(), target);
    }
    let input =
        ProjectInput { settings: Some(json!({ "crm": { "mapping": patch } })), ..ProjectInput::default() };
    let ports = stores.projects.as_ref();
    let project = projects::update(ports, View::All, project, input.into(), Change::Merge).await?;
    let value = json!({ "project_id": project.id, "mapping": project.settings.crm.mapping });
    output::result(format, &value, || {
        format!(
            "{}: {} fields are mapped by the file, the others by the preset; `leadtrail crm verify` looks whether \
             they fit",
            project.slug,
            project.settings.crm.mapping.len()
        )
    })
}
