use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use leadtrail_app::access::View;
use leadtrail_app::projects::{
    self, Change, NewPixelInput, PinnedTag, PixelInput, TagOptions, snippet, snippet_with,
};
use leadtrail_domain::id::{PixelId, ProjectId};
use leadtrail_domain::ports::{Created, Page};
use leadtrail_domain::project::{ConsentMode, Pixel, Project};
use leadtrail_http::{PinnedScript, pinned_scripts};
use serde_json::{Value, json};
use url::Url;

use super::{PAGE, entropy, find_project, now};
use crate::cli::PixelCommand;
use crate::output::{self, Format};
use crate::settings::Settings;
use crate::wiring::{self, Stores};

/// Manages pixels.
pub(super) async fn run(settings: &Settings, command: PixelCommand) -> anyhow::Result<ExitCode> {
    let stores = wiring::open_ready(&settings.store).await?;
    let base = base_url(settings);
    match command {
        PixelCommand::Create { project, name, id, origins, form_fields, json } => {
            let project = find_project(stores.projects.as_ref(), &project).await?;
            let settings = json!({ "origins": origins, "form_fields": form_fields });
            let input = NewPixelInput { id, name: Some(name), settings: Some(settings) };
            let created = create(&stores, project.id, input).await?;
            let existed = matches!(created, Created::Existing(_));
            let consent = project.settings.consent;
            print(
                json,
                &created.into_inner(),
                consent,
                &base,
                if existed { "exists already: " } else { "created " },
            )?;
        }
        PixelCommand::List { project, json } => {
            let project = find_project(stores.projects.as_ref(), &project).await?;
            list(&stores, &project, &base, Format::of(json)).await?;
        }
        PixelCommand::Show { id, json } => {
            let pixel = find(&stores, &id).await?;
            print(json, &pixel, consent_of(&stores, &pixel).await?, &base, "")?;
        }
        PixelCommand::Update { id, name, origins, any_origin, json } => {
            let pixel = find(&stores, &id).await?;
            let settings = (any_origin || !origins.is_empty()).then(|| json!({ "origins": origins }));
            let input = PixelInput { name, settings };
            let pixel =
                projects::update_pixel(stores.projects.as_ref(), pixel, input.into(), Change::Merge).await?;
            print(json, &pixel, consent_of(&stores, &pixel).await?, &base, "updated ")?;
        }
        PixelCommand::Archive { id, json } => {
            let pixel = find(&stores, &id).await?;
            let pixel = projects::archive_pixel(stores.projects.as_ref(), pixel, now(&stores)).await?;
            print(json, &pixel, consent_of(&stores, &pixel).await?, &base, "archived ")?;
        }
        PixelCommand::Snippet { id, pinned, plus } => {
            let pixel = find(&stores, &id).await?;
            let pinned = pinned.then(|| {
                pinned_scripts().map(|PinnedScript { path, integrity }| PinnedTag { path, integrity })
            });
            let plus = plus.iter().filter_map(ValueEnum::to_possible_value);
            let plus = plus.map(|extra| extra.get_name().to_owned()).collect();
            let consent = consent_of(&stores, &pixel).await?;
            output::line(&snippet_with(&base, &pixel.id, consent, &TagOptions { plus, pinned }))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Creates a pixel, or finds the project's one of the same id.
pub(super) async fn create(
    stores: &Stores,
    project_id: ProjectId,
    input: NewPixelInput,
) -> anyhow::Result<Created<Pixel>> {
    let what = input.id.as_ref().map_or_else(|| "the pixel".to_owned(), |id| format!("the pixel `{id}`"));
    let ports = stores.projects.as_ref();
    let created = projects::create_pixel(ports, project_id, input.into(), now(stores), entropy()?).await;
    created.with_context(|| format!("cannot create {what}"))
}

async fn find(stores: &Stores, id: &PixelId) -> anyhow::Result<Pixel> {
    let found = projects::find_pixel(stores.projects.as_ref(), View::All, id).await?;
    found.with_context(|| format!("there is no pixel `{id}`"))
}

/// What the project of a pixel says of consent.
async fn consent_of(stores: &Stores, pixel: &Pixel) -> anyhow::Result<ConsentMode> {
    let project = stores.projects.project(pixel.project_id).await?;
    let project = project.with_context(|| format!("the project of the pixel `{}` is gone", pixel.id))?;
    Ok(project.settings.consent)
}

async fn list(stores: &Stores, project: &Project, base: &str, format: Format) -> anyhow::Result<()> {
    let mut page = Page::first(PAGE);
    let mut all = Vec::new();
    loop {
        let pixels = stores.projects.pixels(project.id, &page).await?;
        page.after = pixels.last().map(|pixel| pixel.id.clone());
        let whole = u32::try_from(pixels.len()).is_ok_and(|count| count == PAGE);
        all.extend(pixels);
        if !whole {
            break;
        }
    }
    let consent = project.settings.consent;
    let values: Vec<Value> = all.iter().map(|pixel| shown(pixel, consent, base)).collect();
    output::result(format, &values, || match all.as_slice() {
        [] => "no pixels yet: leadtrail pixel create --project PROJECT --name NAME".to_owned(),
        all => all.iter().map(line_of).collect::<Vec<_>>().join("\n"),
    })
}

/// Where browsers reach the service: its public address, or where it listens.
fn base_url(settings: &Settings) -> String {
    settings
        .http
        .public_url
        .as_ref()
        .map_or_else(|| format!("http://{}", settings.http.bind), Url::to_string)
        .trim_end_matches('/')
        .to_owned()
}

fn shown(pixel: &Pixel, consent: ConsentMode, base: &str) -> Value {
    json!({
        "id": pixel.id,
        "project_id": pixel.project_id,
        "name": pixel.name,
        "settings": pixel.settings,
        "created_at": pixel.created_at,
        "archived_at": pixel.archived_at,
        "snippet": snippet(base, &pixel.id, consent),
    })
}

fn print(json: bool, pixel: &Pixel, consent: ConsentMode, base: &str, done: &str) -> anyhow::Result<()> {
    output::result(Format::of(json), &shown(pixel, consent, base), || {
        let snippet = snippet(base, &pixel.id, consent);
        format!("{done}{}\nput this into the site's pages:\n  {snippet}", line_of(pixel))
    })
}

fn line_of(pixel: &Pixel) -> String {
    let origins: Vec<String> = pixel.settings.origins.iter().map(ToString::to_string).collect();
    let origins = if origins.is_empty() { "any site".to_owned() } else { origins.join(", ") };
    let archived = if pixel.archived_at.is_some() { "  (archived)" } else { "" };
    format!("{}  {}  {origins}{archived}", pixel.id, pixel.name)
}
