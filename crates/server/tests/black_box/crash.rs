//! `kill -9` in the middle of a load, and what the store has then.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result, ensure};
use leadtrail_crm_sandbox::{NewPerson, SandboxCrm};
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{EventId, LeadId, ProjectId};
use leadtrail_domain::sync::{JobStatus, SyncJob};
use serde_json::Value;

use crate::load::{self, Event, Ledger, PIXEL};
use crate::process::{Home, PATIENCE, poll, text};
use crate::stored::Stored;

const EVENTS: usize = 2_000;
/// So many are acknowledged, at least, when the service is killed.
const KILLED_AFTER: usize = 700;
const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_on_sqlite_kept_every_promise_and_keeps_the_rest_after_a_restart() -> Result<()> {
    let home = Home::new()?;
    keeps_every_promise(&home, &home.sqlite()).await
}

#[cfg(feature = "live")]
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_on_postgresql_kept_every_promise_and_keeps_the_rest_after_a_restart() -> Result<()>
{
    let scratch = crate::scratch::Scratch::new()?;
    keeps_every_promise(&Home::new()?, &scratch.url()).await
}

async fn keeps_every_promise(home: &Home, url: &str) -> Result<()> {
    let stored = Stored::open(url).await?;
    let events = load::events(stored.now(), EVENTS);
    let crm_file = home.path("crm.json");
    let crm = people(&crm_file, &events, &stored)?;
    let created = home.json(&["project", "create", "--name", "Crash", "--store", url, "--json"])?;
    let project: ProjectId = created["id"].as_str().context("no id")?.parse()?;
    home.json(&[
        "pixel",
        "create",
        "--project",
        "crash",
        "--name",
        "Crash",
        "--id",
        PIXEL,
        "--store",
        url,
        "--json",
    ])?;

    let mut environment = vec![
        ("LEADTRAIL__CRM__KIND", "sandbox"),
        ("LEADTRAIL__CRM__SANDBOX__FILE", text(&crm_file)?),
        ("LEADTRAIL__SYNC__DELAY", "0s"),
        // The throw-away server of the tests runs with fsync off, which `kill -9` of our own process does not notice.
        ("LEADTRAIL__STORE__ALLOW_RELAXED_DURABILITY", "true"),
    ];
    let serve = ["serve", "--bind", "127.0.0.1:0", "--store", url];

    // Due jobs wait for the restart: what is leased when the service is killed waits for the end of its lease, and
    // these tests for nothing so long.
    environment.push(("LEADTRAIL__SYNC__POLL", "1h"));
    let mut service = home.start(&serve, &environment)?;
    let before = Ledger::default();
    let address = service.address();
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| load::send(address, &events, CLIENTS, &before));
        let is_mid_load = before.wait_for_acks(KILLED_AFTER, PATIENCE);
        let killed = service.kill();
        before.gone.store(true, Ordering::Release);
        ensure!(clients.join().is_ok(), "a client panicked");
        ensure!(is_mid_load, "{KILLED_AFTER} events were not acknowledged in time");
        killed
    })?;
    let before = before.into_promises();
    assert!(before.acked.len() < EVENTS, "it was killed after the load, not in the middle of it");
    assert!(before.broken > 0, "nobody was waiting for an answer when it was killed");
    assert_eq!(before.violations, Vec::<String>::new());
    check_events(&events, &before.acked, &stored.events(project).await?);
    check_jobs(&stored.events(project).await?, &stored.jobs(project).await?);
    let survivors: BTreeSet<EventId> =
        stored.events(project).await?.iter().map(|stored| stored.event.id).collect();

    environment.pop();
    environment.push(("LEADTRAIL__SYNC__POLL", "50ms"));
    let service = home.start(&serve, &environment)?;
    let after = Ledger::default();
    load::send(service.address(), &events, CLIENTS, &after);
    let after = after.into_promises();
    assert_eq!(after.violations, Vec::<String>::new());
    assert_eq!(after.acked.len(), EVENTS);
    assert!(after.duplicates >= survivors.len(), "{} of {}", after.duplicates, survivors.len());
    for (id, answer) in &before.acked {
        assert_eq!(after.acked.get(id), Some(answer), "{id}");
    }
    let everything = stored.events(project).await?;
    assert_eq!(everything.len(), EVENTS);
    check_events(&events, &after.acked, &everything);
    check_jobs(&everything, &stored.jobs(project).await?);

    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking({
        let stored = stored.clone();
        move || {
            poll("the end of every job", || {
                let jobs = runtime.block_on(stored.jobs(project))?;
                Ok(jobs.iter().all(|job| job.status.is_final()).then_some(()))
            })
        }
    })
    .await??;
    for job in stored.jobs(project).await? {
        assert_eq!(job.status, JobStatus::Synced, "{:?}", job.last_error);
    }
    check_people(&crm, &events)
}

/// The CRM's persons, one for each form.
fn people(file: &Path, events: &[Event], stored: &Stored) -> Result<SandboxCrm> {
    let crm = SandboxCrm::at(file)?;
    for email in events.iter().filter_map(|event| event.email.as_ref()) {
        crm.add_person(NewPerson {
            first_name: "Lead".to_owned(),
            last_name: String::new(),
            emails: vec![email.clone()],
            added_at: stored.now(),
        })?;
    }
    Ok(crm)
}

/// I1, I2, I3: what was acknowledged is stored, what is stored was sent, each once, with the ids that were answered.
fn check_events(sent: &[Event], acked: &BTreeMap<EventId, Value>, stored: &[StoredEvent]) {
    let by_id: BTreeMap<EventId, &StoredEvent> =
        stored.iter().map(|stored| (stored.event.id, stored)).collect();
    assert_eq!(by_id.len(), stored.len(), "an event is stored twice");
    let sent: BTreeMap<EventId, &Event> = sent.iter().map(|event| (event.id, event)).collect();
    for (id, answer) in acked {
        let stored = by_id.get(id).unwrap_or_else(|| panic!("{id} was acknowledged and is not stored"));
        assert_eq!(answer["visitor_id"], stored.visitor_id.to_string());
        assert_eq!(answer["session_id"], stored.session_id.to_string());
        assert_eq!(answer["success"], true);
    }
    for (id, stored) in by_id {
        let event = sent.get(&id).unwrap_or_else(|| panic!("{id} is stored and was never sent"));
        assert!(event.is(stored), "{id} is stored as something else: {stored:?}");
    }
}

/// I4: a form's event has its lead's job, and there are no others. Each form here has a person of its own.
fn check_jobs(stored: &[StoredEvent], jobs: &[SyncJob]) {
    let leads: BTreeSet<LeadId> = stored.iter().filter_map(|stored| stored.lead_id).collect();
    let of_jobs: BTreeSet<LeadId> = jobs.iter().map(|job| job.lead_id).collect();
    assert!(!leads.is_empty());
    assert_eq!(of_jobs, leads);
    assert_eq!(jobs.len(), leads.len(), "a lead has two jobs");
}

fn check_people(crm: &SandboxCrm, events: &[Event]) -> Result<()> {
    for event in events {
        let Some(email) = &event.email else { continue };
        let person = crm.person_by_email(email)?.with_context(|| format!("{email} is gone"))?;
        let fields = serde_json::to_value(&person.fields)?;
        assert_eq!(fields["event_id"], event.id.to_string(), "{email}");
        assert_eq!(fields["utm_source"], "ads", "{email}");
        assert_eq!(fields["utm_campaign"], event.campaign.as_str(), "{email}");
    }
    Ok(())
}
