//! The suite of [`Connections`](leadtrail_domain::ports::Connections).

use leadtrail_domain::ports::{SealedConnection, StoreError};

use crate::Stores;
use crate::fixtures::{Tenant, at, project};

suite!($ connections_contract, connections, Stores,
    "`leadtrail_contract::connections_contract!(async { Stores::of(store().await) });`", [
    a_connection_is_found_as_it_was_put,
    a_second_connection_stands_in_place_of_the_first,
    a_removed_connection_is_gone,
    every_project_has_a_connection_of_its_own,
    a_connection_of_no_project_is_rejected,
]);

/// Every byte there is, and as long as a connection may be.
fn connection(tenant: &Tenant, minute: u32) -> SealedConnection {
    let bytes = (0..=u8::MAX).cycle().skip(usize::try_from(minute).unwrap_or(0)).take(16 * 1_024);
    SealedConnection { project_id: tenant.id(), sealed: bytes.collect(), set_at: at(minute) }
}

async fn put(stores: &Stores, connection: &SealedConnection) {
    stores.connections.put_connection(connection).await.expect("the connection is taken");
}

async fn find(stores: &Stores, tenant: &Tenant) -> Option<SealedConnection> {
    stores.connections.connection(tenant.id()).await.expect("the store answers")
}

async fn remove(stores: &Stores, tenant: &Tenant) -> bool {
    stores.connections.remove_connection(tenant.id()).await.expect("the store answers")
}

async fn a_connection_is_found_as_it_was_put(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    assert_eq!(find(stores, &tenant).await, None);
    put(stores, &connection(&tenant, 1)).await;
    assert_eq!(find(stores, &tenant).await, Some(connection(&tenant, 1)));
}

async fn a_second_connection_stands_in_place_of_the_first(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    // The clock may have stepped back: the one put last counts.
    for minute in [2, 1] {
        put(stores, &connection(&tenant, minute)).await;
    }
    assert_eq!(find(stores, &tenant).await, Some(connection(&tenant, 1)));
}

async fn a_removed_connection_is_gone(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    assert!(!remove(stores, &tenant).await);
    put(stores, &connection(&tenant, 1)).await;
    assert!(remove(stores, &tenant).await);
    assert_eq!(find(stores, &tenant).await, None);
    assert!(!remove(stores, &tenant).await);
    put(stores, &connection(&tenant, 2)).await;
    assert_eq!(find(stores, &tenant).await, Some(connection(&tenant, 2)));
}

async fn every_project_has_a_connection_of_its_own(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    put(stores, &connection(&ours, 1)).await;
    assert_eq!(find(stores, &theirs).await, None);
    put(stores, &connection(&theirs, 2)).await;
    assert_eq!(find(stores, &ours).await, Some(connection(&ours, 1)));
    assert!(remove(stores, &theirs).await);
    assert_eq!(find(stores, &ours).await, Some(connection(&ours, 1)));
}

async fn a_connection_of_no_project_is_rejected(stores: &Stores) {
    let lost = SealedConnection { project_id: project(1).id, sealed: vec![1], set_at: at(0) };
    let answer = stores.connections.put_connection(&lost).await;
    assert!(matches!(answer, Err(StoreError::Rejected(_))), "{answer:?}");
    let found = stores.connections.connection(lost.project_id).await;
    assert_eq!(found.expect("the store answers"), None);
}
