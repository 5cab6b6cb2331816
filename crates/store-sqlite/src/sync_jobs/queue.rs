use std::time::Duration;

use diesel::dsl::{count_star, exists, min, not, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use leadtrail_domain::id::ProjectId;
use leadtrail_domain::ports::{DueQueue, JobCounts, Queue, StoreError};
use leadtrail_domain::sync::{Claim, JobStatus, Lease};
use leadtrail_domain::time::Timestamp;

use super::{JobRow, settle};
use crate::failure::Outcome;
use crate::row::Row;
use crate::schema::sync_jobs;

/// Written out, not bound: only so is it known that `sync_jobs_queue` holds all rows that are meant.
const PENDING: &str = "status = 'pending'";

diesel::alias!(sync_jobs as others: Others);

/// The queues with claimable jobs as far as they can be read, and those that cannot.
pub(super) fn due_queues(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> Outcome<(Vec<DueQueue>, Vec<UnreadableQueue>)> {
    let rows: Vec<(Vec<u8>, String, i64, Option<i64>)> = sync_jobs::table
        .filter(sql::<Bool>(PENDING))
        .filter(sync_jobs::due_at.le(now.micros()))
        .filter(sync_jobs::lease_until.is_null().or(sync_jobs::lease_until.le(now.micros())))
        .group_by((sync_jobs::project_id, sync_jobs::account))
        .select((sync_jobs::project_id, sync_jobs::account, count_star(), min(sync_jobs::due_at)))
        .load(connection)?;
    let (mut queues, mut unreadable) = (Vec::new(), Vec::new());
    for (project_id, account, due, oldest_due_at) in rows {
        let row = Row::of("sync_jobs", &project_id);
        let queue = row
            .uuid("project_id", &project_id)
            .and_then(|id| Ok(Queue { project_id: ProjectId(id), account: row.parse("account", &account)? }));
        match queue {
            Ok(queue) => queues.push(DueQueue {
                queue,
                due: row.count("due_at", due)?,
                oldest_due_at: Timestamp::from_micros(oldest_due_at.unwrap_or(now.micros())),
            }),
            Err(_unreadable) => unreadable.push(UnreadableQueue { project_id, account }),
        }
    }
    queues.sort_by(|one, other| (one.oldest_due_at, &one.queue).cmp(&(other.oldest_due_at, &other.queue)));
    Ok((queues, unreadable))
}

/// A queue that nobody can name, and so nobody can claim from.
pub(super) struct UnreadableQueue {
    project_id: Vec<u8>,
    account: String,
}

/// Ends the due jobs of a queue that cannot be read, so that none of them is due for ever.
pub(super) fn end_queue(
    connection: &mut SqliteConnection,
    queue: &UnreadableQueue,
    now: Timestamp,
) -> Outcome<()> {
    let due: Vec<Vec<u8>> = sync_jobs::table
        .filter(sql::<Bool>(PENDING))
        .filter(sync_jobs::project_id.eq(&queue.project_id))
        .filter(sync_jobs::account.eq(&queue.account))
        .filter(sync_jobs::due_at.le(now.micros()))
        .select(sync_jobs::job_id)
        .load(connection)?;
    for id in due {
        let row = Row::of("sync_jobs", &id);
        let project = row.uuid("project_id", &queue.project_id);
        let unreadable = project.err().unwrap_or_else(|| row.corrupt("account"));
        end_unreadable(connection, &id, now, &unreadable)?;
    }
    Ok(())
}

/// Of each person at most one: while a job is leased the person's others wait, in whichever queue, and of those due in
/// this one the first comes first.
pub(super) fn claim(
    connection: &mut SqliteConnection,
    queue: &Queue,
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
    let of_the_queue = others.field(sync_jobs::account).eq(sync_jobs::account);
    let in_the_way = of_the_person.filter(is_leased.or(of_the_queue.and(comes_first)));
    let mut claims = Vec::new();
    loop {
        let free = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(claims.len());
        let due: Vec<(JobRow, i64)> = sync_jobs::table
            .filter(sql::<Bool>(PENDING))
            .filter(sync_jobs::project_id.eq(queue.project_id.0.as_bytes().as_slice()))
            .filter(sync_jobs::account.eq(queue.account.as_str()))
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

/// How many jobs stand where.
pub(super) fn counts(
    connection: &mut SqliteConnection,
    project: Option<ProjectId>,
    now: Timestamp,
) -> Outcome<JobCounts> {
    let mut pending = sync_jobs::table.filter(sql::<Bool>(PENDING)).select(count_star()).into_boxed();
    let mut due = sync_jobs::table
        .filter(sql::<Bool>(PENDING))
        .filter(sync_jobs::due_at.le(now.micros()))
        .select((count_star(), min(sync_jobs::due_at)))
        .into_boxed();
    if let Some(project) = project {
        pending = pending.filter(sync_jobs::project_id.eq(project.0.as_bytes().to_vec()));
        due = due.filter(sync_jobs::project_id.eq(project.0.as_bytes().to_vec()));
    }
    let pending: i64 = pending.first(connection)?;
    let (due, oldest): (i64, Option<i64>) = due.first(connection)?;
    Ok(JobCounts {
        pending: u64::try_from(pending).unwrap_or(0),
        due: u64::try_from(due).unwrap_or(0),
        oldest_due_at: oldest.map(Timestamp::from_micros),
    })
}
