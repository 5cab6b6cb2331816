//! A project's account: verified, provisioned, tried out.

use std::collections::BTreeSet;
use std::process::ExitCode;

use leadtrail_app::crm_account::{self, Provisioned, Verified};
use leadtrail_app::preview::{self, Preview, Sources};
use leadtrail_domain::crm::{FieldName, WritePolicy};
use leadtrail_domain::email::EmailAddress;
use leadtrail_domain::sync::mapping::{Finding, Severity};
use leadtrail_domain::sync::preview::Ruling;
use serde_json::json;

use crate::commands::{find_project, now};
use crate::output::{self, Format, counted, row, shown_at, shown_value, table};
use crate::settings::Settings;
use crate::wiring::{self, Stores};

/// How much of a value is shown to people.
const VALUE_CHARS_MAX: usize = 48;
/// How many notes are shown to people; `--json` has all.
const NOTES_MAX: usize = 5;

/// Looks at an account. Exit code 1 where leads are not told.
pub(super) async fn verify(
    settings: &Settings,
    stores: &Stores,
    project: &str,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let project = find_project(stores.projects.as_ref(), project).await?;
    let accounts = wiring::accounts(settings, stores)?;
    let verified = crm_account::verify(&accounts, &project, now(stores)).await?;
    output::result(Format::of(json), &verified, || report(project.slug.as_str(), &verified))?;
    Ok(if verified.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(project: &str, verified: &Verified) -> String {
    let crm = verified.crm.map_or_else(String::new, |crm| format!(" ({crm})"));
    let mut rows = vec![row(["project", project]), row(["account", &format!("{}{crm}", verified.account)])];
    if let (Some(fields), Some(placed)) = (verified.fields, verified.placed) {
        rows.push(row(["fields", &format!("{fields} in the CRM; {placed} of ours have a place")]));
    }
    if let Some(remaining) = verified.budget_remaining {
        let of = verified.budget_limit.map_or_else(String::new, |limit| format!(" of {limit}"));
        rows.push(row(["budget", &format!("{remaining}{of} left today")]));
    }
    let mut lines = vec![table(&rows)];
    let is_note = |finding: &&Finding| finding.severity == Severity::Note;
    let graver = verified.findings.iter().filter(|finding| !is_note(finding));
    let notes: Vec<&Finding> = verified.findings.iter().filter(is_note).collect();
    lines.extend(graver.chain(notes.iter().copied().take(NOTES_MAX)).map(line_of));
    if notes.len() > NOTES_MAX {
        lines.push(format!("note     and {} more; --json shows all", notes.len() - NOTES_MAX));
    }
    lines.push(if verified.ok {
        "ok: leads are told".to_owned()
    } else {
        "not ok: no lead is told before the errors are mended".to_owned()
    });
    lines.join("\n")
}

fn line_of(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    format!("{severity:<8} {}  → {}", finding.what, finding.mend)
}

/// Makes missing fields, or says which are missing.
pub(super) async fn provision(
    settings: &Settings,
    stores: &Stores,
    project: &str,
    wanted: &BTreeSet<FieldName>,
    yes: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let project = find_project(stores.projects.as_ref(), project).await?;
    let accounts = wiring::accounts(settings, stores)?;
    let provisioned = crm_account::provision(&accounts, &project, wanted, !yes).await?;
    let value = json!({ "dry_run": !yes, "result": provisioned });
    output::result(Format::of(json), &value, || provided(&provisioned, yes))?;
    Ok(if provisioned.problem.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn provided(provisioned: &Provisioned, yes: bool) -> String {
    let account = &provisioned.account;
    if provisioned.fields.is_empty() {
        return format!("{account} has a field for each of ours that is mapped; nothing to make");
    }
    let mut rows = vec![row(["OUR FIELD", "NAME IN THE CRM", "TYPE", "KEY"])];
    for field in &provisioned.fields {
        let key = field.key.clone().unwrap_or_else(|| if yes { "not made" } else { "–" }.to_owned());
        rows.push(vec![field.field.to_string(), field.name.clone(), field.kind.to_owned(), key]);
    }
    let count = provisioned.fields.len();
    let made = provisioned.fields.iter().filter(|field| field.key.is_some()).count();
    let end = match (&provisioned.problem, yes) {
        (Some(problem), _) => format!("{made} of {count} made; the CRM refused {problem}"),
        (None, true) => {
            format!("{} made in {account}, beside {} others", counted(made, "field"), provisioned.present)
        }
        (None, false) => format!(
            "{} would be made in {account}, beside {} others; do it with --yes",
            counted(count, "field"),
            provisioned.present
        ),
    };
    format!("{}\n{end}", table(&rows))
}

/// Shows what a person would be told. Exit code 1 where nothing would be.
pub(super) async fn test_email(
    settings: &Settings,
    stores: &Stores,
    project: &str,
    email: &EmailAddress,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let project = find_project(stores.projects.as_ref(), project).await?;
    let accounts = wiring::accounts(settings, stores)?;
    let sources =
        Sources { journeys: stores.journeys.as_ref(), jobs: stores.jobs.as_ref(), accounts: &accounts };
    let preview = preview::preview(sources, &project, email, now(stores)).await?;
    output::result(Format::of(json), &preview, || previewed(&preview))?;
    Ok(if preview.outcome == "synced" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn previewed(preview: &Preview) -> String {
    let mut head = vec![
        row(["e-mail", &preview.email]),
        row(["account", &preview.account]),
        row(["outcome", &format!("{}: {}", preview.outcome, preview.why)]),
    ];
    if let (Some(id), Some(at)) = (preview.lead_id, preview.lead_at) {
        head.push(row(["lead", &format!("{id} of {}", shown_at(at))]));
    }
    let mut parts = vec![table(&head)];
    for person in &preview.persons {
        let mut rows = vec![row(["  FIELD", "POLICY", "BEFORE", "AFTER", ""])];
        for field in &person.fields {
            let (mark, after) = match field.ruling {
                Ruling::Write => ("write", shown_value(&field.after, VALUE_CHARS_MAX)),
                Ruling::Same | Ruling::NotEmpty | Ruling::WrittenBefore => ("keep", "–".to_owned()),
            };
            rows.push(vec![
                format!("  {}", field.name),
                policy(field.policy).to_owned(),
                shown_value(&field.before, VALUE_CHARS_MAX),
                after,
                format!("{mark}: {}", field.reason),
            ]);
        }
        parts.push(format!("person {}\n{}", person.person, table(&rows)));
    }
    if !preview.left_out.is_empty() {
        let rows: Vec<Vec<String>> =
            preview.left_out.iter().map(|one| vec![format!("  {}", one.field), one.reason.clone()]).collect();
        parts.push(format!("left out\n{}", table(&rows)));
    }
    parts.push("nothing was written".to_owned());
    parts.join("\n\n")
}

/// The name of a policy, as a mapping has it.
pub(super) fn policy(policy: WritePolicy) -> &'static str {
    match policy {
        WritePolicy::Always => "always",
        WritePolicy::IfEmpty => "if_empty",
        WritePolicy::Once => "once",
        WritePolicy::Never => "never",
    }
}
