use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use leadtrail_domain::crm::{FieldKey, PersonId};
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::event::{EventKind, EventSync};
use leadtrail_domain::id::{ProjectId, Slug, SyncJobId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{
    AttemptRecord, DueQueue, JobAction, JobCounts, JobFilter, LedgerEntry, Planned, Queue, StoreError,
    SyncJobs, Updates,
};
use leadtrail_domain::sync::{
    Claim, Dossier, JobStatus, Lease, NextStep, PlannedWrite, SessionSpan, Settlement, SyncJob, Wanted,
};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::visit::PersonKey;

use crate::tables::{JobRow, SessionRow, Tables};
use crate::{MemoryStore, take};

/// How many visited pages a dossier has at most.
const VISITED_PAGES_MAX: usize = 1_000;

#[async_trait]
impl SyncJobs for MemoryStore {
    async fn due_queues(&self, now: Timestamp) -> Result<Vec<DueQueue>, StoreError> {
        let tables = self.tables()?;
        let mut queues: BTreeMap<Queue, DueQueue> = BTreeMap::new();
        for row in tables.jobs.values().filter(|row| row.is_claimable(now)) {
            let at = row.job.due_at;
            let queue = row.queue();
            let due = DueQueue { queue: queue.clone(), due: 0, oldest_due_at: at };
            let due = queues.entry(queue).or_insert(due);
            due.due += 1;
            due.oldest_due_at = due.oldest_due_at.min(at);
        }
        let mut queues: Vec<DueQueue> = queues.into_values().collect();
        queues
            .sort_by(|one, other| (one.oldest_due_at, &one.queue).cmp(&(other.oldest_due_at, &other.queue)));
        Ok(queues)
    }

    async fn claim(
        &self,
        queue: &Queue,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<Claim>, StoreError> {
        let mut tables = self.tables()?;
        let leased: BTreeSet<PersonKey> = tables
            .jobs
            .values()
            .filter(|row| row.job.status == JobStatus::Pending)
            .filter(|row| row.leased_until.is_some_and(|until| until > now))
            .map(JobRow::person)
            .collect();
        // Of each person in the queue, the one due first.
        let mut first: BTreeMap<PersonKey, &mut JobRow> = BTreeMap::new();
        for row in tables.jobs.values_mut().filter(|row| row.queue() == *queue) {
            let place = |row: &JobRow| (row.job.due_at, row.job.sequence);
            let person = row.person();
            if row.is_claimable(now)
                && !leased.contains(&person)
                && first.get(&person).is_none_or(|other| place(row) < place(other))
            {
                first.insert(person, row);
            }
        }
        let mut due: Vec<&mut JobRow> = first.into_values().collect();
        due.sort_by_key(|row| (row.job.due_at, row.job.id));
        let claims = due.into_iter().map(|row| {
            row.lease_number += 1;
            row.leased_until = Some(now.plus(lease));
            let lease = Lease {
                job_id: row.job.id,
                project_id: row.job.project_id,
                number: row.lease_number,
                until: now.plus(lease),
            };
            Claim { job: row.job.clone(), lease }
        });
        Ok(take(claims, limit))
    }

    async fn renew(&self, lease: &Lease, until: Timestamp) -> Result<Lease, StoreError> {
        self.tables()?.leased(lease)?.leased_until = Some(until);
        Ok(Lease { until, ..*lease })
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        match tables.leased(lease) {
            Ok(row) => row.leased_until = None,
            // It is given back already, as far as this worker is concerned.
            Err(_lost) => {}
        }
        Ok(())
    }

    async fn dossier(&self, lease: &Lease) -> Result<Dossier, StoreError> {
        let mut tables = self.tables()?;
        let job = tables.leased(lease)?.job.clone();
        tables.dossier(&job).ok_or_else(|| StoreError::rejected("the job's lead is incomplete"))
    }

    async fn freeze(&self, lease: &Lease, wanted: &Wanted) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        tables.leased(lease)?;
        if tables.newest_lead(lease.job_id).map(|lead| lead.id) != wanted.lead_id {
            return Err(StoreError::Stale);
        }
        tables.leased(lease)?.job.wanted = Some(wanted.clone());
        Ok(())
    }

    async fn plan(&self, lease: &Lease, write: &PlannedWrite) -> Result<Planned, StoreError> {
        let mut tables = self.tables()?;
        let (person, sequence, account) = {
            let row = tables.leased(lease)?;
            (row.person(), row.job.sequence, row.job.account.clone())
        };
        let same = |row: &&JobRow| row.person() == person && row.job.account == account;
        let newer = || tables.jobs.values().filter(same).filter(|row| row.job.sequence > sequence);
        if newer().any(|row| row.job.status == JobStatus::Synced || !row.written.is_empty()) {
            return Ok(Planned::Superseded);
        }
        if newer().any(|row| row.job.status == JobStatus::Pending && row.job.planned.is_some()) {
            return Ok(Planned::Waits);
        }
        tables.leased(lease)?.job.planned = Some(write.clone());
        Ok(Planned::Go)
    }

    async fn settle(&self, lease: &Lease, settlement: &Settlement) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        let row = tables.leased(lease)?;
        row.leased_until = None;
        let status = match &settlement.next {
            NextStep::PutOff { .. } => JobStatus::Pending,
            NextStep::End { status, .. } => *status,
        };
        row.attempts.push(AttemptRecord {
            at: settlement.at,
            status,
            note: settlement.note.clone(),
            steps: settlement.steps.clone(),
        });
        match &settlement.next {
            NextStep::PutOff { due_at, looks, failures, drop_planned } => {
                row.job.due_at = *due_at;
                row.job.looks = *looks;
                row.job.failures = *failures;
                row.job.last_error = (*failures > 0).then(|| settlement.note.clone());
                if *drop_planned {
                    row.job.planned = None;
                }
                if *looks > 0 {
                    tables.show(lease.job_id, JobStatus::NotFound, settlement.at, None);
                }
            }
            NextStep::End { status, persons, written } => {
                row.job.persons.clone_from(persons);
                row.job.last_error = (*status == JobStatus::Error).then(|| settlement.note.clone());
                let written_person = persons
                    .first()
                    .filter(|_first| *status == JobStatus::Synced)
                    .map(|person| person.0.clone());
                tables.end(lease.job_id, *status, settlement.at, written_person);
                tables.record_writes(lease.job_id, *status, written, settlement.at);
            }
        }
        Ok(())
    }

    async fn ever_written(
        &self,
        project: ProjectId,
        account: &Slug,
        person: &PersonId,
    ) -> Result<BTreeSet<FieldKey>, StoreError> {
        let key = (project, account.clone(), person.clone());
        Ok(self.tables()?.ever_written.get(&key).cloned().unwrap_or_default())
    }

    async fn updates_since(
        &self,
        project: ProjectId,
        email: &EmailHash,
        since: Timestamp,
    ) -> Result<Updates, StoreError> {
        let tables = self.tables()?;
        let person = (project, *email);
        let of_person = tables.jobs.values().filter(|row| row.person() == person);
        let times = of_person
            .filter_map(|row| row.written.iter().map(|entry| entry.at).filter(|at| *at >= since).min());
        let (count, oldest_at) = times.fold((0, None::<Timestamp>), |(count, oldest), at| {
            (count + 1, Some(oldest.map_or(at, |oldest| oldest.min(at))))
        });
        Ok(Updates { count, oldest_at })
    }

    async fn act(
        &self,
        project: ProjectId,
        id: SyncJobId,
        action: JobAction,
        at: Timestamp,
        note: &str,
    ) -> Result<bool, StoreError> {
        let mut tables = self.tables()?;
        let Some(row) = tables.jobs.get_mut(&id).filter(|row| row.job.project_id == project) else {
            return Ok(false);
        };
        let is_worked_on = row.leased_until.is_some_and(|until| until > at);
        if !action.takes(row.job.status) || (action == JobAction::Replay && is_worked_on) {
            return Ok(false);
        }
        row.leased_until = None;
        let status = match action {
            JobAction::Replay => {
                row.job = SyncJob {
                    due_at: at,
                    looks: 0,
                    failures: 0,
                    wanted: None,
                    persons: Vec::new(),
                    last_error: None,
                    ended_at: None,
                    ..row.job.clone()
                };
                JobStatus::Pending
            }
            JobAction::Hold => JobStatus::Held,
            JobAction::Skip => {
                row.job.ended_at = Some(at);
                row.job.planned = None;
                JobStatus::Skipped
            }
        };
        row.job.status = status;
        row.attempts.push(AttemptRecord { at, status, note: note.to_owned(), steps: Vec::new() });
        if action != JobAction::Hold {
            tables.show(id, status, at, None);
        }
        Ok(true)
    }

    async fn job(&self, project: ProjectId, id: SyncJobId) -> Result<Option<SyncJob>, StoreError> {
        let tables = self.tables()?;
        Ok(tables.jobs.get(&id).filter(|row| row.job.project_id == project).map(|row| row.job.clone()))
    }

    async fn jobs(
        &self,
        project: ProjectId,
        filter: &JobFilter,
        limit: u32,
    ) -> Result<Vec<SyncJob>, StoreError> {
        let tables = self.tables()?;
        let jobs = tables
            .jobs
            .values()
            .rev()
            .map(|row| &row.job)
            .filter(|job| job.project_id == project && is_meant(job, filter))
            .filter(|job| filter.before.is_none_or(|before| job.id < before));
        Ok(take(jobs.cloned(), limit))
    }

    async fn attempts(&self, project: ProjectId, id: SyncJobId) -> Result<Vec<AttemptRecord>, StoreError> {
        let tables = self.tables()?;
        let row = tables.jobs.get(&id).filter(|row| row.job.project_id == project);
        Ok(row.map(|row| row.attempts.clone()).unwrap_or_default())
    }

    async fn writes(&self, project: ProjectId, id: SyncJobId) -> Result<Vec<LedgerEntry>, StoreError> {
        let tables = self.tables()?;
        let row = tables.jobs.get(&id).filter(|row| row.job.project_id == project);
        let mut entries = row.map(|row| row.written.clone()).unwrap_or_default();
        entries.sort_by(|one, other| {
            (one.at, &one.person, &one.field).cmp(&(other.at, &other.person, &other.field))
        });
        Ok(entries)
    }

    async fn count(&self, project: ProjectId, filter: &JobFilter) -> Result<u64, StoreError> {
        let tables = self.tables()?;
        let jobs = tables.jobs.values().map(|row| &row.job);
        let count = jobs.filter(|job| job.project_id == project && is_meant(job, filter)).count();
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    async fn counts(&self, project: Option<ProjectId>, now: Timestamp) -> Result<JobCounts, StoreError> {
        let tables = self.tables()?;
        let mut counts = JobCounts::default();
        let jobs = tables.jobs.values().map(|row| &row.job);
        let jobs = jobs.filter(|job| project.is_none_or(|project| job.project_id == project));
        for job in jobs.filter(|job| job.status == JobStatus::Pending) {
            counts.pending += 1;
            if job.due_at <= now {
                counts.due += 1;
                counts.oldest_due_at =
                    Some(counts.oldest_due_at.map_or(job.due_at, |oldest| oldest.min(job.due_at)));
            }
        }
        Ok(counts)
    }

    async fn outcomes(
        &self,
        project: Option<ProjectId>,
        since: Timestamp,
    ) -> Result<BTreeMap<JobStatus, u64>, StoreError> {
        let tables = self.tables()?;
        let mut outcomes = BTreeMap::new();
        let jobs = tables.jobs.values().map(|row| &row.job);
        let jobs = jobs.filter(|job| project.is_none_or(|project| job.project_id == project));
        for job in jobs.filter(|job| job.status.is_final() && job.ended_at.is_some_and(|at| at >= since)) {
            *outcomes.entry(job.status).or_default() += 1;
        }
        Ok(outcomes)
    }
}

fn is_meant(job: &SyncJob, filter: &JobFilter) -> bool {
    filter.status.is_none_or(|status| job.status == status)
        && filter.email.is_none_or(|email| job.email_hash == email)
        && filter.since.is_none_or(|since| job.created_at >= since)
        && filter.until.is_none_or(|until| job.created_at < until)
}

impl Tables {
    /// The job of a lease that still counts.
    fn leased(&mut self, lease: &Lease) -> Result<&mut JobRow, StoreError> {
        self.jobs
            .get_mut(&lease.job_id)
            .filter(|row| row.job.project_id == lease.project_id)
            .filter(|row| row.lease_number == lease.number && row.leased_until.is_some())
            .filter(|row| !row.job.status.is_final())
            .ok_or(StoreError::LeaseLost)
    }

    fn newest_lead(&self, job: SyncJobId) -> Option<&Lead> {
        let leads = self.leads.values().filter(|lead| lead.job_id == Some(job));
        leads.max_by_key(|lead| (lead.received_at, lead.id))
    }

    fn dossier(&self, job: &SyncJob) -> Option<Dossier> {
        let lead = self.newest_lead(job.id)?;
        let visitor = self.visitors.get(&lead.visitor_id)?;
        let session = self.sessions.get(&lead.session_id)?;
        let mut sessions: Vec<&SessionRow> =
            visitor.sessions.iter().filter_map(|id| self.sessions.get(id)).collect();
        sessions.sort_by_key(|row| (row.session.started_at, row.session.id));
        let person = (job.project_id, job.email_hash);
        let mut visitors: BTreeSet<VisitorId> =
            self.identities.get(&person).into_iter().flatten().map(|(visitor, _at)| *visitor).collect();
        // A lead of somebody who is not recognised made no identity.
        visitors.insert(lead.visitor_id);
        let is_of_person = |other: &&Lead| other.project_id == job.project_id && other.email == lead.email;
        let leads_of_person = self.leads.values().filter(is_of_person).count();
        Some(Dossier {
            lead: lead.clone(),
            event: self.events.get(&(lead.event_id, lead.pixel_id.clone()))?.clone(),
            session: SessionSpan {
                started_at: session.session.started_at,
                last_event_at: session.last_event_at,
            },
            first_seen_at: visitors
                .iter()
                .filter_map(|id| self.visitors.get(id))
                .map(|row| row.visitor.first_seen_at)
                .min()?,
            last_seen_at: sessions.iter().map(|row| row.last_event_at).max()?,
            visited_pages: self.visited_pages(lead.visitor_id),
            visit_count: u64::try_from(sessions.len()).unwrap_or(u64::MAX),
            lead_count: u64::try_from(leads_of_person).unwrap_or(u64::MAX),
        })
    }

    /// Newest first, each where it was seen last.
    fn visited_pages(&self, visitor: VisitorId) -> Vec<String> {
        let mut views: Vec<_> = self
            .events
            .values()
            .filter(|stored| stored.visitor_id == visitor && stored.event.kind == EventKind::Pageview)
            .map(|stored| &stored.event)
            .collect();
        views.sort_by_key(|event| (event.occurred_at, event.id));
        let mut seen = BTreeSet::new();
        views
            .into_iter()
            .rev()
            .map(|event| event.page_url.clone())
            .filter(|page| seen.insert(page.clone()))
            .take(VISITED_PAGES_MAX)
            .collect()
    }

    fn end(&mut self, id: SyncJobId, status: JobStatus, at: Timestamp, written_person: Option<String>) {
        if let Some(row) = self.jobs.get_mut(&id) {
            row.job.status = status;
            row.job.ended_at = Some(at);
            row.job.planned = None;
            row.leased_until = None;
        }
        self.show(id, status, at, written_person);
    }

    /// Shows what became of a job on the events of its leads.
    fn show(&mut self, id: SyncJobId, status: JobStatus, at: Timestamp, person_id: Option<String>) {
        let sync = EventSync { status: Some(status), at: Some(at), person_id };
        for stored in self.events.values_mut() {
            let lead = stored.lead_id.and_then(|lead| self.leads.get(&lead));
            if lead.is_some_and(|lead| lead.job_id == Some(id)) {
                stored.sync = sync.clone();
            }
        }
    }

    /// Adds writes to the ledger; where the person was told, supersedes the older jobs of the person and connection that
    /// are pending.
    fn record_writes(&mut self, id: SyncJobId, status: JobStatus, written: &[PlannedWrite], at: Timestamp) {
        let is_told = status == JobStatus::Synced || written.iter().any(|write| !write.patch.is_empty());
        let Some(row) = self.jobs.get_mut(&id).filter(|_row| is_told) else { return };
        let (person, sequence, account) = (row.person(), row.job.sequence, row.job.account.clone());
        for write in written {
            let key = (row.job.project_id, row.job.account.clone(), write.person.clone());
            self.ever_written.entry(key).or_default().extend(write.patch.keys().cloned());
            row.written.extend(write.patch.iter().map(|(field, after)| LedgerEntry {
                at,
                account: row.job.account.clone(),
                person: write.person.clone(),
                field: field.clone(),
                before: write.before.get(field).cloned(),
                after: after.clone(),
            }));
        }
        let older: Vec<SyncJobId> = self
            .jobs
            .values()
            .filter(|row| row.person() == person && row.job.account == account)
            .filter(|row| row.job.sequence < sequence && row.job.status == JobStatus::Pending)
            .map(|row| row.job.id)
            .collect();
        for id in older {
            self.end(id, JobStatus::Superseded, at, None);
        }
    }
}
