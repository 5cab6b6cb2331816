use diesel::prelude::*;
use diesel::query_builder::AsQuery;
use diesel::sql_types::{BigInt, Bool, Nullable, Text as TextSql, Timestamptz, Uuid as UuidSql};
use leadtrail_domain::id::ProjectId;
use leadtrail_domain::ports::{DueQueue, JobCounts, Queue, StoreError};
use leadtrail_domain::sync::{Claim, JobStatus};
use leadtrail_domain::time::Timestamp;
use uuid::Uuid;

use super::{JobRow, TABLE, settle};
use crate::column::{At, parsed, ranged};
use crate::error::Failure;
use crate::schema::sync_jobs;
use crate::statement::{Statement, Text, bind};

/// The claims of a project come one after the other, so that each sees whom the one before it has leased, in whichever
/// queue. They are few: one per account and poll, or less.
struct LockClaims;

impl Text for LockClaims {
    const SQL: &'static str =
        "SELECT pg_advisory_xact_lock(hashtext('leadtrail'), hashtext('claims of ' || {}::text)) IS NULL";
    type Row = Bool;
}

/// The claim is materialized, so that no plan locks more jobs than it gives out. OFFSET 0 keeps the question about the
/// person's other jobs one per job that is due; as a join it would read all that are pending. Their order says by which
/// index they are found: with a plan made on a fresh store, where every index looks the same, it would else be one that
/// walks all jobs of the project for each.
struct ClaimDue;

impl Text for ClaimDue {
    const SQL: &'static str = "WITH due AS MATERIALIZED (
            SELECT j.job_id FROM sync_jobs j
            WHERE j.status = 'pending' AND j.project_id = {} AND j.account = {} AND j.due_at <= {}
                AND (j.lease_until IS NULL OR j.lease_until <= {})
                AND NOT EXISTS (
                    SELECT FROM sync_jobs o
                    WHERE o.project_id = j.project_id AND o.email_hash = j.email_hash AND o.status = 'pending'
                        AND (o.lease_until > {}
                            OR (o.account = j.account AND (o.due_at, o.sequence) < (j.due_at, j.sequence)))
                    ORDER BY o.sequence OFFSET 0
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

/// `status` is written out, not bound: only so is it known that `sync_jobs_queue` holds all rows that are meant.
struct CountDue;

impl Text for CountDue {
    const SQL: &'static str = "SELECT project_id, account, count(*), min(due_at) FROM sync_jobs
        WHERE status = 'pending' AND due_at <= {} AND (lease_until IS NULL OR lease_until <= {})
        GROUP BY project_id, account ORDER BY project_id, account";
    type Row = (UuidSql, TextSql, BigInt, Timestamptz);
}

struct CountPending;

impl Text for CountPending {
    const SQL: &'static str = "SELECT count(*), count(*) FILTER (WHERE due_at <= {}),
            min(due_at) FILTER (WHERE due_at <= {})
        FROM sync_jobs WHERE status = 'pending'";
    type Row = (BigInt, BigInt, Nullable<Timestamptz>);
}

struct CountPendingOf;

impl Text for CountPendingOf {
    const SQL: &'static str = "SELECT count(*), count(*) FILTER (WHERE due_at <= {}),
            min(due_at) FILTER (WHERE due_at <= {})
        FROM sync_jobs WHERE status = 'pending' AND project_id = {}";
    type Row = (BigInt, BigInt, Nullable<Timestamptz>);
}

/// The queues with claimable jobs as far as they can be read, and those that cannot.
pub(super) fn due_queues(
    connection: &mut PgConnection,
    now: Timestamp,
) -> Result<(Vec<DueQueue>, Vec<UnreadableQueue>), Failure> {
    let statement =
        Statement::<CountDue>::new(vec![bind::<Timestamptz, _>(At(now)), bind::<Timestamptz, _>(At(now))]);
    let rows: Vec<(Uuid, String, i64, At)> = statement.load(connection)?;
    let (mut queues, mut unreadable) = (Vec::new(), Vec::new());
    for (project, account, due, At(oldest_due_at)) in rows {
        match parsed(&account, TABLE, "account", project) {
            Ok(name) => queues.push(DueQueue {
                queue: Queue { project_id: ProjectId(project), account: name },
                due: ranged(due, TABLE, "due_at", project)?,
                oldest_due_at,
            }),
            Err(_unreadable) => unreadable.push(UnreadableQueue { project, account }),
        }
    }
    queues.sort_by(|one, other| (one.oldest_due_at, &one.queue).cmp(&(other.oldest_due_at, &other.queue)));
    Ok((queues, unreadable))
}

/// A queue that nobody can name, and so nobody can claim from.
pub(super) struct UnreadableQueue {
    project: Uuid,
    account: String,
}

/// Ends the due jobs of a queue that cannot be read, so that none of them is due for ever.
pub(super) fn end_queue(
    connection: &mut PgConnection,
    queue: &UnreadableQueue,
    now: Timestamp,
) -> Result<(), Failure> {
    let due: Vec<Uuid> = sync_jobs::table
        .filter(sync_jobs::project_id.eq(queue.project).and(sync_jobs::account.eq(&queue.account)))
        .filter(sync_jobs::status.eq(JobStatus::Pending.as_str()))
        .filter(sync_jobs::due_at.le(At(now)))
        .order(sync_jobs::job_id)
        .select(sync_jobs::job_id)
        .for_update()
        .load(connection)?;
    for id in due {
        let unreadable = StoreError::Corrupt { table: TABLE, column: "account", id: id.to_string() };
        end_unreadable(connection, id, now, &unreadable)?;
    }
    Ok(())
}

/// Claims in the transaction that the connection is in.
pub(super) fn claim(
    connection: &mut PgConnection,
    queue: &Queue,
    now: Timestamp,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<Claim>, Failure> {
    let project = queue.project_id.0;
    Statement::<LockClaims>::new(vec![bind::<UuidSql, _>(project)]).execute(connection)?;
    let limit = usize::try_from(limit).map_err(StoreError::rejected)?;
    let mut claims = Vec::new();
    loop {
        let free = i64::try_from(limit - claims.len()).map_err(StoreError::rejected)?;
        let statement = Statement::<ClaimDue>::new(vec![
            bind::<UuidSql, _>(project),
            bind::<TextSql, _>(queue.account.as_str().to_owned()),
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

/// How many jobs stand where.
pub(super) fn counts(
    connection: &mut PgConnection,
    project: Option<ProjectId>,
    now: Timestamp,
) -> Result<JobCounts, Failure> {
    let mut binds = vec![bind::<Timestamptz, _>(At(now)), bind::<Timestamptz, _>(At(now))];
    let (pending, due, oldest): (i64, i64, Option<At>) = match project {
        None => Statement::<CountPending>::new(binds).get_result(connection)?,
        Some(project) => {
            binds.push(bind::<UuidSql, _>(project.0));
            Statement::<CountPendingOf>::new(binds).get_result(connection)?
        }
    };
    Ok(JobCounts {
        pending: ranged(pending, TABLE, "status", "*")?,
        due: ranged(due, TABLE, "due_at", "*")?,
        oldest_due_at: oldest.map(|at| at.0),
    })
}
