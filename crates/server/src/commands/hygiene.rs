//! `leadtrail hygiene`: what is wrong with the tags of links.

use std::process::ExitCode;

use anyhow::Context as _;
use leadtrail_app::access::View;
use leadtrail_app::hygiene::{EVENTS_MAX, Hygiene, Report, Subject};
use leadtrail_app::projects;

use super::find_project;
use crate::cli::HygieneArgs;
use crate::output::{self, Format, counted};
use crate::settings::Settings;
use crate::wiring;

/// Looks, and says what is wrong.
pub(super) async fn run(settings: &Settings, args: &HygieneArgs) -> anyhow::Result<ExitCode> {
    let stores = wiring::open_ready(&settings.store).await?;
    let project = find_project(stores.projects.as_ref(), &args.project).await?;
    let pixel = match &args.pixel {
        Some(id) => {
            let found = projects::find_pixel(stores.projects.as_ref(), View::Only(project.id), id).await?;
            Some(found.with_context(|| format!("{} has no pixel `{id}`", project.slug))?.id)
        }
        None => None,
    };
    let subject = Subject { project: project.id, pixel, days: args.days, events_max: EVENTS_MAX };
    let hygiene = Hygiene::new(stores.events.clone(), stores.projects.clone());
    let progress = |events| output::progress(&counted(events, "event"));
    let report = hygiene.inspect(&subject, stores.clock.now(), progress).await?;
    output::progress_ends();
    output::result(Format::of(args.json), &report, || described(&report, args.days))?;
    Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn described(report: &Report, days: u32) -> String {
    let mut lines = Vec::new();
    for finding in &report.findings {
        lines.push(format!("{}: {}", finding.problem.title(), finding.count));
        lines.extend(finding.examples.iter().map(|example| format!("    {example}")));
        lines.push(format!("  → {}", finding.advice));
        lines.push(String::new());
    }
    let (events, days) = (counted(report.events, "event"), counted(days, "day"));
    lines.push(match (report.findings.is_empty(), report.complete) {
        (true, _) => format!("nothing wrong in {events} of the last {days}"),
        (false, true) => format!("in {events} of the last {days}"),
        (false, false) => format!("in the newest {events} of the last {days}; there are more"),
    });
    lines.join("\n")
}
