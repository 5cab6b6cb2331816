//! Managing projects and their pixels: what the API and the command line share.
//!
//! Every look-up takes the [`View`] of whoever asks, and what is not in view is absent.

use leadtrail_domain::id::{PixelId, ProjectId, Slug};
use leadtrail_domain::ports::{Created, Page, Projects, StoreError};
use leadtrail_domain::project::{ConsentMode, Pixel, PixelSettings, Project, ProjectSettings, own_account};
use leadtrail_domain::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::access::View;
use crate::input::{Given, Invalid, Problems, name, patched, present};

/// How often a change is made again when another came between, before its sender is asked to come back.
pub const UPDATE_ATTEMPTS_MAX: u32 = 32;
/// The slug no project may have: `/api/projects/pixels` is another route.
pub const RESERVED_SLUG: &str = "pixels";

/// What somebody wants a project to be.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ProjectInput {
    /// Its name for people; cleaned.
    #[serde(deserialize_with = "present")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::input::name_schema"))]
    pub name: Option<String>,
    /// Its short name; at a creation made of the name where absent.
    #[serde(deserialize_with = "present")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "slug_schema"))]
    pub slug: Option<Slug>,
    /// Its settings, as a JSON merge patch.
    #[serde(deserialize_with = "present")]
    #[cfg_attr(feature = "schema", schemars(with = "ProjectSettings"))]
    pub settings: Option<Value>,
}

/// What somebody wants a new pixel to be.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct NewPixelInput {
    /// Its public id; drawn at random where absent.
    #[serde(deserialize_with = "present")]
    #[cfg_attr(feature = "schema", schemars(with = "PixelId"))]
    pub id: Option<PixelId>,
    /// Its name for people; cleaned.
    #[serde(deserialize_with = "present")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::input::name_schema"))]
    pub name: Option<String>,
    /// Its settings, as a JSON merge patch.
    #[serde(deserialize_with = "present")]
    #[cfg_attr(feature = "schema", schemars(with = "PixelSettings"))]
    pub settings: Option<Value>,
}

/// What somebody wants a pixel to be. Its id stays: it stands in pages.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct PixelInput {
    /// Its name for people; cleaned.
    #[serde(deserialize_with = "present")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "crate::input::name_schema"))]
    pub name: Option<String>,
    /// Its settings, as a JSON merge patch.
    #[serde(deserialize_with = "present")]
    #[cfg_attr(feature = "schema", schemars(with = "PixelSettings"))]
    pub settings: Option<Value>,
}

/// What happens to what a change does not name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Settings go to their defaults; name and slug are required.
    Replace,
    /// It stays.
    Merge,
}

/// Why something was not created or changed.
#[derive(Debug, thiserror::Error)]
pub enum ManageError {
    /// The input is not valid.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// What this field names belongs to something else.
    #[error("{0} is already taken")]
    Taken(&'static str),
    /// It is there no more.
    #[error("it is gone")]
    Gone,
    /// The store did not do it.
    #[error("the store did not do it")]
    Store(#[source] StoreError),
}

impl ManageError {
    /// A store's error, where `field` is what can be taken.
    pub(crate) fn of(error: StoreError, field: &'static str) -> Self {
        match error {
            StoreError::Taken(_) => Self::Taken(field),
            StoreError::Transient(_)
            | StoreError::Stale
            | StoreError::Rejected(_)
            | StoreError::Corrupt { .. }
            | StoreError::LeaseLost => Self::Store(error),
        }
    }
}

/// The project of an id or slug.
///
/// # Errors
/// Those of the store.
pub async fn find(projects: &dyn Projects, view: View, name: &str) -> Result<Option<Project>, StoreError> {
    let by_id = match name.parse() {
        Ok(id) if view.shows(id) => projects.project(id).await?,
        Ok(_) | Err(_) => None,
    };
    let found = match (by_id, name.parse()) {
        (Some(project), _) => Some(project),
        (None, Ok(slug)) => projects.project_by_slug(&slug).await?,
        (None, Err(_not_a_slug)) => None,
    };
    Ok(found.filter(|project| view.shows(project.id)))
}

/// Projects by id, archived ones too.
///
/// # Errors
/// Those of the store.
pub async fn list(
    projects: &dyn Projects,
    view: View,
    page: &Page<ProjectId>,
) -> Result<Vec<Project>, StoreError> {
    match view {
        View::All => projects.projects(page).await,
        View::Only(own) if page.limit > 0 && page.after.is_none_or(|after| own > after) => {
            Ok(projects.project(own).await?.into_iter().collect())
        }
        View::Only(_) => Ok(Vec::new()),
    }
}

/// Creates a project, or finds the one of the same slug, which stays as it is. `entropy` is drawn at random.
///
/// # Errors
/// `Invalid`; `Store`.
pub async fn create(
    projects: &dyn Projects,
    input: Given<ProjectInput>,
    now: Timestamp,
    entropy: [u8; 16],
) -> Result<Created<Project>, ManageError> {
    let Given { fields: input, mut problems } = input;
    let name = name(input.name.as_deref(), &mut problems);
    let slug = input.slug.clone().or_else(|| slug_of(&name));
    match &slug {
        Some(slug) => refuse_reserved(slug, &mut problems),
        None if !name.is_empty() => problems.add("slug", "is required: none can be made of the name"),
        None => {}
    }
    let settings = settings(&ProjectSettings::default(), input.settings.as_ref(), &mut problems);
    let (Some(slug), name) = problems.unless_none((slug, name))? else {
        return Err(Invalid::one("slug", "is required").into());
    };
    let id = ProjectId::new(now, entropy);
    let project = Project { id, slug, name, settings, created_at: now, archived_at: None };
    projects.create_project(&project).await.map_err(|error| ManageError::of(error, "slug"))
}

/// Changes a project; where somebody else changes it at the same moment, one after the other. In a view of it alone its
/// slug stays: whether one is taken would tell of other projects.
///
/// # Errors
/// `Invalid`; `Taken` for the slug; `Gone`; `Store`.
pub async fn update(
    projects: &dyn Projects,
    view: View,
    project: Project,
    input: Given<ProjectInput>,
    change: Change,
) -> Result<Project, ManageError> {
    save(projects, project, |project| changed(view, project, &input, change)).await
}

fn changed(
    view: View,
    project: &Project,
    input: &Given<ProjectInput>,
    change: Change,
) -> Result<Project, Invalid> {
    let Given { fields: input, problems } = input;
    let mut problems = problems.clone();
    let changed = Project {
        name: changed_name(&project.name, input.name.as_deref(), change, &mut problems),
        slug: match (&input.slug, change) {
            (Some(slug), _) => slug.clone(),
            (None, Change::Merge) => project.slug.clone(),
            (None, Change::Replace) => {
                problems.add("slug", "is required");
                project.slug.clone()
            }
        },
        settings: changed_settings(&project.settings, input.settings.as_ref(), change, &mut problems),
        ..project.clone()
    };
    refuse_reserved(&changed.slug, &mut problems);
    if changed.slug != project.slug && view != View::All {
        problems.add("slug", "may be changed only with a key that is bound to no project");
    }
    // The service's connections are others' too: whoever sees one project does not choose among them.
    let account = &changed.settings.crm.account;
    if *account != project.settings.crm.account && *account != own_account() && view != View::All {
        problems.add("settings.crm.account", "may be changed only with a key that is bound to no project");
    }
    problems.unless_none(changed)
}

/// Archives a project: its pixels collect nothing any more, what was collected stays. One that is archived already
/// keeps its time.
///
/// # Errors
/// `Gone`; `Store`.
pub async fn archive(
    projects: &dyn Projects,
    project: Project,
    now: Timestamp,
) -> Result<Project, ManageError> {
    save(projects, project, |project| {
        Ok(Project { archived_at: project.archived_at.or(Some(now)), ..project.clone() })
    })
    .await
}

/// Saves what `changed` makes of a project, and makes it anew of whatever somebody else has made of it meanwhile.
async fn save(
    projects: &dyn Projects,
    mut project: Project,
    changed: impl Fn(&Project) -> Result<Project, Invalid>,
) -> Result<Project, ManageError> {
    for _attempt in 0..UPDATE_ATTEMPTS_MAX {
        let becomes = changed(&project)?;
        match projects.update_project(&project, &becomes).await {
            Ok(true) => return Ok(becomes),
            Ok(false) => return Err(ManageError::Gone),
            Err(StoreError::Stale) => {
                let now = projects.project(project.id).await.map_err(ManageError::Store)?;
                project = now.ok_or(ManageError::Gone)?;
            }
            Err(error) => return Err(ManageError::of(error, "slug")),
        }
    }
    Err(ManageError::Store(StoreError::Stale))
}

/// A pixel by its public id, with the project it belongs to known to be in view. The one place where that is asked.
///
/// # Errors
/// Those of the store.
pub async fn find_pixel(
    projects: &dyn Projects,
    view: View,
    id: &PixelId,
) -> Result<Option<Pixel>, StoreError> {
    match view {
        View::Only(own) => projects.pixel(own, id).await,
        View::All => Ok(projects.pixel_context(id).await?.map(|context| context.pixel)),
    }
}

/// Creates a pixel of a project that is in view, or finds the project's one of the same id, which stays as it is.
/// `entropy` is drawn at random.
///
/// # Errors
/// `Invalid`; `Taken` for the id; `Store`.
pub async fn create_pixel(
    projects: &dyn Projects,
    project_id: ProjectId,
    input: Given<NewPixelInput>,
    now: Timestamp,
    entropy: [u8; 8],
) -> Result<Created<Pixel>, ManageError> {
    let Given { fields: input, mut problems } = input;
    let pixel = Pixel {
        id: input.id.clone().unwrap_or_else(|| drawn_pixel_id(entropy)),
        project_id,
        name: name(input.name.as_deref(), &mut problems),
        settings: settings(&PixelSettings::default(), input.settings.as_ref(), &mut problems),
        created_at: now,
        archived_at: None,
    };
    let pixel = problems.unless_none(pixel)?;
    projects.create_pixel(&pixel).await.map_err(|error| ManageError::of(error, "id"))
}

/// Changes a pixel; where somebody else changes it at the same moment, one after the other.
///
/// # Errors
/// `Invalid`; `Gone`; `Store`.
pub async fn update_pixel(
    projects: &dyn Projects,
    pixel: Pixel,
    input: Given<PixelInput>,
    change: Change,
) -> Result<Pixel, ManageError> {
    let Given { fields: input, problems } = input;
    save_pixel(projects, pixel, |pixel| {
        let mut problems = problems.clone();
        let changed = Pixel {
            name: changed_name(&pixel.name, input.name.as_deref(), change, &mut problems),
            settings: changed_settings(&pixel.settings, input.settings.as_ref(), change, &mut problems),
            ..pixel.clone()
        };
        problems.unless_none(changed)
    })
    .await
}

/// Archives a pixel: it collects nothing any more, what was collected stays. One that is archived already keeps its
/// time.
///
/// # Errors
/// `Gone`; `Store`.
pub async fn archive_pixel(
    projects: &dyn Projects,
    pixel: Pixel,
    now: Timestamp,
) -> Result<Pixel, ManageError> {
    save_pixel(projects, pixel, |pixel| {
        Ok(Pixel { archived_at: pixel.archived_at.or(Some(now)), ..pixel.clone() })
    })
    .await
}

/// As [`save`], of a pixel.
async fn save_pixel(
    projects: &dyn Projects,
    mut pixel: Pixel,
    changed: impl Fn(&Pixel) -> Result<Pixel, Invalid>,
) -> Result<Pixel, ManageError> {
    for _attempt in 0..UPDATE_ATTEMPTS_MAX {
        let becomes = changed(&pixel)?;
        match projects.update_pixel(&pixel, &becomes).await {
            Ok(true) => return Ok(becomes),
            Ok(false) => return Err(ManageError::Gone),
            Err(StoreError::Stale) => {
                let now = projects.pixel(pixel.project_id, &pixel.id).await.map_err(ManageError::Store)?;
                pixel = now.ok_or(ManageError::Gone)?;
            }
            Err(error) => return Err(ManageError::Store(error)),
        }
    }
    Err(ManageError::Store(StoreError::Stale))
}

/// The code to put into a site's pages, as the project's `consent` wants it; `base` is where browsers reach the service,
/// without a slash at its end.
pub fn snippet(base: &str, id: &PixelId, consent: ConsentMode) -> String {
    snippet_with(base, id, consent, &TagOptions::default())
}

/// What a site may want of its code beyond the usual.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TagOptions {
    /// What of the pixel's extension; words without quotes or spaces.
    pub plus: Vec<String>,
    /// The pixel's core and its extension as the page pins them; absent: the newest ones.
    pub pinned: Option<[PinnedTag; 2]>,
}

/// A script that a page loads with one content only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinnedTag {
    /// Where on the service, beginning with a slash.
    pub path: String,
    /// The content's hash as the attribute of this name has it.
    pub integrity: String,
}

/// The same with wishes. A pinned extension has a line of its own: the core would load the newest one.
pub fn snippet_with(base: &str, id: &PixelId, consent: ConsentMode, options: &TagOptions) -> String {
    let consent = match consent {
        ConsentMode::NotRequired => "",
        ConsentMode::Required => r#" data-consent="required""#,
    };
    let plus = if options.plus.is_empty() {
        String::new()
    } else {
        format!(r#" data-plus="{}""#, options.plus.join(","))
    };
    let Some([core, extension]) = &options.pinned else {
        return format!(
            r#"<script src="{base}/static/pixel.js" data-pixel-id="{id}"{consent}{plus} async></script>"#
        );
    };
    let tag = |script: &PinnedTag, attributes: &str| {
        let PinnedTag { path, integrity } = script;
        format!(
            r#"<script src="{base}{path}" integrity="{integrity}" crossorigin="anonymous"{attributes} async></script>"#
        )
    };
    let core = tag(core, &format!(r#" data-pixel-id="{id}"{consent}"#));
    if plus.is_empty() { core } else { format!("{core}\n{}", tag(extension, &plus)) }
}

/// `px_` and 16 hexadecimal digits.
fn drawn_pixel_id(entropy: [u8; 8]) -> PixelId {
    let id = format!("px_{:016x}", u64::from_be_bytes(entropy));
    id.parse().expect("letters, digits and `_` are a pixel id")
}

fn changed_name(current: &str, given: Option<&str>, change: Change, problems: &mut Problems) -> String {
    match (given, change) {
        (None, Change::Merge) => current.to_owned(),
        (Some(_), _) | (None, Change::Replace) => name(given, problems),
    }
}

fn changed_settings<T: crate::input::Settings>(
    current: &T,
    patch: Option<&Value>,
    change: Change,
    problems: &mut Problems,
) -> T {
    match change {
        Change::Merge => settings(current, patch, problems),
        Change::Replace => settings(&T::default(), patch, problems),
    }
}

fn settings<T: crate::input::Settings>(base: &T, patch: Option<&Value>, problems: &mut Problems) -> T {
    let Some(patch) = patch else { return base.clone() };
    patched(base, patch).unwrap_or_else(|invalid| {
        problems.add_all(invalid);
        base.clone()
    })
}

/// A slug that is not reserved.
#[cfg(feature = "schema")]
fn slug_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let slug = generator.subschema_for::<Slug>();
    schemars::json_schema!({"allOf": [slug, {"not": {"const": RESERVED_SLUG}}]})
}

fn refuse_reserved(slug: &Slug, problems: &mut Problems) {
    if slug.as_str() == RESERVED_SLUG {
        problems.add("slug", "is reserved");
    }
}

/// `Acme & Söhne GmbH` as `acme-s-hne-gmbh`.
fn slug_of(name: &str) -> Option<Slug> {
    let dashed: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let parts: Vec<&str> = dashed.split('-').filter(|part| !part.is_empty()).collect();
    parts.join("-").chars().take(64).collect::<String>().parse().ok()
}

#[cfg(test)]
mod tests {
    use leadtrail_store_memory::MemoryStore;
    use serde_json::json;

    use super::*;

    const AT: Timestamp = Timestamp::EPOCH;

    fn settings(patch: Value) -> ProjectInput {
        ProjectInput { settings: Some(patch), ..ProjectInput::default() }
    }

    async fn project(store: &MemoryStore) -> Project {
        let input = ProjectInput { name: Some("Acme".to_owned()), ..ProjectInput::default() };
        create(store, input.into(), AT, [1; 16]).await.unwrap().into_inner()
    }

    #[tokio::test]
    async fn a_change_is_made_of_the_project_as_somebody_else_has_left_it() {
        let store = MemoryStore::new();
        let seen = project(&store).await;
        let change = async |patch| {
            update(&store, View::All, seen.clone(), settings(patch).into(), Change::Merge).await.unwrap()
        };
        change(json!({"retention_days": 30})).await;
        change(json!({"crm": {"enabled": false}})).await;
        let archived = archive(&store, seen.clone(), AT).await.unwrap();
        assert_eq!(archived.settings.retention_days, Some(30));
        assert!(!archived.settings.crm.enabled);
        assert_eq!(store.project(seen.id).await.unwrap(), Some(archived));
    }

    #[tokio::test]
    async fn a_slug_that_somebody_else_has_changed_is_kept_by_a_change_that_does_not_name_it() {
        let store = MemoryStore::new();
        let seen = project(&store).await;
        let renamed = ProjectInput { slug: "renamed".parse().ok(), ..ProjectInput::default() };
        update(&store, View::All, seen.clone(), renamed.into(), Change::Merge).await.unwrap();
        let (view, patch) = (View::Only(seen.id), settings(json!({"retention_days": 30})));
        let changed = update(&store, view, seen, patch.into(), Change::Merge).await.unwrap();
        assert_eq!((changed.slug.as_str(), changed.settings.retention_days), ("renamed", Some(30)));
    }

    #[tokio::test]
    async fn a_change_of_a_pixel_is_made_of_the_pixel_as_somebody_else_has_left_it() {
        let store = MemoryStore::new();
        let input = NewPixelInput { name: Some("Shop".to_owned()), ..NewPixelInput::default() };
        let created = create_pixel(&store, project(&store).await.id, input.into(), AT, [1; 8]).await;
        let seen = created.unwrap().into_inner();
        for (name, patch) in
            [(Some("Store"), json!({})), (None, json!({"origins": ["a.example"]})), (None, json!({}))]
        {
            let input = PixelInput { name: name.map(str::to_owned), settings: Some(patch) };
            update_pixel(&store, seen.clone(), input.into(), Change::Merge).await.unwrap();
        }
        let archived = archive_pixel(&store, seen, AT).await.unwrap();
        assert_eq!((archived.name.as_str(), archived.settings.origins.len()), ("Store", 1));
    }

    #[tokio::test]
    async fn what_is_gone_is_not_changed() {
        let store = MemoryStore::new();
        let elsewhere = project(&MemoryStore::new()).await;
        let gone = update(&store, View::All, elsewhere, settings(json!({})).into(), Change::Merge).await;
        assert!(matches!(gone, Err(ManageError::Gone)), "{gone:?}");
    }

    #[test]
    fn the_snippet_waits_for_consent_where_the_project_requires_it() {
        let id = "site".parse().unwrap();
        let snippet = |consent| snippet("https://t.example", &id, consent);
        assert_eq!(
            snippet(ConsentMode::NotRequired),
            r#"<script src="https://t.example/static/pixel.js" data-pixel-id="site" async></script>"#
        );
        assert!(
            snippet(ConsentMode::Required)
                .contains(r#" data-pixel-id="site" data-consent="required" async>"#)
        );
    }

    #[test]
    fn a_pinned_snippet_names_the_hash_of_each_script_it_loads() {
        let id = "site".parse().unwrap();
        let pinned = |name: &str| PinnedTag {
            path: format!("/static/{name}.0.js"),
            integrity: format!("sha384-{name}"),
        };
        let mut options =
            TagOptions { pinned: Some([pinned("pixel"), pinned("px-plus")]), ..TagOptions::default() };
        let snippet =
            |options: &TagOptions| snippet_with("https://t.example", &id, ConsentMode::NotRequired, options);
        let core = r#"<script src="https://t.example/static/pixel.0.js" integrity="sha384-pixel" crossorigin="anonymous" data-pixel-id="site" async></script>"#;
        assert_eq!(snippet(&options), core);
        options.plus = vec!["links".to_owned(), "fill".to_owned()];
        let plus = r#"<script src="https://t.example/static/px-plus.0.js" integrity="sha384-px-plus" crossorigin="anonymous" data-plus="links,fill" async></script>"#;
        assert_eq!(snippet(&options), format!("{core}\n{plus}"));
        options.pinned = None;
        assert!(snippet(&options).contains(r#" data-plus="links,fill" async>"#));
    }

    #[test]
    fn a_slug_is_made_of_a_name() {
        assert_eq!(slug_of("Acme & Söhne GmbH").unwrap().as_str(), "acme-s-hne-gmbh");
        assert_eq!(slug_of("日本"), None);
    }

    #[test]
    fn a_drawn_pixel_id_has_all_its_digits() {
        assert_eq!(drawn_pixel_id([0, 0, 0, 0, 0, 0, 0, 1]).as_str(), "px_0000000000000001");
    }
}
