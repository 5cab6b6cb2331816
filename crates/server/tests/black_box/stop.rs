//! Being asked to stop.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, ensure};
use leadtrail_domain::id::{EventId, ProjectId};

use crate::load::{self, Ledger, PIXEL};
use crate::process::{Home, PATIENCE};
use crate::stored::Stored;

const STOP_AT_MOST: Duration = Duration::from_secs(10);

/// L1: whatever the service took before it stopped was answered, and whatever it answered is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_answers_what_was_taken_and_loses_nothing() -> Result<()> {
    let home = Home::new()?;
    let url = home.sqlite();
    let created = home.json(&["project", "create", "--name", "Stop", "--store", &url, "--json"])?;
    let project: ProjectId = created["id"].as_str().unwrap_or_default().parse()?;
    home.json(&[
        "pixel",
        "create",
        "--project",
        "stop",
        "--name",
        "Stop",
        "--id",
        PIXEL,
        "--store",
        &url,
        "--json",
    ])?;
    let mut service = home.start(&["serve", "--bind", "127.0.0.1:0", "--store", &url], &[])?;
    let stored = Stored::open(&url).await?;
    let events = load::events(stored.now(), 20_000);
    let ledger = Ledger::default();
    let address = service.address();
    let ended = std::thread::scope(|scope| {
        let clients = scope.spawn(|| load::send(address, &events, 8, &ledger));
        let is_mid_load = ledger.wait_for_acks(300, PATIENCE);
        let ended = service.terminate();
        ledger.gone.store(true, Ordering::Release);
        ensure!(clients.join().is_ok(), "a client panicked");
        ensure!(is_mid_load, "300 events were not acknowledged in time");
        ended
    });
    let (status, took) = ended?;
    assert_eq!(status.code(), Some(0), "{}", service.log()?);
    assert!(took < STOP_AT_MOST, "{took:?}");

    let promises = ledger.into_promises();
    assert!(promises.acked.len() < events.len(), "it was stopped after the load, not under it");
    assert_eq!(promises.violations, Vec::<String>::new());
    let acked: BTreeSet<EventId> = promises.acked.keys().copied().collect();
    let answered: BTreeSet<EventId> = acked.union(&promises.abandoned).copied().collect();
    let kept: BTreeSet<EventId> =
        stored.events(project).await?.iter().map(|stored| stored.event.id).collect();
    let lost: Vec<&EventId> = acked.difference(&kept).collect();
    assert!(lost.is_empty(), "acknowledged and not stored: {lost:?}");
    let ignored: Vec<&EventId> = kept.difference(&answered).collect();
    assert!(ignored.is_empty(), "taken and not answered: {ignored:?}");
    Ok(())
}
