mod act;
mod dossier;
mod queue;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use diesel::dsl::{count, count_star, exists, min, select, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::sqlite::Sqlite;
use leadtrail_domain::crm::{FieldKey, PersonId};
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::id::{LeadId, ProjectId, Slug, SyncJobId};
use leadtrail_domain::ports::{
    AttemptRecord, DueQueue, JobAction, JobCounts, JobFilter, LedgerEntry, Planned, Queue, StoreError,
    SyncJobs, Updates,
};
use leadtrail_domain::sync::{Claim, Dossier, JobStatus, Lease, PlannedWrite, Settlement, SyncJob, Wanted};
use leadtrail_domain::time::Timestamp;

use crate::SqliteStore;
use crate::failure::{Failure, Outcome, json_text};
use crate::row::Row;
use crate::schema::{crm_writes, sync_attempts, sync_jobs};

#[derive(Queryable, Selectable)]
#[diesel(table_name = sync_jobs)]
struct JobRow {
    job_id: Vec<u8>,
    project_id: Vec<u8>,
    account: String,
    lead_id: Vec<u8>,
    email_hash: Vec<u8>,
    sequence: i64,
    created_at: i64,
    due_at: i64,
    status: String,
    looks: i64,
    failures: i64,
    wanted: Option<String>,
    planned: Option<String>,
    persons: String,
    last_error: Option<String>,
    ended_at: Option<i64>,
}

impl JobRow {
    fn read(self) -> Result<SyncJob, StoreError> {
        let row = Row::of("sync_jobs", &self.job_id);
        Ok(SyncJob {
            id: SyncJobId(row.uuid("job_id", &self.job_id)?),
            project_id: ProjectId(row.uuid("project_id", &self.project_id)?),
            account: row.parse("account", &self.account)?,
            lead_id: LeadId(row.uuid("lead_id", &self.lead_id)?),
            email_hash: EmailHash(row.hash("email_hash", &self.email_hash)?),
            sequence: self.sequence,
            created_at: Timestamp::from_micros(self.created_at),
            due_at: Timestamp::from_micros(self.due_at),
            status: row.parse("status", &self.status)?,
            looks: row.count("looks", self.looks)?,
            failures: row.count("failures", self.failures)?,
            wanted: row.json_or_none("wanted", self.wanted.as_deref())?,
            planned: row.json_or_none("planned", self.planned.as_deref())?,
            persons: row.json("persons", &self.persons)?,
            last_error: self.last_error,
            ended_at: self.ended_at.map(Timestamp::from_micros),
        })
    }
}

/// What of a job its lease is good for.
struct Leased {
    email_hash: Vec<u8>,
    sequence: i64,
    account: String,
}

/// The job of a lease that still counts: it was neither given back nor has the job been claimed again.
fn leased(connection: &mut SqliteConnection, lease: &Lease) -> Outcome<Leased> {
    let row: Option<(Vec<u8>, i64, String)> = sync_jobs::table
        .find(lease.job_id.0.as_bytes().as_slice())
        .filter(sync_jobs::project_id.eq(lease.project_id.0.as_bytes().as_slice()))
        .filter(sync_jobs::lease_number.eq(lease.number))
        .filter(sync_jobs::lease_until.is_not_null())
        .filter(sync_jobs::ended_at.is_null())
        .select((sync_jobs::email_hash, sync_jobs::sequence, sync_jobs::account))
        .first(connection)
        .optional()?;
    let (email_hash, sequence, account) = row.ok_or(Failure::Store(StoreError::LeaseLost))?;
    Ok(Leased { email_hash, sequence, account })
}

fn plan(connection: &mut SqliteConnection, lease: &Lease, write: &PlannedWrite) -> Outcome<Planned> {
    let Leased { email_hash, sequence, account } = leased(connection, lease)?;
    let newer = sync_jobs::table
        .filter(sync_jobs::project_id.eq(lease.project_id.0.as_bytes().as_slice()))
        .filter(sync_jobs::email_hash.eq(email_hash))
        .filter(sync_jobs::account.eq(account))
        .filter(sync_jobs::sequence.gt(sequence));
    let synced = sync_jobs::status.eq(JobStatus::Synced.as_str());
    let written = exists(crm_writes::table.filter(crm_writes::job_id.eq(sync_jobs::job_id)));
    if select(exists(newer.clone().filter(synced.or(written)))).get_result(connection)? {
        return Ok(Planned::Superseded);
    }
    let may_be_made = newer
        .filter(sync_jobs::status.eq(JobStatus::Pending.as_str()))
        .filter(sync_jobs::planned.is_not_null());
    if select(exists(may_be_made)).get_result(connection)? {
        return Ok(Planned::Waits);
    }
    diesel::update(sync_jobs::table.find(lease.job_id.0.as_bytes().as_slice()))
        .set(sync_jobs::planned.eq(Some(json_text(write)?)))
        .execute(connection)?;
    Ok(Planned::Go)
}

#[async_trait]
impl SyncJobs for SqliteStore {
    async fn due_queues(&self, now: Timestamp) -> Result<Vec<DueQueue>, StoreError> {
        let (queues, unreadable) = self.read(move |connection| queue::due_queues(connection, now)).await?;
        if !unreadable.is_empty() {
            self.write(move |connection| {
                unreadable.iter().try_for_each(|queue| queue::end_queue(connection, queue, now))
            })
            .await?;
        }
        Ok(queues)
    }

    async fn claim(
        &self,
        queue: &Queue,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Claim>, StoreError> {
        let queue = queue.clone();
        self.write(move |connection| queue::claim(connection, &queue, now, lease, limit)).await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Lease, StoreError> {
        let lease = *lease;
        self.write(move |connection| {
            leased(connection, &lease)?;
            diesel::update(sync_jobs::table.find(lease.job_id.0.as_bytes().as_slice()))
                .set(sync_jobs::lease_until.eq(Some(until.micros())))
                .execute(connection)?;
            Ok(Lease { until, ..lease })
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = *lease;
        self.write(move |connection| {
            let its_own = sync_jobs::table
                .find(lease.job_id.0.as_bytes().as_slice())
                .filter(sync_jobs::project_id.eq(lease.project_id.0.as_bytes().as_slice()))
                .filter(sync_jobs::lease_number.eq(lease.number));
            diesel::update(its_own).set(sync_jobs::lease_until.eq(None::<i64>)).execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn dossier(&self, lease: &Lease) -> Result<Dossier, StoreError> {
        let lease = *lease;
        self.read(move |connection| {
            let job = leased(connection, &lease)?;
            dossier::dossier(connection, &lease, &job.email_hash)
        })
        .await
    }

    async fn freeze(&self, lease: &Lease, wanted: &Wanted) -> Result<(), StoreError> {
        let (lease, wanted) = (*lease, wanted.clone());
        self.write(move |connection| {
            leased(connection, &lease)?;
            let newest = dossier::newest_lead(connection, &lease)?.map(|lead| lead.id);
            if newest != wanted.lead_id {
                return Err(Failure::Store(StoreError::Stale));
            }
            diesel::update(sync_jobs::table.find(lease.job_id.0.as_bytes().as_slice()))
                .set(sync_jobs::wanted.eq(Some(json_text(&wanted)?)))
                .execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn plan(&self, lease: &Lease, write: &PlannedWrite) -> Result<Planned, StoreError> {
        let (lease, write) = (*lease, write.clone());
        self.write(move |connection| plan(connection, &lease, &write)).await
    }

    async fn settle(&self, lease: &Lease, settlement: &Settlement) -> Result<(), StoreError> {
        let (lease, settlement) = (*lease, settlement.clone());
        self.write(move |connection| {
            let job = leased(connection, &lease)?;
            settle::settle(connection, &lease, &job, &settlement)
        })
        .await
    }

    async fn ever_written(
        &self,
        project: ProjectId,
        account: &Slug,
        person: &PersonId,
    ) -> Result<BTreeSet<FieldKey>, StoreError> {
        let (account, person) = (account.clone(), person.clone());
        self.read(move |connection| {
            let keys: Vec<String> = crm_writes::table
                .filter(crm_writes::project_id.eq(project.0.as_bytes().as_slice()))
                .filter(crm_writes::account.eq(account.as_str()))
                .filter(crm_writes::person_id.eq(&person.0))
                .select(crm_writes::field_key)
                .distinct()
                .load(connection)?;
            Ok(keys.into_iter().map(FieldKey).collect())
        })
        .await
    }

    async fn updates_since(
        &self,
        project: ProjectId,
        email: &EmailHash,
        since: Timestamp,
    ) -> Result<Updates, StoreError> {
        let email = *email;
        self.read(move |connection| {
            let (count, oldest_at): (i64, Option<i64>) = crm_writes::table
                .inner_join(sync_jobs::table.on(sync_jobs::job_id.eq(crm_writes::job_id)))
                .filter(sync_jobs::project_id.eq(project.0.as_bytes().as_slice()))
                .filter(sync_jobs::email_hash.eq(email.0.as_slice()))
                .filter(crm_writes::at.ge(since.micros()))
                .select((count(crm_writes::job_id).aggregate_distinct(), min(crm_writes::at)))
                .first(connection)?;
            Ok(Updates {
                count: u64::try_from(count).unwrap_or(0),
                oldest_at: oldest_at.map(Timestamp::from_micros),
            })
        })
        .await
    }

    async fn act(
        &self,
        project: ProjectId,
        id: SyncJobId,
        action: JobAction,
        at: Timestamp,
        note: &str,
    ) -> Result<bool, StoreError> {
        let note = note.to_owned();
        self.write(move |connection| act::act(connection, project, id, action, at, note)).await
    }

    async fn job(&self, project: ProjectId, id: SyncJobId) -> Result<Option<SyncJob>, StoreError> {
        self.read(move |connection| {
            let row = sync_jobs::table
                .find(id.0.as_bytes().as_slice())
                .filter(sync_jobs::project_id.eq(project.0.as_bytes().as_slice()))
                .select(JobRow::as_select())
                .first(connection)
                .optional()?;
            Ok(row.map(JobRow::read).transpose()?)
        })
        .await
    }

    async fn jobs(
        &self,
        project: ProjectId,
        filter: &JobFilter,
        limit: u32,
    ) -> Result<Vec<SyncJob>, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| {
            let mut jobs = meant(project, &filter)
                .order(sync_jobs::job_id.desc())
                .limit(i64::from(limit))
                .select(JobRow::as_select());
            if let Some(before) = filter.before {
                jobs = jobs.filter(sync_jobs::job_id.lt(before.0.as_bytes().to_vec()));
            }
            Ok(jobs.load(connection)?.into_iter().map(JobRow::read).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn attempts(&self, project: ProjectId, id: SyncJobId) -> Result<Vec<AttemptRecord>, StoreError> {
        self.read(move |connection| {
            let rows: Vec<(i64, String, String, String)> = sync_attempts::table
                .filter(sync_attempts::job_id.eq(id.0.as_bytes().as_slice()))
                .filter(sync_attempts::project_id.eq(project.0.as_bytes().as_slice()))
                .order(sync_attempts::number)
                .select((sync_attempts::at, sync_attempts::status, sync_attempts::note, sync_attempts::steps))
                .load(connection)?;
            let row = Row::of("sync_attempts", id.0.as_bytes());
            let attempts: Result<_, StoreError> = rows
                .into_iter()
                .map(|(at, status, note, steps)| {
                    Ok(AttemptRecord {
                        at: Timestamp::from_micros(at),
                        status: row.parse("status", &status)?,
                        note,
                        steps: row.json("steps", &steps)?,
                    })
                })
                .collect();
            Ok(attempts?)
        })
        .await
    }

    async fn writes(&self, project: ProjectId, id: SyncJobId) -> Result<Vec<LedgerEntry>, StoreError> {
        self.read(move |connection| {
            let rows: Vec<WriteRow> = crm_writes::table
                .filter(crm_writes::job_id.eq(id.0.as_bytes().as_slice()))
                .filter(crm_writes::project_id.eq(project.0.as_bytes().as_slice()))
                .order((crm_writes::at, crm_writes::person_id, crm_writes::field_key))
                .select(WriteRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(|row| row.read(id)).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn count(&self, project: ProjectId, filter: &JobFilter) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| {
            let count: i64 = meant(project, &filter).select(count_star()).first(connection)?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
        .await
    }

    async fn counts(&self, project: Option<ProjectId>, now: Timestamp) -> Result<JobCounts, StoreError> {
        self.read(move |connection| queue::counts(connection, project, now)).await
    }

    async fn outcomes(
        &self,
        project: Option<ProjectId>,
        since: Timestamp,
    ) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        self.read(move |connection| {
            // The literal is the condition of `sync_jobs_ended`, as it is spelt there.
            let mut ended = sync_jobs::table
                .filter(sql::<Bool>("ended_at > 0"))
                .filter(sync_jobs::ended_at.ge(since.micros()).assume_not_null())
                .group_by(sync_jobs::status)
                .select((sync_jobs::status, count_star()))
                .into_boxed();
            if let Some(project) = project {
                ended = ended.filter(sync_jobs::project_id.eq(project.0.as_bytes().to_vec()));
            }
            let rows: Vec<(String, i64)> = ended.load(connection)?;
            let row = Row::named("sync_jobs", "*");
            let outcomes = rows.into_iter().map(|(status, count)| {
                Ok::<_, StoreError>((row.parse("status", &status)?, row.count("status", count)?))
            });
            Ok(outcomes.collect::<Result<_, _>>()?)
        })
        .await
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = crm_writes)]
struct WriteRow {
    at: i64,
    account: String,
    person_id: String,
    field_key: String,
    value_before: Option<String>,
    value_after: String,
}

impl WriteRow {
    fn read(self, job: SyncJobId) -> Result<LedgerEntry, StoreError> {
        let row = Row::of("crm_writes", job.0.as_bytes());
        Ok(LedgerEntry {
            at: Timestamp::from_micros(self.at),
            account: row.parse("account", &self.account)?,
            person: PersonId(self.person_id),
            field: FieldKey(self.field_key),
            before: row.json_or_none("value_before", self.value_before.as_deref())?,
            after: row.json("value_after", &self.value_after)?,
        })
    }
}

/// The jobs of a project that a filter means, whatever its `before`.
fn meant(project: ProjectId, filter: &JobFilter) -> sync_jobs::BoxedQuery<'static, Sqlite> {
    let mut jobs =
        sync_jobs::table.filter(sync_jobs::project_id.eq(project.0.as_bytes().to_vec())).into_boxed();
    if let Some(status) = filter.status {
        jobs = jobs.filter(sync_jobs::status.eq(status.as_str()));
    }
    if let Some(email) = filter.email {
        jobs = jobs.filter(sync_jobs::email_hash.eq(email.0.to_vec()));
    }
    if let Some(since) = filter.since {
        jobs = jobs.filter(sync_jobs::created_at.ge(since.micros()));
    }
    if let Some(until) = filter.until {
        jobs = jobs.filter(sync_jobs::created_at.lt(until.micros()));
    }
    jobs
}
