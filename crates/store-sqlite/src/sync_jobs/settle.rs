use diesel::dsl::{max, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use leadtrail_domain::crm::PersonId;
use leadtrail_domain::id::{ProjectId, SyncJobId};
use leadtrail_domain::ports::AttemptRecord;
use leadtrail_domain::sync::{JobStatus, Lease, NextStep, PlannedWrite, Settlement};
use leadtrail_domain::time::Timestamp;

use super::Leased;
use crate::failure::{Outcome, json_text};
use crate::schema::{crm_writes, leads, sync_attempts, sync_jobs, tracking_events as events};

pub(super) fn settle(
    connection: &mut SqliteConnection,
    lease: &Lease,
    job: &Leased,
    settlement: &Settlement,
) -> Outcome<()> {
    let Settlement { at, next, note, steps } = settlement;
    let attempt = |status| AttemptRecord { at: *at, status, note: note.clone(), steps: steps.clone() };
    let id = lease.job_id.0.as_bytes().as_slice();
    match next {
        NextStep::PutOff { due_at, looks, failures, drop_planned } => {
            diesel::update(sync_jobs::table.find(id))
                .set((
                    sync_jobs::due_at.eq(due_at.micros()),
                    sync_jobs::looks.eq(i64::from(*looks)),
                    sync_jobs::failures.eq(i64::from(*failures)),
                    sync_jobs::last_error.eq((*failures > 0).then_some(note)),
                    sync_jobs::lease_until.eq(None::<i64>),
                ))
                .execute(connection)?;
            if *drop_planned {
                diesel::update(sync_jobs::table.find(id))
                    .set(sync_jobs::planned.eq(None::<String>))
                    .execute(connection)?;
            }
            if *looks > 0 {
                show(connection, id, JobStatus::NotFound, *at, None)?;
            }
            record(connection, lease.project_id, lease.job_id, &attempt(JobStatus::Pending))
        }
        NextStep::End { status, persons, written } => {
            diesel::update(sync_jobs::table.find(id))
                .set((
                    sync_jobs::status.eq(status.as_str()),
                    sync_jobs::planned.eq(None::<String>),
                    sync_jobs::persons.eq(json_text(persons)?),
                    sync_jobs::last_error.eq((*status == JobStatus::Error).then_some(note)),
                    sync_jobs::ended_at.eq(Some(at.micros())),
                    sync_jobs::lease_until.eq(None::<i64>),
                ))
                .execute(connection)?;
            let person = persons.first().filter(|_first| *status == JobStatus::Synced);
            show(connection, id, *status, *at, person)?;
            record(connection, lease.project_id, lease.job_id, &attempt(*status))?;
            written.iter().try_for_each(|write| add_to_ledger(connection, lease, job, *at, write))?;
            let wrote = written.iter().any(|write| !write.patch.is_empty());
            if wrote || *status == JobStatus::Synced {
                supersede_older(connection, lease, job, *at)?;
            }
            Ok(())
        }
    }
}

/// Adds an attempt to those of a job.
pub(super) fn record(
    connection: &mut SqliteConnection,
    project: ProjectId,
    id: SyncJobId,
    attempt: &AttemptRecord,
) -> Outcome<()> {
    let id = id.0.as_bytes().as_slice();
    let last: Option<i64> = sync_attempts::table
        .filter(sync_attempts::job_id.eq(id))
        .select(max(sync_attempts::number))
        .first(connection)?;
    diesel::insert_into(sync_attempts::table)
        .values((
            sync_attempts::job_id.eq(id),
            sync_attempts::number.eq(last.unwrap_or(0) + 1),
            sync_attempts::project_id.eq(project.0.as_bytes().as_slice()),
            sync_attempts::at.eq(attempt.at.micros()),
            sync_attempts::status.eq(attempt.status.as_str()),
            sync_attempts::note.eq(&attempt.note),
            sync_attempts::steps.eq(json_text(&attempt.steps)?),
        ))
        .execute(connection)?;
    Ok(())
}

/// Shows on the events of a job's leads, and on those that repeat their submissions, what became of them.
pub(super) fn show(
    connection: &mut SqliteConnection,
    job: &[u8],
    status: JobStatus,
    at: Timestamp,
    person: Option<&PersonId>,
) -> Outcome<()> {
    let of_the_job: Vec<Vec<u8>> =
        leads::table.filter(leads::job_id.eq(job)).select(leads::lead_id).load(connection)?;
    for lead in &of_the_job {
        // The literal is the condition of the index, which SQLite uses for no other spelling of it.
        let of_the_lead = events::table.filter(events::lead_id.eq(lead)).filter(sql::<Bool>("lead_id > x''"));
        diesel::update(of_the_lead)
            .set((
                events::pipedrive_sync_status.eq(Some(status.as_str())),
                events::pipedrive_sync_at.eq(Some(at.micros())),
                events::pipedrive_person_id.eq(person.map(|person| person.0.as_str())),
            ))
            .execute(connection)?;
    }
    Ok(())
}

fn add_to_ledger(
    connection: &mut SqliteConnection,
    lease: &Lease,
    job: &Leased,
    at: Timestamp,
    write: &PlannedWrite,
) -> Outcome<()> {
    for (field, after) in &write.patch {
        diesel::insert_into(crm_writes::table)
            .values((
                crm_writes::project_id.eq(lease.project_id.0.as_bytes().as_slice()),
                crm_writes::account.eq(&job.account),
                crm_writes::person_id.eq(&write.person.0),
                crm_writes::field_key.eq(&field.0),
                crm_writes::job_id.eq(lease.job_id.0.as_bytes().as_slice()),
                crm_writes::at.eq(at.micros()),
                crm_writes::value_before.eq(write.before.get(field).map(json_text).transpose()?),
                crm_writes::value_after.eq(json_text(after)?),
            ))
            .execute(connection)?;
    }
    Ok(())
}

fn supersede_older(
    connection: &mut SqliteConnection,
    lease: &Lease,
    job: &Leased,
    at: Timestamp,
) -> Outcome<()> {
    let older: Vec<Vec<u8>> = sync_jobs::table
        .filter(sync_jobs::project_id.eq(lease.project_id.0.as_bytes().as_slice()))
        .filter(sync_jobs::email_hash.eq(&job.email_hash))
        .filter(sync_jobs::account.eq(&job.account))
        .filter(sync_jobs::sequence.lt(job.sequence))
        .filter(sync_jobs::status.eq(JobStatus::Pending.as_str()))
        .select(sync_jobs::job_id)
        .load(connection)?;
    for id in &older {
        diesel::update(sync_jobs::table.find(id))
            .set((
                sync_jobs::status.eq(JobStatus::Superseded.as_str()),
                sync_jobs::planned.eq(None::<String>),
                sync_jobs::ended_at.eq(Some(at.micros())),
                sync_jobs::lease_until.eq(None::<i64>),
            ))
            .execute(connection)?;
        show(connection, id, JobStatus::Superseded, at, None)?;
    }
    Ok(())
}
