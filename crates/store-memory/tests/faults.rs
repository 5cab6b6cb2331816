//! A store that fails on demand.

use std::sync::Arc;

use leadtrail_contract::Stores;
use leadtrail_contract::fixtures::{Tenant, at};
use leadtrail_domain::ports::{Clock, Maintenance, StoreError};
use leadtrail_store_memory::{ManualClock, MemoryStore};

#[tokio::test]
async fn an_unavailable_store_does_nothing_until_it_is_back() {
    let store = Arc::new(MemoryStore::new());
    let stores = Stores::of(Arc::clone(&store));
    let tenant = Tenant::create(&stores, 1).await;
    store.set_unavailable(true);
    assert!(matches!(store.ping().await, Err(StoreError::Transient(_))));
    let arrival = tenant.visitor(1).arrives(0);
    assert!(matches!(stores.visits.commit(&arrival).await, Err(StoreError::Transient(_))));
    store.set_unavailable(false);
    assert_eq!(stores.visits.events(tenant.id(), None, 10).await.unwrap(), []);
    stores.visits.commit(&arrival).await.unwrap();
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_was_made() {
    let store = Arc::new(MemoryStore::new());
    let stores = Stores::of(Arc::clone(&store));
    let tenant = Tenant::create(&stores, 1).await;
    store.set_answers_lost(true);
    let arrival = tenant.visitor(1).arrives(0);
    assert!(matches!(stores.visits.commit(&arrival).await, Err(StoreError::Transient(_))));
    assert!(matches!(stores.visits.commit(&arrival).await, Err(StoreError::Stale)));
    assert_eq!(stores.visits.events(tenant.id(), None, 10).await.unwrap(), arrival.events);
}

#[test]
fn a_manual_clock_moves_only_when_it_is_told_to() {
    let clock = ManualClock::new(at(0));
    assert_eq!(clock.now(), at(0));
    clock.advance(std::time::Duration::from_mins(1));
    assert_eq!(clock.now(), at(1));
    clock.set(at(0));
    assert_eq!(clock.now(), at(0));
}

#[test]
fn the_stores_own_clock_is_the_machines() {
    let store = MemoryStore::new();
    let (before, after) = (store.now(), store.now());
    assert!(before <= after && before > at(0));
}
