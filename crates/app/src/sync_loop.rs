//! Telling the CRM: due jobs are claimed by lease, built, matched, written and settled, so that a crash at any point
//! loses nothing and repeats harmlessly.
//!
//! Order of a job, each step durable before the next begins: claim; freeze what is wanted; look the person up; record
//! the write that is about to be sent; send it; settle. Whoever comes after a crash finds either no recorded write, and
//! looks up again, or a recorded one, and sends the very same again.

mod talk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use leadtrail_domain::crm::{FieldKey, PersonId, PersonQuery};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Clock, CrmError, Planned, Projects, Queue, StoreError, SyncJobs};
use leadtrail_domain::project::{Account, NameMatch, Project};
use leadtrail_domain::sync::account::{Report, Room};
use leadtrail_domain::sync::mapping::{self, Finding, Severity};
use leadtrail_domain::sync::matching::{Match, judge};
use leadtrail_domain::sync::plan::{Resolved, permitted, resolve};
use leadtrail_domain::sync::schedule::{
    self, MAPPING_WAIT, NOT_FOUND_RETRIES, PERSON_UPDATES_MAX, PERSON_UPDATES_OF, Verdict, may_write_at,
    next_look, verdict,
};
use leadtrail_domain::sync::{
    Claim, JobStatus, Lease, NextStep, PlannedWrite, Settlement, SyncJob, Wanted, fields,
};
use metrics::{counter, gauge};
use tokio::sync::broadcast;

use self::talk::Talk;
use crate::accounts::{Accounts, Connected};
use crate::cause::cause;
use crate::measures::{self, number};
use crate::shutdown::Shutdown;

/// How many outcomes a slow watcher may fall behind before it misses some.
const WATCH_MAX: usize = 1_024;
/// How often a job is built anew because a further lead joined meanwhile.
const FREEZE_RETRIES_MAX: u32 = 10;
/// How far before the form a person may have been added whom the CRM's search does not know yet.
const SEARCH_LAG: Duration = Duration::from_mins(15);
/// When a job whose connection is not set up is tried again.
const NO_ACCOUNT_WAIT: Duration = Duration::from_mins(5);

/// How many connections are worked on side by side: each has `workers` of its own, so that one that is slow delays no
/// other.
const ACCOUNTS_AT_ONCE_MAX: usize = 64;
/// How often the jobs that wait are counted.
pub const COUNT_EVERY: Duration = Duration::from_secs(15);

/// How the queue is worked on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncSettings {
    /// How often due jobs are asked for.
    pub poll: Duration,
    /// How many are claimed at a time for one connection.
    pub batch: u32,
    /// How many of a connection are worked on side by side.
    pub workers: usize,
    /// For how long a job is claimed, and renewed when its work begins. More than `job_time_max`.
    pub lease: Duration,
    /// How long the work on one job may take.
    pub job_time_max: Duration,
    /// When, after the form, a person who was not found is looked for again.
    pub not_found_retries: Vec<Duration>,
    /// How many jobs may write to the person of an e-mail within a day; 0: any number.
    pub person_updates_max: u32,
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(5),
            batch: 50,
            workers: 4,
            lease: Duration::from_secs(90),
            job_time_max: Duration::from_secs(30),
            not_found_retries: NOT_FOUND_RETRIES.to_vec(),
            person_updates_max: PERSON_UPDATES_MAX,
        }
    }
}

/// What became of an attempt, for whoever watches.
#[derive(Clone, PartialEq, Debug)]
pub struct SyncOutcome {
    /// The job as it was claimed.
    pub job: SyncJob,
    /// What was recorded.
    pub settlement: Settlement,
}

/// The loop that works on the queue. Any number may run, on any number of nodes.
pub struct SyncLoop {
    jobs: Arc<dyn SyncJobs>,
    projects: Arc<dyn Projects>,
    accounts: Arc<Accounts>,
    clock: Arc<dyn Clock>,
    settings: SyncSettings,
    outcomes: broadcast::Sender<SyncOutcome>,
}

/// Why the work on a job stopped before it could be settled by a rule.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Crm(#[from] CrmError),
}

impl SyncLoop {
    /// A loop over the queue of a store.
    pub fn new(
        jobs: Arc<dyn SyncJobs>,
        projects: Arc<dyn Projects>,
        accounts: Arc<Accounts>,
        clock: Arc<dyn Clock>,
        settings: SyncSettings,
    ) -> Self {
        let (outcomes, _) = broadcast::channel(WATCH_MAX);
        Self { jobs, projects, accounts, clock, settings, outcomes }
    }

    /// What becomes of each attempt, once recorded.
    pub fn watch(&self) -> broadcast::Receiver<SyncOutcome> {
        self.outcomes.subscribe()
    }

    /// Works on the queues until the shutdown; jobs that are being worked on are finished first. Each connection has
    /// rounds of its own, so that none waits for another's.
    pub async fn run(&self, mut shutdown: Shutdown) {
        let mut busy: BTreeSet<Account> = BTreeSet::new();
        let mut rounds = FuturesUnordered::new();
        let mut ask = true;
        loop {
            if ask && !shutdown.is_due() {
                match self.due().await {
                    Ok(due) => {
                        for (account, queues) in due {
                            if busy.len() < ACCOUNTS_AT_ONCE_MAX && busy.insert(account.clone()) {
                                rounds.push(self.round(account, queues, shutdown.clone()));
                            }
                        }
                    }
                    Err(error) => tracing::warn!(error = cause(&error), "the queue of syncs is out of reach"),
                }
            }
            if shutdown.is_due() && rounds.is_empty() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(self.settings.poll) => ask = true,
                Some((account, claimed)) = rounds.next() => {
                    busy.remove(&account);
                    // A full round may have left some behind.
                    ask = claimed >= self.settings.batch;
                }
                () = shutdown.due(), if !shutdown.is_due() => ask = false,
            }
        }
    }

    /// One round of every connection with due jobs. How many jobs were claimed.
    ///
    /// # Errors
    /// As the store answers which queues are due.
    pub async fn pass(&self, shutdown: &Shutdown) -> Result<u32, StoreError> {
        let due = self.due().await?;
        let rounds = due.into_iter().map(|(account, queues)| self.round(account, queues, shutdown.clone()));
        Ok(join_all(rounds).await.into_iter().map(|(_account, claimed)| claimed).sum())
    }

    /// The queues with due jobs by connection, of each connection the one that waits longest first.
    async fn due(&self) -> Result<BTreeMap<Account, Vec<Queue>>, StoreError> {
        let mut due: BTreeMap<Account, Vec<Queue>> = BTreeMap::new();
        for one in self.jobs.due_queues(self.clock.now()).await? {
            let account = Account::of(one.queue.project_id, &one.queue.account);
            due.entry(account).or_default().push(one.queue);
        }
        Ok(due)
    }

    /// Claims as many jobs of a connection as there is room for, from each queue its share, and works on them. How many
    /// were claimed.
    async fn round(&self, account: Account, queues: Vec<Queue>, shutdown: Shutdown) -> (Account, u32) {
        let claimed = match self.accounts.connected(&account).await {
            Ok(connected) => self.round_of(connected.as_deref(), &queues, &shutdown).await,
            Err(error) => {
                tracing::error!(%account, error = cause(&error), "the CRM connection cannot be opened; its jobs wait");
                // Put off, they come back when somebody may have mended it.
                if matches!(error, StoreError::Transient(_)) {
                    Ok(0)
                } else {
                    self.round_of(None, &queues, &shutdown).await
                }
            }
        };
        let claimed = claimed.unwrap_or_else(|error| {
            tracing::warn!(%account, error = cause(&error), "due syncs could not be claimed");
            0
        });
        (account, claimed)
    }

    async fn round_of(
        &self,
        connected: Option<&Connected>,
        queues: &[Queue],
        shutdown: &Shutdown,
    ) -> Result<u32, StoreError> {
        let room = connected.map_or(Room::Many, |connected| connected.room(self.clock.now()));
        let mut left = match room {
            Room::Many => self.settings.batch,
            Room::One => 1,
            Room::Nothing { .. } | Room::Probing => return Ok(0),
        };
        let mut claims = Vec::new();
        let mut hungry: Vec<&Queue> = queues.iter().collect();
        while left > 0 && !hungry.is_empty() {
            let mut still_hungry = Vec::new();
            for (index, queue) in hungry.iter().enumerate() {
                let share = left.div_ceil(u32::try_from(hungry.len() - index).unwrap_or(u32::MAX));
                if share == 0 {
                    break;
                }
                let claimed = self.jobs.claim(queue, self.clock.now(), self.settings.lease, share).await?;
                let count = u32::try_from(claimed.len()).unwrap_or(share).min(left);
                left -= count;
                claims.extend(claimed);
                if count == share {
                    still_hungry.push(*queue);
                }
            }
            hungry = still_hungry;
        }
        let claimed = u32::try_from(claims.len()).unwrap_or(u32::MAX);
        counter!(measures::SYNC_CLAIMED).increment(claimed.into());
        futures::stream::iter(claims)
            .for_each_concurrent(self.settings.workers.max(1), |claim| {
                self.attempt(claim, connected, shutdown)
            })
            .await;
        Ok(claimed)
    }

    async fn attempt(&self, claim: Claim, connected: Option<&Connected>, shutdown: &Shutdown) {
        let job_id = claim.job.id;
        if let Err(error) = self.try_attempt(claim, connected, shutdown).await {
            counter!(measures::SYNC_ATTEMPTS, "outcome" => "unrecorded").increment(1);
            if matches!(error, StoreError::LeaseLost) {
                tracing::info!(sync_job.id = %job_id, "another worker has the job by now");
            } else {
                // The lease runs out by itself; a write that was sent stays recorded as planned.
                tracing::warn!(
                    sync_job.id = %job_id,
                    error = cause(&error),
                    "an attempt could not be recorded; the job is claimed again later"
                );
            }
        }
    }

    async fn try_attempt(
        &self,
        claim: Claim,
        connected: Option<&Connected>,
        shutdown: &Shutdown,
    ) -> Result<(), StoreError> {
        let Some(connected) = connected else { return self.wait_for_connection(claim).await };
        // Since the claim the account may have asked to be left alone.
        let ticket = if shutdown.is_due() { None } else { connected.admit(self.clock.now()) };
        let Some(ticket) = ticket else { return self.jobs.release(&claim.lease).await };
        let talk = Talk::with(connected.crm.as_ref());
        let mut report = Report::Unasked;
        let result = self.told(&claim, connected, &talk, &mut report).await;
        connected.report(ticket, report, self.clock.now());
        let (next, note) = result?;
        self.settle(claim, next, note, talk).await
    }

    /// One attempt, up to what shall be recorded of it and what it says about the account.
    async fn told(
        &self,
        claim: &Claim,
        connected: &Connected,
        talk: &Talk<'_>,
        report: &mut Report,
    ) -> Result<(NextStep, String), StoreError> {
        // Jobs of a batch wait for each other: each begins with a whole lease.
        let lease = self.jobs.renew(&claim.lease, self.clock.now().plus(self.settings.lease)).await?;
        let work =
            tokio::time::timeout(self.settings.job_time_max, self.work(&claim.job, &lease, talk)).await;
        let error = match work {
            Ok(Ok(result)) => {
                *report = if talk.has_asked() { Report::Answered } else { Report::Unasked };
                return Ok(result);
            }
            // Nobody but a human can mend the row: the job must not come back for ever.
            Ok(Err(Halt::Store(error @ StoreError::Corrupt { .. }))) => {
                return Ok((end(JobStatus::Error, Vec::new(), Vec::new()), error.to_string()));
            }
            Ok(Err(Halt::Store(error))) => return Err(error),
            Ok(Err(Halt::Crm(error))) => error,
            Err(_elapsed) => CrmError::Transient("the attempt took too long".to_owned()),
        };
        *report = Report::of(&error);
        Ok(self.after_failure(&claim.job, &error, connected))
    }

    async fn wait_for_connection(&self, claim: Claim) -> Result<(), StoreError> {
        let job = &claim.job;
        let due_at = self.clock.now().plus(NO_ACCOUNT_WAIT);
        let next = NextStep::PutOff { due_at, looks: job.looks, failures: job.failures, drop_planned: false };
        let note = format!("no CRM connection named {} is set up, or it cannot be opened", job.account);
        self.settle(claim, next, note, Talk::with_nobody()).await
    }

    async fn settle(
        &self,
        claim: Claim,
        next: NextStep,
        note: String,
        talk: Talk<'_>,
    ) -> Result<(), StoreError> {
        let settlement = Settlement { at: self.clock.now(), next, note, steps: talk.into_steps() };
        self.jobs.settle(&claim.lease, &settlement).await?;
        let outcome = match &settlement.next {
            NextStep::End { status, .. } => status.as_str(),
            NextStep::PutOff { .. } => "put_off",
        };
        counter!(measures::SYNC_ATTEMPTS, "outcome" => outcome).increment(1);
        tracing::info!(sync_job.id = %claim.job.id, note = %settlement.note, "settled an attempt to tell the CRM");
        // Nobody watching is fine.
        self.outcomes.send(SyncOutcome { job: claim.job, settlement }).ok();
        Ok(())
    }

    fn after_failure(&self, job: &SyncJob, error: &CrmError, connected: &Connected) -> (NextStep, String) {
        let put_off = |due_at, failures| NextStep::PutOff {
            due_at,
            looks: job.looks,
            failures,
            drop_planned: matches!(error, CrmError::NotFound),
        };
        let account_answers = connected.has_answered_since(job.due_at);
        let next = match verdict(job, error, account_answers, self.clock.now()) {
            Verdict::Again(due_at) => put_off(due_at, job.failures),
            Verdict::AgainCounted(due_at) => put_off(due_at, job.failures + 1),
            Verdict::Dead => end(JobStatus::Error, Vec::new(), Vec::new()),
        };
        (next, error.to_string())
    }

    async fn work(&self, job: &SyncJob, lease: &Lease, talk: &Talk<'_>) -> Result<(NextStep, String), Halt> {
        let project = self.projects.project(job.project_id).await?;
        let Some(project) = project.filter(|project| project.settings.crm.enabled) else {
            let note = "the project's CRM is off".to_owned();
            return Ok((end(JobStatus::Skipped, Vec::new(), Vec::new()), note));
        };
        if job.write_to_repeat().is_none()
            && let Some(waiting) = self.wait_for_other_updates(job).await?
        {
            return Ok(waiting);
        }
        let (wanted, lead) = self.wanted(job, lease, &project).await?;
        let mut written: Vec<Sent> = Vec::new();
        if let Some(planned) = job.write_to_repeat() {
            // The outcome of this write is unknown: the same again has no further effect, unless a newer job has
            // written since.
            match self.jobs.plan(lease, planned).await? {
                Planned::Go => written.push(send(talk, planned).await?),
                Planned::Superseded => return Ok(superseded(Vec::new())),
                Planned::Waits => return Ok(self.wait_for_newer(job)),
            }
        }
        let fields = talk.list_fields().await?;
        let findings = mapping::check(&project.settings.crm, &fields);
        if mapping::is_refused(&findings) && written.is_empty() {
            return Ok(self.wait_for_mapping(job, &findings));
        }
        let persons = match self.look_up(talk, job, &lead, &project).await? {
            Match::Persons(persons) => persons,
            Match::Nobody | Match::Ambiguous(_) if !written.is_empty() => {
                let persons = written.iter().map(|sent: &Sent| sent.taken.person.clone()).collect();
                return Ok(synced(persons, written, &Resolved::default()));
            }
            Match::Nobody => return Ok(self.after_nobody(job)),
            Match::Ambiguous(persons) => {
                let note = format!("{} persons match; nothing was written", persons.len());
                return Ok((end(JobStatus::Ambiguous, persons, Vec::new()), note));
            }
        };
        let resolved = if mapping::is_refused(&findings) {
            Resolved::default()
        } else {
            resolve(&wanted, &fields, &project.settings.crm)
        };
        for person in &persons {
            let Some(write) = self.write_for(talk, job, person, &resolved).await? else { continue };
            match self.jobs.plan(lease, &write).await? {
                Planned::Go => written.push(send(talk, &write).await?),
                Planned::Superseded => return Ok(superseded(written)),
                // What was sent is told by this job; the newer one tells the rest.
                Planned::Waits if !written.is_empty() => return Ok(superseded(written)),
                Planned::Waits => return Ok(self.wait_for_newer(job)),
            }
        }
        Ok(synced(persons, written, &resolved))
    }

    /// Anybody can put any address into a form: a person who was written often enough waits. Submissions that come
    /// meanwhile join the job.
    async fn wait_for_other_updates(&self, job: &SyncJob) -> Result<Option<(NextStep, String)>, StoreError> {
        let updates_max = self.settings.person_updates_max;
        if updates_max == 0 {
            return Ok(None);
        }
        let since = self.clock.now().minus(PERSON_UPDATES_OF);
        let updates = self.jobs.updates_since(job.project_id, &job.email_hash, since).await?;
        Ok(may_write_at(updates, updates_max).map(|due_at| {
            let note =
                format!("the person was written {} times within a day; again at {due_at}", updates.count);
            let next =
                NextStep::PutOff { due_at, looks: job.looks, failures: job.failures, drop_planned: false };
            (next, note)
        }))
    }

    /// A newer update of the person may have been made: written now, this one would overwrite it until that is sent
    /// again.
    fn wait_for_newer(&self, job: &SyncJob) -> (NextStep, String) {
        let due_at = schedule::again_at(job, self.clock.now());
        let note = format!(
            "a newer update of the person may have been made; again at {due_at}, when that is settled"
        );
        (NextStep::PutOff { due_at, looks: job.looks, failures: job.failures, drop_planned: false }, note)
    }

    /// Writing under a mapping in error might write into the wrong field; somebody has to mend it.
    fn wait_for_mapping(&self, job: &SyncJob, findings: &[Finding]) -> (NextStep, String) {
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
        let errors: Vec<&str> = errors.map(|finding| finding.what.as_str()).collect();
        let note = format!(
            "the field mapping is in error ({}); nothing is told before it is mended",
            errors.join("; ")
        );
        tracing::warn!(project.id = %job.project_id, "a field mapping is in error: `leadtrail crm verify` tells which");
        let due_at = self.clock.now().plus(MAPPING_WAIT);
        (NextStep::PutOff { due_at, looks: job.looks, failures: job.failures, drop_planned: false }, note)
    }

    /// What the person shall be told, frozen at the first attempt, and the newest lead it was built from.
    async fn wanted(
        &self,
        job: &SyncJob,
        lease: &Lease,
        project: &Project,
    ) -> Result<(Wanted, Lead), StoreError> {
        let mut retries = 0;
        loop {
            let dossier = self.jobs.dossier(lease).await?;
            if let Some(frozen) = &job.wanted {
                return Ok((frozen.clone(), dossier.lead));
            }
            let wanted = fields::wanted(&dossier, &project.settings);
            match self.jobs.freeze(lease, &wanted).await {
                Ok(()) => return Ok((wanted, dossier.lead)),
                Err(StoreError::Stale) if retries < FREEZE_RETRIES_MAX => retries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn look_up(
        &self,
        talk: &Talk<'_>,
        job: &SyncJob,
        lead: &Lead,
        project: &Project,
    ) -> Result<Match, CrmError> {
        let settings = &project.settings.crm;
        let by_email =
            PersonQuery::Email { email: lead.email.clone(), changed_since: job.created_at.minus(SEARCH_LAG) };
        let found = talk.find(&by_email, |found| judge(&by_email, found, settings.on_many)).await?;
        let by_name = settings.name_match == NameMatch::Unique
            && talk.finds_by_name()
            && schedule::looks_by_name(job.looks, &self.settings.not_found_retries);
        match (&lead.first_name, &lead.last_name) {
            // A first or last name alone is no name to write by.
            (Some(first), Some(last)) if found == Match::Nobody && by_name => {
                let by_name = PersonQuery::Name(format!("{first} {last}"));
                let found = talk.find(&by_name, |found| judge(&by_name, found, settings.on_many)).await?;
                let is_last_look = schedule::is_last_look(job.looks, &self.settings.not_found_retries);
                // Namesakes decide nothing while the person may still be typed in with the e-mail.
                Ok(if matches!(found, Match::Ambiguous(_)) && !is_last_look { Match::Nobody } else { found })
            }
            _ => Ok(found),
        }
    }

    fn after_nobody(&self, job: &SyncJob) -> (NextStep, String) {
        let looks = job.looks + 1;
        let now = self.clock.now();
        if let Some(due_at) = next_look(job, looks, now, &self.settings.not_found_retries) {
            let next = NextStep::PutOff { due_at, looks, failures: 0, drop_planned: true };
            (next, format!("look {looks} found nobody; the next one is at {due_at}"))
        } else {
            let note = format!("look {looks} found nobody; it was the last");
            (end(JobStatus::NotFound, Vec::new(), Vec::new()), note)
        }
    }

    /// The write that a person's present values and our earlier writes leave; `None` when nothing is left to write.
    async fn write_for(
        &self,
        talk: &Talk<'_>,
        job: &SyncJob,
        person: &PersonId,
        resolved: &Resolved,
    ) -> Result<Option<PlannedWrite>, Halt> {
        let keys: BTreeSet<FieldKey> = resolved.values.keys().cloned().collect();
        let current = talk.read(person, &keys).await?;
        let ever_written = self.jobs.ever_written(job.project_id, &job.account, person).await?;
        let patch = permitted(resolved, &current, &ever_written);
        let before = current.into_iter().filter(|(key, _)| patch.contains_key(key)).collect();
        Ok((!patch.is_empty()).then(|| PlannedWrite { person: person.clone(), patch, before }))
    }
}

/// Sends a recorded write; what of it the CRM took, and why not the rest.
async fn send(talk: &Talk<'_>, write: &PlannedWrite) -> Result<Sent, CrmError> {
    let receipt = talk.update(&write.person, &write.patch).await?;
    let mut taken = write.clone();
    taken.patch.retain(|key, _| receipt.applied.contains(key));
    Ok(Sent { taken, dropped: receipt.dropped })
}

/// Measures how many jobs wait and how the connections stand, now and every [`COUNT_EVERY`], until the shutdown. One node of a service is enough, but
/// each may.
pub async fn keep_counting(
    jobs: Arc<dyn SyncJobs>,
    accounts: Arc<Accounts>,
    clock: Arc<dyn Clock>,
    mut shutdown: Shutdown,
) {
    let (pending, due) = (gauge!(measures::SYNC_PENDING), gauge!(measures::SYNC_DUE));
    let oldest = gauge!(measures::SYNC_DUE_SECONDS);
    while !shutdown.is_due() {
        let now = clock.now();
        accounts.measure(now);
        match jobs.counts(None, now).await {
            Ok(counts) => {
                pending.set(number(counts.pending));
                due.set(number(counts.due));
                let waited = counts.oldest_due_at.map(|at| now.since(at)).unwrap_or_default();
                oldest.set(measures::seconds(waited));
            }
            Err(error) => tracing::debug!(error = cause(&error), "the sync jobs cannot be counted"),
        }
        tokio::select! {
            () = tokio::time::sleep(COUNT_EVERY) => {}
            () = shutdown.due() => {}
        }
    }
}

/// A write that was sent.
struct Sent {
    /// What of it the CRM took.
    taken: PlannedWrite,
    /// What it did not take, and why.
    dropped: BTreeMap<FieldKey, String>,
}

fn end(status: JobStatus, persons: Vec<PersonId>, sent: Vec<Sent>) -> NextStep {
    let written = sent.into_iter().map(|sent| sent.taken).filter(|write| !write.patch.is_empty()).collect();
    NextStep::End { status, persons, written }
}

fn superseded(sent: Vec<Sent>) -> (NextStep, String) {
    let note = "a newer submission of the same person was written already".to_owned();
    (end(JobStatus::Superseded, Vec::new(), sent), note)
}

fn synced(persons: Vec<PersonId>, sent: Vec<Sent>, resolved: &Resolved) -> (NextStep, String) {
    let name =
        |key: &FieldKey| resolved.values.get(key).map_or_else(|| key.0.clone(), |t| t.name.to_string());
    let mut parts: Vec<String> = Vec::new();
    let mut left_out: Vec<String> =
        resolved.left_out.iter().map(|(name, reason)| format!("{name} ({reason})")).collect();
    for Sent { taken, dropped } in &sent {
        if !taken.patch.is_empty() {
            let names: Vec<String> = taken.patch.keys().map(name).collect();
            parts.push(format!("wrote to person {}: {}", taken.person, names.join(", ")));
        }
        left_out.extend(dropped.iter().map(|(key, reason)| format!("{} ({reason})", name(key))));
    }
    let all_refused = parts.is_empty() && !sent.is_empty();
    if parts.is_empty() {
        parts.push(
            if all_refused { "the CRM took nothing" } else { "the person has everything already" }.to_owned(),
        );
    }
    if !left_out.is_empty() {
        parts.push(format!("left out: {}", left_out.join(", ")));
    }
    let status = if all_refused { JobStatus::Error } else { JobStatus::Synced };
    (end(status, persons, sent), parts.join("; "))
}
