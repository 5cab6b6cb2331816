//! What becomes of a lead in the CRM.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leadtrail_app::accounts::Accounts;
use leadtrail_app::shutdown;
use leadtrail_app::sync_loop::{SyncLoop, SyncSettings};
use leadtrail_domain::crm::{FieldKey, FieldValue, Patch, PersonId};
use leadtrail_domain::ports::{Crm as _, CrmError, Projects as _, RateScope};
use leadtrail_domain::sync::JobStatus;
use leadtrail_domain::sync::account::BreakerSettings;
use serde_json::json;
use tokio::sync::Notify;

use crate::fakes::{Crash, CutsStore, Mortal, Refuses};
use crate::site::{self, DELAY, minute};
use crate::world::{JANE, World};

#[tokio::test]
async fn a_lead_is_told_after_the_delay_and_not_before() {
    let world = World::new();
    let jane = world.person("Jane", "Doe", "Jane@X.example");
    world.lead();
    let due = 1 + u32::try_from(DELAY.as_secs() / 60).unwrap();
    assert_eq!(world.pass_at(due - 1).await, 0);
    assert_eq!(world.sandbox.calls(), []);
    assert_eq!(world.pass_at(due).await, 1);
    for (field, value) in [
        ("utm_source", "google"),
        ("utm_campaign", "spring"),
        ("gclid", "c1"),
        ("first_utm_source", "google"),
        ("page_url", "https://www.acme.example/contact"),
        (
            "visited_pages",
            "https://www.acme.example/?utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=c1",
        ),
        ("session_duration", "1 minute"),
        ("last_visited_on", "November 23, 2026 at 10:01 AM"),
    ] {
        assert_eq!(world.field(&jane, field).as_deref(), Some(value), "{field}");
    }
    let job = world.job();
    assert_eq!((job.status, job.persons), (JobStatus::Synced, vec![jane.clone()]));
    let event = world.site.events().into_iter().find(|event| event.lead_id.is_some()).unwrap();
    assert_eq!(event.sync.person_id, Some(jane.0));
    assert_eq!(world.pass_at(10_000).await, 0);
}

#[tokio::test]
async fn what_happened_after_the_form_is_told_too() {
    let world = World::new();
    let jane = world.person("Jane", "Doe", JANE);
    world.lead();
    world.site.visit(4, "cookie-a", "/pricing", "https://www.acme.example/");
    world.pass_at(8).await;
    assert!(world.field(&jane, "visited_pages").unwrap().starts_with("https://www.acme.example/pricing, "));
    assert_eq!(world.field(&jane, "session_duration").as_deref(), Some("4 minutes"));
}

#[tokio::test]
async fn somebody_unknown_is_looked_for_again_on_the_schedule_and_then_not_found() {
    let world = World::new();
    world.lead();
    assert_eq!(world.shown(), None);
    let mut looked_at = Vec::new();
    for at in 0..3_000 {
        if world.pass_at(at).await > 0 {
            looked_at.push(at - 1);
            assert_eq!(world.shown(), Some(JobStatus::NotFound));
        }
    }
    assert_eq!(looked_at, [7, 30, 90, 8 * 60, 32 * 60]);
    assert_eq!(world.job().status, JobStatus::NotFound);
}

#[tokio::test]
async fn a_person_typed_in_later_is_found_by_the_next_look() {
    let world = World::new();
    world.lead();
    world.pass_at(8).await;
    let jane = world.person("Jane", "Doe", JANE);
    world.pass_at(31).await;
    assert_eq!((world.job().status, world.shown()), (JobStatus::Synced, Some(JobStatus::Synced)));
    assert_eq!(world.field(&jane, "utm_source").as_deref(), Some("google"));
}

#[tokio::test]
async fn an_outage_of_two_days_is_neither_a_result_nor_a_loss() {
    let world = World::new();
    let jane = world.person("Jane", "Doe", JANE);
    world.lead();
    for error in [
        CrmError::Transient("down".into()),
        CrmError::Auth("refused".into()),
        CrmError::RateLimited { retry_after: Duration::from_secs(3_939), scope: RateScope::Daily },
    ] {
        world.sandbox.fail(error);
        for at in (8..2_880).step_by(10) {
            world.pass_at(at).await;
            assert_eq!((world.job().status, world.shown()), (JobStatus::Pending, None));
        }
        world.clock.set(minute(0));
    }
    world.sandbox.mend();
    world.pass_at(3_000).await;
    assert_eq!(world.job().status, JobStatus::Synced);
    assert_eq!(world.field(&jane, "utm_source").as_deref(), Some("google"));
}

#[tokio::test]
async fn two_persons_with_the_email_are_ambiguous_and_nobody_is_written() {
    let world = World::new();
    let ids = [world.person("Jane", "Doe", JANE), world.person("J.", "Doe", JANE)];
    world.lead();
    world.pass_at(8).await;
    assert_eq!((world.job().status, world.job().persons), (JobStatus::Ambiguous, ids.to_vec()));
    assert_eq!(world.updates(), []);
}

#[tokio::test]
async fn a_namesake_is_written_only_where_exactly_one_bears_the_whole_name() {
    let form = |world: &World, first: &str, last: &str| {
        let mut body = site::form("cookie-a", "new@x.example", first);
        body["form_data"]["last_name"] = json!(last);
        world.site.one(1, &body);
    };
    let one = World::new();
    let jane = one.person("Jane", "Doe", "old@x.example");
    one.person("Jane", "Doering", "other@x.example");
    form(&one, "JANE", "Doe");
    one.pass_at(8).await;
    assert_eq!(one.job().persons, [jane]);

    let two = World::new();
    two.person("Jane", "Doe", "old@x.example");
    two.person("Jane", "Doe", "other@x.example");
    form(&two, "Jane", "Doe");
    // While the person may still be typed in with the e-mail, namesakes decide nothing.
    two.pass_at(8).await;
    assert_eq!((two.job().status, two.updates().len()), (JobStatus::Pending, 0));
    for hours in [1, 2, 9, 33] {
        two.pass_at(hours * 60).await;
    }
    assert_eq!((two.job().status, two.updates().len()), (JobStatus::Ambiguous, 0));

    let only_first = World::new();
    only_first.person("Jane", "", "old@x.example");
    form(&only_first, "Jane", "");
    only_first.pass_at(8).await;
    assert_eq!((only_first.job().status, only_first.updates().len()), (JobStatus::Pending, 0));
}

#[tokio::test]
async fn a_second_lead_does_not_overwrite_the_first_touch_nor_what_a_human_cleared() {
    let world = World::new();
    let jane = world.person("Jane", "Doe", JANE);
    world.lead();
    world.pass_at(8).await;
    let cleared = Patch::from([(FieldKey("gclid".into()), FieldValue::Null)]);
    world.sandbox.update(&jane, &cleared).await.unwrap();
    world.site.visit(2_000, "cookie-b", "/?utm_source=meta&gclid=c2", "");
    world.site.submit(2_001, "cookie-b", JANE);
    world.pass_at(2_008).await;
    assert_eq!(world.field(&jane, "first_utm_source").as_deref(), Some("google"));
    assert_eq!(world.field(&jane, "utm_source").as_deref(), Some("google"));
    assert_eq!(world.field(&jane, "gclid"), None);
    assert_eq!(world.field(&jane, "last_utm_source").as_deref(), Some("meta"));
    assert_eq!(world.field(&jane, "lead_count").as_deref(), Some("2"));
}

#[tokio::test]
async fn an_older_job_that_was_put_off_never_overwrites_a_newer_one() {
    let world = World::new();
    let jane = world.person("Jane", "Doe", JANE);
    world.lead();
    world
        .sandbox
        .fail(CrmError::RateLimited { retry_after: Duration::from_hours(1), scope: RateScope::Daily });
    world.pass_at(8).await;
    world.sandbox.mend();
    world.site.visit(9, "cookie-b", "/?utm_source=meta", "");
    world.site.one(10, &site::form("cookie-b", JANE, "J."));
    world.pass_at(20).await;
    world.pass_at(100).await;
    let statuses: BTreeMap<i64, JobStatus> =
        world.site.jobs().into_iter().map(|job| (job.sequence, job.status)).collect();
    assert_eq!(statuses, BTreeMap::from([(1, JobStatus::Superseded), (2, JobStatus::Synced)]));
    assert_eq!(world.field(&jane, "last_utm_source").as_deref(), Some("meta"));
    assert_eq!(world.updates().len(), 1);
}

#[tokio::test]
async fn two_jobs_of_one_person_are_told_one_after_the_other() {
    let world = World::new();
    let jane = world.person("Jane", "Doe", JANE);
    world.lead();
    world.sandbox.fail(CrmError::Transient("down".into()));
    world.pass_at(8).await;
    world.site.visit(9, "cookie-b", "/?utm_source=meta", "");
    world.site.one(10, &site::form("cookie-b", JANE, "J."));
    world.sandbox.mend();
    assert_eq!(world.pass_at(200).await, 1);
    world.pass_at(200).await;
    assert!(world.site.jobs().iter().all(|job| job.status.is_final()));
    assert_eq!(world.field(&jane, "last_utm_source").as_deref(), Some("meta"));
}

#[tokio::test]
async fn a_job_without_a_connection_waits_and_one_whose_project_turned_it_off_is_skipped() {
    let world = World::new();
    world.person("Jane", "Doe", JANE);
    world.lead();
    world.clock.set(minute(8));
    let nowhere = SyncLoop::new(
        world.site.store.clone(),
        world.site.store.clone(),
        Arc::new(Accounts::new(BTreeMap::new(), None, BreakerSettings::default())),
        world.clock.clone(),
        SyncSettings::default(),
    );
    let (_trigger, due) = shutdown::channel();
    assert_eq!(nowhere.pass(&due).await.unwrap(), 1);
    assert_eq!(world.job().status, JobStatus::Pending);
    let project = &world.site.pixel.project;
    let mut without = project.clone();
    without.settings.crm.enabled = false;
    assert!(world.site.store.update_project(project, &without).await.unwrap());
    world.pass_at(20).await;
    assert_eq!((world.job().status, world.updates().len()), (JobStatus::Skipped, 0));
}

#[tokio::test]
async fn two_loops_at_once_tell_each_lead_once() {
    let world = World::new();
    for n in 0..40 {
        let email = format!("p{n}@x.example");
        world.person("P", "Q", &email);
        world.site.submit(1, &format!("cookie-{n}"), &email);
    }
    world.clock.set(minute(8));
    let (_trigger, due) = shutdown::channel();
    let (one, other) = (world.sync(), world.sync());
    let (first, second) = tokio::join!(one.pass(&due), other.pass(&due));
    assert_eq!(first.unwrap() + second.unwrap(), 40);
    let told: BTreeSet<PersonId> = world.updates().into_iter().map(|(person, _)| person).collect();
    assert_eq!((told.len(), world.updates().len()), (40, 40));
}

#[tokio::test]
async fn a_write_of_which_the_crm_takes_nothing_is_an_error_and_says_why() {
    let world = World::new();
    world.person("Jane", "Doe", JANE);
    world.lead();
    let world = World { crm: Arc::new(Refuses(world.sandbox.clone())), ..world };
    world.pass_at(8).await;
    let job = world.job();
    assert_eq!(job.status, JobStatus::Error);
    assert!(job.last_error.unwrap().contains("utm_source (read-only)"));
}

#[tokio::test]
async fn a_crash_at_any_call_loses_nothing_and_repeats_the_same_write_at_most() {
    let mut crashes = 0;
    for call in 0.. {
        let mut reached = false;
        for after in [false, true] {
            let mut world = World::new();
            let jane = world.person("Jane", "Doe", JANE);
            world.lead();
            let mortal = Arc::new(Mortal {
                inner: world.sandbox.clone(),
                crash: Mutex::new(Some(Crash { call, after })),
                calls: AtomicUsize::new(0),
                died: Notify::new(),
            });
            world.crm = mortal.clone();
            tokio::select! {
                _ = world.pass_at(8) => {}
                () = mortal.died.notified() => { reached = true; crashes += 1; }
            }
            *mortal.crash.lock().unwrap() = None;
            // What happens meanwhile must not change a write that may already have been made.
            world.site.visit(9, "cookie-a", "/late", "");
            world.pass_at(20).await;
            assert_eq!(world.job().status, JobStatus::Synced, "call {call}, after {after}");
            assert_eq!(world.field(&jane, "utm_source").as_deref(), Some("google"));
            let updates = world.updates();
            assert!(
                (1..=2).contains(&updates.len()),
                "call {call}, after {after}: {} updates",
                updates.len()
            );
            assert!(updates.windows(2).all(|pair| pair[0] == pair[1]), "call {call}, after {after}");
        }
        if !reached {
            break;
        }
    }
    assert!(crashes >= 8, "only {crashes} crash points were met");
}

#[tokio::test]
async fn a_lost_answer_is_followed_by_the_very_same_write() {
    let world = World::new();
    let jane = world.person("Jane", "Doe", JANE);
    world.lead();
    world.sandbox.lose_answers(1);
    world.pass_at(8).await;
    assert_eq!(world.job().status, JobStatus::Pending);
    world.pass_at(30).await;
    assert_eq!(world.job().status, JobStatus::Synced);
    let updates = world.updates();
    assert_eq!(updates.len(), 2);
    assert_eq!(updates[0], updates[1]);
    assert!(world.sandbox.writes().values().all(|writes| writes.changed == 1));
    assert_eq!(world.job().persons, [jane]);
}

#[tokio::test]
async fn an_older_job_waits_for_a_newer_one_whose_answer_was_lost() {
    let world = World::new();
    world.lead();
    world.pass_at(8).await;
    world.site.visit(19, "cookie-b", "/?utm_source=meta", "");
    world.site.one(20, &site::form("cookie-b", JANE, "J."));
    let jane = world.person("Jane", "Doe", JANE);
    world.sandbox.lose_answers(1);
    world.pass_at(30).await;
    // The older one's second look comes before the newer one is sent again.
    world.pass_at(31).await;
    world.pass_at(60).await;
    let last_sources: Vec<String> = world
        .updates()
        .into_iter()
        .filter_map(|(_person, patch)| {
            patch.get(&FieldKey("last_utm_source".into())).map(|value| format!("{value:?}"))
        })
        .collect();
    assert!(last_sources.iter().all(|source| source.contains("meta")), "{last_sources:?}");
    assert_eq!(world.field(&jane, "last_utm_source").as_deref(), Some("meta"));
    assert!(world.sandbox.writes().values().all(|writes| writes.changed == 1));
    let statuses: BTreeMap<i64, JobStatus> =
        world.site.jobs().into_iter().map(|job| (job.sequence, job.status)).collect();
    assert_eq!(statuses, BTreeMap::from([(1, JobStatus::Superseded), (2, JobStatus::Synced)]));
}

#[tokio::test]
async fn a_store_that_fails_after_the_write_leaves_a_job_that_ends_right() {
    let world = World::new();
    world.person("Jane", "Doe", JANE);
    world.lead();
    let store = world.site.store.clone();
    let cut = Arc::new(CutsStore { inner: world.sandbox.clone(), store: store.clone() });
    let world = World { crm: cut, ..world };
    world.pass_at(8).await;
    store.set_unavailable(false);
    let world = World { crm: Arc::new(world.sandbox.clone()), ..world };
    assert_eq!(world.job().status, JobStatus::Pending);
    world.pass_at(20).await;
    assert_eq!(world.job().status, JobStatus::Synced);
    let updates = world.updates();
    assert!(updates.len() == 2 && updates[0] == updates[1]);
}
