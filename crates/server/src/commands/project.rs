use std::process::ExitCode;

use anyhow::{Context as _, bail};
use leadtrail_domain::id::{ProjectId, Slug};
use leadtrail_domain::ports::{Created, Page};
use leadtrail_domain::project::{Project, ProjectSettings};
use serde_json::{Value, json};

use super::{PAGE, entropy, find_project, now};
use crate::cli::{ProjectCommand, Setting};
use crate::output::{self, Format};
use crate::settings::Settings;
use crate::wiring::{self, Stores};

/// The longest name of a project, pixel or key.
pub(super) const NAME_CHARS_MAX: usize = 200;

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
            let mut project = find_project(stores.projects.as_ref(), &project).await?;
            if let Some(name) = name {
                project.name = checked_name(&name)?;
            }
            if let Some(slug) = slug {
                refuse_reserved(&slug)?;
                project.slug = slug;
            }
            project.settings = changed(&project.settings, &settings)?;
            save(&stores, &project).await?;
            print(json, &project, "updated ")?;
        }
        ProjectCommand::Archive { project, json } => {
            let mut project = find_project(stores.projects.as_ref(), &project).await?;
            project.archived_at = project.archived_at.or(Some(now(&stores)));
            save(&stores, &project).await?;
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
    let name = checked_name(name)?;
    let slug = match slug {
        Some(slug) => slug,
        None => slug_of(&name).context("no slug can be made of the name: give one with --slug")?,
    };
    refuse_reserved(&slug)?;
    let created_at = now(stores);
    let project = Project {
        id: ProjectId::new(created_at, entropy()?),
        slug,
        name,
        settings: changed(&ProjectSettings::default(), settings)?,
        created_at,
        archived_at: None,
    };
    Ok(stores.projects.create_project(&project).await?)
}

async fn save(stores: &Stores, project: &Project) -> anyhow::Result<()> {
    if !stores.projects.update_project(project).await? {
        bail!("the project is gone");
    }
    Ok(())
}

async fn list(stores: &Stores, format: Format) -> anyhow::Result<()> {
    let mut page = Page::first(PAGE);
    let mut all = Vec::new();
    loop {
        let projects = stores.projects.projects(&page).await?;
        page.after = projects.last().map(|project| project.id);
        let whole = u32::try_from(projects.len()).is_ok_and(|count| count == PAGE);
        all.extend(projects);
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

pub(super) fn checked_name(name: &str) -> anyhow::Result<String> {
    leadtrail_domain::text::clean(name, NAME_CHARS_MAX).context("the name is empty")
}

/// `/api/projects/pixels` is another route.
fn refuse_reserved(slug: &Slug) -> anyhow::Result<()> {
    if slug.as_str() == "pixels" {
        bail!("the slug `pixels` is reserved");
    }
    Ok(())
}

/// `Acme & Söhne GmbH` as `acme-s-hne-gmbh`.
fn slug_of(name: &str) -> Option<Slug> {
    let dashed: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let parts: Vec<&str> = dashed.split('-').filter(|part| !part.is_empty()).collect();
    parts.join("-").chars().take(64).collect::<String>().parse().ok()
}

/// The settings with some changed: the value is JSON where it can be read so, otherwise a text.
fn changed(settings: &ProjectSettings, changes: &[Setting]) -> anyhow::Result<ProjectSettings> {
    let mut value = serde_json::to_value(settings)?;
    let defaults = serde_json::to_value(ProjectSettings::default())?;
    for Setting { path, value: text } in changes {
        let pointer = format!("/{}", path.replace('.', "/"));
        let place = match value.pointer_mut(&pointer) {
            Some(place) => place,
            None => {
                new_entry(&mut value, &pointer).with_context(|| format!("there is no setting `{path}`"))?
            }
        };
        *place = if text.is_empty() {
            defaults.pointer(&pointer).cloned().unwrap_or(Value::Null)
        } else {
            serde_json::from_str(text).unwrap_or_else(|_not_json| Value::String(text.clone()))
        };
        serde_json::from_value::<ProjectSettings>(value.clone())
            .with_context(|| format!("`{text}` does not fit the setting `{path}`"))?;
    }
    Ok(serde_json::from_value(value)?)
}

/// A place in a map that may hold any key (`crm.mapping.utm_source`).
fn new_entry<'v>(value: &'v mut Value, pointer: &str) -> Option<&'v mut Value> {
    let (parent, key) = pointer.rsplit_once('/')?;
    let map = value.pointer_mut(parent)?.as_object_mut()?;
    Some(map.entry(key).or_insert(Value::Null))
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

    fn set(changes: &[(&str, &str)]) -> anyhow::Result<ProjectSettings> {
        let changes: Vec<Setting> = changes
            .iter()
            .map(|(path, value)| Setting { path: (*path).to_owned(), value: (*value).to_owned() })
            .collect();
        changed(&ProjectSettings::default(), &changes)
    }

    #[test]
    fn settings_are_changed_by_their_dotted_keys_and_checked() {
        let settings = set(&[
            ("time_zone", "Europe/Berlin"),
            ("crm.enabled", "false"),
            ("sync_delay", "10m"),
            ("ignore_referrers", r#"["pay.example"]"#),
            ("crm.mapping.utm_source", r#"{"field":"Source","policy":"always"}"#),
        ])
        .unwrap();
        assert_eq!(settings.time_zone.name(), "Europe/Berlin");
        assert!(!settings.crm.enabled);
        assert_eq!(settings.crm.mapping.len(), 1);
        assert_eq!(
            set(&[("crm.enabled", "false"), ("crm.enabled", "")]).unwrap(),
            ProjectSettings::default()
        );
        for (path, value) in
            [("nonsense", "1"), ("crm.enabled", "maybe"), ("time_zone", "Mars"), ("crm.mapping.email", "{}")]
        {
            assert!(set(&[(path, value)]).is_err(), "{path}");
        }
    }

    #[test]
    fn a_slug_is_made_of_a_name() {
        assert_eq!(slug_of("Acme & Söhne GmbH").unwrap().as_str(), "acme-s-hne-gmbh");
        assert_eq!(slug_of("日本"), None);
    }
}
