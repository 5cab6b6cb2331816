//! The suite of [`Keys`](leadtrail_domain::ports::Keys).

use std::sync::Arc;

use leadtrail_domain::key::{ApiKey, Scope};
use leadtrail_domain::ports::{Page, StoreError};

use crate::Stores;
use crate::fixtures::{Tenant, at, key, project};

suite!($ keys_contract, keys, Stores,
    "`leadtrail_contract::keys_contract!(async { Stores::of(store().await) });`", [
    a_key_is_found_by_its_hash_as_it_was_created,
    a_hash_that_is_stored_already_is_taken,
    a_key_of_no_project_is_rejected,
    a_key_that_does_not_exist_is_not_found,
    a_key_is_found_by_its_id_in_its_project_alone,
    the_first_key_is_created_where_there_is_none,
    of_twelve_concurrent_first_keys_one_is_created,
    keys_are_listed_by_id_in_pages,
    a_projects_keys_are_those_bound_to_it,
    a_revoked_key_keeps_its_first_time,
    a_key_that_does_not_exist_is_not_revoked,
    a_key_is_not_revoked_by_another_project,
    a_key_remembers_when_it_was_used,
]);

/// A key with everything a key can have.
fn particular(tenant: &Tenant, n: u32) -> ApiKey {
    ApiKey {
        name: "Schlüssel \u{1f511}".to_owned(),
        scopes: Scope::ALL.into(),
        project_id: Some(tenant.id()),
        created_at: at(1),
        expires_at: Some(at(2)),
        last_used_at: Some(at(3)),
        revoked_at: Some(at(4)),
        ..key(n)
    }
}

async fn create(stores: &Stores, key: &ApiKey) {
    stores.keys.create_key(key).await.expect("the key is created");
}

async fn find(stores: &Stores, key: &ApiKey) -> Option<ApiKey> {
    stores.keys.key_by_hash(&key.hash).await.expect("the store answers")
}

async fn a_key_is_found_by_its_hash_as_it_was_created(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    for key in [key(1), particular(&tenant, 2)] {
        create(stores, &key).await;
        assert_eq!(find(stores, &key).await, Some(key));
    }
}

async fn a_hash_that_is_stored_already_is_taken(stores: &Stores) {
    create(stores, &key(1)).await;
    let answer = stores.keys.create_key(&ApiKey { hash: key(1).hash, ..key(2) }).await;
    assert!(matches!(answer, Err(StoreError::Taken(_))), "{answer:?}");
    assert_eq!(find(stores, &key(1)).await, Some(key(1)));
}

async fn a_key_of_no_project_is_rejected(stores: &Stores) {
    let lost = ApiKey { project_id: Some(project(1).id), ..key(1) };
    let answer = stores.keys.create_key(&lost).await;
    assert!(matches!(answer, Err(StoreError::Rejected(_))), "{answer:?}");
    assert_eq!(find(stores, &lost).await, None);
}

async fn a_key_that_does_not_exist_is_not_found(stores: &Stores) {
    create(stores, &key(1)).await;
    assert_eq!(find(stores, &key(2)).await, None);
}

async fn a_key_is_found_by_its_id_in_its_project_alone(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let (one, other, unbound) = (particular(&ours, 1), particular(&theirs, 2), key(3));
    for key in [&one, &other, &unbound] {
        create(stores, key).await;
    }
    let all = [&one, &other, &unbound];
    for (project, seen) in
        [(None, all.as_slice()), (Some(ours.id()), &[&one]), (Some(theirs.id()), &[&other])]
    {
        for key in all {
            let found = stores.keys.key(project, key.id).await.expect("the store answers");
            assert_eq!(found.as_ref(), seen.contains(&key).then_some(key));
        }
        assert_eq!(stores.keys.key(project, key(4).id).await.expect("the store answers"), None);
    }
}

async fn the_first_key_is_created_where_there_is_none(stores: &Stores) {
    assert!(stores.keys.create_first_key(&key(1)).await.expect("the store answers"));
    assert_eq!(find(stores, &key(1)).await, Some(key(1)));
    assert!(!stores.keys.create_first_key(&key(2)).await.expect("the store answers"));
    // One that was revoked has been there all the same.
    assert!(stores.keys.revoke_key(None, key(1).id, at(1)).await.expect("the store answers"));
    assert!(!stores.keys.create_first_key(&key(2)).await.expect("the store answers"));
    assert_eq!(find(stores, &key(2)).await, None);
}

async fn of_twelve_concurrent_first_keys_one_is_created(stores: &Stores) {
    let tasks: Vec<_> = (1..=12)
        .map(|n| {
            let keys = Arc::clone(&stores.keys);
            tokio::spawn(async move { keys.create_first_key(&key(n)).await })
        })
        .collect();
    let mut created = 0;
    for answer in futures::future::join_all(tasks).await {
        created += usize::from(answer.expect("no creation panics").expect("the store answers"));
    }
    assert_eq!(created, 1);
    assert_eq!(stores.keys.keys(None, &Page::first(20)).await.expect("the store answers").len(), 1);
}

async fn keys_are_listed_by_id_in_pages(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let mut all = vec![key(3), particular(&tenant, 1), key(5), particular(&tenant, 4), key(2)];
    for key in &all {
        create(stores, key).await;
    }
    all.sort_by_key(|key| key.id);
    for limit in [1, 2, 20] {
        let mut page = Page::first(limit);
        let mut listed = Vec::new();
        loop {
            let found = stores.keys.keys(None, &page).await.expect("the store answers");
            assert!(u32::try_from(found.len()).is_ok_and(|len| len <= limit));
            let Some(last) = found.last() else { break };
            page.after = Some(last.id);
            listed.extend(found);
        }
        assert_eq!(listed, all);
    }
}

async fn a_projects_keys_are_those_bound_to_it(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let (one, other) = (particular(&ours, 1), particular(&theirs, 2));
    for key in [&one, &other, &key(3)] {
        create(stores, key).await;
    }
    let listed = stores.keys.keys(Some(ours.id()), &Page::first(20)).await.expect("the store answers");
    assert_eq!(listed, std::slice::from_ref(&one));
    let after = Page { after: Some(one.id), limit: 20 };
    assert_eq!(stores.keys.keys(Some(ours.id()), &after).await.expect("the store answers"), []);
}

async fn a_revoked_key_keeps_its_first_time(stores: &Stores) {
    create(stores, &key(1)).await;
    create(stores, &key(2)).await;
    for minute in [5, 9] {
        assert!(stores.keys.revoke_key(None, key(1).id, at(minute)).await.expect("the store answers"));
        assert_eq!(find(stores, &key(1)).await.and_then(|key| key.revoked_at), Some(at(5)));
    }
    assert_eq!(find(stores, &key(2)).await, Some(key(2)));
}

async fn a_key_that_does_not_exist_is_not_revoked(stores: &Stores) {
    assert!(!stores.keys.revoke_key(None, key(1).id, at(5)).await.expect("the store answers"));
}

async fn a_key_is_not_revoked_by_another_project(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let bound = ApiKey { revoked_at: None, ..particular(&ours, 1) };
    for key in [&bound, &key(2)] {
        create(stores, key).await;
        let revoked = stores.keys.revoke_key(Some(theirs.id()), key.id, at(5)).await;
        assert!(!revoked.expect("the store answers"));
        assert_eq!(find(stores, key).await.as_ref(), Some(key));
    }
    assert!(stores.keys.revoke_key(Some(ours.id()), bound.id, at(5)).await.expect("the store answers"));
    assert_eq!(find(stores, &bound).await.and_then(|key| key.revoked_at), Some(at(5)));
}

async fn a_key_remembers_when_it_was_used(stores: &Stores) {
    create(stores, &key(1)).await;
    create(stores, &key(2)).await;
    for minute in [5, 9] {
        stores.keys.key_used(key(1).id, at(minute)).await.expect("the store answers");
        let expected = ApiKey { last_used_at: Some(at(minute)), ..key(1) };
        assert_eq!(find(stores, &key(1)).await, Some(expected));
    }
    assert_eq!(find(stores, &key(2)).await, Some(key(2)));
}
