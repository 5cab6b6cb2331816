mod act;
mod dossier;
mod queue;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::dsl::{count_star, exists, select};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Timestamptz, Uuid as UuidSql};
use leadtrail_domain::crm::{FieldKey, PersonId};
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::id::{LeadId, ProjectId, Slug, SyncJobId};
use leadtrail_domain::ports::{
    AttemptRecord, DueQueue, JobAction, JobCounts, JobFilter, LedgerEntry, Planned, Queue, StoreError,
    SyncJobs, Updates,
};
use leadtrail_domain::sync::{Claim, Dossier, JobStatus, Lease, PlannedWrite, Settlement, SyncJob, Wanted};
use leadtrail_domain::time::Timestamp;
use uuid::Uuid;

use crate::PostgresStore;
use crate::column::{At, JsonText, hash, parsed, ranged};
use crate::error::Failure;
use crate::schema::{crm_writes, leads, sync_attempts, sync_jobs};
use crate::statement::{Statement, Text, bind};

const TABLE: &str = "sync_jobs";

/// A whole row, in the order of the table.
#[derive(Queryable, Selectable)]
#[diesel(table_name = sync_jobs)]
struct JobRow {
    job_id: Uuid,
    project_id: Uuid,
    account: String,
    lead_id: Uuid,
    email_hash: Vec<u8>,
    sequence: i64,
    created_at: At,
    due_at: At,
    status: String,
    looks: i32,
    failures: i32,
    wanted: Option<JsonText>,
    planned: Option<JsonText>,
    persons: JsonText,
    last_error: Option<String>,
    ended_at: Option<At>,
    lease_number: i64,
    lease_until: Option<At>,
}

impl JobRow {
    fn job(self) -> Result<SyncJob, StoreError> {
        let id = self.job_id;
        Ok(SyncJob {
            id: SyncJobId(id),
            project_id: ProjectId(self.project_id),
            account: parsed(&self.account, TABLE, "account", id)?,
            lead_id: LeadId(self.lead_id),
            email_hash: EmailHash(hash(&self.email_hash, TABLE, "email_hash", id)?),
            sequence: self.sequence,
            created_at: self.created_at.0,
            due_at: self.due_at.0,
            status: parsed(&self.status, TABLE, "status", id)?,
            looks: ranged(self.looks, TABLE, "looks", id)?,
            failures: ranged(self.failures, TABLE, "failures", id)?,
            wanted: self.wanted.map(|wanted| wanted.parse(TABLE, "wanted", id)).transpose()?,
            planned: self.planned.map(|planned| planned.parse(TABLE, "planned", id)).transpose()?,
            persons: self.persons.parse(TABLE, "persons", id)?,
            last_error: self.last_error,
            ended_at: self.ended_at.map(|at| at.0),
        })
    }

    fn claim(self) -> Result<Claim, StoreError> {
        let number = self.lease_number;
        let until = self.lease_until.map_or(Timestamp::MIN, |at| at.0);
        let job = self.job()?;
        Ok(Claim { lease: Lease { job_id: job.id, project_id: job.project_id, number, until }, job })
    }
}

/// The order of the person's jobs says by which index they are found, also with a plan made on a fresh store, where
/// every index looks the same.
struct CountUpdates;

impl Text for CountUpdates {
    const SQL: &'static str = "SELECT count(DISTINCT w.job_id), min(w.at)
        FROM (
            SELECT job_id FROM sync_jobs WHERE project_id = {} AND email_hash = {} ORDER BY sequence OFFSET 0
        ) j
        JOIN crm_writes w ON w.job_id = j.job_id
        WHERE w.at >= {}";
    type Row = (BigInt, Nullable<Timestamptz>);
}

/// The rows that a lease is a right to: one, or none when it is lost.
#[diesel::dsl::auto_type(no_type_alias)]
fn held(lease: &Lease) -> _ {
    let id: Uuid = lease.job_id.0;
    let project: Uuid = lease.project_id.0;
    let number: i64 = lease.number;
    sync_jobs::table
        .filter(sync_jobs::job_id.eq(id))
        .filter(sync_jobs::project_id.eq(project))
        .filter(sync_jobs::lease_number.eq(number))
        .filter(sync_jobs::lease_until.is_not_null())
        .filter(sync_jobs::ended_at.is_null())
}

/// The job of a lease, which nobody changes until the transaction ends.
fn hold(connection: &mut PgConnection, lease: &Lease) -> Result<JobRow, Failure> {
    let row = held(lease).select(JobRow::as_select()).for_update().first(connection).optional()?;
    Ok(row.ok_or(StoreError::LeaseLost)?)
}

/// The newest lead that joined a job.
fn newest_lead(connection: &mut PgConnection, job: Uuid) -> Result<Option<Uuid>, Failure> {
    let newest = leads::table
        .filter(leads::job_id.eq(job))
        .order((leads::received_at.desc(), leads::lead_id.desc()))
        .select(leads::lead_id)
        .first(connection)
        .optional()?;
    Ok(newest)
}

#[async_trait]
impl SyncJobs for PostgresStore {
    async fn due_queues(&self, now: Timestamp) -> Result<Vec<DueQueue>, StoreError> {
        let (queues, unreadable) = self.ask(move |connection| queue::due_queues(connection, now)).await?;
        if !unreadable.is_empty() {
            self.change(move |connection| {
                connection.transaction(|connection| {
                    unreadable.iter().try_for_each(|queue| queue::end_queue(connection, queue, now))
                })
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
        let (clock, queue) = (Arc::clone(&self.clock), queue.clone());
        self.change(move |connection| {
            clock.refresh(connection)?;
            connection.transaction(|connection| queue::claim(connection, &queue, now, now.plus(lease), limit))
        })
        .await
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Lease, StoreError> {
        let lease = *lease;
        self.change(move |connection| {
            let renewed = diesel::update(held(&lease))
                .set(sync_jobs::lease_until.eq(Some(At(until))))
                .execute(connection)?;
            if renewed == 1 { Ok(Lease { until, ..lease }) } else { Err(StoreError::LeaseLost.into()) }
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let lease = *lease;
        self.change(move |connection| {
            diesel::update(held(&lease)).set(sync_jobs::lease_until.eq(None::<At>)).execute(connection)?;
            Ok(())
        })
        .await
    }

    async fn dossier(&self, lease: &Lease) -> Result<Dossier, StoreError> {
        let lease = *lease;
        self.ask(move |connection| dossier::read(connection, &lease)).await
    }

    async fn freeze(&self, lease: &Lease, wanted: &Wanted) -> Result<(), StoreError> {
        let (lease, lead, wanted) = (*lease, wanted.lead_id, JsonText::of(wanted)?);
        self.change(move |connection| {
            connection.transaction(|connection| {
                // Whoever joins locks the job first: after this, either its lead is seen or it will not join.
                let job = hold(connection, &lease)?;
                if newest_lead(connection, job.job_id)?.map(LeadId) != lead {
                    return Err(StoreError::Stale.into());
                }
                diesel::update(held(&lease)).set(sync_jobs::wanted.eq(Some(wanted))).execute(connection)?;
                Ok(())
            })
        })
        .await
    }

    async fn plan(&self, lease: &Lease, write: &PlannedWrite) -> Result<Planned, StoreError> {
        let (lease, write) = (*lease, JsonText::of(write)?);
        self.change(move |connection| {
            connection.transaction(|connection| {
                let job = hold(connection, &lease)?;
                let newer = sync_jobs::table
                    .filter(sync_jobs::project_id.eq(job.project_id))
                    .filter(sync_jobs::email_hash.eq(&job.email_hash))
                    .filter(sync_jobs::account.eq(&job.account))
                    .filter(sync_jobs::sequence.gt(job.sequence));
                let synced = sync_jobs::status.eq(JobStatus::Synced.as_str());
                let written = exists(crm_writes::table.filter(crm_writes::job_id.eq(sync_jobs::job_id)));
                if select(exists(newer.filter(synced.or(written)))).get_result(connection)? {
                    return Ok(Planned::Superseded);
                }
                let may_be_made = newer
                    .filter(sync_jobs::status.eq(JobStatus::Pending.as_str()))
                    .filter(sync_jobs::planned.is_not_null());
                if select(exists(may_be_made)).get_result(connection)? {
                    return Ok(Planned::Waits);
                }
                diesel::update(held(&lease)).set(sync_jobs::planned.eq(Some(write))).execute(connection)?;
                Ok(Planned::Go)
            })
        })
        .await
    }

    async fn settle(&self, lease: &Lease, settlement: &Settlement) -> Result<(), StoreError> {
        let (lease, settlement) = (*lease, settlement.clone());
        self.change(move |connection| {
            connection.transaction(|connection| settle::record(connection, &lease, &settlement))
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
        self.ask(move |connection| {
            let fields = crm_writes::table
                .filter(crm_writes::project_id.eq(project.0))
                .filter(crm_writes::account.eq(account.as_str()))
                .filter(crm_writes::person_id.eq(&person.0))
                .select(crm_writes::field_key)
                .distinct()
                .load(connection)?;
            Ok(fields.into_iter().map(FieldKey).collect())
        })
        .await
    }

    async fn updates_since(
        &self,
        project: ProjectId,
        email: &EmailHash,
        since: Timestamp,
    ) -> Result<Updates, StoreError> {
        let statement = Statement::<CountUpdates>::new(vec![
            bind::<UuidSql, _>(project.0),
            bind::<Binary, _>(email.0.to_vec()),
            bind::<Timestamptz, _>(At(since)),
        ]);
        self.ask(move |connection| {
            let (writes, oldest_at): (i64, Option<At>) = (&statement).get_result(connection)?;
            let count = ranged(writes, "crm_writes", "job_id", "*")?;
            Ok(Updates { count, oldest_at: oldest_at.map(|at| at.0) })
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
        self.change(move |connection| {
            connection.transaction(|connection| act::act(connection, project, id, action, at, note))
        })
        .await
    }

    async fn job(&self, project: ProjectId, id: SyncJobId) -> Result<Option<SyncJob>, StoreError> {
        self.ask(move |connection| {
            let row = sync_jobs::table
                .filter(sync_jobs::job_id.eq(id.0).and(sync_jobs::project_id.eq(project.0)))
                .select(JobRow::as_select())
                .first(connection)
                .optional()?;
            Ok(row.map(JobRow::job).transpose()?)
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
        self.ask(move |connection| {
            let mut wanted = meant(project, &filter)
                .order(sync_jobs::job_id.desc())
                .limit(i64::from(limit))
                .select(JobRow::as_select());
            if let Some(before) = filter.before {
                wanted = wanted.filter(sync_jobs::job_id.lt(before.0));
            }
            let rows = wanted.load(connection)?;
            Ok(rows.into_iter().map(JobRow::job).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn attempts(&self, project: ProjectId, id: SyncJobId) -> Result<Vec<AttemptRecord>, StoreError> {
        self.ask(move |connection| {
            let rows: Vec<(At, String, String, JsonText)> = sync_attempts::table
                .filter(sync_attempts::job_id.eq(id.0).and(sync_attempts::project_id.eq(project.0)))
                .order(sync_attempts::number)
                .select((sync_attempts::at, sync_attempts::status, sync_attempts::note, sync_attempts::steps))
                .load(connection)?;
            let record = |(At(at), status, note, steps): (At, String, String, JsonText)| {
                let status: JobStatus = parsed(&status, "sync_attempts", "status", id)?;
                let steps = steps.parse("sync_attempts", "steps", id)?;
                Ok::<_, StoreError>(AttemptRecord { at, status, note, steps })
            };
            Ok(rows.into_iter().map(record).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn writes(&self, project: ProjectId, id: SyncJobId) -> Result<Vec<LedgerEntry>, StoreError> {
        self.ask(move |connection| {
            let rows = crm_writes::table
                .filter(crm_writes::job_id.eq(id.0).and(crm_writes::project_id.eq(project.0)))
                .order((crm_writes::at, crm_writes::person_id, crm_writes::field_key))
                .select(WriteRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(|row| row.entry(id)).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn count(&self, project: ProjectId, filter: &JobFilter) -> Result<u64, StoreError> {
        let filter = filter.clone();
        let count: i64 = self
            .ask(move |connection| Ok(meant(project, &filter).select(count_star()).first(connection)?))
            .await?;
        ranged(count, TABLE, "job_id", "*")
    }

    async fn counts(&self, project: Option<ProjectId>, now: Timestamp) -> Result<JobCounts, StoreError> {
        self.ask(move |connection| queue::counts(connection, project, now)).await
    }

    async fn outcomes(
        &self,
        project: Option<ProjectId>,
        since: Timestamp,
    ) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        self.ask(move |connection| {
            let mut ended = sync_jobs::table
                .filter(sync_jobs::ended_at.ge(Some(At(since))).assume_not_null())
                .group_by(sync_jobs::status)
                .select((sync_jobs::status, count_star()))
                .into_boxed();
            if let Some(project) = project {
                ended = ended.filter(sync_jobs::project_id.eq(project.0));
            }
            let rows: Vec<(String, i64)> = ended.load(connection)?;
            let outcomes = rows.into_iter().map(|(status, count)| {
                let status: JobStatus = parsed(&status, TABLE, "status", "*")?;
                Ok::<_, StoreError>((status, ranged(count, TABLE, "status", "*")?))
            });
            Ok(outcomes.collect::<Result<_, _>>()?)
        })
        .await
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = crm_writes)]
struct WriteRow {
    at: At,
    account: String,
    person_id: String,
    field_key: String,
    value_before: Option<JsonText>,
    value_after: JsonText,
}

impl WriteRow {
    fn entry(self, job: SyncJobId) -> Result<LedgerEntry, StoreError> {
        let before = self.value_before.map(|value| value.parse("crm_writes", "value_before", job));
        Ok(LedgerEntry {
            at: self.at.0,
            account: parsed(&self.account, "crm_writes", "account", job)?,
            person: PersonId(self.person_id),
            field: FieldKey(self.field_key),
            before: before.transpose()?,
            after: self.value_after.parse("crm_writes", "value_after", job)?,
        })
    }
}

/// The jobs of a project that a filter means, whatever its `before`.
fn meant(project: ProjectId, filter: &JobFilter) -> sync_jobs::BoxedQuery<'static, Pg> {
    let mut jobs = sync_jobs::table.filter(sync_jobs::project_id.eq(project.0)).into_boxed();
    if let Some(status) = filter.status {
        jobs = jobs.filter(sync_jobs::status.eq(status.as_str()));
    }
    if let Some(email) = filter.email {
        jobs = jobs.filter(sync_jobs::email_hash.eq(email.0.to_vec()));
    }
    if let Some(since) = filter.since {
        jobs = jobs.filter(sync_jobs::created_at.ge(At(since)));
    }
    if let Some(until) = filter.until {
        jobs = jobs.filter(sync_jobs::created_at.lt(At(until)));
    }
    jobs
}
