//! Looking at the queue of syncs and acting upon it: what the API and the command line share.
//!
//! Every look-up is of one project, which whoever asks has in view.

use std::collections::BTreeMap;

use leadtrail_domain::crm::{FieldValue, PersonId};
use leadtrail_domain::id::{LeadId, ProjectId, Slug, SyncJobId};
use leadtrail_domain::ports::{
    AttemptRecord, JobAction, JobFilter, LedgerEntry, Page, Projects, StoreError, SyncJobs,
};
use leadtrail_domain::project::{Account, Project};
use leadtrail_domain::sync::account::Standing;
use leadtrail_domain::sync::health::{self, Health, HealthFacts};
use leadtrail_domain::sync::{JobStatus, Step, SyncJob};
use leadtrail_domain::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::access::View;
use crate::accounts::Accounts;
use crate::projects;

/// How many jobs are read at a time where all are acted upon.
const PAGE: u32 = 200;

/// A job as it is shown.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SyncJob"))]
pub struct JobShown {
    /// Its id.
    pub id: SyncJobId,
    /// Its project.
    pub project_id: ProjectId,
    /// Where it stands.
    pub status: JobStatus,
    /// The CRM connection it goes to.
    pub account: Slug,
    /// The lead that made it.
    pub lead_id: LeadId,
    /// When the form arrived.
    pub created_at: Timestamp,
    /// Not before this instant is it worked on.
    pub due_at: Timestamp,
    /// When it reached its final status.
    pub ended_at: Option<Timestamp>,
    /// How many looks found nobody so far.
    pub looks: u32,
    /// How many attempts failed in a row for reasons of its own.
    pub failures: u32,
    /// The persons written, or those that made it ambiguous.
    pub persons: Vec<PersonId>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// A job with all that was done for it.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SyncJobDetail"))]
pub struct JobDetail {
    /// The job.
    #[serde(flatten)]
    pub job: JobShown,
    /// What the person shall be told, by our field names; empty before the job first became due.
    pub wanted: BTreeMap<String, Value>,
    /// The attempts and what humans did, oldest first.
    pub attempts: Vec<AttemptShown>,
    /// What was written, oldest first.
    pub writes: Vec<WriteShown>,
}

/// An attempt as it is shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SyncAttempt"))]
pub struct AttemptShown {
    /// When it was settled.
    pub at: Timestamp,
    /// The status the job had afterwards.
    pub status: JobStatus,
    /// What was done, in a line.
    pub note: String,
    /// What was asked of the CRM and what it answered.
    pub steps: Vec<Step>,
}

/// A written field as it is shown.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SyncWrite"))]
pub struct WriteShown {
    /// When the write was recorded.
    pub at: Timestamp,
    /// The person.
    pub person: PersonId,
    /// The CRM's key of the field.
    pub key: String,
    /// Its name in the CRM, where the connection tells it.
    pub name: Option<String>,
    /// What the person had before; null where the field was empty.
    pub before: Value,
    /// What was written.
    pub after: Value,
}

impl From<SyncJob> for JobShown {
    fn from(job: SyncJob) -> Self {
        Self {
            id: job.id,
            project_id: job.project_id,
            status: job.status,
            account: job.account,
            lead_id: job.lead_id,
            created_at: job.created_at,
            due_at: job.due_at,
            ended_at: job.ended_at,
            looks: job.looks,
            failures: job.failures,
            persons: job.persons,
            last_error: job.last_error,
        }
    }
}

impl From<AttemptRecord> for AttemptShown {
    fn from(attempt: AttemptRecord) -> Self {
        let AttemptRecord { at, status, note, steps } = attempt;
        Self { at, status, note, steps }
    }
}

/// A value without its type, as people read it.
pub fn plain(value: &FieldValue) -> Value {
    match value {
        FieldValue::Text(text) | FieldValue::Choice(text) => Value::from(text.as_str()),
        // Whole ones without a fraction, as people write them.
        FieldValue::Number(number) => {
            number.to_string().parse::<i64>().map_or_else(|_has_a_fraction| Value::from(*number), Value::from)
        }
        FieldValue::Date(date) => Value::from(date.to_string()),
        FieldValue::Null => Value::Null,
    }
}

/// The job of an id in view. Without a project in view each is asked in turn: ids name none.
///
/// # Errors
/// Those of the store.
pub async fn find(
    jobs: &dyn SyncJobs,
    projects: &dyn Projects,
    view: View,
    id: SyncJobId,
) -> Result<Option<SyncJob>, StoreError> {
    let mut page = Page::first(PAGE);
    loop {
        let found = projects::list(projects, view, &page).await?;
        page.after = found.last().map(|project| project.id);
        let is_last = u32::try_from(found.len()).is_ok_and(|count| count < PAGE);
        for project in &found {
            if let Some(job) = jobs.job(project.id, id).await? {
                return Ok(Some(job));
            }
        }
        if is_last || view != View::All {
            return Ok(None);
        }
    }
}

/// A job with all that was done for it. The names of the written fields are asked of the CRM connection, and left out
/// where that does not answer.
///
/// # Errors
/// Those of the store.
pub async fn detail(jobs: &dyn SyncJobs, accounts: &Accounts, job: SyncJob) -> Result<JobDetail, StoreError> {
    let attempts = jobs.attempts(job.project_id, job.id).await?;
    let writes = jobs.writes(job.project_id, job.id).await?;
    let account = Account::of(job.project_id, &job.account);
    let names = if writes.is_empty() { BTreeMap::new() } else { names(accounts, &account).await };
    let wanted = job.wanted.iter().flat_map(|wanted| &wanted.fields);
    Ok(JobDetail {
        wanted: wanted.map(|(name, value)| (name.to_string(), plain(value))).collect(),
        attempts: attempts.into_iter().map(AttemptShown::from).collect(),
        writes: writes.iter().map(|entry| write(entry, &names)).collect(),
        job: job.into(),
    })
}

fn write(entry: &LedgerEntry, names: &BTreeMap<String, String>) -> WriteShown {
    WriteShown {
        at: entry.at,
        person: entry.person.clone(),
        key: entry.field.0.clone(),
        name: names.get(&entry.field.0).cloned(),
        before: entry.before.as_ref().map_or(Value::Null, plain),
        after: plain(&entry.after),
    }
}

/// The names of a connection's fields by key; none where it does not answer.
async fn names(accounts: &Accounts, account: &Account) -> BTreeMap<String, String> {
    let Ok(Some(connected)) = accounts.connected(account).await else { return BTreeMap::new() };
    let fields = connected.crm.list_fields().await.unwrap_or_default();
    fields.into_iter().map(|field| (field.key.0, field.name)).collect()
}

/// Does what a human wants of a job. `false` where it is not in a state for it, or is being worked on.
///
/// # Errors
/// Those of the store.
pub async fn act(
    jobs: &dyn SyncJobs,
    job: &SyncJob,
    action: JobAction,
    now: Timestamp,
    by: &str,
) -> Result<bool, StoreError> {
    jobs.act(job.project_id, job.id, action, now, &format!("{} by {by}", action.as_str())).await
}

/// How many jobs that a filter means are in a state for an action.
///
/// # Errors
/// Those of the store.
pub async fn count(
    jobs: &dyn SyncJobs,
    project: ProjectId,
    filter: &JobFilter,
    action: JobAction,
) -> Result<u64, StoreError> {
    let mut count = 0;
    for status in JobStatus::ALL {
        if action.takes(status) && filter.status.is_none_or(|wanted| wanted == status) {
            let filter = JobFilter { status: Some(status), ..filter.clone() };
            count += jobs.count(project, &filter).await?;
        }
    }
    Ok(count)
}

/// Does what a human wants of all jobs that a filter means and that are in a state for it, newest first. How many.
///
/// # Errors
/// Those of the store; what was done before stays done.
pub async fn act_on_all(
    jobs: &dyn SyncJobs,
    project: ProjectId,
    filter: &JobFilter,
    action: JobAction,
    now: Timestamp,
    by: &str,
) -> Result<u64, StoreError> {
    let mut filter = filter.clone();
    let mut done = 0;
    loop {
        let page = jobs.jobs(project, &filter, PAGE).await?;
        let Some(last) = page.last() else { return Ok(done) };
        filter.before = Some(last.id);
        for job in page.iter().filter(|job| action.takes(job.status)) {
            done += u64::from(act(jobs, job, action, now, by).await?);
        }
    }
}

/// How well the queue is doing: of a project with its connection, or of all. `standings`: whether this process is the
/// one that works on the queue; another does not know how the connections stand.
///
/// # Errors
/// Those of the store.
pub async fn health(
    jobs: &dyn SyncJobs,
    project: Option<&Project>,
    standings: Option<&Accounts>,
    now: Timestamp,
) -> Result<Health, StoreError> {
    let id = project.map(|project| project.id);
    let own = project.map(|project| Account::of(project.id, &project.settings.crm.account));
    let accounts: BTreeMap<String, Standing> = standings
        .map(Accounts::open)
        .unwrap_or_default()
        .into_iter()
        .filter(|connected| own.as_ref().is_none_or(|own| *own == connected.account))
        .map(|connected| (connected.account.to_string(), connected.standing(now)))
        .collect();
    let facts = HealthFacts {
        counts: jobs.counts(id, now).await?,
        outcomes: jobs.outcomes(id, now.minus(health::OUTCOMES_OF)).await?,
        accounts,
    };
    Ok(health::score(&facts, now))
}
