//! `leadtrail reattribute`: attribution anew, from stored events.

use std::process::ExitCode;

use leadtrail_app::access::View;
use leadtrail_app::projects;
use leadtrail_app::reattribute::{
    ConversionChange, Detail, LeadChange, Reattribution, Report, SessionChange, TouchChange, Wish,
};
use leadtrail_domain::ports::Page;
use leadtrail_domain::project::Project;
use leadtrail_domain::touch::Attribution;

use super::{PAGE, find_project};
use crate::cli::ReattributeArgs;
use crate::output::{self, Format, counted, shown_at};
use crate::settings::Settings;
use crate::wiring::{self, Stores};

/// Decides anew, and says what that changes.
pub(super) async fn run(settings: &Settings, args: &ReattributeArgs) -> anyhow::Result<ExitCode> {
    let stores = wiring::open_ready(&settings.store).await?;
    let chosen = match &args.project {
        Some(name) => vec![find_project(stores.projects.as_ref(), name).await?],
        None => all_projects(&stores).await?,
    };
    let reattribution = Reattribution::new(
        stores.histories.clone(),
        stores.projects.clone(),
        stores.jobs.clone(),
        stores.clock.clone(),
    );
    let wish =
        Wish { dry_run: args.dry_run, requeue: args.requeue, from: args.from, details_max: args.details };
    let mut report = Report::default();
    for project in &chosen {
        let progress = |position, so_far: &Report| {
            output::progress(&format!(
                "{}: {}, {}, {} changed; go on with --from {position}",
                project.slug,
                counted(so_far.visitors, "visitor"),
                counted(so_far.leads, "lead"),
                so_far.visitors_changed + so_far.leads_changed,
            ));
        };
        report.add(reattribution.run(project, &wish, progress).await?, args.details);
    }
    output::progress_ends();
    output::result(Format::of(args.json), &report, || described(&report))?;
    let differs = report.visitors_changed + report.leads_changed > 0;
    Ok(if report.dry_run && differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn all_projects(stores: &Stores) -> anyhow::Result<Vec<Project>> {
    let mut all: Vec<Project> = Vec::new();
    let mut page = Page::first(PAGE);
    loop {
        let some = projects::list(stores.projects.as_ref(), View::All, &page).await?;
        let Some(last) = some.last() else { return Ok(all) };
        page.after = Some(last.id);
        all.extend(some);
    }
}

fn described(report: &Report) -> String {
    let mut lines: Vec<String> = Vec::new();
    for detail in &report.details {
        match detail {
            Detail::Visitor { id, touches, sessions, conversions } => {
                lines.push(format!("visitor {id}"));
                lines.extend(touches.iter().flat_map(touch));
                lines.extend(sessions.iter().map(session));
                lines.extend(conversions.iter().map(conversion));
            }
            Detail::Lead { id, event_id, touches } => {
                lines.push(format!("lead {id} (event {event_id})"));
                lines.extend(touches.iter().map(lead));
            }
        }
    }
    if report.details_left_out > 0 {
        lines.push(format!("and {} more (--details)", report.details_left_out));
    }
    if report.left_alone > 0 {
        let named: Vec<String> = report.left_alone_visitors.iter().map(ToString::to_string).collect();
        lines.push(format!(
            "left as they are, for having too many events or browsers, or changing all the time: {} ({})",
            report.left_alone,
            named.join(", ")
        ));
    }
    let would = if report.dry_run { "would change" } else { "changed" };
    lines.push(format!(
        "{}: {would} {} (touches: {} added, {} removed, {} changed; {})",
        counted(report.visitors, "visitor"),
        report.visitors_changed,
        report.touches_added,
        report.touches_removed,
        report.touches_changed,
        counted(report.sessions_changed, "session"),
    ));
    lines.push(format!(
        "conversions: {would} {} ({} added, {} removed, {} changed)",
        report.conversions_added + report.conversions_removed + report.conversions_changed,
        report.conversions_added,
        report.conversions_removed,
        report.conversions_changed,
    ));
    lines.push(format!("{}: {would} {}", counted(report.leads, "lead"), report.leads_changed));
    if report.requeued > 0 {
        lines.push(format!("{} will tell the CRM again", counted(report.requeued, "job")));
    }
    if report.worked_on > 0 {
        lines.push(format!(
            "{} at work: replay by hand what told too early",
            counted(report.worked_on, "job")
        ));
    }
    lines.join("\n")
}

fn touch(change: &TouchChange) -> Vec<String> {
    let at = shown_at(change.at);
    let line = |sign, text: &String| format!("  {sign} {at}  {text}");
    let before = change.before.as_ref().map(|text| line('-', text));
    before.into_iter().chain(change.after.as_ref().map(|text| line('+', text))).collect()
}

fn session(change: &SessionChange) -> String {
    format!("    session {}: {} → {}", change.id, source(&change.before), source(&change.after))
}

fn conversion(change: &ConversionChange) -> String {
    let ConversionChange { name, at, before, after, .. } = change;
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    format!("    conversion {name} of {}: {} → {}", shown_at(*at), text(before), text(after))
}

fn source(attribution: &Attribution) -> String {
    let parts = [&attribution.source, &attribution.medium, &attribution.campaign, &attribution.channel];
    let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    if parts.is_empty() { "direct".to_owned() } else { parts.join(" / ") }
}

fn lead(change: &LeadChange) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    format!("    {}: {} → {}", change.touch, text(&change.before), text(&change.after))
}
