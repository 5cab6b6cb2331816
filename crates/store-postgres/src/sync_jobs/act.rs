use diesel::prelude::*;
use leadtrail_domain::id::{ProjectId, SyncJobId};
use leadtrail_domain::ports::{AttemptRecord, JobAction};
use leadtrail_domain::sync::JobStatus;
use leadtrail_domain::time::Timestamp;

use super::{TABLE, settle};
use crate::column::{At, JsonText, parsed};
use crate::error::Failure;
use crate::schema::sync_jobs;

/// Does what a human wants of a job, in the transaction that the connection is in; `false` where the job is in no state
/// for that.
pub(super) fn act(
    connection: &mut PgConnection,
    project: ProjectId,
    id: SyncJobId,
    action: JobAction,
    at: Timestamp,
    note: String,
) -> Result<bool, Failure> {
    let row: Option<(String, Option<At>)> = sync_jobs::table
        .filter(sync_jobs::job_id.eq(id.0).and(sync_jobs::project_id.eq(project.0)))
        .select((sync_jobs::status, sync_jobs::lease_until))
        .for_update()
        .first(connection)
        .optional()?;
    let Some((status, lease_until)) = row else { return Ok(false) };
    let is_worked_on = lease_until.is_some_and(|until| until.0 > at);
    if !action.takes(parsed(&status, TABLE, "status", id.0)?) || (action == JobAction::Replay && is_worked_on)
    {
        return Ok(false);
    }
    let job = diesel::update(sync_jobs::table.find(id.0));
    let no_lease = sync_jobs::lease_until.eq(None::<At>);
    let status = match action {
        JobAction::Replay => {
            let anew = (
                sync_jobs::status.eq(JobStatus::Pending.as_str()),
                sync_jobs::due_at.eq(At(at)),
                sync_jobs::looks.eq(0),
                sync_jobs::failures.eq(0),
                sync_jobs::wanted.eq(None::<JsonText>),
                sync_jobs::persons.eq(JsonText::of(&[(); 0])?),
                sync_jobs::last_error.eq(None::<String>),
                sync_jobs::ended_at.eq(None::<At>),
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
                sync_jobs::planned.eq(None::<JsonText>),
                sync_jobs::ended_at.eq(Some(At(at))),
            );
            job.set((ended, no_lease)).execute(connection)?;
            JobStatus::Skipped
        }
    };
    settle::attempt(connection, project, id, &AttemptRecord { at, status, note, steps: Vec::new() })?;
    if action != JobAction::Hold {
        settle::show(connection, &[id.0], status, at, None)?;
    }
    Ok(true)
}
