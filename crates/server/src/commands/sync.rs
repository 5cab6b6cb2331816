//! `leadtrail sync`: the queue of what the CRM is still to be told.

use std::process::ExitCode;

use anyhow::Context as _;
use leadtrail_app::sync_queue::{self, JobDetail, JobShown};
use leadtrail_domain::id::{ProjectId, SyncJobId};
use leadtrail_domain::ports::{JobAction, JobFilter, StoreError};
use leadtrail_domain::project::Project;
use leadtrail_domain::sync::health::Health;
use leadtrail_domain::sync::{JobStatus, SyncJob};
use leadtrail_domain::time::Timestamp;
use serde_json::{Value, json};

use super::{find_project, now};
use crate::cli::{ActArgs, JobsArgs, Moment, SyncCommand};
use crate::output::{self, Format, counted, row, shown_at, shown_value, table};
use crate::settings::Settings;
use crate::wiring::{self, Stores};

/// Who acts, as the attempts record it.
const BY: &str = "the command line";
/// How much of a value is shown to people.
const VALUE_CHARS_MAX: usize = 60;

/// Works on the queue.
pub(super) async fn run(settings: &Settings, command: SyncCommand) -> anyhow::Result<ExitCode> {
    let stores = wiring::open_ready(&settings.store).await?;
    match command {
        SyncCommand::List { project, jobs, limit, json } => {
            let project = find_project(stores.projects.as_ref(), &project).await?;
            let filter = filter(&jobs, now(&stores));
            let found = stores.jobs.jobs(project.id, &filter, limit).await?;
            let all = stores.jobs.count(project.id, &filter).await?;
            list(&stores, &project, found, all, Format::of(json)).await?;
        }
        SyncCommand::Show { id, project, json } => {
            let project = find_project(stores.projects.as_ref(), &project).await?;
            let job = find_job(&stores, &project, id).await?;
            let accounts = wiring::accounts(settings, &stores)?;
            let email = email_of(&stores, &job).await?;
            let detail = sync_queue::detail(stores.jobs.as_ref(), &accounts, job).await?;
            output::result(Format::of(json), &detail, || described(&detail, email.as_deref()))?;
        }
        SyncCommand::Replay(args) => return act(&stores, JobAction::Replay, &args).await,
        SyncCommand::Hold(args) => return act(&stores, JobAction::Hold, &args).await,
        SyncCommand::Skip(args) => return act(&stores, JobAction::Skip, &args).await,
        SyncCommand::Health { project, threshold, json } => {
            return health(&stores, project.as_deref(), threshold, Format::of(json)).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn filter(args: &JobsArgs, now: Timestamp) -> JobFilter {
    let at = |moment: &Moment| match moment {
        Moment::At(at) => *at,
        Moment::Ago(span) => now.minus(span.duration()),
    };
    JobFilter {
        status: args.status,
        email: args.email.as_ref().map(leadtrail_domain::email::EmailAddress::hash),
        since: args.since.as_ref().map(at),
        until: args.until.as_ref().map(at),
        before: None,
    }
}

async fn find_job(stores: &Stores, project: &Project, id: SyncJobId) -> anyhow::Result<SyncJob> {
    let found = stores.jobs.job(project.id, id).await?;
    found.with_context(|| format!("the project {} has no job {id}", project.slug))
}

async fn email_of(stores: &Stores, job: &SyncJob) -> Result<Option<String>, StoreError> {
    let leads = stores.journeys.leads_of(job.project_id, &job.email_hash, 1).await?;
    Ok(leads.first().map(|lead| lead.email.as_str().to_owned()))
}

async fn list(
    stores: &Stores,
    project: &Project,
    found: Vec<SyncJob>,
    all: u64,
    format: Format,
) -> anyhow::Result<()> {
    let mut rows = vec![row(["JOB", "STATUS", "FORM ARRIVED", "E-MAIL", "NEXT OR ENDED", "WHAT"])];
    for job in &found {
        // The address is for people; scripts have the job's id.
        let email = if format == Format::Text { email_of(stores, job).await? } else { None };
        rows.push(listed(job, email.as_deref()));
    }
    let shown: Vec<JobShown> = found.into_iter().map(JobShown::from).collect();
    let value = json!({ "data": shown, "total": all });
    output::result(format, &value, || match shown.len() {
        0 => format!("no such jobs in {}", project.slug),
        count => {
            let more = if u64::try_from(count).is_ok_and(|count| count < all) {
                format!("\n{count} of {all}, the newest; --limit shows more")
            } else {
                String::new()
            };
            format!("{}{more}", table(&rows))
        }
    })
}

fn listed(job: &SyncJob, email: Option<&str>) -> Vec<String> {
    let next = match job.status {
        JobStatus::Pending => format!("due {}", shown_at(job.due_at)),
        JobStatus::Held => "held".to_owned(),
        JobStatus::Synced
        | JobStatus::NotFound
        | JobStatus::Ambiguous
        | JobStatus::Error
        | JobStatus::Superseded
        | JobStatus::Skipped
        | JobStatus::Erased => job.ended_at.map_or_else(String::new, shown_at),
    };
    vec![
        job.id.to_string(),
        job.status.to_string(),
        shown_at(job.created_at),
        email.unwrap_or("–").to_owned(),
        next,
        what(job),
    ]
}

fn what(job: &SyncJob) -> String {
    let persons: Vec<&str> = job.persons.iter().map(|person| person.0.as_str()).collect();
    match (persons.as_slice(), &job.last_error) {
        ([], None) => String::new(),
        ([], Some(error)) => shown_value(&Value::from(error.as_str()), VALUE_CHARS_MAX),
        (persons, _) => format!("person {}", persons.join(", ")),
    }
}

/// A job, for people. Used by `why`, too.
pub(super) fn described(detail: &JobDetail, email: Option<&str>) -> String {
    let job = &detail.job;
    let mut head = vec![
        row(["job", &job.id.to_string()]),
        row(["status", job.status.as_str()]),
        row(["account", job.account.as_str()]),
        row(["form", &shown_at(job.created_at)]),
    ];
    if let Some(email) = email {
        head.push(row(["e-mail", email]));
    }
    match job.ended_at {
        Some(at) => head.push(row(["ended", &shown_at(at)])),
        None => head.push(row(["due", &shown_at(job.due_at)])),
    }
    if !job.persons.is_empty() {
        let persons: Vec<&str> = job.persons.iter().map(|person| person.0.as_str()).collect();
        head.push(row(["persons", &persons.join(", ")]));
    }
    let mut parts = vec![table(&head)];
    for attempt in &detail.attempts {
        let note = shown_value(&Value::from(attempt.note.as_str()), 2 * VALUE_CHARS_MAX);
        let mut lines = vec![format!("{}  {}  {note}", shown_at(attempt.at), attempt.status)];
        for step in &attempt.steps {
            let asked = shown_value(&Value::from(step.asked.as_str()), 2 * VALUE_CHARS_MAX);
            lines.push(format!("    {asked}: {}", step.answered));
        }
        parts.push(lines.join("\n"));
    }
    if !detail.writes.is_empty() {
        let mut rows = vec![row(["  PERSON", "FIELD", "BEFORE", "→ AFTER"])];
        for write in &detail.writes {
            rows.push(vec![
                format!("  {}", write.person),
                write.name.clone().unwrap_or_else(|| write.key.clone()),
                shown_value(&write.before, VALUE_CHARS_MAX),
                format!("→ {}", shown_value(&write.after, VALUE_CHARS_MAX)),
            ]);
        }
        parts.push(format!("written\n{}", table(&rows)));
    }
    parts.join("\n\n")
}

async fn act(stores: &Stores, action: JobAction, args: &ActArgs) -> anyhow::Result<ExitCode> {
    let project = find_project(stores.projects.as_ref(), &args.project).await?;
    let format = Format::of(args.json);
    if let Some(id) = args.id {
        return act_on_one(stores, &project, id, action, format).await;
    }
    let filter = filter(&args.jobs, now(stores));
    let count = sync_queue::count(stores.jobs.as_ref(), project.id, &filter, action).await?;
    let name = action.as_str();
    if !args.yes {
        output::result(format, &json!({ "action": name, "count": count, "done": false }), || match count {
            0 => format!("there is nothing to {name}"),
            count => format!("{} of {} to {name}; do it with --yes", counted(count, "job"), project.slug),
        })?;
        return Ok(if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let done = all(stores, project.id, &filter, action).await?;
    let value = json!({ "action": name, "count": done, "done": true });
    output::result(format, &value, || format!("{name}: {} of {}", counted(done, "job"), project.slug))?;
    Ok(ExitCode::SUCCESS)
}

async fn all(
    stores: &Stores,
    project: ProjectId,
    filter: &JobFilter,
    action: JobAction,
) -> Result<u64, StoreError> {
    sync_queue::act_on_all(stores.jobs.as_ref(), project, filter, action, now(stores), BY).await
}

async fn act_on_one(
    stores: &Stores,
    project: &Project,
    id: SyncJobId,
    action: JobAction,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let job = find_job(stores, project, id).await?;
    let done = sync_queue::act(stores.jobs.as_ref(), &job, action, now(stores), BY).await?;
    let status = find_job(stores, project, id).await?.status;
    let name = action.as_str();
    output::result(format, &json!({ "id": id, "action": name, "done": done, "status": status }), || {
        if done {
            format!("{name}: {id} is {status} now")
        } else if action.takes(status) {
            format!("{id} is being worked on; try again in a moment")
        } else {
            format!("{id} is {status}, which {name} does not take")
        }
    })?;
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn health(
    stores: &Stores,
    project: Option<&str>,
    threshold: u8,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let project = match project {
        Some(name) => Some(find_project(stores.projects.as_ref(), name).await?),
        None => None,
    };
    let health = sync_queue::health(stores.jobs.as_ref(), project.as_ref(), None, now(stores)).await?;
    let ok = health.score >= threshold;
    let value = json!({ "ok": ok, "score": health.score, "threshold": threshold, "parts": health.parts });
    output::result(format, &value, || judged(&health, threshold))?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn judged(health: &Health, threshold: u8) -> String {
    let verdict = if health.score >= threshold {
        "well".to_owned()
    } else {
        format!(
            "below {threshold}: `leadtrail sync list --status error` and `leadtrail crm verify` tell more"
        )
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for part in &health.parts {
        rows.push(vec![
            format!("  {}", part.name),
            part.score.to_string(),
            format!("weighs {}", part.weight),
            part.found.clone(),
        ]);
    }
    format!("score {} of 100, {verdict}\n{}", health.score, table(&rows))
}
