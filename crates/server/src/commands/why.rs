//! `leadtrail why`: why a lead is attributed as it is.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use leadtrail_app::why::{self, ModelCredits, Subject, TouchShown, Why};

use super::{find_project, sync};
use crate::cli::WhyArgs;
use crate::output::{self, Format, counted, row, shown_at, table};
use crate::settings::Settings;
use crate::wiring;

/// Shows why.
pub(super) async fn run(settings: &Settings, args: &WhyArgs) -> anyhow::Result<ExitCode> {
    let stores = wiring::open_ready(&settings.store).await?;
    let project = find_project(stores.projects.as_ref(), &args.project).await?;
    let accounts = wiring::accounts(settings, &stores)?;
    let ask = |subject: Subject| {
        let (journeys, jobs) = (stores.journeys.as_ref(), stores.jobs.as_ref());
        let (projects, accounts, project) = (stores.projects.as_ref(), &accounts, &project);
        async move { why::why(journeys, jobs, projects, accounts, project, &subject).await }
    };
    let text = args.subject.trim();
    let subjects = if text.contains('@') {
        vec![Subject::Email(text.parse().context("no e-mail address")?)]
    } else {
        Subject::of_event(text)
    };
    let mut found = Vec::new();
    for subject in subjects {
        if found.is_empty() {
            found = ask(subject).await?;
        }
    }
    if found.is_empty() {
        bail!("no lead of {} belongs to `{text}`", project.slug);
    }
    output::result(Format::of(args.json), &found, || {
        found.iter().map(described).collect::<Vec<_>>().join("\n\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn described(why: &Why) -> String {
    let touches = why.touches.len();
    let known = format!("{touches} {}", if touches == 1 { "touch" } else { "touches" });
    let head = table(&[
        row(["lead", &why.lead_id.to_string()]),
        row(["e-mail", &why.email]),
        row(["form", &format!("{} on pixel {}", shown_at(why.occurred_at), why.pixel_id)]),
        row(["event", &why.event_id.to_string()]),
        row(["rule", why.rule]),
        row(["known", &format!("{}, {}", counted(why.events, "event"), known)]),
    ]);
    let touches = if why.touches.is_empty() {
        "  none".to_owned()
    } else {
        let rows: Vec<Vec<String>> = why.touches.iter().map(|touch| touch_row(touch, why)).collect();
        table(&rows)
    };
    let told = why.job.as_ref().map_or_else(
        || "  nothing: the project told no CRM when the form came".to_owned(),
        |job| {
            let text = sync::described(job, None);
            text.lines().map(|line| format!("  {line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
        },
    );
    let ignored = if why.ignored.is_empty() {
        "  none".to_owned()
    } else {
        let rows: Vec<Vec<String>> = (why.ignored.iter())
            .map(|one| {
                vec![format!("  {}", shown_at(one.latest_at)), counted(one.events, "event"), one.why.clone()]
            })
            .collect();
        table(&rows)
    };
    let models: Vec<Vec<String>> = why.models.iter().map(|one| model_row(one, why)).collect();
    format!(
        "{head}\n\ntouches, oldest first\n{touches}\n\nno touches, by reason (the latest of each)\n{ignored}\n\n\
         credit by model\n{}\n\nwhat the CRM was told\n{told}",
        table(&models)
    )
}

/// The model, and its shares by the place of the touch in the list.
fn model_row(credits: &ModelCredits, why: &Why) -> Vec<String> {
    let share = |event| credits.touches.iter().find(|one| one.event_id == event).map(|one| one.credit);
    let shares = (1..).zip(&why.touches).filter_map(|(place, touch)| {
        share(touch.event_id).map(|credit: f64| {
            let source = touch.source.as_deref().unwrap_or("direct");
            format!("{:.0} % {place}. {source}", credit * 100.0)
        })
    });
    let none = (credits.none > 0.0).then(|| "no touch in the last 90 days".to_owned());
    let all: Vec<String> = shares.chain(none).collect();
    vec![format!("  {}", credits.model), all.join(", ")]
}

fn touch_row(touch: &TouchShown, why: &Why) -> Vec<String> {
    let mark = if why.chosen == Some(touch.event_id) { "→" } else { " " };
    let source = [&touch.source, &touch.medium, &touch.campaign];
    let source: Vec<&str> = source.into_iter().flatten().map(String::as_str).collect();
    let source = if source.is_empty() { "direct".to_owned() } else { source.join(" / ") };
    vec![
        format!("{mark} {}", shown_at(touch.at)),
        touch.kind.to_owned(),
        source,
        touch.channel.clone().unwrap_or_default(),
        touch.click_ids.join(", "),
        touch.is.join(", "),
        touch.note.clone(),
    ]
}
