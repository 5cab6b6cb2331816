//! CRM connections in trouble: what they cost their own jobs, and that they cost nobody else's anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leadtrail_app::accounts::Accounts;
use leadtrail_app::connections::{Connection, NONCE_BYTES, OwnConnections, SealKey};
use leadtrail_crm_sandbox::{Call, NewPerson, SandboxCrm};
use leadtrail_domain::crm::FieldKey;
use leadtrail_domain::ports::{Connections as _, Crm, CrmError, Projects as _, RateScope, SyncJobs as _};
use leadtrail_domain::project::{FieldTarget, default_account, own_account};
use leadtrail_domain::sync::account::{BreakerSettings, Standing};
use leadtrail_domain::sync::{JobStatus, SyncJob};
use leadtrail_domain::time::Timestamp;
use secrecy::SecretString;

use crate::site::{self, Site, minute};
use crate::world::{JANE, World, accounts};

fn seconds(of_minute: u32, seconds: u64) -> Timestamp {
    minute(of_minute).plus(Duration::from_secs(seconds))
}

/// The only site of another project in the same store.
fn beside(world: &World, slug: &str) -> Site {
    Site::of(world.site.store.clone(), slug, slug)
}

fn add(crm: &SandboxCrm, email: &str) {
    let person = NewPerson {
        first_name: "P".into(),
        last_name: "Q".into(),
        emails: vec![email.to_owned()],
        added_at: minute(0),
    };
    crm.add_person(person).expect("an account in memory");
}

/// Leads of so many persons, due in minute 8, whom the CRM knows.
fn leads(world: &World, count: usize) {
    for n in 0..count {
        let email = format!("p{n}@x.example");
        add(&world.sandbox, &email);
        world.site.submit(1, &format!("cookie-{n}"), &email);
    }
}

/// A world whose connection lives as long as it does.
fn lasting() -> World {
    let world = World::new();
    World { accounts: Some(accounts(&world.crm)), ..world }
}

fn searches(crm: &SandboxCrm) -> usize {
    crm.calls().iter().filter(|call| matches!(call, Call::Find(_))).count()
}

fn status(jobs: &[SyncJob], status: JobStatus) -> usize {
    jobs.iter().filter(|job| job.status == status).count()
}

#[tokio::test]
async fn c10_an_outage_is_met_by_five_calls_and_then_by_one_a_minute() {
    let world = lasting();
    let world =
        World { settings: leadtrail_app::sync_loop::SyncSettings { workers: 1, ..world.settings }, ..world };
    leads(&world, 100);
    world.sandbox.fail(CrmError::Transient("down".into()));
    for second in 0..60 {
        world.pass(seconds(8, second)).await;
    }
    // The list of fields is what is asked first, and fails.
    assert_eq!(world.sandbox.calls().len(), 5);
    for second in 60..360 {
        world.pass(seconds(8, second)).await;
    }
    assert_eq!(world.sandbox.calls().len(), 10);
    world.sandbox.mend();
    for second in (360..3_000).step_by(5) {
        world.pass(seconds(8, second)).await;
    }
    assert_eq!(status(&world.site.jobs(), JobStatus::Synced), 100);
}

#[tokio::test]
async fn a_limit_is_kept_to_and_jobs_that_were_not_tried_stay_as_they_were() {
    let world = lasting();
    leads(&world, 60);
    world.pass(seconds(7, 0)).await;
    let retry_after = Duration::from_secs(3_939);
    world.sandbox.fail(CrmError::RateLimited { retry_after, scope: RateScope::Daily });
    world.pass_at(8).await;
    world.sandbox.mend();
    let asked = world.sandbox.calls().len();
    assert!(asked <= world.settings.workers, "{asked} calls met the limit");
    for second in (0..3_939).step_by(13) {
        world.pass(seconds(8, second)).await;
    }
    assert_eq!(world.sandbox.calls().len(), asked);
    let untouched = world.site.jobs().iter().filter(|job| job.due_at == minute(8)).count();
    assert!(untouched >= 60 - asked);
    for second in (3_939..4_200).step_by(5) {
        world.pass(seconds(8, second)).await;
    }
    assert_eq!(status(&world.site.jobs(), JobStatus::Synced), 60);
}

#[tokio::test]
async fn refused_credentials_are_tried_again_every_five_minutes_by_one_job_and_nothing_is_lost() {
    let world = lasting();
    leads(&world, 60);
    world.sandbox.fail(CrmError::Auth("401".into()));
    for minutes in 8..68 {
        world.pass_at(minutes).await;
    }
    let asked = world.sandbox.calls().len();
    assert!((10..=12 + world.settings.workers).contains(&asked), "{asked} calls with refused credentials");
    let accounts = world.accounts.clone().unwrap();
    assert!(matches!(accounts.open()[0].standing(minute(68)), Standing::Refused(_)));
    world.sandbox.mend();
    for minutes in 68..100 {
        world.pass_at(minutes).await;
    }
    assert_eq!(status(&world.site.jobs(), JobStatus::Synced), 60);
    assert_eq!(accounts.open()[0].standing(minute(100)), Standing::Ready);
}

#[tokio::test]
async fn c9_one_connections_outage_delays_no_job_of_another() {
    let world = World::new();
    let other_crm = SandboxCrm::in_memory();
    let mut other = beside(&world, "other");
    other.policy.crm.as_mut().unwrap().account = "second".parse().unwrap();
    let mut project = other.pixel.project.clone();
    project.settings.crm.account = "second".parse().unwrap();
    other.store.update_project(&other.pixel.project, &project).await.unwrap();
    let second: Arc<dyn Crm> = Arc::new(other_crm.clone());
    let service =
        BTreeMap::from([(default_account(), world.crm.clone()), ("second".parse().unwrap(), second)]);
    let accounts = Arc::new(Accounts::new(service, None, BreakerSettings::default()));
    let world = World { accounts: Some(accounts), ..world };
    leads(&world, 200);
    world.sandbox.fail(CrmError::Transient("down".into()));
    add(&other_crm, JANE);
    other.submit(1, "cookie-x", JANE);
    world.pass_at(8).await;
    assert_eq!(status(&other.jobs(), JobStatus::Synced), 1);
    assert_eq!(status(&world.site.jobs(), JobStatus::Pending), 200);
}

#[tokio::test]
async fn a_project_with_a_long_queue_leaves_its_neighbours_on_the_same_connection_their_share() {
    let world = lasting();
    leads(&world, 200);
    let others: Vec<Site> = ["one", "two"].map(|slug| beside(&world, slug)).into();
    add(&world.sandbox, JANE);
    for other in &others {
        other.submit(2, "cookie-x", JANE);
    }
    assert_eq!(world.pass_at(9).await, world.settings.batch);
    for other in &others {
        assert_eq!(status(&other.jobs(), JobStatus::Synced), 1);
    }
}

#[tokio::test]
async fn a_thousand_forged_forms_for_one_person_write_twenty_times_a_day_at_most() {
    let world = lasting();
    let jane = world.person("Jane", "Doe", JANE);
    for n in 0..1_000_u32 {
        let mut form = site::form(&format!("cookie-{n}"), JANE, &format!("J{n}"));
        form["page_url"] = format!("https://www.acme.example/contact?utm_source=s{n}").into();
        world.site.one(1 + n, &form);
        world.pass_at(1 + n).await;
    }
    assert_eq!(world.updates().len(), 20);
    // The day after, the newest is told, and none of them is lost.
    for minutes in (1_001..6_000).step_by(10) {
        world.pass_at(minutes).await;
    }
    assert_eq!(world.field(&jane, "last_utm_source").as_deref(), Some("s999"));
    assert!(world.site.jobs().iter().all(|job| job.status.is_final()));
}

#[tokio::test]
async fn c8_under_a_mapping_in_error_nothing_is_written_until_it_is_mended() {
    let world = lasting();
    let jane = world.person("Jane", "Doe", JANE);
    let mut project = world.site.pixel.project.clone();
    let target = FieldTarget { field: Some("gclid".into()), policy: None };
    project.settings.crm.mapping =
        ["utm_source", "utm_medium"].map(|name| (name.parse().unwrap(), target.clone())).into();
    world.site.store.update_project(&world.site.pixel.project, &project).await.unwrap();
    world.lead();
    world.pass_at(8).await;
    assert_eq!(
        (world.job().status, world.updates().len(), searches(&world.sandbox)),
        (JobStatus::Pending, 0, 0)
    );
    let attempts = world.site.store.attempts(world.site.project(), world.job().id).await.unwrap();
    assert!(attempts[0].note.contains("utm_medium and utm_source want the same field"), "{attempts:?}");
    world.site.store.update_project(&project, &world.site.pixel.project).await.unwrap();
    world.pass_at(30).await;
    assert_eq!(world.job().status, JobStatus::Synced);
    assert_eq!(world.field(&jane, "gclid").as_deref(), Some("c1"));
}

#[tokio::test]
async fn an_attempt_tells_what_was_asked_and_answered_without_personal_data() {
    let world = lasting();
    world.person("Jane", "Doe", JANE);
    world.lead();
    world.pass_at(8).await;
    let id = world.job().id;
    let attempts = world.site.store.attempts(world.site.project(), id).await.unwrap();
    let asked: Vec<&str> = attempts[0].steps.iter().map(|step| step.asked.as_str()).collect();
    assert_eq!(asked[0], "search by e-mail");
    assert!(asked[1].starts_with("read ") && asked[2].starts_with("update person 1: "), "{asked:?}");
    assert!(asked[2].contains("utm_source"));
    let told = format!("{attempts:?}").to_lowercase();
    assert!(!told.contains("jane") && !told.contains("google"), "{told}");
    let writes = world.site.store.writes(world.site.project(), id).await.unwrap();
    assert!(writes.iter().any(|entry| entry.field == FieldKey("gclid".into()) && entry.before.is_none()));
}

#[tokio::test]
async fn a_projects_own_connection_is_opened_from_its_seal_and_anew_when_it_is_set_anew() {
    let world = World::new();
    let store = world.site.store.clone();
    let key = SealKey::new(&[3; 32]);
    let sandboxes = [SandboxCrm::in_memory(), SandboxCrm::in_memory()];
    for sandbox in &sandboxes {
        add(sandbox, JANE);
    }
    let opens = sandboxes.clone();
    let open = move |connection: &Connection| -> Result<Arc<dyn Crm>, String> {
        let which: usize = connection.base_url.parse().map_err(|_not_one| "no such sandbox".to_owned())?;
        Ok(Arc::new(opens[which].clone()))
    };
    let set = |which: usize, set_at: u32| {
        let connection = Connection {
            kind: "sandbox".into(),
            base_url: which.to_string(),
            api_token: SecretString::from("not-a-real-token"),
        };
        key.seal(world.site.project(), &connection, minute(set_at), [9; NONCE_BYTES])
    };
    let own = OwnConnections { connections: store.clone(), key: Some(key.clone()), open: Arc::new(open) };
    let accounts = Arc::new(Accounts::new(BTreeMap::new(), Some(own), BreakerSettings::default()));
    let mut site = World { accounts: Some(accounts), ..World::new() };
    site.site = beside(&world, "tenant");
    let mut project = site.site.pixel.project.clone();
    project.settings.crm.account = own_account();
    store.update_project(&site.site.pixel.project, &project).await.unwrap();
    site.site.policy.crm.as_mut().unwrap().account = own_account();
    let seal = |which, at| leadtrail_domain::ports::SealedConnection {
        project_id: project.id,
        ..key.seal(project.id, &key.unseal(&set(which, at)).unwrap(), minute(at), [8; NONCE_BYTES])
    };

    store.put_connection(&seal(0, 0)).await.unwrap();
    site.site.submit(1, "cookie-a", JANE);
    site.pass_at(8).await;
    assert_eq!((sandboxes[0].writes().is_empty(), sandboxes[1].writes().is_empty()), (false, true));

    store.put_connection(&seal(1, 9)).await.unwrap();
    site.site.one(10, &site::form("cookie-a", JANE, "J."));
    site.pass_at(20).await;
    assert!(!sandboxes[1].writes().is_empty());

    store.remove_connection(project.id).await.unwrap();
    site.site.one(30, &site::form("cookie-a", JANE, "Ja."));
    site.pass_at(40).await;
    assert_eq!(status(&site.site.jobs(), JobStatus::Pending), 1);
}

#[tokio::test]
async fn jobs_of_a_connection_that_cannot_be_unsealed_are_put_off_and_say_why() {
    let world = World::new();
    let store = world.site.store.clone();
    let project = world.site.pixel.project.clone();
    let mut own_project = project.clone();
    own_project.settings.crm.account = own_account();
    store.update_project(&project, &own_project).await.unwrap();
    let connection = Connection {
        kind: "sandbox".into(),
        base_url: "0".into(),
        api_token: SecretString::from("not-a-real-token"),
    };
    let sealed = SealKey::new(&[1; 32]).seal(project.id, &connection, minute(0), [9; NONCE_BYTES]);
    store.put_connection(&sealed).await.unwrap();
    let own = OwnConnections {
        connections: store.clone(),
        key: Some(SealKey::new(&[2; 32])),
        open: Arc::new(|_connection: &Connection| Err("nobody gets as far as this".to_owned())),
    };
    let accounts = Arc::new(Accounts::new(BTreeMap::new(), Some(own), BreakerSettings::default()));
    let mut world = World { accounts: Some(accounts), ..world };
    world.site.policy.crm.as_mut().unwrap().account = own_account();
    world.lead();
    assert_eq!(world.pass_at(8).await, 1);
    let job = world.job();
    assert_eq!((job.status, job.due_at > minute(8)), (JobStatus::Pending, true));
    let attempts = store.attempts(project.id, job.id).await.unwrap();
    assert!(attempts[0].note.contains("cannot be opened"), "{attempts:?}");
}
