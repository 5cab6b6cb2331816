mod dossier;
mod settle;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::dsl::{exists, select};
use diesel::prelude::*;
use diesel::query_builder::AsQuery;
use diesel::sql_types::{BigInt, Bool, Nullable, Timestamptz};
use leadtrail_domain::crm::{FieldKey, PersonId};
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::id::{LeadId, ProjectId, Slug, SyncJobId};
use leadtrail_domain::ports::{AttemptRecord, JobCounts, JobFilter, Planned, StoreError, SyncJobs};
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

/// Claims come one after the other, so that each sees whom the one before it has leased. They are few: one per worker
/// and poll, or less.
struct LockClaims;

impl Text for LockClaims {
    const SQL: &'static str =
        "SELECT pg_advisory_xact_lock(hashtext('leadtrail'), hashtext('claims')) IS NULL";
    type Row = Bool;
}

/// The claim is materialized, so that no plan locks more jobs than it gives out. OFFSET 0 keeps the question about the
/// person's other jobs one per job that is due; as a join it would read all that are pending.
struct ClaimDue;

impl Text for ClaimDue {
    const SQL: &'static str = "WITH due AS MATERIALIZED (
            SELECT j.job_id FROM sync_jobs j
            WHERE j.status = 'pending' AND j.due_at <= {} AND (j.lease_until IS NULL OR j.lease_until <= {})
                AND NOT EXISTS (
                    SELECT FROM sync_jobs o
                    WHERE o.project_id = j.project_id AND o.email_hash = j.email_hash AND o.status = 'pending'
                        AND (o.lease_until > {} OR (o.due_at, o.sequence) < (j.due_at, j.sequence))
                    OFFSET 0
                )
            ORDER BY j.due_at, j.job_id
            LIMIT {}
            FOR UPDATE OF j SKIP LOCKED
        )
        UPDATE sync_jobs j SET lease_number = j.lease_number + 1, lease_until = {}
        FROM due WHERE j.job_id = due.job_id
        RETURNING j.job_id, j.project_id, j.account, j.lead_id, j.email_hash, j.sequence, j.created_at, j.due_at,
            j.status, j.looks, j.failures, j.wanted, j.planned, j.persons, j.last_error, j.ended_at, j.lease_number,
            j.lease_until";
    type Row = <sync_jobs::table as AsQuery>::SqlType;
}

struct CountPending;

impl Text for CountPending {
    const SQL: &'static str = "SELECT count(*), count(*) FILTER (WHERE due_at <= {}),
            min(due_at) FILTER (WHERE due_at <= {})
        FROM sync_jobs WHERE status = 'pending'";
    type Row = (BigInt, BigInt, Nullable<Timestamptz>);
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

/// Claims in the transaction that the connection is in, which holds the lock on claims.
fn claim(
    connection: &mut PgConnection,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<Claim>, Failure> {
    let limit = usize::try_from(limit).map_err(StoreError::rejected)?;
    let mut claims = Vec::new();
    loop {
        let free = i64::try_from(limit - claims.len()).map_err(StoreError::rejected)?;
        let statement = Statement::<ClaimDue>::new(vec![
            bind::<Timestamptz, _>(At(now)),
            bind::<Timestamptz, _>(At(now)),
            bind::<Timestamptz, _>(At(now)),
            bind::<BigInt, _>(free),
            bind::<Timestamptz, _>(At(until)),
        ]);
        let rows: Vec<JobRow> = statement.load(connection)?;
        let mut all_readable = true;
        for row in rows {
            let id = row.job_id;
            match row.claim() {
                Ok(claim) => claims.push(claim),
                Err(unreadable) => {
                    end_unreadable(connection, id, now, &unreadable)?;
                    all_readable = false;
                }
            }
        }
        // Those who stood behind an unreadable one come next.
        if all_readable {
            claims.sort_by_key(|claim| (claim.job.due_at, claim.job.id));
            return Ok(claims);
        }
    }
}

/// Ends a job whose row cannot be read, so that it holds up nobody.
fn end_unreadable(
    connection: &mut PgConnection,
    id: Uuid,
    now: Timestamp,
    unreadable: &StoreError,
) -> Result<(), Failure> {
    diesel::update(sync_jobs::table.find(id))
        .set((
            sync_jobs::status.eq(JobStatus::Error.as_str()),
            sync_jobs::last_error.eq(Some(unreadable.to_string())),
            sync_jobs::ended_at.eq(Some(At(now))),
            sync_jobs::lease_until.eq(None::<At>),
        ))
        .execute(connection)?;
    settle::show(connection, &[id], JobStatus::Error, now, None)
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
    async fn claim(&self, now: Timestamp, lease: Duration, limit: u32) -> Result<Vec<Claim>, StoreError> {
        let clock = Arc::clone(&self.clock);
        self.change(move |connection| {
            clock.refresh(connection)?;
            connection.transaction(|connection| {
                Statement::<LockClaims>::new(Vec::new()).execute(connection)?;
                claim(connection, now, now.plus(lease), limit)
            })
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
                let newer_written = sync_jobs::table
                    .filter(sync_jobs::project_id.eq(job.project_id))
                    .filter(sync_jobs::email_hash.eq(&job.email_hash))
                    .filter(sync_jobs::sequence.gt(job.sequence))
                    .filter(exists(crm_writes::table.filter(crm_writes::job_id.eq(sync_jobs::job_id))));
                if select(exists(newer_written)).get_result(connection)? {
                    return Ok(Planned::Superseded);
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
            let mut wanted = sync_jobs::table
                .filter(sync_jobs::project_id.eq(project.0))
                .order(sync_jobs::job_id.desc())
                .limit(i64::from(limit))
                .select(JobRow::as_select())
                .into_boxed();
            if let Some(status) = filter.status {
                wanted = wanted.filter(sync_jobs::status.eq(status.as_str()));
            }
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
            let rows: Vec<(At, String, String)> = sync_attempts::table
                .filter(sync_attempts::job_id.eq(id.0).and(sync_attempts::project_id.eq(project.0)))
                .order(sync_attempts::number)
                .select((sync_attempts::at, sync_attempts::status, sync_attempts::note))
                .load(connection)?;
            let record = |(At(at), status, note): (At, String, String)| {
                let status: JobStatus = parsed(&status, "sync_attempts", "status", id)?;
                Ok::<_, StoreError>(AttemptRecord { at, status, note })
            };
            Ok(rows.into_iter().map(record).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn counts(&self, now: Timestamp) -> Result<JobCounts, StoreError> {
        let statement = Statement::<CountPending>::new(vec![
            bind::<Timestamptz, _>(At(now)),
            bind::<Timestamptz, _>(At(now)),
        ]);
        let (pending, due, oldest): (i64, i64, Option<At>) =
            self.ask(move |connection| Ok((&statement).get_result(connection)?)).await?;
        Ok(JobCounts {
            pending: ranged(pending, TABLE, "status", "*")?,
            due: ranged(due, TABLE, "due_at", "*")?,
            oldest_due_at: oldest.map(|at| at.0),
        })
    }
}
