//! `/api/sync`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use leadtrail_app::access::View;
use leadtrail_app::crm_account::Verified;
use leadtrail_app::input::FieldProblem;
use leadtrail_app::sync_queue::{self, JobDetail, JobShown};
use leadtrail_app::{crm_account, projects};
use leadtrail_domain::email::EmailAddress;
use leadtrail_domain::id::SyncJobId;
use leadtrail_domain::ports::{JobAction, JobFilter};
use leadtrail_domain::project::Project;
use leadtrail_domain::sync::health::{Health, SCORE_MIN};
use leadtrail_domain::sync::{JobStatus, SyncJob};
use leadtrail_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use url::form_urlencoded;

use crate::asked::{Answer, Asked};
use crate::description::{Answer as Described, Operation, Parameter, Tag, read, written};
use crate::listing::{LISTING, ListBody, Listing};
use crate::problem::Problem;

/// How the queue is doing.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SyncHealthAnswer")]
struct HealthBody {
    /// Whether no human need look.
    ok: bool,
    /// Below this one should.
    threshold: u8,
    #[serde(flatten)]
    health: Health,
}

pub(super) const IN_QUESTION: Parameter = Parameter {
    name: "project",
    about: "The project's id or slug; a key that is bound to a project means that.",
    schema: |_schemas| json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}),
};

const JOB: Parameter = Parameter { name: "id", about: "The job's id.", schema: read::<SyncJobId> };

pub(super) const LIST: Operation = Operation {
    id: "listSyncJobs",
    tag: Tag::Sync,
    summary: "List a project's sync jobs",
    detail: "Newest first.",
    path: None,
    query: &[
        LISTING[0],
        LISTING[1],
        IN_QUESTION,
        Parameter { name: "status", about: "Those that stand so.", schema: read::<JobStatus> },
        Parameter {
            name: "email",
            about: "Those of the person with this e-mail address.",
            schema: |_schemas| json!({"type": "string", "format": "email"}),
        },
        Parameter {
            name: "since",
            about: "Those whose form arrived then or later.",
            schema: read::<Timestamp>,
        },
        Parameter {
            name: "until",
            about: "Those whose form arrived before then.",
            schema: read::<Timestamp>,
        },
    ],
    body: None,
    answers: &[Described::json(StatusCode::OK, "A page of jobs.", written::<ListBody<JobShown>>)],
};

pub(super) const SHOW: Operation = Operation {
    id: "showSyncJob",
    summary: "Show a sync job",
    detail: "With every attempt, what was asked of the CRM and answered, and what was written.",
    path: Some(JOB),
    query: &[],
    answers: &[DETAIL],
    ..LIST
};

const DETAIL: Described =
    Described::json(StatusCode::OK, "The job with all that was done for it.", written::<JobDetail>);

pub(super) const REPLAY: Operation = Operation {
    id: "replaySyncJob",
    summary: "Do a sync job again",
    detail: "At once, and built anew from what is known now; from any status but `erased`.",
    answers: &[DETAIL, Described::problem(StatusCode::CONFLICT, "The job is in no state for it.")],
    ..SHOW
};

pub(super) const HOLD: Operation = Operation {
    id: "holdSyncJob",
    summary: "Hold a sync job",
    detail: "It is not worked on until it is replayed.",
    ..REPLAY
};

pub(super) const SKIP: Operation =
    Operation { id: "skipSyncJob", summary: "Skip a sync job", detail: "The CRM is not told.", ..REPLAY };

pub(super) const HEALTH: Operation = Operation {
    id: "syncHealth",
    summary: "How the queue is doing",
    detail: "In one number, and the parts it is made of.",
    path: None,
    query: &[IN_QUESTION],
    answers: &[Described::json(StatusCode::OK, "The score.", written::<HealthBody>)],
    ..LIST
};

pub(super) const VERIFY: Operation = Operation {
    id: "verifyCrm",
    summary: "Hold a project's mapping against its CRM account",
    detail: "Asks the CRM: what is missing, does not fit or is refused, and how to mend it.",
    answers: &[Described::json(StatusCode::OK, "What was found.", written::<Verified>)],
    ..HEALTH
};

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
        "the job is being worked on: try again in a moment".to_owned()
    } else {
        format!("the job is {}, which {} does not take", now.status, action.as_str())
    };
    Err(Problem::Conflict(problem))
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
pub(super) async fn in_question(asked: &Asked) -> Result<Option<Project>, Problem> {
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
        let read = match name.as_ref() {
            "status" => value
                .parse()
                .map(|status| filter.status = Some(status))
                .map_err(|_not_one| "is not a status of a sync job"),
            "email" => value
                .parse::<EmailAddress>()
                .map(|email| filter.email = Some(email.hash()))
                .map_err(|_not_one| "is not an e-mail address"),
            "since" => instant(&value).map(|at| filter.since = Some(at)),
            "until" => instant(&value).map(|at| filter.until = Some(at)),
            _ => Ok(()),
        };
        problems.extend(read.err().map(|problem| FieldProblem::new(&name, problem)));
    }
    if problems.is_empty() { Ok(filter) } else { Err(Problem::Invalid(problems)) }
}

/// An instant of a query, or what is wrong with it.
pub(super) fn instant(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_not_one| "is not an instant such as 2026-11-23T08:00:00Z")
}

pub(super) fn one(field: &str, problem: &str) -> Problem {
    Problem::Invalid(vec![FieldProblem::new(field, problem)])
}
