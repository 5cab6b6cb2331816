use std::process::ExitCode;

use leadtrail_app::access::View;
use leadtrail_app::projects::{self, Change, ProjectInput};
use leadtrail_domain::id::Slug;
use leadtrail_domain::ports::{Created, Page};
use leadtrail_domain::project::Project;
use serde_json::{Value, json};

use super::{PAGE, entropy, find_project, now};
use crate::cli::{ProjectCommand, Setting};
use crate::output::{self, Format};
use crate::settings::Settings;
use crate::wiring::{self, Stores};

/// Manages projects.
pub(super) async fn run(settings: &Settings, command: ProjectCommand) -> anyhow::Result<ExitCode> {
    let stores = wiring::open_ready(&settings.store).await?;
    match command {
        ProjectCommand::Create { name, slug, settings, json } => {
            let created = create(&stores, &name, slug, &settings).await?;
            let existed = matches!(created, Created::Existing(_));
            print(json, &created.into_inner(), if existed { "exists already: " } else { "created " })?;
        }
        ProjectCommand::List { json } => list(&stores, Format::of(json)).await?,
        ProjectCommand::Show { project, json } => {
            let project = find_project(stores.projects.as_ref(), &project).await?;
            output::result(Format::of(json), &shown(&project), || described(&project))?;
        }
        ProjectCommand::Update { project, name, slug, settings, json } => {
            let project = find_project(stores.projects.as_ref(), &project).await?;
            let input = ProjectInput { name, slug, settings: Some(patch(&settings)) };
            let ports = stores.projects.as_ref();
            let project = projects::update(ports, View::All, project, input.into(), Change::Merge).await?;
            print(json, &project, "updated ")?;
        }
        ProjectCommand::Archive { project, json } => {
            let project = find_project(stores.projects.as_ref(), &project).await?;
            let project = projects::archive(stores.projects.as_ref(), project, now(&stores)).await?;
            print(json, &project, "archived ")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Creates a project, or finds the one of the same slug.
pub(super) async fn create(
    stores: &Stores,
    name: &str,
    slug: Option<Slug>,
    settings: &[Setting],
) -> anyhow::Result<Created<Project>> {
    let input = ProjectInput { name: Some(name.to_owned()), slug, settings: Some(patch(settings)) };
    Ok(projects::create(stores.projects.as_ref(), input.into(), now(stores), entropy()?).await?)
}

async fn list(stores: &Stores, format: Format) -> anyhow::Result<()> {
    let mut page = Page::first(PAGE);
    let mut all = Vec::new();
    loop {
        let found = stores.projects.projects(&page).await?;
        page.after = found.last().map(|project| project.id);
        let whole = u32::try_from(found.len()).is_ok_and(|count| count == PAGE);
        all.extend(found);
        if !whole {
            break;
        }
    }
    let values: Vec<Value> = all.iter().map(shown).collect();
    output::result(format, &values, || match all.as_slice() {
        [] => "no projects yet: leadtrail project create --name NAME".to_owned(),
        all => all.iter().map(line_of).collect::<Vec<_>>().join("\n"),
    })
}

/// The settings to change as one JSON merge patch: each value is JSON where it can be read so, otherwise a text; an
/// empty one goes back to the default. Of two values for one setting the later counts.
fn patch(changes: &[Setting]) -> Value {
    let mut patch = json!({});
    for Setting { path, value } in changes {
        let value = match value.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_not_json| Value::String(text.to_owned())),
        };
        let place = path.split('.').fold(&mut patch, |place, key| {
            if !place.is_object() {
                *place = json!({});
            }
            &mut place[key]
        });
        *place = value;
    }
    patch
}

fn shown(project: &Project) -> Value {
    json!({
        "id": project.id,
        "slug": project.slug,
        "name": project.name,
        "settings": project.settings,
        "created_at": project.created_at,
        "archived_at": project.archived_at,
    })
}

fn print(json: bool, project: &Project, done: &str) -> anyhow::Result<()> {
    output::result(Format::of(json), &shown(project), || format!("{done}{}", line_of(project)))
}

fn line_of(project: &Project) -> String {
    let archived = if project.archived_at.is_some() { "  (archived)" } else { "" };
    format!("{}  {}  {}{archived}", project.id, project.slug, project.name)
}

fn described(project: &Project) -> String {
    let settings = serde_json::to_string_pretty(&project.settings).unwrap_or_default();
    format!("{}\ncreated {}\nsettings {settings}", line_of(project), project.created_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_named_by_their_dotted_keys_and_the_later_value_counts() {
        let changes = [
            ("time_zone", "Europe/Berlin"),
            ("crm.enabled", "false"),
            ("ignore_referrers", r#"["pay.example"]"#),
            ("crm.mapping.utm_source", r#"{"policy":"always"}"#),
            ("crm.enabled", ""),
        ];
        let changes = changes.map(|(path, value)| Setting { path: path.to_owned(), value: value.to_owned() });
        assert_eq!(
            patch(&changes),
            json!({
                "time_zone": "Europe/Berlin",
                "crm": {"enabled": null, "mapping": {"utm_source": {"policy": "always"}}},
                "ignore_referrers": ["pay.example"],
            })
        );
    }
}
