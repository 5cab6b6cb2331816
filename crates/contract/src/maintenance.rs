//! The suite of [`Maintenance`](leadtrail_domain::ports::Maintenance).

use std::time::Duration;

use leadtrail_domain::ports::{Durability, StoreError};
use leadtrail_domain::visit::Changes;

use crate::Stores;
use crate::fixtures::{Tenant, at, event_id_dated, event_query};

suite!($ maintenance_contract, maintenance, Stores,
    "`leadtrail_contract::maintenance_contract!(async { Stores::of(store().await) });`", [
    an_open_store_answers,
    a_store_says_how_durable_it_is,
    upkeep_may_be_repeated_and_its_clock_may_step_back,
    what_was_stored_before_upkeep_is_kept,
]);

async fn an_open_store_answers(stores: &Stores) {
    stores.maintenance.ping().await.expect("the store answers");
}

async fn a_store_says_how_durable_it_is(stores: &Stores) {
    let durability = stores.maintenance.durability().await.expect("the store answers");
    if let Durability::Relaxed(reasons) = &durability {
        assert!(!reasons.is_empty() && reasons.iter().all(|reason| !reason.is_empty()), "no reason is given");
    }
    assert_eq!(stores.maintenance.durability().await.expect("the store answers"), durability);
}

async fn upkeep_may_be_repeated_and_its_clock_may_step_back(stores: &Stores) {
    let day = Duration::from_hours(24);
    for days in [0, 0, 40, 400, 0] {
        stores.maintenance.upkeep(at(0).plus(day * days)).await.expect("the store answers");
    }
    let tenant = Tenant::create(stores, 1).await;
    stores.visits.commit(&tenant.visitor(1).arrives(0)).await.expect("the changes are taken");
}

async fn what_was_stored_before_upkeep_is_kept(stores: &Stores) {
    const MONTH_MS: u64 = 30 * 24 * 3_600_000;
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    let mut changes = visitor.arrives(0);
    // Dated by clients whose clocks run months ahead of the store's, before anything was prepared for them.
    for (months, minute) in [1, 2, 3, 14].into_iter().zip(1..) {
        let mut event = visitor.pageview(minute);
        event.id = event_id_dated(u64::try_from(at(0).millis()).expect("fits") + months * MONTH_MS, minute);
        changes.events.push(visitor.stored(0, event));
    }
    stores.visits.commit(&changes).await.expect("the changes are taken");
    for months in [0, 1, 2, 3, 14] {
        let now = at(0).plus(Duration::from_millis(months * MONTH_MS));
        stores.maintenance.upkeep(now).await.expect("the store answers");
        let listed = stores.visits.events(tenant.id(), None, 100).await.expect("the store answers");
        assert_eq!(listed.len(), changes.events.len());
        for stored in &changes.events {
            let event = &stored.event;
            let found = stores.visits.event(tenant.id(), &event.pixel_id, event.id).await.expect("answers");
            assert_eq!(found.as_ref(), Some(stored));
            let known =
                stores.visits.load(&event_query((event.pixel_id.clone(), event.id))).await.expect("answers");
            assert_eq!(known.events.len(), 1);
            let again = Changes {
                events: vec![stored.clone()],
                assumed: vec![visitor.assumed(1)],
                ..Changes::default()
            };
            let answer = stores.visits.commit(&again).await;
            assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
        }
    }
}
