//! C1, C11: two days without the CRM, thousands of leads, and what follows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use leadtrail_app::sync_loop::SyncSettings;
use leadtrail_crm_sandbox::{NewPerson, SandboxCrm};
use leadtrail_domain::crm::{
    Budget, Candidate, Capabilities, CrmField, FieldKey, FieldValue, NewCrmField, Patch, PersonId,
    PersonQuery, Receipt,
};
use leadtrail_domain::ports::{Clock, Crm, CrmError, RateScope};
use leadtrail_domain::sync::JobStatus;
use leadtrail_domain::time::Timestamp;
use leadtrail_store_memory::ManualClock;

use crate::site::{DELAY, minute};
use crate::world::{World, accounts};

const OUTAGE_MINUTES: u32 = 48 * 60;
/// What Pipedrive allows in two seconds.
const SEARCHES_MAX: u32 = 10;

/// A sandbox that allows so many searches in a window of the test's clock.
struct Limited {
    inner: SandboxCrm,
    clock: Arc<ManualClock>,
    length: Duration,
    window: Mutex<Window>,
}

struct Window {
    began: Timestamp,
    searches: u32,
    refused: u32,
}

#[async_trait]
impl Crm for Limited {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn list_fields(&self) -> Result<Vec<CrmField>, CrmError> {
        self.inner.list_fields().await
    }

    async fn create_field(&self, field: &NewCrmField) -> Result<CrmField, CrmError> {
        self.inner.create_field(field).await
    }

    fn budget(&self) -> Option<Budget> {
        self.inner.budget()
    }

    async fn find(&self, by: &PersonQuery) -> Result<Vec<Candidate>, CrmError> {
        let is_over = {
            let mut window = self.window.lock().expect("nobody panics here");
            let now = self.clock.now();
            if now.since(window.began) >= self.length {
                (window.began, window.searches) = (now, 0);
            }
            window.searches += 1;
            let is_over = window.searches > SEARCHES_MAX;
            window.refused += u32::from(is_over);
            is_over
        };
        if is_over {
            return Err(CrmError::RateLimited { retry_after: self.length, scope: RateScope::Burst });
        }
        self.inner.find(by).await
    }

    async fn read(
        &self,
        person: &PersonId,
        fields: &BTreeSet<FieldKey>,
    ) -> Result<BTreeMap<FieldKey, FieldValue>, CrmError> {
        self.inner.read(person, fields).await
    }

    async fn update(&self, person: &PersonId, patch: &Patch) -> Result<Receipt, CrmError> {
        self.inner.update(person, patch).await
    }
}

#[tokio::test]
async fn c1_c11_after_two_days_without_the_crm_all_leads_are_told_oldest_first_within_its_limits() {
    // A fifth of the leads in a fifth of the CRM's pace: the reference store looks at all jobs for each.
    two_days_without_the_crm(2_000, Duration::from_secs(10)).await;
}

#[tokio::test]
#[ignore = "minutes in the reference store; the same with a fifth of everything runs always"]
async fn c1_c11_the_same_with_ten_thousand_leads() {
    two_days_without_the_crm(10_000, Duration::from_secs(2)).await;
}

async fn two_days_without_the_crm(leads: u32, window: Duration) {
    let world = World::new();
    let limited = Arc::new(Limited {
        inner: world.sandbox.clone(),
        clock: world.clock.clone(),
        length: window,
        window: Mutex::new(Window { began: minute(0), searches: 0, refused: 0 }),
    });
    let crm: Arc<dyn Crm> = limited.clone();
    let settings = SyncSettings { batch: SEARCHES_MAX, ..SyncSettings::default() };
    let world = World { accounts: Some(accounts(&crm)), crm, settings, ..world };

    world.sandbox.fail(CrmError::Transient("down".into()));
    for n in 0..leads {
        let email = format!("p{n}@x.example");
        let emails = vec![email.clone()];
        let person =
            NewPerson { first_name: "P".into(), last_name: n.to_string(), emails, added_at: minute(0) };
        world.sandbox.add_person(person).expect("an account in memory");
        world.site.submit(n * (OUTAGE_MINUTES - 10) / leads, &format!("cookie-{n}"), &email);
    }
    for now in (0..OUTAGE_MINUTES).step_by(7) {
        world.pass_at(now).await;
    }
    let jobs = world.site.jobs();
    assert!(jobs.iter().all(|job| job.status == JobStatus::Pending), "an outage ended a job");
    // What would have been told first, had nobody been tried: those that were are put off a little.
    let mut by_age: Vec<_> = jobs.iter().filter(|job| job.due_at == job.created_at.plus(DELAY)).collect();
    by_age.sort_by_key(|job| (job.due_at, job.id));
    let by_age: Vec<_> = by_age.into_iter().map(|job| job.email_hash).collect();

    world.sandbox.mend();
    let began = minute(OUTAGE_MINUTES);
    let mut now = began;
    while world.site.jobs().iter().any(|job| job.status == JobStatus::Pending) {
        // Asking for the jobs is slow in the reference store: a few passes at a time.
        for _ in 0..200 {
            world.pass(now).await;
            now = now.plus(window);
        }
        assert!(now.since(began) < Duration::from_hours(4), "the backlog does not drain");
    }
    let jobs = world.site.jobs();
    assert!(jobs.iter().all(|job| job.status == JobStatus::Synced));
    let ended = jobs.iter().filter_map(|job| job.ended_at).max().expect("there are jobs");
    let bound = window * (leads / SEARCHES_MAX);
    let ratio = ended.since(began).as_secs_f64() / bound.as_secs_f64();
    assert!(ratio <= 1.2, "draining took {ratio:.2} times what the limit allows");
    let refused = limited.window.lock().expect("nobody panics here").refused;
    assert!(refused * 100 <= leads, "{refused} searches were refused");

    let ends: BTreeMap<_, _> = jobs.iter().map(|job| (job.email_hash, job.ended_at)).collect();
    assert!(
        by_age.len() > usize::try_from(leads / 2).unwrap_or(usize::MAX),
        "{} jobs were never tried",
        by_age.len()
    );
    assert!(by_age.iter().map(|email| ends[email]).is_sorted(), "a younger job was told first");
}
