use diesel::prelude::*;
use leadtrail_domain::id::{ProjectId, SyncJobId};
use leadtrail_domain::ports::{AttemptRecord, JobAction};
use leadtrail_domain::sync::JobStatus;
use leadtrail_domain::time::Timestamp;

use super::settle;
use crate::failure::Outcome;
use crate::row::Row;
use crate::schema::sync_jobs;

/// Does what a human wants of a job; `false` where it is in no state for that.
pub(super) fn act(
    connection: &mut SqliteConnection,
    project: ProjectId,
    id: SyncJobId,
    action: JobAction,
    at: Timestamp,
    note: String,
) -> Outcome<bool> {
    let key = id.0.as_bytes().as_slice();
    let row: Option<(String, Option<i64>)> = sync_jobs::table
        .find(key)
        .filter(sync_jobs::project_id.eq(project.0.as_bytes().as_slice()))
        .select((sync_jobs::status, sync_jobs::lease_until))
        .first(connection)
        .optional()?;
    let Some((status, lease_until)) = row else { return Ok(false) };
    let status: JobStatus = Row::of("sync_jobs", key).parse("status", &status)?;
    let is_worked_on = lease_until.is_some_and(|until| until > at.micros());
    if !action.takes(status) || (action == JobAction::Replay && is_worked_on) {
        return Ok(false);
    }
    let job = diesel::update(sync_jobs::table.find(key));
    let no_lease = sync_jobs::lease_until.eq(None::<i64>);
    let status = match action {
        JobAction::Replay => {
            let anew = (
                sync_jobs::status.eq(JobStatus::Pending.as_str()),
                sync_jobs::due_at.eq(at.micros()),
                sync_jobs::looks.eq(0),
                sync_jobs::failures.eq(0),
                sync_jobs::wanted.eq(None::<String>),
                sync_jobs::persons.eq("[]"),
                sync_jobs::last_error.eq(None::<String>),
                sync_jobs::ended_at.eq(None::<i64>),
            );
            job.set((anew, no_lease)).execute(connection)?;
            JobStatus::Pending
        }
        JobAction::Hold => {
            job.set((sync_jobs::status.eq(JobStatus::Held.as_str()), no_lease)).execute(connection)?;
            JobStatus::Held
        }
        JobAction::Skip => {
            let ended = (
                sync_jobs::status.eq(JobStatus::Skipped.as_str()),
                sync_jobs::planned.eq(None::<String>),
                sync_jobs::ended_at.eq(Some(at.micros())),
            );
            job.set((ended, no_lease)).execute(connection)?;
            JobStatus::Skipped
        }
    };
    settle::record(connection, project, id, &AttemptRecord { at, status, note, steps: Vec::new() })?;
    if action != JobAction::Hold {
        settle::show(connection, key, status, at, None)?;
    }
    Ok(true)
}
