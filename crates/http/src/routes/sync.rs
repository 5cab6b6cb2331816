//! `/api/sync`.

use actix_web::HttpResponse;
use leadtrail_app::access::View;
use leadtrail_app::input::FieldProblem;
use leadtrail_app::sync_queue::{self, JobShown};
use leadtrail_app::{crm_account, projects};
use leadtrail_domain::email::EmailAddress;
use leadtrail_domain::id::SyncJobId;
use leadtrail_domain::ports::{JobAction, JobFilter};
use leadtrail_domain::project::Project;
use leadtrail_domain::sync::SyncJob;
use leadtrail_domain::sync::health::{Health, SCORE_MIN};
use serde::Serialize;
use url::form_urlencoded;

use crate::asked::{Answer, Asked};
use crate::listing::Listing;
use crate::problem::Problem;

#[derive(Serialize)]
struct HealthBody {
    /// Whether no human need look.
    ok: bool,
    /// Below this one should.
    threshold: u8,
    #[serde(flatten)]
    health: Health,
}

/// A project's jobs, newest first; a key of all projects says which.
pub(super) async fn list(asked: Asked) -> Answer {
    let query = asked.request.query_string();
    let listing = Listing::<SyncJobId>::of(query)?;
    let page = listing.page();
    let filter = JobFilter { before: page.after, ..filter(query)? };
    let project = in_question(&asked).await?.ok_or_else(|| one("project", "is required with this key"))?;
    let found = asked.state.collector.jobs.jobs(project.id, &filter, page.limit).await?;
    let bodies: Vec<JobShown> = found.into_iter().map(JobShown::from).collect();
    Ok(listing.answer(bodies, |body| body.id))
}

pub(super) async fn show(asked: Asked) -> Answer {
    let job = job(&asked).await?;
    shown(&asked, job).await
}

pub(super) async fn replay(asked: Asked) -> Answer {
    act(asked, JobAction::Replay).await
}

pub(super) async fn hold(asked: Asked) -> Answer {
    act(asked, JobAction::Hold).await
}

pub(super) async fn skip(asked: Asked) -> Answer {
    act(asked, JobAction::Skip).await
}

/// How the queue is doing: of the project in question, or of all.
pub(super) async fn health(asked: Asked) -> Answer {
    let project = in_question(&asked).await?;
    let collector = &asked.state.collector;
    let jobs = collector.jobs.as_ref();
    let health = sync_queue::health(jobs, project.as_ref(), Some(&collector.accounts), asked.now).await?;
    Ok(HttpResponse::Ok().json(HealthBody { ok: health.score >= SCORE_MIN, threshold: SCORE_MIN, health }))
}

/// What a look at the project's CRM account finds.
pub(super) async fn verify(asked: Asked) -> Answer {
    let project = in_question(&asked).await?.ok_or_else(|| one("project", "is required with this key"))?;
    let accounts = &asked.state.collector.accounts;
    Ok(HttpResponse::Ok().json(crm_account::verify(accounts, &project, asked.now).await?))
}

async fn act(asked: Asked, action: JobAction) -> Answer {
    let job = job(&asked).await?;
    let jobs = asked.state.collector.jobs.as_ref();
    let by = format!("the API key {}", asked.key.id);
    let done = sync_queue::act(jobs, &job, action, asked.now, &by).await?;
    let now = jobs.job(job.project_id, job.id).await?.ok_or(Problem::NotFound)?;
    if done {
        return shown(&asked, now).await;
    }
    let problem = if action.takes(now.status) {
        "is being worked on: try again in a moment".to_owned()
    } else {
        format!("is {}, which {} does not take", now.status, action.as_str())
    };
    Err(one("status", &problem))
}

/// The job in view that the path names.
async fn job(asked: &Asked) -> Result<SyncJob, Problem> {
    let jobs = asked.state.collector.jobs.as_ref();
    let found = sync_queue::find(jobs, asked.projects(), asked.view(), asked.id()?).await?;
    found.ok_or(Problem::NotFound)
}

async fn shown(asked: &Asked, job: SyncJob) -> Answer {
    let collector = &asked.state.collector;
    let detail = sync_queue::detail(collector.jobs.as_ref(), &collector.accounts, job).await?;
    Ok(HttpResponse::Ok().json(detail))
}

/// The project that the query names, or the only one in view.
async fn in_question(asked: &Asked) -> Result<Option<Project>, Problem> {
    let query = asked.request.query_string();
    let named = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "project");
    match (named, asked.view()) {
        (Some((_, name)), view) => {
            // One that is not in view is as one that does not exist.
            let found = projects::find(asked.projects(), view, &name).await?;
            found.map(Some).ok_or_else(|| one("project", "is not a project"))
        }
        (None, View::Only(own)) => {
            let found = asked.projects().project(own).await?;
            found.map(Some).ok_or(Problem::NotFound)
        }
        (None, View::All) => Ok(None),
    }
}

fn filter(query: &str) -> Result<JobFilter, Problem> {
    let mut filter = JobFilter::default();
    let mut problems = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let problem = match name.as_ref() {
            "status" => match value.parse() {
                Ok(status) => {
                    filter.status = Some(status);
                    None
                }
                Err(_not_one) => Some("is not a status of a sync job"),
            },
            "email" => match value.parse::<EmailAddress>() {
                Ok(email) => {
                    filter.email = Some(email.hash());
                    None
                }
                Err(_not_one) => Some("is not an e-mail address"),
            },
            "since" | "until" => match value.parse() {
                Ok(at) => {
                    *if name == "since" { &mut filter.since } else { &mut filter.until } = Some(at);
                    None
                }
                Err(_not_one) => Some("is not an instant such as 2026-11-23T08:00:00Z"),
            },
            _ => None,
        };
        problems.extend(problem.map(|problem| FieldProblem::new(&name, problem)));
    }
    if problems.is_empty() { Ok(filter) } else { Err(Problem::Invalid(problems)) }
}

fn one(field: &str, problem: &str) -> Problem {
    Problem::Invalid(vec![FieldProblem::new(field, problem)])
}
