//! What became of an attempt.

use std::collections::BTreeSet;

use diesel::prelude::*;
use leadtrail_domain::crm::PersonId;
use leadtrail_domain::id::{ProjectId, SyncJobId};
use leadtrail_domain::ports::{AttemptRecord, StoreError};
use leadtrail_domain::sync::{JobStatus, Lease, NextStep, PlannedWrite, Settlement};
use leadtrail_domain::time::Timestamp;
use uuid::Uuid;

use super::{JobRow, hold};
use crate::column::{At, JsonText};
use crate::error::Failure;
use crate::schema::{crm_writes, identities, leads, sync_attempts, sync_jobs, tracking_events};

/// Records it in the transaction that the connection is in.
pub(super) fn record(
    connection: &mut PgConnection,
    lease: &Lease,
    settlement: &Settlement,
) -> Result<(), Failure> {
    let job = hold(connection, lease)?;
    let row = sync_jobs::table.find(job.job_id);
    let at = settlement.at;
    let status = match &settlement.next {
        NextStep::PutOff { due_at, looks, failures, drop_planned } => {
            let planned = job.planned.clone().filter(|_| !drop_planned);
            diesel::update(row)
                .set((
                    sync_jobs::due_at.eq(At(*due_at)),
                    sync_jobs::looks.eq(count(*looks)?),
                    sync_jobs::failures.eq(count(*failures)?),
                    sync_jobs::planned.eq(planned),
                    sync_jobs::last_error.eq((*failures > 0).then_some(&settlement.note)),
                    sync_jobs::lease_until.eq(None::<At>),
                ))
                .execute(connection)?;
            if *looks > 0 {
                show(connection, &[job.job_id], JobStatus::NotFound, at, None)?;
            }
            JobStatus::Pending
        }
        NextStep::End { status, persons, written } => {
            diesel::update(row)
                .set((
                    sync_jobs::status.eq(status.as_str()),
                    sync_jobs::planned.eq(None::<JsonText>),
                    sync_jobs::persons.eq(JsonText::of(persons)?),
                    sync_jobs::last_error.eq((*status == JobStatus::Error).then_some(&settlement.note)),
                    sync_jobs::ended_at.eq(Some(At(at))),
                    sync_jobs::lease_until.eq(None::<At>),
                ))
                .execute(connection)?;
            let person = persons.first().filter(|_| *status == JobStatus::Synced);
            show(connection, &[job.job_id], *status, at, person)?;
            let wrote = written.iter().any(|write| !write.patch.is_empty());
            if wrote {
                enter(connection, &job, written, at)?;
            }
            if wrote || *status == JobStatus::Synced {
                supersede(connection, &job, at)?;
            }
            *status
        }
    };
    let Settlement { note, steps, .. } = settlement.clone();
    attempt(connection, lease.project_id, lease.job_id, &AttemptRecord { at, status, note, steps })
}

fn count(number: u32) -> Result<i32, StoreError> {
    i32::try_from(number).map_err(StoreError::rejected)
}

/// Adds an attempt to those of a job, numbered under the lock on it.
pub(super) fn attempt(
    connection: &mut PgConnection,
    project: ProjectId,
    job: SyncJobId,
    attempt: &AttemptRecord,
) -> Result<(), Failure> {
    let last: Option<i32> = sync_attempts::table
        .filter(sync_attempts::job_id.eq(job.0))
        .select(diesel::dsl::max(sync_attempts::number))
        .first(connection)?;
    diesel::insert_into(sync_attempts::table)
        .values((
            sync_attempts::job_id.eq(job.0),
            sync_attempts::number.eq(last.unwrap_or(0) + 1),
            sync_attempts::project_id.eq(project.0),
            sync_attempts::at.eq(At(attempt.at)),
            sync_attempts::status.eq(attempt.status.as_str()),
            sync_attempts::note.eq(&attempt.note),
            sync_attempts::steps.eq(JsonText::of(&attempt.steps)?),
        ))
        .execute(connection)?;
    Ok(())
}

/// Enters what was written into the ledger, field by field.
fn enter(
    connection: &mut PgConnection,
    job: &JobRow,
    written: &[PlannedWrite],
    at: Timestamp,
) -> Result<(), Failure> {
    for write in written {
        let mut rows = Vec::with_capacity(write.patch.len());
        for (field, value) in &write.patch {
            let before = write.before.get(field).map(JsonText::of).transpose()?;
            rows.push((
                crm_writes::project_id.eq(job.project_id),
                crm_writes::account.eq(&job.account),
                crm_writes::person_id.eq(&write.person.0),
                crm_writes::field_key.eq(&field.0),
                crm_writes::job_id.eq(job.job_id),
                crm_writes::at.eq(At(at)),
                crm_writes::value_before.eq(before),
                crm_writes::value_after.eq(JsonText::of(value)?),
            ));
        }
        diesel::insert_into(crm_writes::table).values(rows).execute(connection)?;
    }
    Ok(())
}

fn supersede(connection: &mut PgConnection, job: &JobRow, at: Timestamp) -> Result<(), Failure> {
    let older = sync_jobs::table
        .filter(sync_jobs::project_id.eq(job.project_id))
        .filter(sync_jobs::email_hash.eq(&job.email_hash))
        .filter(sync_jobs::account.eq(&job.account))
        .filter(sync_jobs::sequence.lt(job.sequence))
        .filter(sync_jobs::status.eq(JobStatus::Pending.as_str()));
    let superseded: Vec<Uuid> = diesel::update(older)
        .set((
            sync_jobs::status.eq(JobStatus::Superseded.as_str()),
            sync_jobs::planned.eq(None::<JsonText>),
            sync_jobs::ended_at.eq(Some(At(at))),
            sync_jobs::lease_until.eq(None::<At>),
        ))
        .returning(sync_jobs::job_id)
        .get_results(connection)?;
    show(connection, &superseded, JobStatus::Superseded, at, None)
}

/// Shows what became of jobs on the events of their leads, repeated submissions included.
///
/// No index leads from a lead to its events. The visitors who gave the lead's e-mail lead there, by the index on
/// (visitor, time): whoever repeats a form has given it too.
pub(super) fn show(
    connection: &mut PgConnection,
    jobs: &[Uuid],
    status: JobStatus,
    at: Timestamp,
    person: Option<&PersonId>,
) -> Result<(), Failure> {
    let leads: Vec<(Uuid, Uuid, Uuid, Vec<u8>)> = leads::table
        .filter(leads::job_id.eq_any(jobs))
        .select((leads::lead_id, leads::visitor_id, leads::project_id, leads::email_hash))
        .load(connection)?;
    let mut visitors = BTreeSet::new();
    let people: BTreeSet<_> = leads.iter().map(|(_, _, project, hash)| (project, hash)).collect();
    for (project, hash) in people {
        let known = identities::table
            .filter(identities::project_id.eq(project))
            .filter(identities::email_hash.eq(hash))
            .select(identities::visitor_id)
            .load::<Uuid>(connection)?;
        visitors.extend(known);
    }
    visitors.extend(leads.iter().map(|(_, visitor, _, _)| *visitor));
    let leads: Vec<_> = leads.into_iter().map(|(lead, ..)| lead).collect();
    let events = tracking_events::table
        .filter(tracking_events::visitor_id.eq_any(visitors))
        .filter(tracking_events::lead_id.eq_any(leads));
    diesel::update(events)
        .set((
            tracking_events::pipedrive_sync_status.eq(Some(status.as_str())),
            tracking_events::pipedrive_sync_at.eq(Some(At(at))),
            tracking_events::pipedrive_person_id.eq(person.map(|person| &person.0)),
        ))
        .execute(connection)?;
    Ok(())
}
