//! The suite of [`Events`](leadtrail_domain::ports::Events).

use std::time::Duration;

use leadtrail_domain::event::{Event, StoredEvent};
use leadtrail_domain::id::{EventId, ProjectId};
use leadtrail_domain::ports::{EventOrder, EventPage, EventPlace};
use leadtrail_domain::visit::Changes;

use crate::Stores;
use crate::fixtures::{Tenant, Visitor, at, unlinked};

suite!($ events_contract, events, Stores,
    "`leadtrail_contract::events_contract!(async { Stores::of(store().await) });`", [
    a_pixels_events_are_read_in_either_order,
    an_event_is_read_as_it_was_stored,
    a_span_holds_its_beginning_and_not_its_end,
    pages_that_end_among_events_of_one_instant_leave_none_out_and_repeat_none,
    a_place_outside_the_span_widens_it_not,
    what_is_stored_meanwhile_is_read_where_its_place_is_still_ahead,
    the_events_of_another_pixel_are_not_among_them,
    a_pixel_of_another_project_has_no_events,
]);

const ORDERS: [EventOrder; 2] = [EventOrder::OldestFirst, EventOrder::NewestFirst];

/// The first page of the minutes from `since` until `until`.
fn page(since: u32, until: u32, order: EventOrder, limit: u32) -> EventPage {
    EventPage { since: at(since), until: at(until), order, after: None, limit }
}

fn place(event: &Event) -> EventPlace {
    (event.occurred_at, event.id)
}

async fn commit(stores: &Stores, changes: &Changes) {
    stores.visits.commit(changes).await.expect("the changes are taken");
}

async fn read(stores: &Stores, project: ProjectId, visitor: &Visitor, page: &EventPage) -> Vec<StoredEvent> {
    stores.events.of_pixel(project, &visitor.pixel_id, page).await.expect("the store answers")
}

fn ids(events: &[StoredEvent]) -> Vec<EventId> {
    events.iter().map(|stored| stored.event.id).collect()
}

/// Page after page until one is empty.
async fn all(stores: &Stores, tenant: &Tenant, first: EventPage) -> Vec<EventId> {
    let (mut page, mut found) = (first, Vec::new());
    loop {
        let events = read(stores, tenant.id(), &tenant.visitor(1), &page).await;
        assert!(events.len() <= usize::try_from(page.limit).unwrap_or(usize::MAX));
        let Some(last) = events.last() else { return found };
        page.after = Some(place(&last.event));
        found.extend(ids(&events));
    }
}

/// The ids in an order, given from the oldest.
fn ordered(mut ids: Vec<EventId>, order: EventOrder) -> Vec<EventId> {
    if order == EventOrder::NewestFirst {
        ids.reverse();
    }
    ids
}

/// A visitor with page views in these minutes, stored in this order.
async fn views(stores: &Stores, visitor: &Visitor, minutes: &[u32]) -> Vec<EventId> {
    let first = *minutes.first().expect("a visitor has a page view");
    commit(stores, &visitor.arrives(first)).await;
    for minute in &minutes[1..] {
        commit(stores, &visitor.views(1, first, *minute)).await;
    }
    minutes.iter().map(|minute| visitor.event_id(*minute)).collect()
}

async fn a_pixels_events_are_read_in_either_order(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    // Neither stored nor numbered in the order of their times.
    let (one, other) = (tenant.visitor(2), tenant.visitor(1));
    views(stores, &one, &[3, 1]).await;
    views(stores, &other, &[2, 4]).await;
    let expected = vec![one.event_id(1), other.event_id(2), one.event_id(3), other.event_id(4)];
    for order in ORDERS {
        for limit in [1, 2, 3, 4, 100] {
            let found = all(stores, &tenant, page(0, 10, order, limit)).await;
            assert_eq!(found, ordered(expected.clone(), order), "{order:?} by {limit}");
        }
    }
    assert_eq!(read(stores, tenant.id(), &one, &page(0, 10, EventOrder::OldestFirst, 0)).await, []);
}

async fn an_event_is_read_as_it_was_stored(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    let mut arrival = visitor.arrives(1);
    arrival.events = vec![visitor.stored(1, visitor.everything(1))];
    commit(stores, &arrival).await;
    let stranger = unlinked(&tenant, 2);
    commit(stores, &stranger).await;
    let expected = [stranger.events, arrival.events].concat();
    assert_eq!(
        read(stores, tenant.id(), &visitor, &page(0, 10, EventOrder::OldestFirst, 10)).await,
        expected
    );
}

async fn a_span_holds_its_beginning_and_not_its_end(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    views(stores, &visitor, &[1, 2, 3, 4]).await;
    for order in ORDERS {
        let inside = ordered(vec![visitor.event_id(2), visitor.event_id(3)], order);
        let found = async |page| ids(&read(stores, tenant.id(), &visitor, &page).await);
        let within = page(2, 4, order, 10);
        assert_eq!(found(within.clone()).await, inside);
        let micro = Duration::from_micros(1);
        let narrower = EventPage { since: at(2).plus(micro), ..within.clone() };
        assert_eq!(found(narrower).await, [visitor.event_id(3)]);
        let wider = EventPage { until: at(4).plus(micro), ..within };
        assert_eq!(found(wider).await.len(), 3);
        for (since, until) in [(2, 2), (4, 2), (5, 9)] {
            assert_eq!(found(page(since, until, order, 10)).await, [], "{since} to {until}");
        }
    }
}

/// Five visitors who come in minute 1, of whom one came before and one goes on.
async fn crowd(stores: &Stores, tenant: &Tenant) -> Vec<EventId> {
    let first = views(stores, &tenant.visitor(9), &[0]).await;
    let mut crowd = Vec::new();
    for n in [3, 1, 5, 2, 4] {
        crowd.extend(views(stores, &tenant.visitor(n), &[1]).await);
    }
    crowd.sort();
    let last = views(stores, &tenant.visitor(8), &[2]).await;
    [first, crowd, last].concat()
}

async fn pages_that_end_among_events_of_one_instant_leave_none_out_and_repeat_none(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let expected = crowd(stores, &tenant).await;
    for order in ORDERS {
        for limit in 1..=8 {
            let found = all(stores, &tenant, page(0, 10, order, limit)).await;
            assert_eq!(found, ordered(expected.clone(), order), "{order:?} by {limit}");
        }
    }
}

async fn a_place_outside_the_span_widens_it_not(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    let all = views(stores, &visitor, &[1, 2, 3, 4]).await;
    let inside = [all[1], all[2]];
    for (order, before, behind) in [(EventOrder::OldestFirst, 0, 3), (EventOrder::NewestFirst, 3, 0)] {
        let within = page(2, 4, order, 10);
        let from = |place: usize| EventPage {
            after: Some((at(u32::try_from(place).unwrap_or(0) + 1), all[place])),
            ..within.clone()
        };
        let found = ids(&read(stores, tenant.id(), &visitor, &from(before)).await);
        assert_eq!(found, ordered(inside.to_vec(), order), "{order:?} from before");
        let found = ids(&read(stores, tenant.id(), &visitor, &from(behind)).await);
        assert_eq!(found, [], "{order:?} from behind");
    }
}

async fn what_is_stored_meanwhile_is_read_where_its_place_is_still_ahead(stores: &Stores) {
    let cases =
        [(1, EventOrder::OldestFirst, [5, 25], [25, 30]), (2, EventOrder::NewestFirst, [35, 15], [15, 10])];
    for (n, order, meanwhile, ahead) in cases {
        let tenant = Tenant::create(stores, n).await;
        let visitor = tenant.visitor(1);
        views(stores, &visitor, &[10, 20, 30]).await;
        let first = page(0, 60, order, 2);
        let so_far = read(stores, tenant.id(), &visitor, &first).await;
        for minute in meanwhile {
            commit(stores, &visitor.views(1, 10, minute)).await;
        }
        let after = so_far.last().map(|last| place(&last.event));
        let rest = ids(&read(stores, tenant.id(), &visitor, &EventPage { after, ..first }).await);
        assert_eq!(rest, ahead.map(|minute| visitor.event_id(minute)), "{order:?}");
    }
}

async fn the_events_of_another_pixel_are_not_among_them(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    views(stores, &visitor, &[1]).await;
    let second = tenant.second_pixel(stores).await;
    let there = visitor.on(&second);
    let mut visit = there.views(1, 1, 2);
    // The session is the first pixel's.
    visit.events[0].session_id = visitor.session_id(1);
    commit(stores, &visit).await;
    for order in ORDERS {
        let all = page(0, 10, order, 10);
        assert_eq!(ids(&read(stores, tenant.id(), &visitor, &all).await), [visitor.event_id(1)]);
        assert_eq!(ids(&read(stores, tenant.id(), &there, &all).await), [visitor.event_id(2)]);
    }
}

async fn a_pixel_of_another_project_has_no_events(stores: &Stores) {
    let (tenant, other) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let visitor = tenant.visitor(1);
    views(stores, &visitor, &[1, 2]).await;
    for order in ORDERS {
        assert_eq!(read(stores, other.id(), &visitor, &page(0, 10, order, 10)).await, []);
        assert_eq!(read(stores, other.id(), &other.visitor(1), &page(0, 10, order, 10)).await, []);
    }
}
