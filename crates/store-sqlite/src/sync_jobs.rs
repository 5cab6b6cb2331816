mod dossier;
mod settle;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use diesel::dsl::{count_star, exists, min, not, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use leadtrail_domain::crm::{FieldKey, PersonId};
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::id::{LeadId, ProjectId, Slug, SyncJobId};
use leadtrail_domain::ports::{AttemptRecord, JobCounts, JobFilter, Planned, StoreError, SyncJobs};
use leadtrail_domain::sync::{Claim, Dossier, JobStatus, Lease, PlannedWrite, Settlement, SyncJob, Wanted};
use leadtrail_domain::time::Timestamp;

use crate::SqliteStore;
use crate::failure::{Failure, Outcome, json_text};
use crate::row::Row;
use crate::schema::{crm_writes, sync_attempts, sync_jobs};

/// Written out, not bound: only so is it known that `sync_jobs_due` holds all rows that are meant.
const PENDING: &str = "status = 'pending'";

diesel::alias!(sync_jobs as others: Others);

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

/// Of each person at most one: while a job is leased the person's others wait, and of those due the first comes first.
fn claim(
    connection: &mut SqliteConnection,
    now: Timestamp,
    lease: Duration,
    limit: u32,
) -> Outcome<Vec<Claim>> {
    let until = now.plus(lease);
    // Not by `PENDING`: the person's few jobs are found by the key that has the person in it.
    let of_the_person = others
        .filter(others.field(sync_jobs::project_id).eq(sync_jobs::project_id))
        .filter(others.field(sync_jobs::email_hash).eq(sync_jobs::email_hash))
        .filter(others.field(sync_jobs::status).eq(JobStatus::Pending.as_str()));
    let is_leased = others.field(sync_jobs::lease_until).gt(Some(now.micros())).assume_not_null();
    let (due_at, sequence) = (others.field(sync_jobs::due_at), others.field(sync_jobs::sequence));
    let comes_first =
        due_at.lt(sync_jobs::due_at).or(due_at.eq(sync_jobs::due_at).and(sequence.lt(sync_jobs::sequence)));
    let in_the_way = of_the_person.filter(is_leased.or(comes_first));
    let mut claims = Vec::new();
    loop {
        let free = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(claims.len());
        let due: Vec<(JobRow, i64)> = sync_jobs::table
            .filter(sql::<Bool>(PENDING))
            .filter(sync_jobs::due_at.le(now.micros()))
            .filter(sync_jobs::lease_until.is_null().or(sync_jobs::lease_until.le(now.micros())))
            .filter(not(exists(in_the_way)))
            .order((sync_jobs::due_at, sync_jobs::job_id))
            .limit(i64::try_from(free).unwrap_or(i64::MAX))
            .select((JobRow::as_select(), sync_jobs::lease_number))
            .load(connection)?;
        let mut all_readable = true;
        for (row, number) in due {
            let id = row.job_id.clone();
            match row.read() {
                Ok(job) => {
                    let lease =
                        Lease { job_id: job.id, project_id: job.project_id, number: number + 1, until };
                    diesel::update(sync_jobs::table.find(&id))
                        .set((
                            sync_jobs::lease_number.eq(lease.number),
                            sync_jobs::lease_until.eq(Some(until.micros())),
                        ))
                        .execute(connection)?;
                    claims.push(Claim { job, lease });
                }
                Err(unreadable) => {
                    end_unreadable(connection, &id, now, &unreadable)?;
                    all_readable = false;
                }
            }
        }
        // Those who stood behind an unreadable one come next.
        if all_readable {
            claims.sort_by_key(|claim: &Claim| (claim.job.due_at, claim.job.id));
            return Ok(claims);
        }
    }
}

/// Ends a job whose row cannot be read, so that it holds up nobody.
fn end_unreadable(
    connection: &mut SqliteConnection,
    id: &[u8],
    now: Timestamp,
    unreadable: &StoreError,
) -> Outcome<()> {
    diesel::update(sync_jobs::table.find(id))
        .set((
            sync_jobs::status.eq(JobStatus::Error.as_str()),
            sync_jobs::last_error.eq(Some(unreadable.to_string())),
            sync_jobs::ended_at.eq(Some(now.micros())),
            sync_jobs::lease_until.eq(None::<i64>),
        ))
        .execute(connection)?;
    settle::show(connection, id, JobStatus::Error, now, None)
}

fn plan(connection: &mut SqliteConnection, lease: &Lease, write: &PlannedWrite) -> Outcome<Planned> {
    let Leased { email_hash, sequence, .. } = leased(connection, lease)?;
    let newer = sync_jobs::table
        .filter(sync_jobs::project_id.eq(lease.project_id.0.as_bytes().as_slice()))
        .filter(sync_jobs::email_hash.eq(email_hash))
        .filter(sync_jobs::sequence.gt(sequence))
        .filter(exists(crm_writes::table.filter(crm_writes::job_id.eq(sync_jobs::job_id))));
    let superseded: Option<i64> = newer.select(sync_jobs::sequence).first(connection).optional()?;
    if superseded.is_some() {
        return Ok(Planned::Superseded);
    }
    diesel::update(sync_jobs::table.find(lease.job_id.0.as_bytes().as_slice()))
        .set(sync_jobs::planned.eq(Some(json_text(write)?)))
        .execute(connection)?;
    Ok(Planned::Go)
}

#[async_trait]
impl SyncJobs for SqliteStore {
    async fn claim(&self, now: Timestamp, lease: Duration, limit: u32) -> Result<Vec<Claim>, StoreError> {
        self.write(move |connection| claim(connection, now, lease, limit)).await
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
            let mut jobs = sync_jobs::table
                .filter(sync_jobs::project_id.eq(project.0.as_bytes().as_slice()))
                .order(sync_jobs::job_id.desc())
                .limit(i64::from(limit))
                .select(JobRow::as_select())
                .into_boxed();
            if let Some(status) = filter.status {
                jobs = jobs.filter(sync_jobs::status.eq(status.as_str()));
            }
            if let Some(before) = filter.before {
                jobs = jobs.filter(sync_jobs::job_id.lt(before.0.as_bytes().to_vec()));
            }
            Ok(jobs.load(connection)?.into_iter().map(JobRow::read).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn attempts(&self, project: ProjectId, id: SyncJobId) -> Result<Vec<AttemptRecord>, StoreError> {
        self.read(move |connection| {
            let rows: Vec<(i64, String, String)> = sync_attempts::table
                .filter(sync_attempts::job_id.eq(id.0.as_bytes().as_slice()))
                .filter(sync_attempts::project_id.eq(project.0.as_bytes().as_slice()))
                .order(sync_attempts::number)
                .select((sync_attempts::at, sync_attempts::status, sync_attempts::note))
                .load(connection)?;
            let row = Row::of("sync_attempts", id.0.as_bytes());
            let attempts: Result<_, StoreError> = rows
                .into_iter()
                .map(|(at, status, note)| {
                    Ok(AttemptRecord {
                        at: Timestamp::from_micros(at),
                        status: row.parse("status", &status)?,
                        note,
                    })
                })
                .collect();
            Ok(attempts?)
        })
        .await
    }

    async fn counts(&self, now: Timestamp) -> Result<JobCounts, StoreError> {
        self.read(move |connection| {
            let pending: i64 =
                sync_jobs::table.filter(sql::<Bool>(PENDING)).select(count_star()).first(connection)?;
            let (due, oldest): (i64, Option<i64>) = sync_jobs::table
                .filter(sql::<Bool>(PENDING))
                .filter(sync_jobs::due_at.le(now.micros()))
                .select((count_star(), min(sync_jobs::due_at)))
                .first(connection)?;
            Ok(JobCounts {
                pending: u64::try_from(pending).unwrap_or(0),
                due: u64::try_from(due).unwrap_or(0),
                oldest_due_at: oldest.map(Timestamp::from_micros),
            })
        })
        .await
    }
}
