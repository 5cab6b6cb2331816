use std::collections::BTreeMap;

use leadtrail_domain::crm::{FieldKey, FieldValue, PersonId};
use leadtrail_domain::ports::{LedgerEntry, Updates};
use leadtrail_domain::project::default_account;
use leadtrail_domain::sync::{JobStatus, NextStep, PlannedWrite};

use super::{JANE, claim_one, commit, due, put_off, settle, synced, visitor_with_job};
use crate::Stores;
use crate::fixtures::{SYNC_DELAY_MINUTES, Tenant, Visitor, at, email, write};

async fn updates(stores: &Stores, tenant: &Tenant, address: &str, minute: u32) -> Updates {
    let hash = email(address).hash();
    stores.sync_jobs.updates_since(tenant.id(), &hash, at(minute)).await.expect("the store answers")
}

/// The form of that minute is told to the CRM when it is due.
async fn writes(stores: &Stores, visitor: &Visitor, minute: u32, address: &str, written: &PlannedWrite) {
    commit(stores, &visitor.submits(1, 0, minute, address, i64::from(minute))).await;
    let lease = claim_one(stores, due(minute)).await.lease;
    settle(stores, &lease, minute + SYNC_DELAY_MINUTES, synced(written)).await;
}

pub(super) async fn what_a_job_wrote_is_listed_with_what_was_there_before(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let jobs = &stores.sync_jobs;
    let id = visitor.job_id(1);
    assert_eq!(jobs.writes(tenant.id(), id).await.expect("the store answers"), []);
    let key = |key: &str| FieldKey(key.to_owned());
    let values = [
        FieldValue::Null,
        FieldValue::Number(0.1),
        FieldValue::Text("größe \u{1f6d2}".to_owned()),
        FieldValue::Choice("17".to_owned()),
    ];
    let one = PlannedWrite {
        person: PersonId("person-1".to_owned()),
        patch: ["d", "c", "b", "A"].map(key).into_iter().zip(values.clone()).collect(),
        // What was there in a field that was not written is not of interest.
        before: BTreeMap::from([
            (key("b"), values[1].clone()),
            (key("d"), values[3].clone()),
            (key("x"), values[1].clone()),
        ]),
    };
    let other = write("Person-2", &["b"]);
    let lease = claim_one(stores, due(1)).await.lease;
    let next = NextStep::End {
        status: JobStatus::Synced,
        persons: vec![one.person.clone(), other.person.clone()],
        written: vec![one.clone(), other.clone()],
    };
    settle(stores, &lease, 10, next).await;
    let entry = |minute, write: &PlannedWrite, field: &str| LedgerEntry {
        at: at(minute),
        account: default_account(),
        person: write.person.clone(),
        field: key(field),
        before: write.before.get(&key(field)).cloned(),
        after: write.patch[&key(field)].clone(),
    };
    let mut expected = vec![
        entry(10, &other, "b"),
        entry(10, &one, "A"),
        entry(10, &one, "b"),
        entry(10, &one, "c"),
        entry(10, &one, "d"),
    ];
    assert_eq!(jobs.writes(tenant.id(), id).await.expect("the store answers"), expected);

    // Replayed, it may write again; what it wrote before stays.
    let action = leadtrail_domain::ports::JobAction::Replay;
    assert!(jobs.act(tenant.id(), id, action, at(20), "again").await.expect("the store answers"));
    let lease = claim_one(stores, at(20)).await.lease;
    let again = write("person-1", &["a"]);
    settle(stores, &lease, 21, synced(&again)).await;
    expected.push(entry(21, &again, "a"));
    assert_eq!(jobs.writes(tenant.id(), id).await.expect("the store answers"), expected);

    let theirs = Tenant::create(stores, 2).await;
    assert_eq!(jobs.writes(theirs.id(), id).await.expect("the store answers"), []);
    writes(stores, &visitor, 30, "joan@example.com", &write("person-3", &["a"])).await;
    assert_eq!(jobs.writes(tenant.id(), id).await.expect("the store answers"), expected);
}

pub(super) async fn updates_are_counted_by_job_and_from_an_instant_on(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let (visitor, other) = (ours.visitor(1), theirs.visitor(1));
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &other.arrives(0)).await;
    assert_eq!(updates(stores, &ours, JANE, 0).await, Updates::default());
    // Due, and written, seven minutes later: 8, 28 and 48.
    for minute in [1, 21, 41] {
        writes(stores, &visitor, minute, JANE, &write("person-1", &["a", "b", "c"])).await;
    }
    // The same person of the CRM, but another e-mail; the same e-mail, but another project.
    writes(stores, &visitor, 50, "joan@example.com", &write("person-1", &["a"])).await;
    writes(stores, &other, 50, JANE, &write("person-1", &["a"])).await;
    for (since, count, oldest) in
        [(0, 3, Some(8)), (8, 3, Some(8)), (9, 2, Some(28)), (48, 1, Some(48)), (49, 0, None)]
    {
        let expected = Updates { count, oldest_at: oldest.map(at) };
        assert_eq!(updates(stores, &ours, JANE, since).await, expected, "since minute {since}");
    }
    assert_eq!(updates(stores, &theirs, JANE, 0).await, Updates { count: 1, oldest_at: Some(at(57)) });
}

pub(super) async fn only_what_was_recorded_counts_as_an_update(stores: &Stores) {
    let (tenant, visitor) = visitor_with_job(stores).await;
    let lease = claim_one(stores, due(1)).await.lease;
    stores.sync_jobs.plan(&lease, &write("person-1", &["a"])).await.expect("the lease counts");
    settle(stores, &lease, 8, put_off(30, 0)).await;
    assert_eq!(updates(stores, &tenant, JANE, 0).await, Updates::default());
    let lease = claim_one(stores, at(30)).await.lease;
    settle(stores, &lease, 30, synced(&write("person-1", &[]))).await;
    assert_eq!(updates(stores, &tenant, JANE, 0).await, Updates::default());
    // Two persons of one job are one update.
    commit(stores, &visitor.submits(1, 0, 40, JANE, 2)).await;
    let lease = claim_one(stores, due(40)).await.lease;
    let next = NextStep::End {
        status: JobStatus::Synced,
        persons: Vec::new(),
        written: vec![write("person-1", &["a"]), write("person-2", &["a"])],
    };
    settle(stores, &lease, 50, next).await;
    assert_eq!(updates(stores, &tenant, JANE, 0).await, Updates { count: 1, oldest_at: Some(at(50)) });
}
