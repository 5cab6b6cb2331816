//! A store against a reference: the same steps, drawn at random, must have the same answers from both.
//!
//! Visits are decided by [`ingest`] from what each store knows, so that what is
//! compared is what production does. A failing sequence is shrunk before it is shown.
//!
//! ```text
//! #[test]
//! fn agrees_with_the_model() {
//!     leadtrail_contract::model::assert_agreement(64, async || {
//!         (Stores::of(Arc::new(scratch().await)), Stores::of(Arc::new(MemoryStore::new())))
//!     });
//! }
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use leadtrail_domain::conversion::Converted;
use leadtrail_domain::crm::PersonId;
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::event::{Arrival, Collected, EventKind, VisitorName};
use leadtrail_domain::id::{PixelId, ProjectId};
use leadtrail_domain::ingest::{CrmRoute, IngestPolicy, Policies, ingest, query_for};
use leadtrail_domain::ports::{
    ConversionFilter, EventOrder, EventPage, JobAction, JobFilter, JourneyBounds, StoreError,
};
use leadtrail_domain::project::{Pixel, default_account};
use leadtrail_domain::sync::{JobStatus, Lease, NextStep, Settlement};
use leadtrail_domain::touch::TouchKind;
use leadtrail_domain::visit::{Freshness, Known, VisitQuery};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::{Config, TestRunner};

use crate::Stores;
use crate::fixtures::{SYNC_DELAY_MINUTES, Tenant, at, wanted, write};

const TENANTS: u32 = 2;
const COOKIES: u32 = 2;
const EMAILS: [&str; 2] = ["jane@example.com", "joan@example.com"];
const STEPS_MAX: usize = 40;
const ACTIONS: [JobAction; 3] = [JobAction::Replay, JobAction::Hold, JobAction::Skip];

/// Draws `sequences` sequences of up to forty steps and takes each in a fresh pair of empty stores: the subject and the
/// reference.
///
/// # Panics
/// When the two differ, with the shortest sequence found.
pub fn assert_agreement(sequences: u32, pair: impl AsyncFn() -> (Stores, Stores)) {
    let config = Config { cases: sequences, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&vec(step(), 1..=STEPS_MAX), |steps| {
        crate::run(async {
            let (subject, reference) = pair().await;
            Walk::begin(subject, reference).await.take(&steps).await;
        });
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Visit(Visit),
    /// Jobs are claimed, so many at most.
    Claim(u32),
    /// Something is done under one of the leases there were.
    Work(usize, Work),
}

#[derive(Clone, Debug)]
struct Visit {
    tenant: u32,
    /// Which of the project's two pixels it is sent to.
    pixel: u32,
    /// `None`: somebody who is not recognised.
    cookie: Option<u32>,
    /// How long after the step before it arrives.
    gap_minutes: u32,
    /// How long before that it occurred.
    late_minutes: u32,
    source: Option<u32>,
    form: Option<usize>,
    /// As which of two kinds of conversion it counts.
    conversions: Vec<u32>,
    /// Whether the same form was sent before, as opposed to one with another text.
    same_text: bool,
    /// Whether it is decided on what was known before the last visit.
    from_old_state: bool,
    /// Whether it has the id of the last event.
    repeats_id: bool,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Renew,
    Release,
    Dossier,
    Freeze,
    Plan,
    PutOff { looks: u32, failures: u32, drop_planned: bool },
    End { status: usize, writes: bool },
    Act(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => visit().prop_map(Step::Visit),
        1 => (1_u32..4).prop_map(Step::Claim),
        3 => (any::<usize>(), work()).prop_map(|(lease, work)| Step::Work(lease, work)),
    ]
}

fn visit() -> impl Strategy<Value = Visit> {
    let who =
        (0..TENANTS, prop_oneof![2 => Just(0_u32), 1 => Just(1_u32)], option::weighted(0.85, 0..COOKIES));
    let when =
        (prop_oneof![1 => Just(0_u32), 4 => 0_u32..50], prop_oneof![4 => Just(0_u32), 1 => 0_u32..200]);
    let what = (
        option::weighted(0.3, 0_u32..3),
        option::weighted(0.4, 0..EMAILS.len()),
        prop_oneof![4 => Just(Vec::new()), 1 => subsequence(vec![0_u32, 1], 1..=2)],
    );
    let twists = (any::<bool>(), prop::bool::weighted(0.15), prop::bool::weighted(0.1));
    (who, when, what, twists).prop_map(
        |(
            (tenant, pixel, cookie),
            (gap_minutes, late_minutes),
            (source, form, conversions),
            (same_text, from_old_state, repeats_id),
        )| {
            Visit {
                tenant,
                pixel,
                cookie,
                gap_minutes,
                late_minutes,
                source,
                form,
                conversions,
                same_text,
                from_old_state,
                repeats_id,
            }
        },
    )
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        1 => Just(Work::Renew),
        1 => Just(Work::Release),
        1 => Just(Work::Dossier),
        2 => Just(Work::Freeze),
        2 => Just(Work::Plan),
        2 => (0_u32..3, 0_u32..2, any::<bool>())
            .prop_map(|(looks, failures, drop_planned)| Work::PutOff { looks, failures, drop_planned }),
        2 => (2..JobStatus::ALL.len(), any::<bool>()).prop_map(|(status, writes)| Work::End { status, writes }),
        2 => (0..ACTIONS.len()).prop_map(Work::Act),
    ]
}

/// Two stores on the same way.
struct Walk {
    subject: Stores,
    reference: Stores,
    tenants: Vec<(Tenant, Pixel)>,
    policies: Policies,
    /// Later than every arrival so far.
    minute: u32,
    last_event: u32,
    old_state: Known,
    leases: Vec<Lease>,
    asked: VisitQuery,
}

impl Walk {
    async fn begin(subject: Stores, reference: Stores) -> Self {
        let mut tenants = Vec::new();
        for n in 1..=TENANTS {
            let tenant = Tenant::create(&subject, n).await;
            let second = tenant.second_pixel(&subject).await;
            Tenant::create(&reference, n).await.second_pixel(&reference).await;
            tenants.push((tenant, second));
        }
        let delay = Duration::from_mins(u64::from(SYNC_DELAY_MINUTES));
        let policy = |split| IngestPolicy {
            crm: Some(CrmRoute { account: default_account(), delay }),
            split_sessions_on_campaign: split,
        };
        let policies =
            tenants.iter().map(|(tenant, _second)| tenant.id()).zip([policy(false), policy(true)]).collect();
        Self {
            subject,
            reference,
            tenants,
            policies,
            minute: 1_000,
            last_event: 0,
            old_state: Known::default(),
            leases: Vec::new(),
            asked: VisitQuery::default(),
        }
    }

    async fn take(mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Visit(visit) => self.visit(visit).await,
                Step::Claim(limit) => self.claim(*limit).await,
                Step::Work(place, work) => {
                    if let Some(lease) =
                        self.leases.len().checked_sub(1).map(|last| self.leases[place % (last + 1)])
                    {
                        self.work(&lease, *work).await;
                    }
                }
            }
        }
        self.compare_everything().await;
    }

    fn collected(&mut self, visit: &Visit) -> Collected {
        self.minute += visit.gap_minutes;
        if !visit.repeats_id {
            self.last_event += 1;
        }
        let (tenant, second) = &self.tenants[usize::try_from(visit.tenant).unwrap_or(0)];
        let mut visitor = tenant.visitor(visit.cookie.unwrap_or(0));
        if visit.pixel == 1 {
            visitor = visitor.on(second);
        }
        let mut event = match visit.form {
            Some(form) => visitor.form(0, EMAILS[form]),
            None => visitor.pageview(0),
        };
        event.id = crate::fixtures::event_id(self.last_event);
        event.received_at = at(self.minute);
        event.occurred_at = at(self.minute - visit.late_minutes);
        event.page_url = format!("https://shop.example/page/{}", self.last_event % 5);
        if visit.cookie.is_none() {
            event.visitor = VisitorName::Unlinked;
        }
        if let (false, Some(form)) = (visit.same_text, event.form.as_mut()) {
            form.extra = BTreeMap::from([("message".to_owned(), format!("text of {}", self.last_event))]);
        }
        if event.form.is_some() && visit.gap_minutes == 7 {
            event.kind = EventKind::Identify;
        }
        event.signals.utm.source = visit.source.map(|n| format!("source-{n}"));
        let arrival = match visit.source {
            Some(_named) => Arrival::External { kind: TouchKind::Utm, referrer_host: None },
            None => Arrival::Direct,
        };
        let conversions = (visit.conversions.iter())
            .map(|n| Converted {
                name: format!("goal {n}").parse().expect("the name of a conversion"),
                value: (*n == 1).then_some(20.0),
            })
            .collect();
        Collected { event, arrival, conversions, unwanted: None }
    }

    async fn visit(&mut self, visit: &Visit) {
        let collected = [self.collected(visit)];
        let mut query = query_for(&collected);
        // What may be left out would differ for good reason.
        query.sessions_since = None;
        self.remember(&query);
        let known =
            agreed("load", self.subject.visits.load(&query).await, self.reference.visits.load(&query).await);
        let state = if visit.from_old_state { &self.old_state } else { known.as_ref().expect("both answer") };
        let changes = ingest(state, &collected, &self.policies).changes;
        agreed(
            "commit",
            self.subject.visits.commit(&changes).await,
            self.reference.visits.commit(&changes).await,
        );
        self.old_state = known.expect("both answer");
    }

    fn remember(&mut self, query: &VisitQuery) {
        self.asked.events.extend(query.events.iter().cloned());
        self.asked.visitors.extend(query.visitors.keys().map(|key| (key.clone(), Freshness::Current)));
        self.asked.submissions.extend(query.submissions.iter().copied());
        self.asked.people.extend(query.people.iter().copied());
    }

    async fn claim(&mut self, limit: u32) {
        let (now, lease) = (at(self.minute), Duration::from_mins(10));
        let due = agreed(
            "due_queues",
            self.subject.sync_jobs.due_queues(now).await,
            self.reference.sync_jobs.due_queues(now).await,
        );
        for queue in due.expect("both answer").into_iter().map(|due| due.queue) {
            let claims = agreed(
                "claim",
                self.subject.sync_jobs.claim(&queue, now, lease, limit).await,
                self.reference.sync_jobs.claim(&queue, now, lease, limit).await,
            );
            self.leases.extend(claims.expect("both answer").into_iter().map(|claim| claim.lease));
        }
    }

    async fn work(&mut self, lease: &Lease, work: Work) {
        let (subject, reference) = (&self.subject.sync_jobs, &self.reference.sync_jobs);
        match work {
            Work::Renew => {
                let until = at(self.minute + 20);
                agreed("renew", subject.renew(lease, until).await, reference.renew(lease, until).await);
            }
            Work::Release => {
                agreed("release", subject.release(lease).await, reference.release(lease).await);
            }
            Work::Dossier => {
                agreed("dossier", subject.dossier(lease).await, reference.dossier(lease).await);
            }
            Work::Freeze => {
                let job = reference.job(lease.project_id, lease.job_id).await.expect("the reference answers");
                // From the lead that made the job: stale where another has joined.
                let wanted = wanted(job.expect("a claimed job exists").lead_id);
                agreed(
                    "freeze",
                    subject.freeze(lease, &wanted).await,
                    reference.freeze(lease, &wanted).await,
                );
            }
            Work::Plan => {
                let write = write("person-1", &["a", "b"]);
                agreed("plan", subject.plan(lease, &write).await, reference.plan(lease, &write).await);
            }
            Work::PutOff { looks, failures, drop_planned } => {
                let due_at = at(self.minute + 5);
                self.settle(lease, NextStep::PutOff { due_at, looks, failures, drop_planned }).await;
            }
            Work::End { status, writes } => {
                let status = if writes { JobStatus::Synced } else { JobStatus::ALL[status] };
                let written = if writes { vec![write("person-1", &["a", "b"])] } else { Vec::new() };
                let persons = vec![PersonId("person-1".to_owned())];
                self.settle(lease, NextStep::End { status, persons, written }).await;
            }
            Work::Act(action) => {
                let (project, job, now) = (lease.project_id, lease.job_id, at(self.minute));
                agreed(
                    "act",
                    subject.act(project, job, ACTIONS[action], now, "drawn at random").await,
                    reference.act(project, job, ACTIONS[action], now, "drawn at random").await,
                );
            }
        }
    }

    async fn settle(&self, lease: &Lease, next: NextStep) {
        let settlement =
            Settlement { at: at(self.minute), next, note: "drawn at random".to_owned(), steps: Vec::new() };
        agreed(
            "settle",
            self.subject.sync_jobs.settle(lease, &settlement).await,
            self.reference.sync_jobs.settle(lease, &settlement).await,
        );
    }

    async fn compare_everything(&self) {
        let (subject, reference) = (&self.subject, &self.reference);
        agreed("load", subject.visits.load(&self.asked).await, reference.visits.load(&self.asked).await);
        let now = at(self.minute);
        agreed(
            "counts",
            subject.sync_jobs.counts(None, now).await,
            reference.sync_jobs.counts(None, now).await,
        );
        let from_start = at(0);
        agreed(
            "outcomes",
            subject.sync_jobs.outcomes(None, from_start).await,
            reference.sync_jobs.outcomes(None, from_start).await,
        );
        for (tenant, second) in &self.tenants {
            for pixel in [&tenant.pixel.id, &second.id] {
                self.compare_events(tenant.id(), pixel).await;
            }
        }
        for project in self.tenants.iter().map(|(tenant, _second)| tenant.id()) {
            agreed(
                "events",
                subject.visits.events(project, None, 1_000).await,
                reference.visits.events(project, None, 1_000).await,
            );
            let every = ConversionFilter::default();
            agreed(
                "conversions",
                subject.conversions.conversions(project, &every, 1_000).await,
                reference.conversions.conversions(project, &every, 1_000).await,
            );
            let all = JobFilter::default();
            let jobs = agreed(
                "jobs",
                subject.sync_jobs.jobs(project, &all, 1_000).await,
                reference.sync_jobs.jobs(project, &all, 1_000).await,
            );
            for id in jobs.into_iter().flatten().map(|job| job.id) {
                agreed(
                    "attempts",
                    subject.sync_jobs.attempts(project, id).await,
                    reference.sync_jobs.attempts(project, id).await,
                );
                agreed(
                    "writes",
                    subject.sync_jobs.writes(project, id).await,
                    reference.sync_jobs.writes(project, id).await,
                );
            }
            for hash in EMAILS.map(|address| crate::fixtures::email(address).hash()) {
                self.compare_person(project, &hash).await;
            }
            let (account, person) = (default_account(), PersonId("person-1".to_owned()));
            agreed::<BTreeSet<_>>(
                "ever_written",
                subject.sync_jobs.ever_written(project, &account, &person).await,
                reference.sync_jobs.ever_written(project, &account, &person).await,
            );
        }
    }
}

impl Walk {
    async fn compare_events(&self, project: ProjectId, pixel: &PixelId) {
        for order in [EventOrder::OldestFirst, EventOrder::NewestFirst] {
            let mut page = EventPage { since: at(0), until: at(self.minute), order, after: None, limit: 3 };
            loop {
                let events = agreed(
                    "of_pixel",
                    self.subject.events.of_pixel(project, pixel, &page).await,
                    self.reference.events.of_pixel(project, pixel, &page).await,
                );
                let Some(last) = events.iter().flatten().last() else { break };
                page.after = Some((last.event.occurred_at, last.event.id));
            }
        }
    }

    async fn compare_person(&self, project: ProjectId, hash: &EmailHash) {
        let (subject, reference) = (&self.subject, &self.reference);
        agreed(
            "updates_since",
            subject.sync_jobs.updates_since(project, hash, at(0)).await,
            reference.sync_jobs.updates_since(project, hash, at(0)).await,
        );
        let leads = agreed(
            "leads_of",
            subject.journeys.leads_of(project, hash, 3).await,
            reference.journeys.leads_of(project, hash, 3).await,
        );
        for lead in leads.into_iter().flatten() {
            for limit in [2, 1_000] {
                let bounds = JourneyBounds { browsers: limit, touches: limit, events: limit };
                agreed(
                    "journey",
                    subject.journeys.journey(project, lead.id, &bounds).await,
                    reference.journeys.journey(project, lead.id, &bounds).await,
                );
            }
            agreed(
                "leads_by_event",
                subject.journeys.leads_by_event(project, lead.event_id).await,
                reference.journeys.leads_by_event(project, lead.event_id).await,
            );
        }
    }
}

/// What both answered; `None` where both refused for the same reason.
fn agreed<T: PartialEq + Debug>(
    call: &str,
    subject: Result<T, StoreError>,
    reference: Result<T, StoreError>,
) -> Option<T> {
    match (subject, reference) {
        (Ok(subject), Ok(reference)) => {
            assert_eq!(subject, reference, "the subject differs from the reference in `{call}`");
            Some(reference)
        }
        (Err(subject), Err(reference)) => {
            let same = std::mem::discriminant(&subject) == std::mem::discriminant(&reference);
            assert!(same, "`{call}`: the subject says {subject:?}, the reference {reference:?}");
            None
        }
        (subject, reference) => panic!("`{call}`: the subject says {subject:?}, the reference {reference:?}"),
    }
}
