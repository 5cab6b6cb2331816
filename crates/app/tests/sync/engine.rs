//! The engine under everything at once: crashes, lost answers, outages, limits, an index that lags, twins, clocks that
//! step back, two workers and a human, in any order (C1, C2, C4, C5, C6, C7, C8).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leadtrail_app::shutdown;
use leadtrail_crm_sandbox::NewPerson;
use leadtrail_domain::crm::{FieldKey, Patch, PersonId};
use leadtrail_domain::email::{EmailAddress, EmailHash};
use leadtrail_domain::id::SyncJobId;
use leadtrail_domain::ports::{CrmError, JobAction, RateScope, SyncJobs as _};
use leadtrail_domain::sync::{JobStatus, SyncJob};
use leadtrail_domain::time::Timestamp;
use proptest::prelude::*;
use tokio::sync::Notify;

use crate::fakes::{Crash, Mortal};
use crate::site::{self, minute};
use crate::world::{World, accounts};

/// How many people there are.
const PEOPLE: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    /// A form of this person.
    Submit(usize),
    /// The last form once more, byte by byte.
    SubmitAgain,
    Wait(u32),
    ClockStepsBack(u32),
    /// One worker's pass, during which the process may die.
    Pass(Option<Crash>),
    /// Two workers at once.
    TwoPasses,
    Outage(Fault),
    LoseAnswers(u32),
    Lag(u32),
    Mend,
    /// Somebody types the person in, once more where the person is there already.
    TypeIn(usize),
    /// The CRM forgets the person: merged or deleted.
    Forget(usize),
    Human(JobAction, prop::sample::Index),
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Down,
    Limited,
    Refused,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let person = 0..PEOPLE;
    let crash = (0..8_usize, any::<bool>()).prop_map(|(call, after)| Crash { call, after });
    let fault = prop::sample::select(vec![Fault::Down, Fault::Limited, Fault::Refused]);
    let action =
        prop::sample::select(vec![JobAction::Replay, JobAction::Replay, JobAction::Hold, JobAction::Skip]);
    let step = prop_oneof![
        5 => person.clone().prop_map(Step::Submit),
        1 => Just(Step::SubmitAgain),
        4 => (1..120_u32).prop_map(Step::Wait),
        1 => (1..60_u32).prop_map(Step::ClockStepsBack),
        5 => prop::option::of(crash).prop_map(Step::Pass),
        2 => Just(Step::TwoPasses),
        1 => fault.prop_map(Step::Outage),
        1 => (1..3_u32).prop_map(Step::LoseAnswers),
        1 => (1..3_u32).prop_map(Step::Lag),
        2 => Just(Step::Mend),
        3 => person.clone().prop_map(Step::TypeIn),
        1 => person.prop_map(Step::Forget),
        3 => (action, any::<prop::sample::Index>()).prop_map(|(action, which)| Step::Human(action, which)),
    ];
    prop::collection::vec(step, 1..80)
}

fn email(person: usize) -> String {
    format!("person{person}@x.example")
}

fn hash(person: usize) -> EmailHash {
    email(person).parse::<EmailAddress>().expect("an e-mail address").hash()
}

/// How things stand before a pass.
struct Before {
    updates: usize,
    planned: BTreeMap<SyncJobId, (PersonId, Patch)>,
    /// The people whom the CRM has more than once.
    twins: BTreeSet<usize>,
}

struct Sim {
    world: World,
    now: Timestamp,
    submitted: u32,
    last_form: Option<(u32, serde_json::Value)>,
    /// The events of each person's forms.
    events: BTreeMap<usize, BTreeSet<String>>,
    /// Whom the CRM has, by person.
    known: BTreeMap<PersonId, usize>,
    clock_stepped_back: bool,
    /// How often a human took over a job whose write may have been made, by person: what follows is the human's.
    taken_over: BTreeMap<EmailHash, usize>,
    /// Who was forgotten or typed in twice: what the CRM has of them says nothing about order.
    unsettled: BTreeSet<usize>,
}

impl Sim {
    fn new() -> Self {
        let world = World::new();
        let world = World { accounts: Some(accounts(&world.crm)), ..world };
        Self {
            world,
            now: minute(0),
            submitted: 0,
            last_form: None,
            events: BTreeMap::new(),
            known: BTreeMap::new(),
            clock_stepped_back: false,
            taken_over: BTreeMap::new(),
            unsettled: BTreeSet::new(),
        }
    }

    fn minutes(&self) -> u32 {
        u32::try_from(self.now.since(minute(0)).as_secs() / 60).unwrap_or(u32::MAX)
    }

    fn submit(&mut self, person: usize) {
        self.submitted += 1;
        let mut form = site::form(&format!("cookie-{person}"), &email(person), "Jane");
        let source = self.submitted;
        form["form_data"]["last_name"] = format!("Number{source}").into();
        form["page_url"] = format!("https://www.acme.example/contact?utm_source=s{source}").into();
        form["event_id"] = format!("form-{source}").into();
        let at = self.minutes();
        let answer = self.world.site.one(at, &form);
        self.events.entry(person).or_default().insert(answer.event_id.to_string());
        self.last_form = Some((at, form));
    }

    async fn take(&mut self, step: &Step) {
        let sandbox = self.world.sandbox.clone();
        match step {
            Step::Submit(person) => self.submit(*person),
            Step::SubmitAgain => {
                if let Some((_at, form)) = self.last_form.clone() {
                    let answer = self.world.site.one(self.minutes(), &form);
                    assert!(answer.duplicate);
                }
            }
            Step::Wait(minutes) => self.now = self.now.plus(Duration::from_mins((*minutes).into())),
            Step::ClockStepsBack(minutes) => {
                self.now = self.now.minus(Duration::from_mins((*minutes).into())).max(minute(0));
                self.clock_stepped_back = true;
            }
            Step::Pass(crash) => self.pass(*crash).await,
            Step::TwoPasses => self.two_passes().await,
            Step::Outage(fault) => sandbox.fail(match fault {
                Fault::Down => CrmError::Transient("down".into()),
                Fault::Limited => {
                    CrmError::RateLimited { retry_after: Duration::from_mins(20), scope: RateScope::Daily }
                }
                Fault::Refused => CrmError::Auth("401".into()),
            }),
            Step::LoseAnswers(updates) => sandbox.lose_answers(*updates),
            Step::Lag(searches) => sandbox.lag_searches(*searches),
            Step::Mend => sandbox.mend(),
            Step::TypeIn(person) => {
                if self.known.values().any(|known| known == person) {
                    self.unsettled.insert(*person);
                }
                let new = NewPerson {
                    first_name: "Jane".into(),
                    last_name: format!("Typed{}", self.known.len()),
                    emails: vec![email(*person)],
                    added_at: self.now,
                };
                self.known.insert(sandbox.add_person(new).expect("an account in memory"), *person);
            }
            Step::Forget(person) => {
                let first = self.known.iter().find(|(_id, known)| *known == person).map(|(id, _)| id.clone());
                if let Some(id) = first {
                    sandbox.remove_person(&id).expect("an account in memory");
                    self.known.remove(&id);
                    self.unsettled.insert(*person);
                }
            }
            Step::Human(action, which) => {
                let jobs = self.world.site.jobs();
                if !jobs.is_empty() {
                    let job = &jobs[which.index(jobs.len())];
                    let project = self.world.site.project();
                    let store = &self.world.site.store;
                    let acted = store.act(project, job.id, *action, self.now, "a human").await;
                    if acted.expect("a store that works")
                        && *action != JobAction::Replay
                        && job.planned.is_some()
                    {
                        *self.taken_over.entry(job.email_hash).or_default() += 1;
                    }
                }
            }
        }
    }

    async fn pass(&mut self, crash: Option<Crash>) {
        self.world.clock.set(self.now);
        let before = self.before();
        if let Some(crash) = crash {
            let mortal = Arc::new(Mortal {
                inner: self.world.sandbox.clone(),
                crash: Mutex::new(Some(crash)),
                calls: AtomicUsize::new(0),
                died: Notify::new(),
            });
            // What dies takes with it what it knew of the connection.
            let dying = World { crm: mortal.clone(), ..self.handle() };
            let (_trigger, due) = shutdown::channel();
            let sync = dying.sync();
            tokio::select! {
                passed = sync.pass(&due) => { passed.expect("a store that works"); }
                () = mortal.died.notified() => {}
            }
            self.world.accounts = Some(accounts(&self.world.crm));
        } else {
            let (_trigger, due) = shutdown::channel();
            self.world.sync().pass(&due).await.expect("a store that works");
        }
        self.nobody_wrong(&before);
    }

    async fn two_passes(&mut self) {
        self.world.clock.set(self.now);
        let before = self.before();
        let (_trigger, due) = shutdown::channel();
        let other = World { accounts: Some(accounts(&self.world.crm)), ..self.handle() };
        let (one, two) = (self.world.sync(), other.sync());
        let (first, second) = tokio::join!(one.pass(&due), two.pass(&due));
        first.expect("a store that works");
        second.expect("a store that works");
        self.nobody_wrong(&before);
    }

    fn handle(&self) -> World {
        World {
            site: self.world.site.clone(),
            sandbox: self.world.sandbox.clone(),
            clock: self.world.clock.clone(),
            crm: self.world.crm.clone(),
            settings: self.world.settings.clone(),
            accounts: None,
        }
    }

    fn before(&self) -> Before {
        let planned = |job: SyncJob| Some((job.id, job.planned.map(|write| (write.person, write.patch))?));
        Before {
            updates: self.world.updates().len(),
            planned: self.world.site.jobs().into_iter().filter_map(planned).collect(),
            twins: self.twins(),
        }
    }

    /// The people whom the CRM has more than once.
    fn twins(&self) -> BTreeSet<usize> {
        let count = |person: &usize| self.known.values().filter(|known| *known == person).count();
        (0..PEOPLE).filter(|person| count(person) > 1).collect()
    }

    /// What was written since then went to whom it was about, and to no twin, but for writes that had been planned before
    /// there was one: they may have been made.
    fn nobody_wrong(&self, before: &Before) {
        let event = FieldKey("event_id".into());
        for write in &self.world.updates()[before.updates..] {
            let (person, patch) = write;
            let Some(whose) = self.known.get(person) else { continue };
            if let Some(value) = patch.get(&event) {
                let told = format!("{value:?}");
                let own = self.events.get(whose).into_iter().flatten();
                assert!(
                    own.into_iter().any(|event| told.contains(event.as_str())),
                    "{person} was told of another"
                );
            }
            let may_be_made = before.planned.values().any(|planned| planned == write);
            assert!(
                may_be_made || !before.twins.contains(whose),
                "C8: {person} was written although there are two"
            );
        }
    }

    /// Everything is well again, and all the time in the world.
    async fn settle(&mut self) {
        self.world.sandbox.mend();
        for _ in 0..200 {
            self.now = self.now.plus(Duration::from_mins(20));
            self.pass(None).await;
            let waits = |job: &SyncJob| job.status == JobStatus::Pending;
            if !self.world.site.jobs().iter().any(waits) {
                return;
            }
        }
        panic!("jobs wait for ever: {:#?}", self.world.site.jobs());
    }

    fn check(&self) {
        let jobs = self.world.site.jobs();
        let settled = jobs.iter().all(|job| job.status.is_final() || job.status == JobStatus::Held);
        assert!(settled, "C1: a job was lost");
        assert_eq!(
            self.world.site.leads().len(),
            usize::try_from(self.submitted).unwrap_or(usize::MAX),
            "a lead was lost or invented"
        );
        let writes = self.world.sandbox.writes();
        for ((person, field), writes) in &writes {
            let Some(whose) = self.known.get(person) else { continue };
            let forms = self.events.get(whose).map_or(0, BTreeSet::len);
            let taken_over = self.taken_over.get(&hash(*whose)).copied().unwrap_or_default();
            assert!(
                writes.changed <= u64::try_from(forms + taken_over).unwrap_or(u64::MAX),
                "C2: {person}'s {field:?} changed {} times for {forms} forms, {taken_over} taken over",
                writes.changed
            );
        }
        for (person, whose) in &self.known {
            if self.unsettled.contains(whose) || self.clock_stepped_back {
                continue;
            }
            self.newest_is_told(person, *whose, &jobs);
        }
    }

    /// C7: the CRM has what the newest job that was told says.
    fn newest_is_told(&self, person: &PersonId, whose: usize, jobs: &[SyncJob]) {
        let told = jobs.iter().filter(|job| job.email_hash == hash(whose) && job.status == JobStatus::Synced);
        let Some(newest) = told.max_by_key(|job| job.sequence) else { return };
        let wanted = newest.wanted.as_ref().expect("what was told is frozen");
        let name = "event_id".parse().expect("one of our fields");
        let wanted = format!("{:?}", wanted.fields.get(&name));
        let has = self.world.field(person, "event_id").expect("the person was told");
        assert!(wanted.contains(&has), "C7: {person} has {has}, and the newest job told {wanted}");
    }
}

async fn run(steps: &[Step]) {
    let mut sim = Sim::new();
    for step in steps {
        sim.take(step).await;
    }
    sim.settle().await;
    sim.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_lead_is_lost_no_person_wrong_and_the_newest_is_told(steps in steps()) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime")
            .block_on(run(&steps));
    }
}
