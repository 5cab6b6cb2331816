//! The suite of [`Conversions`](leadtrail_domain::ports::Conversions).

use leadtrail_domain::conversion::Conversion;
use leadtrail_domain::id::ProjectId;
use leadtrail_domain::ports::{ConversionFilter, StoreError};
use leadtrail_domain::visit::Changes;

use crate::Stores;
use crate::fixtures::{Tenant, Visitor, at};

suite!($ conversions_contract, conversions, Stores,
    "`leadtrail_contract::conversions_contract!(async { Stores::of(store().await) });`", [
    a_conversion_is_kept_as_it_was_committed,
    a_projects_conversions_are_listed_newest_first_page_by_page,
    a_filter_means_the_conversions_that_meet_all_of_it,
    a_span_of_time_has_its_beginning_and_not_its_end,
    an_event_names_as_what_it_counts_on_each_pixel,
    conversions_are_not_shown_to_another_project,
    a_conversion_that_is_there_already_makes_the_commit_stale,
    a_commit_that_is_stale_leaves_no_conversion,
]);

async fn commit(stores: &Stores, changes: &Changes) {
    stores.visits.commit(changes).await.expect("the changes are taken");
}

async fn list(stores: &Stores, project: ProjectId, filter: &ConversionFilter, limit: u32) -> Vec<Conversion> {
    stores.conversions.conversions(project, filter, limit).await.expect("the store answers")
}

async fn all(stores: &Stores, project: ProjectId) -> Vec<Conversion> {
    list(stores, project, &ConversionFilter::default(), 100).await
}

/// A visitor who came in minute 1, signed up in minute 3 and ordered in minutes 4 and 6.
async fn converted(stores: &Stores, tenant: &Tenant) -> Visitor {
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(1)).await;
    commit(stores, &visitor.converts(1, 1, 3, &["signup"])).await;
    commit(stores, &visitor.converts(2, 1, 4, &["order"])).await;
    commit(stores, &visitor.converts(3, 1, 6, &["order"])).await;
    visitor
}

async fn a_conversion_is_kept_as_it_was_committed(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(1)).await;
    let mut changes = visitor.converts(1, 1, 3, &["Angebot „L“ €"]);
    changes.conversions[0].value = Some(-1_234.567_8);
    commit(stores, &changes).await;
    assert_eq!(all(stores, tenant.id()).await, changes.conversions);
}

async fn a_projects_conversions_are_listed_newest_first_page_by_page(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = converted(stores, &tenant).await;
    let expected =
        [(6, "order"), (4, "order"), (3, "signup")].map(|(minute, name)| visitor.conversion(1, minute, name));
    assert_eq!(all(stores, tenant.id()).await, expected);
    let first = list(stores, tenant.id(), &ConversionFilter::default(), 2).await;
    assert_eq!(first, expected[..2]);
    let rest = ConversionFilter { before: Some(first[1].id), ..ConversionFilter::default() };
    assert_eq!(list(stores, tenant.id(), &rest, 2).await, expected[2..]);
}

async fn a_filter_means_the_conversions_that_meet_all_of_it(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = converted(stores, &tenant).await;
    let order = || Some("order".parse().expect("a name"));
    let by_name = ConversionFilter { name: order(), ..ConversionFilter::default() };
    let orders = [6, 4].map(|minute| visitor.conversion(1, minute, "order"));
    assert_eq!(list(stores, tenant.id(), &by_name, 10).await, orders);
    let both = ConversionFilter { name: order(), until: Some(at(5)), ..ConversionFilter::default() };
    assert_eq!(list(stores, tenant.id(), &both, 10).await, orders[1..]);
    let other = ConversionFilter { name: "Order".parse().ok(), ..ConversionFilter::default() };
    assert_eq!(list(stores, tenant.id(), &other, 10).await, []);
}

async fn a_span_of_time_has_its_beginning_and_not_its_end(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = converted(stores, &tenant).await;
    let span = ConversionFilter { since: Some(at(4)), until: Some(at(6)), ..ConversionFilter::default() };
    assert_eq!(list(stores, tenant.id(), &span, 10).await, [visitor.conversion(1, 4, "order")]);
}

async fn an_event_names_as_what_it_counts_on_each_pixel(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let second = tenant.second_pixel(stores).await;
    let (here, there) = (tenant.visitor(1), tenant.visitor(2).on(&second));
    for visitor in [&here, &there] {
        commit(stores, &visitor.arrives(1)).await;
    }
    commit(stores, &here.converts(1, 1, 3, &["order", "thanks"])).await;
    let mut elsewhere = there.converts(1, 1, 3, &["order"]);
    // The same event id, sent to the other pixel.
    elsewhere.events[0].event.id = here.event_id(3);
    elsewhere.conversions[0].event_id = here.event_id(3);
    commit(stores, &elsewhere).await;
    let mut expected = vec![here.conversion(1, 3, "order"), here.conversion(1, 3, "thanks")];
    expected.append(&mut elsewhere.conversions);
    expected.sort_by_key(|conversion| conversion.id);
    let found = stores.conversions.conversions_by_event(tenant.id(), here.event_id(3)).await;
    assert_eq!(found.expect("the store answers"), expected);
    let none = stores.conversions.conversions_by_event(tenant.id(), here.event_id(1)).await;
    assert_eq!(none.expect("the store answers"), []);
}

async fn conversions_are_not_shown_to_another_project(stores: &Stores) {
    let (tenant, other) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let visitor = converted(stores, &tenant).await;
    assert_eq!(all(stores, other.id()).await, []);
    let found = stores.conversions.conversions_by_event(other.id(), visitor.event_id(3)).await;
    assert_eq!(found.expect("the store answers"), []);
}

async fn a_conversion_that_is_there_already_makes_the_commit_stale(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = converted(stores, &tenant).await;
    let mut again = visitor.converts(4, 1, 7, &["order"]);
    again.conversions[0].id = visitor.conversion(1, 6, "order").id;
    let answer = stores.visits.commit(&again).await;
    assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
    assert_eq!(all(stores, tenant.id()).await.len(), 3);
}

async fn a_commit_that_is_stale_leaves_no_conversion(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = converted(stores, &tenant).await;
    let answer = stores.visits.commit(&visitor.converts(3, 1, 7, &["late"])).await;
    assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
    let late = ConversionFilter { name: "late".parse().ok(), ..ConversionFilter::default() };
    assert_eq!(list(stores, tenant.id(), &late, 10).await, []);
}
