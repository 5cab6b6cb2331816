//! The suite of [`Visits`](leadtrail_domain::ports::Visits).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use leadtrail_domain::event::{Event, EventKind, Prop, StoredEvent, VisitorName};
use leadtrail_domain::id::{EventId, PixelId};
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::project::default_account;
use leadtrail_domain::touch::{Attribution, Touch};
use leadtrail_domain::visit::{
    Answer, AssumedVisitor, Changes, Freshness, Identity, KnownPerson, KnownSession, KnownSubmission,
    KnownVisitor, NewSubmission, SESSIONS_KNOWN_MAX, TOUCHES_KNOWN_MAX, VisitQuery, WaitingJob,
    WidenedSession,
};

use crate::Stores;
use crate::fixtures::{
    Tenant, Visitor, at, email, event_id_dated, event_query, event_sync, person_query, pixel, slug, unlinked,
    unlinked_form,
};

suite!($ visits_contract, visits, Stores,
    "`leadtrail_contract::visits_contract!(async { Stores::of(store().await) });`", [
    an_empty_store_knows_nothing,
    an_event_with_nothing_optional_is_read_as_it_was_written,
    an_event_with_everything_is_read_as_it_was_written,
    every_kind_of_event_is_read_as_it_was_written,
    addresses_of_both_versions_are_read_as_they_were_written,
    numbers_are_read_as_they_were_written,
    two_kibibytes_of_properties_are_read_as_they_were_written,
    an_event_of_nobody_is_read_as_it_was_written,
    an_event_is_answered_again_as_it_was_answered,
    an_event_of_nobody_is_answered_without_ids,
    an_event_is_not_shown_to_another_project,
    the_same_id_on_two_pixels_is_two_events,
    the_same_id_at_the_same_time_on_two_pixels_is_two_touches_and_sessions,
    an_undated_event_is_stored_once,
    events_dated_far_from_now_are_stored_once,
    events_are_listed_in_order_and_completely,
    events_of_another_project_are_not_listed,
    a_list_of_no_events_is_empty,
    a_first_visit_is_known_afterwards,
    nobody_can_be_asked_for_by_name,
    the_same_cookie_in_two_projects_is_two_visitors,
    the_version_grows_with_what_advances_only,
    a_session_lasts_until_its_latest_event,
    a_late_event_does_not_shorten_its_session,
    a_widened_session_begins_earlier,
    a_session_that_ended_may_be_left_out_but_the_latest_is_kept,
    of_many_sessions_the_latest_are_known,
    sessions_are_known_by_their_start,
    of_many_touches_the_latest_and_both_firsts_are_known,
    touches_are_read_as_they_were_written,
    a_stored_event_makes_the_commit_stale,
    what_is_written_twice_makes_the_commit_stale,
    a_known_cookie_makes_the_commit_stale,
    an_older_version_makes_the_commit_stale,
    a_newer_version_makes_the_commit_stale,
    a_visitor_that_does_not_exist_makes_the_commit_stale,
    a_later_event_makes_a_new_session_stale,
    the_event_that_was_known_does_not_make_a_new_session_stale,
    a_recorded_submission_makes_the_commit_stale,
    a_taken_sequence_makes_the_commit_stale,
    a_joined_job_that_does_not_exist_makes_the_commit_stale,
    a_joined_job_of_another_project_makes_the_commit_stale,
    a_submission_is_known_by_the_latest_that_made_a_lead,
    a_person_is_known_by_all_its_visitors,
    of_a_persons_many_touches_the_latest_and_both_firsts_are_known,
    a_person_is_unknown_to_another_project,
    a_persons_waiting_job_is_the_latest,
    a_waiting_job_tells_where_it_goes,
    a_person_nobody_recognised_is_known_by_its_job,
    an_identity_may_be_given_again,
    a_lead_without_a_crm_makes_no_job,
    one_commit_carries_several_visitors,
    one_load_answers_everything_at_once,
    a_hundred_concurrent_commits_of_one_event_store_it_once,
    of_twelve_concurrent_first_events_of_a_visitor_one_is_taken,
    of_twelve_concurrent_new_sessions_one_is_taken,
    concurrent_commits_of_different_visitors_are_all_taken,
]);

async fn commit(stores: &Stores, changes: &Changes) {
    stores.visits.commit(changes).await.expect("the changes are taken");
}

async fn load(stores: &Stores, query: &VisitQuery) -> leadtrail_domain::visit::Known {
    stores.visits.load(query).await.expect("the store answers")
}

async fn known(stores: &Stores, visitor: &Visitor) -> Option<Arc<KnownVisitor>> {
    load(stores, &visitor.query(Freshness::Current)).await.visitors.remove(&visitor.key())
}

async fn known_well(stores: &Stores, visitor: &Visitor) -> Arc<KnownVisitor> {
    known(stores, visitor).await.expect("the visitor is known")
}

async fn person(stores: &Stores, tenant: &Tenant, address: &str) -> Option<KnownPerson> {
    let key = (tenant.id(), email(address).hash());
    load(stores, &person_query(key)).await.people.remove(&key)
}

async fn read(stores: &Stores, event: &Event) -> Option<StoredEvent> {
    stores.visits.event(event.project_id, &event.pixel_id, event.id).await.expect("the store answers")
}

/// Commits `changes` together with the first visit of somebody else, and sees that neither happened.
async fn assert_stale(stores: &Stores, tenant: &Tenant, mut changes: Changes) {
    let bystander = tenant.visitor(77);
    let arrival = bystander.arrives(500);
    changes.events.splice(0..0, arrival.events.clone());
    changes.visitors.splice(0..0, arrival.visitors);
    changes.sessions.splice(0..0, arrival.sessions);
    changes.touches.splice(0..0, arrival.touches);
    let before = all_events(stores, tenant).await;

    let answer = stores.visits.commit(&changes).await;

    assert!(matches!(answer, Err(StoreError::Stale)), "{answer:?}");
    assert_eq!(all_events(stores, tenant).await, before);
    assert_eq!(known(stores, &bystander).await, None);
    let asked = event_query(bystander.event_key(500));
    assert_eq!(load(stores, &asked).await.events, BTreeMap::new());
}

async fn all_events(stores: &Stores, tenant: &Tenant) -> Vec<StoredEvent> {
    stores.visits.events(tenant.id(), None, 1_000).await.expect("the store answers")
}

async fn assert_round_trip(stores: &Stores, tenant: &Tenant, changes: &Changes, event: &StoredEvent) {
    commit(stores, changes).await;
    assert_eq!(read(stores, &event.event).await.as_ref(), Some(event));
    assert!(all_events(stores, tenant).await.contains(event));
}

/// A first visit whose event is `event`.
fn arrival_with(visitor: &Visitor, event: Event) -> Changes {
    Changes { events: vec![visitor.stored(0, event)], ..visitor.arrives(0) }
}

async fn an_empty_store_knows_nothing(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    let query = VisitQuery {
        events: BTreeSet::from([visitor.event_key(0)]),
        visitors: BTreeMap::from([(visitor.key(), Freshness::Current)]),
        submissions: BTreeSet::from([visitor.submission_key(0, "jane@example.com")]),
        people: BTreeSet::from([(tenant.id(), email("jane@example.com").hash())]),
        sessions_since: Some(at(0)),
    };
    assert_eq!(load(stores, &query).await, leadtrail_domain::visit::Known::default());
    assert_eq!(load(stores, &VisitQuery::default()).await, leadtrail_domain::visit::Known::default());
    assert_eq!(read(stores, &visitor.pageview(0)).await, None);
    commit(stores, &Changes::default()).await;
}

async fn an_event_with_nothing_optional_is_read_as_it_was_written(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let changes = tenant.visitor(1).arrives(0);
    assert_round_trip(stores, &tenant, &changes, &changes.events[0]).await;
}

async fn an_event_with_everything_is_read_as_it_was_written(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    let mut changes = visitor.arrives(0);
    changes.events = vec![StoredEvent {
        lead_id: Some(visitor.lead_id(0)),
        sync: event_sync(),
        ..visitor.stored(0, visitor.everything(0))
    }];
    changes.leads = vec![visitor.lead(0, 0, "jane@example.com", None)];
    assert_round_trip(stores, &tenant, &changes, &changes.events[0]).await;
}

async fn every_kind_of_event_is_read_as_it_was_written(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    let kinds = [
        EventKind::Pageview,
        EventKind::FormSubmit,
        EventKind::Identify,
        EventKind::Consent,
        EventKind::Custom("Größe gewählt".to_owned()),
        EventKind::Custom("ж".repeat(64)),
    ];
    for (kind, minute) in kinds.into_iter().zip(1..) {
        let mut changes = visitor.views(1, 0, minute);
        changes.events[0].event.kind = kind;
        assert_round_trip(stores, &tenant, &changes, &changes.events[0]).await;
    }
}

async fn addresses_of_both_versions_are_read_as_they_were_written(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    for (address, minute) in
        ["203.0.113.255", "0.0.0.0", "2001:db8::1", "::", "::ffff:192.0.2.1"].into_iter().zip(1..)
    {
        let mut changes = visitor.views(1, 0, minute);
        changes.events[0].event.client.ip = Some(address.parse::<IpAddr>().expect("an address"));
        assert_round_trip(stores, &tenant, &changes, &changes.events[0]).await;
    }
}

async fn numbers_are_read_as_they_were_written(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    let numbers =
        [0.0, -0.01, 0.1 + 0.2, 1e300, -1e-300, 9_007_199_254_740_993.0, f64::MIN, f64::MIN_POSITIVE];
    for (number, minute) in numbers.into_iter().zip(1..) {
        let mut changes = visitor.views(1, 0, minute);
        changes.events[0].event.value = Some(number);
        changes.events[0].event.props = BTreeMap::from([("n".to_owned(), Prop::Number(number))]);
        assert_round_trip(stores, &tenant, &changes, &changes.events[0]).await;
    }
}

async fn two_kibibytes_of_properties_are_read_as_they_were_written(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    let mut event = visitor.pageview(0);
    event.props = (0..4).map(|n| (format!("größe-{n}"), Prop::Text("ж".repeat(250)))).collect();
    event.page_url = format!("https://shop.example/?q={}", "ж".repeat(2_000));
    event.page_title = Some("\u{1f6d2}".repeat(1_000));
    let changes = arrival_with(&visitor, event);
    assert_round_trip(stores, &tenant, &changes, &changes.events[0]).await;
}

async fn an_event_of_nobody_is_read_as_it_was_written(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let changes = unlinked(&tenant, 1);
    assert_eq!(changes.events[0].event.visitor, VisitorName::Unlinked);
    assert_round_trip(stores, &tenant, &changes, &changes.events[0]).await;
    let another = unlinked(&tenant, 2);
    assert_round_trip(stores, &tenant, &another, &another.events[0]).await;
}

async fn an_event_is_answered_again_as_it_was_answered(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.views(1, 0, 1)).await;
    commit(stores, &visitor.returns(1, 1, 60)).await;
    let answer = |minute, opened, attribution| Answer {
        event_id: visitor.event_id(minute),
        visitor_id: Some(visitor.id),
        session_id: Some(visitor.session_id(opened)),
        visitor_cookie: Some(visitor.cookie.clone()),
        attribution,
        duplicate: true,
    };
    let news = Attribution {
        source: Some("news".to_owned()),
        medium: Some("e-mail".to_owned()),
        campaign: Some("spring".to_owned()),
        channel: Some("Email".to_owned()),
    };
    let query = VisitQuery {
        events: [0, 1, 2, 60].map(|minute| visitor.event_key(minute)).into(),
        ..VisitQuery::default()
    };
    let expected = BTreeMap::from([
        (visitor.event_key(0), answer(0, 0, news.clone())),
        (visitor.event_key(1), answer(1, 0, news)),
        (visitor.event_key(60), answer(60, 60, Attribution::default())),
    ]);
    assert_eq!(load(stores, &query).await.events, expected);
}

async fn an_event_of_nobody_is_answered_without_ids(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    commit(stores, &unlinked(&tenant, 1)).await;
    let key = tenant.visitor(1).event_key(0);
    let expected = Answer {
        event_id: key.1,
        visitor_id: None,
        session_id: None,
        visitor_cookie: None,
        attribution: Attribution::default(),
        duplicate: true,
    };
    assert_eq!(load(stores, &event_query(key.clone())).await.events, BTreeMap::from([(key, expected)]));
}

async fn an_event_is_not_shown_to_another_project(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let changes = ours.visitor(1).arrives(0);
    commit(stores, &changes).await;
    let event = &changes.events[0].event;
    let answer = stores.visits.event(theirs.id(), &event.pixel_id, event.id).await;
    assert_eq!(answer.expect("the store answers"), None);
}

async fn the_same_id_on_two_pixels_is_two_events(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let second = tenant.second_pixel(stores).await;
    let visitor = tenant.visitor(1);
    let first = visitor.arrives(0);
    commit(stores, &first).await;
    let mut twin = visitor.views(1, 0, 1);
    twin.events[0].event.id = visitor.event_id(0);
    twin.events[0].event.pixel_id = second.id.clone();
    assert_round_trip(stores, &tenant, &twin, &twin.events[0]).await;
    assert_eq!(read(stores, &first.events[0].event).await.as_ref(), Some(&first.events[0]));
    let query = VisitQuery {
        events: BTreeSet::from([visitor.event_key(0), (second.id, visitor.event_id(0))]),
        ..VisitQuery::default()
    };
    assert_eq!(load(stores, &query).await.events.len(), 2);
}

async fn the_same_id_at_the_same_time_on_two_pixels_is_two_touches_and_sessions(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let here = tenant.visitor(1);
    let there = here.on(&tenant.second_pixel(stores).await);
    commit(stores, &here.arrives(0)).await;
    let touch = there.touch(0, 0, Some("shop"));
    let twin = Changes {
        events: vec![there.stored(0, there.pageview(0))],
        assumed: vec![AssumedVisitor { advances: true, ..there.assumed(1) }],
        sessions: vec![there.new_session(0, Some("shop"))],
        touches: vec![there.new_touch(&touch)],
        ..Changes::default()
    };
    commit(stores, &twin).await;
    let known = known_well(stores, &here).await;
    assert_eq!(known.touches, [here.touch(0, 0, Some("news")), touch]);
    let mut expected = [here.session_id(0), there.session_id(0)];
    expected.sort();
    assert_eq!(known.sessions.iter().map(|session| session.id).collect::<Vec<_>>(), expected);
    let query = VisitQuery {
        events: BTreeSet::from([here.event_key(0), there.event_key(0)]),
        ..VisitQuery::default()
    };
    let answers = load(stores, &query).await.events;
    for (visitor, source) in [(&here, "news"), (&there, "shop")] {
        let answer = &answers[&visitor.event_key(0)];
        assert_eq!(answer.session_id, Some(visitor.session_id(0)));
        assert_eq!(answer.attribution.source.as_deref(), Some(source));
    }
    // The person behind both has both.
    commit(stores, &here.enquires(2, 0, 1, "jane@example.com")).await;
    let jane = person(stores, &tenant, "jane@example.com").await.expect("the person is known");
    assert_eq!(jane.touches, known.touches);
}

/// Stores an event with that id and sees that it is found, answered, and refused when it comes again.
async fn assert_stored_once(stores: &Stores, tenant: &Tenant, visitor: &Visitor, minute: u32, id: EventId) {
    let mut changes = visitor.views(1, 0, minute);
    changes.events[0].event.id = id;
    assert_round_trip(stores, tenant, &changes, &changes.events[0]).await;
    let query = event_query((visitor.pixel_id.clone(), id));
    assert_eq!(load(stores, &query).await.events.len(), 1, "{id}");
    assert_stale(stores, tenant, changes).await;
}

async fn an_undated_event_is_stored_once(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    assert_stored_once(stores, &tenant, &visitor, 1, EventId::of_text("order-17")).await;
    assert_stored_once(stores, &tenant, &visitor, 2, EventId::of_text("")).await;
}

async fn events_dated_far_from_now_are_stored_once(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    // 1970-01-01, 2021-02-03, 2099-07-08, 2100-01-01 and the year 10889.
    for (millis, minute) in
        [0, 1_612_310_400_000, 4_087_152_000_000, 4_102_444_800_000, (1 << 48) - 1].into_iter().zip(1..)
    {
        assert_stored_once(stores, &tenant, &visitor, minute, event_id_dated(millis, 1)).await;
    }
}

/// Pixels whose ids are ordered by bytes and not as any language orders them.
const PIXELS: [&str; 5] = ["-x", "B", "_", "a", "b"];

async fn events_are_listed_in_order_and_completely(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    let mut expected = vec![visitor.event_key(0)];
    for id in PIXELS {
        let pixel = pixel(tenant.id(), id);
        stores.projects.create_pixel(&pixel).await.expect("the pixel is created");
        let mut changes = Changes { assumed: vec![visitor.assumed(1)], ..Changes::default() };
        let ids =
            [visitor.event_id(3), visitor.event_id(1), event_id_dated(0, 7), EventId::of_text("undated")];
        for (id, minute) in ids.into_iter().zip(1..) {
            let event = Event { id, pixel_id: pixel.id.clone(), ..visitor.pageview(minute) };
            changes.events.push(visitor.stored(0, event));
            expected.push((pixel.id.clone(), id));
        }
        commit(stores, &changes).await;
    }
    let mut expected: Vec<(EventId, PixelId)> = expected.into_iter().map(|(pixel, id)| (id, pixel)).collect();
    expected.sort();
    for limit in [1, 2, 3, 7, 100] {
        let mut listed = Vec::new();
        loop {
            let page =
                stores.visits.events(tenant.id(), listed.last().cloned(), limit).await.expect("answers");
            assert!(u32::try_from(page.len()).is_ok_and(|len| len <= limit));
            if page.is_empty() {
                break;
            }
            listed.extend(page.into_iter().map(|stored| (stored.event.id, stored.event.pixel_id)));
        }
        assert_eq!(listed, expected, "in pages of {limit}");
    }
}

async fn events_of_another_project_are_not_listed(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let (one, other) = (ours.visitor(1).arrives(0), theirs.visitor(2).arrives(0));
    commit(stores, &one).await;
    commit(stores, &other).await;
    assert_eq!(all_events(stores, &ours).await, one.events);
    assert_eq!(all_events(stores, &theirs).await, other.events);
    let after_ours = Some((one.events[0].event.id, one.events[0].event.pixel_id.clone()));
    let page = stores.visits.events(ours.id(), after_ours, 10).await;
    assert_eq!(page.expect("the store answers"), []);
}

async fn a_list_of_no_events_is_empty(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    commit(stores, &tenant.visitor(1).arrives(0)).await;
    assert_eq!(stores.visits.events(tenant.id(), None, 0).await.expect("the store answers"), []);
}

async fn a_first_visit_is_known_afterwards(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    let expected = KnownVisitor {
        id: visitor.id,
        version: 1,
        first_seen_at: at(0),
        sessions: vec![KnownSession {
            id: visitor.session_id(0),
            started_at: at(0),
            last_event_at: at(0),
            attribution: visitor.touch(0, 0, Some("news")).attribution(),
        }],
        touches: vec![visitor.touch(0, 0, Some("news"))],
    };
    for freshness in [Freshness::Cached, Freshness::Current, Freshness::Cached] {
        let answer = load(stores, &visitor.query(freshness)).await;
        assert_eq!(answer.visitors.get(&visitor.key()).map(|known| &**known), Some(&expected));
    }
}

async fn nobody_can_be_asked_for_by_name(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    commit(stores, &unlinked(&tenant, 1)).await;
    assert_eq!(known(stores, &tenant.visitor(1)).await, None);
}

async fn the_same_cookie_in_two_projects_is_two_visitors(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let (one, other) = (ours.visitor(1), theirs.visitor(1));
    assert_eq!(one.cookie, other.cookie);
    commit(stores, &one.arrives(0)).await;
    assert_eq!(known(stores, &other).await, None);
    commit(stores, &other.arrives(3)).await;
    let both = VisitQuery {
        visitors: BTreeMap::from([(one.key(), Freshness::Current), (other.key(), Freshness::Current)]),
        ..VisitQuery::default()
    };
    let known = load(stores, &both).await;
    assert_eq!(
        known.visitors.get(&one.key()).map(|known| (known.id, known.first_seen_at)),
        Some((one.id, at(0)))
    );
    assert_eq!(
        known.visitors.get(&other.key()).map(|known| (known.id, known.first_seen_at)),
        Some((other.id, at(3)))
    );
}

async fn the_version_grows_with_what_advances_only(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.views(1, 0, 1)).await;
    assert_eq!(known_well(stores, &visitor).await.version, 1);
    commit(stores, &visitor.returns(1, 1, 60)).await;
    assert_eq!(known_well(stores, &visitor).await.version, 2);
    commit(stores, &visitor.views(2, 60, 61)).await;
    commit(stores, &visitor.enquires(2, 60, 62, "jane@example.com")).await;
    assert_eq!(known_well(stores, &visitor).await.version, 2);
    let touch = visitor.touch(60, 63, Some("shop"));
    let mut changes = visitor.views(2, 60, 63);
    changes.assumed[0].advances = true;
    changes.touches.push(visitor.new_touch(&touch));
    commit(stores, &changes).await;
    let known = known_well(stores, &visitor).await;
    assert_eq!((known.version, known.touches.last()), (3, Some(&touch)));
}

async fn last_event_at(stores: &Stores, visitor: &Visitor, opened: u32) -> leadtrail_domain::time::Timestamp {
    let known = known_well(stores, visitor).await;
    let session = known.sessions.iter().find(|session| session.id == visitor.session_id(opened));
    session.expect("the session is known").last_event_at
}

async fn a_session_lasts_until_its_latest_event(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    let mut arrival = visitor.arrives(0);
    arrival.events.push(visitor.stored(0, visitor.pageview(2)));
    arrival.events.push(visitor.stored(0, visitor.pageview(1)));
    commit(stores, &arrival).await;
    assert_eq!(last_event_at(stores, &visitor, 0).await, at(2));
    commit(stores, &visitor.views(1, 0, 20)).await;
    assert_eq!(last_event_at(stores, &visitor, 0).await, at(20));
    commit(stores, &visitor.enquires(1, 0, 25, "jane@example.com")).await;
    assert_eq!(last_event_at(stores, &visitor, 0).await, at(25));
}

async fn a_late_event_does_not_shorten_its_session(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.views(1, 0, 20)).await;
    commit(stores, &visitor.views(1, 0, 10)).await;
    assert_eq!(last_event_at(stores, &visitor, 0).await, at(20));
    commit(stores, &visitor.returns(1, 20, 60)).await;
    commit(stores, &visitor.views(2, 0, 15)).await;
    assert_eq!(last_event_at(stores, &visitor, 0).await, at(20));
    assert_eq!(last_event_at(stores, &visitor, 60).await, at(60));
}

async fn a_widened_session_begins_earlier(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(50)).await;
    let mut late = visitor.views(1, 50, 40);
    late.assumed[0].advances = true;
    late.widened.push(WidenedSession {
        id: visitor.session_id(50),
        project_id: tenant.id(),
        started_at: at(40),
    });
    commit(stores, &late).await;
    let known = known_well(stores, &visitor).await;
    let session = &known.sessions[0];
    assert_eq!((session.started_at, session.last_event_at), (at(40), at(50)));
    assert_eq!((known.version, known.first_seen_at), (2, at(50)));
}

async fn a_session_that_ended_may_be_left_out_but_the_latest_is_kept(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.returns(1, 0, 60)).await;
    commit(stores, &visitor.views(2, 60, 70)).await;
    commit(stores, &visitor.returns(2, 70, 120)).await;
    for (since, kept) in [(0, vec![0, 60, 120]), (65, vec![60, 120]), (70, vec![60, 120]), (500, vec![120])] {
        let query = VisitQuery { sessions_since: Some(at(since)), ..visitor.query(Freshness::Current) };
        let known = load(stores, &query).await;
        let sessions: Vec<_> =
            known.visitors[&visitor.key()].sessions.iter().map(|session| session.id).collect();
        for opened in &kept {
            assert!(sessions.contains(&visitor.session_id(*opened)), "since {since}");
        }
        assert_eq!(sessions.last(), Some(&visitor.session_id(120)));
    }
    assert_eq!(known_well(stores, &visitor).await.sessions.len(), 3);
}

async fn of_many_sessions_the_latest_are_known(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    let many = u32::try_from(SESSIONS_KNOWN_MAX).expect("fits") + 5;
    let mut changes = visitor.arrives(0);
    for opened in 1..many {
        changes.events.push(visitor.stored(opened, visitor.pageview(opened)));
        changes.sessions.push(visitor.new_session(opened, None));
    }
    commit(stores, &changes).await;
    let known = known_well(stores, &visitor).await;
    let starts: Vec<_> = known.sessions.iter().map(|session| session.started_at).collect();
    assert_eq!(starts, (5..many).map(at).collect::<Vec<_>>());
}

async fn sessions_are_known_by_their_start(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(200)).await;
    // It was opened by an event that came late.
    let mut earlier = visitor.returns(1, 200, 100);
    earlier.assumed[0].no_event_after = None;
    commit(stores, &earlier).await;
    let known = known_well(stores, &visitor).await;
    let starts: Vec<_> = known.sessions.iter().map(|session| session.started_at).collect();
    assert_eq!(starts, [at(100), at(200)]);
    let touches: Vec<_> = known.touches.iter().map(|touch| touch.at).collect();
    assert_eq!(touches, [at(100), at(200)]);
}

/// A visitor's first commit with touches in the given minutes: the first two direct, the others not.
fn many_touches(visitor: &Visitor, minutes: impl IntoIterator<Item = u32>) -> Changes {
    let mut changes = visitor.arrives(0);
    changes.touches.clear();
    let minutes: Vec<u32> = minutes.into_iter().collect();
    for (place, &minute) in minutes.iter().enumerate() {
        if minute != 0 {
            changes.events.push(visitor.stored(0, visitor.pageview(minute)));
        }
        let source = (place > 1).then(|| format!("source-{minute}"));
        changes.touches.push(visitor.new_touch(&visitor.touch(0, minute, source.as_deref())));
    }
    changes
}

async fn of_many_touches_the_latest_and_both_firsts_are_known(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let many = u32::try_from(TOUCHES_KNOWN_MAX).expect("fits") + 6;
    let minutes = |touches: &[Arc<Touch>]| touches.iter().map(|touch| touch.at).collect::<Vec<_>>();
    let visitor = tenant.visitor(1);
    commit(stores, &many_touches(&visitor, 0..many)).await;
    let expected: Vec<_> = [0, 2].into_iter().chain(6..many).map(at).collect();
    assert_eq!(minutes(&known_well(stores, &visitor).await.touches), expected);

    // Where the firsts are among the latest, they stand once.
    let few = tenant.visitor(2);
    commit(stores, &many_touches(&few, 0..5)).await;
    assert_eq!(minutes(&known_well(stores, &few).await.touches), (0..5).map(at).collect::<Vec<_>>());
}

async fn touches_are_read_as_they_were_written(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    let everything = visitor.everything(0);
    let touch = Touch {
        at: everything.occurred_at,
        utm: everything.signals.utm,
        click_ids: everything.signals.click_ids,
        ad: everything.signals.ad,
        referrer_url: everything.referrer_url,
        referrer_host: Some("www.google.com".to_owned()),
        landing_page: "https://shop.example/größe".to_owned(),
        rules_version: u16::MAX,
        ..(*visitor.touch(0, 0, Some("news"))).clone()
    };
    let touch = Arc::new(touch);
    let mut changes = visitor.arrives(0);
    changes.touches = vec![visitor.new_touch(&touch)];
    commit(stores, &changes).await;
    assert_eq!(known_well(stores, &visitor).await.touches, [touch]);
}

async fn a_stored_event_makes_the_commit_stale(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    let arrival = visitor.arrives(0);
    commit(stores, &arrival).await;
    let mut again = visitor.views(1, 0, 1);
    again.events.push(visitor.stored(0, visitor.pageview(0)));
    assert_stale(stores, &tenant, again).await;
    // The first of two bodies wins.
    let mut altered = visitor.views(1, 0, 0);
    altered.events[0].event.page_title = Some("altered".to_owned());
    assert_stale(stores, &tenant, altered).await;
    assert_eq!(read(stores, &arrival.events[0].event).await.as_ref(), Some(&arrival.events[0]));
}

async fn what_is_written_twice_makes_the_commit_stale(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.submits(1, 0, 1, "jane@example.com", 1)).await;
    let touch = |minute| visitor.new_touch(&visitor.touch(0, minute, Some("news")));
    let job = visitor.submits(1, 0, 1, "jane@example.com", 2).jobs.remove(0);
    let view = || visitor.views(1, 0, 2);
    for twice in [
        Changes { touches: vec![touch(0)], ..view() },
        Changes { touches: vec![touch(2), touch(2)], ..view() },
        Changes { sessions: vec![visitor.new_session(0, None)], ..view() },
        Changes { sessions: vec![visitor.new_session(2, None); 2], ..view() },
        Changes { leads: vec![visitor.lead(0, 1, "jane@example.com", None)], ..view() },
        Changes { leads: vec![visitor.lead(0, 2, "jane@example.com", None); 2], ..view() },
        Changes { jobs: vec![job], ..view() },
        Changes { events: vec![view().events.remove(0); 2], ..view() },
    ] {
        assert_stale(stores, &tenant, twice).await;
    }
    commit(stores, &view()).await;
}

async fn a_known_cookie_makes_the_commit_stale(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    let other_id = leadtrail_domain::id::VisitorId::derive(at(5), tenant.id(), visitor.cookie.as_str());
    let mut rival = visitor.clone();
    rival.id = other_id;
    assert_stale(stores, &tenant, rival.arrives(5)).await;
    assert_eq!(known_well(stores, &visitor).await.id, visitor.id);
}

async fn an_older_version_makes_the_commit_stale(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.returns(1, 0, 60)).await;
    assert_stale(stores, &tenant, visitor.views(1, 0, 1)).await;
    assert_stale(stores, &tenant, visitor.returns(1, 60, 120)).await;
    let known = known_well(stores, &visitor).await;
    assert_eq!((known.version, known.sessions.len()), (2, 2));
}

async fn a_newer_version_makes_the_commit_stale(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    assert_stale(stores, &tenant, visitor.views(2, 0, 1)).await;
}

async fn a_visitor_that_does_not_exist_makes_the_commit_stale(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let (nobody, visitor) = (ours.visitor(2), ours.visitor(1));
    commit(stores, &visitor.arrives(0)).await;
    assert_stale(stores, &ours, Changes { assumed: vec![nobody.assumed(1)], ..Changes::default() }).await;
    let elsewhere = AssumedVisitor { project_id: theirs.id(), ..visitor.assumed(1) };
    assert_stale(stores, &ours, Changes { assumed: vec![elsewhere], ..Changes::default() }).await;
}

async fn a_later_event_makes_a_new_session_stale(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.views(1, 0, 20)).await;
    assert_stale(stores, &tenant, visitor.returns(1, 0, 31)).await;
    let known = known_well(stores, &visitor).await;
    assert_eq!((known.version, known.sessions.len()), (1, 1));
}

async fn the_event_that_was_known_does_not_make_a_new_session_stale(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.views(1, 0, 20)).await;
    // A commit's own events do not count either.
    let mut both = visitor.returns(1, 20, 60);
    both.events.push(visitor.stored(0, visitor.pageview(25)));
    commit(stores, &both).await;
    assert_eq!(known_well(stores, &visitor).await.version, 2);
}

async fn a_recorded_submission_makes_the_commit_stale(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.enquires(1, 0, 1, "jane@example.com")).await;
    let mut again = visitor.enquires(1, 0, 2, "jane@example.com");
    again.submissions[0].key = visitor.submission_key(1, "jane@example.com");
    assert_stale(stores, &tenant, again.clone()).await;
    again.submissions[0].count = 2;
    commit(stores, &again).await;
}

async fn a_taken_sequence_makes_the_commit_stale(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.submits(1, 0, 1, "jane@example.com", 1)).await;
    assert_stale(stores, &tenant, visitor.submits(1, 0, 2, "jane@example.com", 1)).await;
    commit(stores, &visitor.submits(1, 0, 2, "jane@example.com", 2)).await;
    commit(stores, &visitor.submits(1, 0, 3, "joan@example.com", 1)).await;
    let other = Tenant::create(stores, 2).await.visitor(1);
    commit(stores, &other.arrives(0)).await;
    commit(stores, &other.submits(1, 0, 1, "jane@example.com", 1)).await;
}

async fn a_joined_job_that_does_not_exist_makes_the_commit_stale(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    assert_stale(stores, &tenant, visitor.joins(1, 0, 2, "jane@example.com", visitor.job_id(1))).await;
}

async fn a_joined_job_of_another_project_makes_the_commit_stale(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let (one, other) = (ours.visitor(1), theirs.visitor(1));
    commit(stores, &one.arrives(0)).await;
    commit(stores, &other.arrives(0)).await;
    commit(stores, &other.submits(1, 0, 1, "jane@example.com", 1)).await;
    assert_stale(stores, &ours, one.joins(1, 0, 2, "jane@example.com", other.job_id(1))).await;
}

async fn a_submission_is_known_by_the_latest_that_made_a_lead(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    let key = visitor.submission_key(1, "jane@example.com");
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.enquires(1, 0, 1, "jane@example.com")).await;
    let query = VisitQuery {
        submissions: BTreeSet::from([key, visitor.submission_key(9, "jane@example.com")]),
        ..VisitQuery::default()
    };
    let first = KnownSubmission { lead_id: visitor.lead_id(1), received_at: at(1), count: 1 };
    assert_eq!(load(stores, &query).await.submissions, BTreeMap::from([(key, first)]));

    let mut again = visitor.enquires(1, 0, 2, "jane@example.com");
    again.submissions = vec![NewSubmission { key, count: 2, ..again.submissions[0] }];
    commit(stores, &again).await;
    let second = KnownSubmission { lead_id: visitor.lead_id(2), received_at: at(2), count: 2 };
    assert_eq!(load(stores, &query).await.submissions, BTreeMap::from([(key, second)]));
}

async fn a_person_is_known_by_all_its_visitors(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let (phone, laptop, stranger) = (tenant.visitor(1), tenant.visitor(2), tenant.visitor(3));
    commit(stores, &phone.arrives(10)).await;
    commit(stores, &laptop.arrives(0)).await;
    commit(stores, &stranger.arrives(5)).await;
    commit(stores, &phone.enquires(1, 10, 11, "jane@example.com")).await;
    commit(stores, &laptop.enquires(1, 0, 1, "jane@example.com")).await;
    commit(stores, &stranger.enquires(1, 5, 6, "joan@example.com")).await;
    let expected = KnownPerson {
        visitors: BTreeSet::from([phone.id, laptop.id]),
        touches: vec![laptop.touch(0, 0, Some("news")), phone.touch(10, 10, Some("news"))],
        waiting_job: None,
        last_sequence: 0,
    };
    assert_eq!(person(stores, &tenant, "jane@example.com").await, Some(expected));
    assert_eq!(person(stores, &tenant, "nobody@example.com").await, None);
}

async fn of_a_persons_many_touches_the_latest_and_both_firsts_are_known(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let (phone, laptop) = (tenant.visitor(1), tenant.visitor(2));
    // The phone has every even minute, the laptop every odd one.
    for (visitor, from) in [(&phone, 0), (&laptop, 1)] {
        let mut changes = many_touches(visitor, (from..140).step_by(2));
        changes.identities.push(visitor.identity(0, "jane@example.com"));
        commit(stores, &changes).await;
    }
    let known = person(stores, &tenant, "jane@example.com").await.expect("the person is known");
    let minutes: Vec<_> = known.touches.iter().map(|touch| touch.at).collect();
    // Each one's first two are direct: 0 to 3 together, so that 4 is the first that is not.
    let latest = 140 - u32::try_from(TOUCHES_KNOWN_MAX).expect("fits");
    assert_eq!(minutes, [0, 4].into_iter().chain(latest..140).map(at).collect::<Vec<_>>());
}

async fn a_person_is_unknown_to_another_project(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let visitor = ours.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.submits(1, 0, 1, "jane@example.com", 1)).await;
    assert_eq!(person(stores, &theirs, "jane@example.com").await, None);
    assert!(person(stores, &ours, "jane@example.com").await.is_some());
}

/// The job that the form of a minute made.
fn waiting(visitor: &Visitor, minute: u32) -> WaitingJob {
    WaitingJob { id: visitor.job_id(minute), account: default_account() }
}

async fn a_waiting_job_tells_where_it_goes(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    let mut elsewhere = visitor.submits(1, 0, 1, "jane@example.com", 1);
    elsewhere.jobs[0].account = slug("second");
    commit(stores, &elsewhere).await;
    let known = person(stores, &tenant, "jane@example.com").await.expect("the person is known");
    let expected = WaitingJob { id: visitor.job_id(1), account: slug("second") };
    assert_eq!(known.waiting_job, Some(expected));
    // A lead for another account makes a job of its own, which is the latest then.
    commit(stores, &visitor.submits(1, 0, 2, "jane@example.com", 2)).await;
    let known = person(stores, &tenant, "jane@example.com").await.expect("the person is known");
    assert_eq!(known.waiting_job, Some(waiting(&visitor, 2)));
}

async fn a_persons_waiting_job_is_the_latest(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.submits(1, 0, 1, "jane@example.com", 1)).await;
    commit(stores, &visitor.joins(1, 0, 2, "jane@example.com", visitor.job_id(1))).await;
    let known = person(stores, &tenant, "jane@example.com").await.expect("the person is known");
    assert_eq!((known.waiting_job, known.last_sequence), (Some(waiting(&visitor, 1)), 1));
    commit(stores, &visitor.submits(1, 0, 3, "jane@example.com", 2)).await;
    let known = person(stores, &tenant, "jane@example.com").await.expect("the person is known");
    assert_eq!((known.waiting_job, known.last_sequence), (Some(waiting(&visitor, 3)), 2));
}

async fn a_person_nobody_recognised_is_known_by_its_job(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &unlinked_form(&tenant, 1, "jane@example.com")).await;
    let expected = KnownPerson {
        visitors: BTreeSet::new(),
        touches: Vec::new(),
        waiting_job: Some(waiting(&visitor, 0)),
        last_sequence: 1,
    };
    assert_eq!(person(stores, &tenant, "jane@example.com").await, Some(expected));
}

async fn an_identity_may_be_given_again(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    for minute in [1, 2] {
        let identity: Identity = visitor.identity(minute, "jane@example.com");
        let mut changes = visitor.views(1, 0, minute);
        changes.identities = vec![identity, identity];
        commit(stores, &changes).await;
    }
    let known = person(stores, &tenant, "jane@example.com").await.expect("the person is known");
    assert_eq!(known.visitors, BTreeSet::from([visitor.id]));
    assert_eq!(known.touches.len(), 1);
}

async fn a_lead_without_a_crm_makes_no_job(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    let changes = visitor.enquires(1, 0, 1, "jane@example.com");
    assert_round_trip(stores, &tenant, &changes, &changes.events[0]).await;
    let counts = stores.sync_jobs.counts(None, at(1_000)).await.expect("the store answers");
    assert_eq!(counts.pending, 0);
}

async fn one_commit_carries_several_visitors(stores: &Stores) {
    let (ours, theirs) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let known_already = ours.visitor(1);
    commit(stores, &known_already.arrives(0)).await;
    let mut changes = known_already.returns(1, 0, 60);
    for (visitor, minute) in [(ours.visitor(2), 1), (ours.visitor(3), 2), (theirs.visitor(2), 3)] {
        let arrival = visitor.arrives(minute);
        changes.events.extend(arrival.events);
        changes.visitors.extend(arrival.visitors);
        changes.sessions.extend(arrival.sessions);
        changes.touches.extend(arrival.touches);
    }
    commit(stores, &changes).await;
    assert_eq!(known_well(stores, &known_already).await.sessions.len(), 2);
    assert_eq!(known_well(stores, &ours.visitor(2)).await.first_seen_at, at(1));
    assert_eq!(known_well(stores, &theirs.visitor(2)).await.first_seen_at, at(3));
    assert_eq!(all_events(stores, &ours).await.len(), 4);
    assert_eq!(all_events(stores, &theirs).await.len(), 1);
}

async fn one_load_answers_everything_at_once(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let (one, other, nobody) = (tenant.visitor(1), tenant.visitor(2), tenant.visitor(3));
    commit(stores, &one.arrives(0)).await;
    commit(stores, &other.arrives(1)).await;
    commit(stores, &one.submits(1, 0, 2, "jane@example.com", 1)).await;
    let jane = (tenant.id(), email("jane@example.com").hash());
    let query = VisitQuery {
        events: BTreeSet::from([one.event_key(0), other.event_key(1), nobody.event_key(0)]),
        visitors: BTreeMap::from([
            (one.key(), Freshness::Cached),
            (other.key(), Freshness::Current),
            (nobody.key(), Freshness::Cached),
        ]),
        submissions: BTreeSet::from([one.submission_key(2, "jane@example.com")]),
        people: BTreeSet::from([jane]),
        sessions_since: Some(at(0)),
    };
    for _repetition in 0..2 {
        let known = load(stores, &query).await;
        assert_eq!(known.events.len(), 2);
        assert_eq!(known.visitors.keys().cloned().collect::<Vec<_>>(), [one.key(), other.key()]);
        assert_eq!(known.visitors[&one.key()].sessions[0].last_event_at, at(2));
        assert_eq!(known.submissions.len(), 1);
        assert_eq!(known.people[&jane].visitors, BTreeSet::from([one.id]));
    }
}

/// Commits all at once; how many were taken. The others must be stale.
async fn commit_at_once(stores: &Stores, all: Vec<Changes>) -> usize {
    let tasks: Vec<_> = all
        .into_iter()
        .map(|changes| {
            let visits = Arc::clone(&stores.visits);
            tokio::spawn(async move { visits.commit(&changes).await })
        })
        .collect();
    let mut taken = 0;
    for answer in futures::future::join_all(tasks).await {
        match answer.expect("no commit panics") {
            Ok(()) => taken += 1,
            Err(StoreError::Stale) => {}
            Err(other) => panic!("neither taken nor stale: {other:?}"),
        }
    }
    taken
}

async fn a_hundred_concurrent_commits_of_one_event_store_it_once(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    let page_view = visitor.views(1, 0, 1);
    assert_eq!(commit_at_once(stores, vec![page_view; 100]).await, 1);
    assert_eq!(all_events(stores, &tenant).await.len(), 2);

    let newcomer = tenant.visitor(2);
    assert_eq!(commit_at_once(stores, vec![newcomer.arrives(0); 100]).await, 1);
    assert_eq!(all_events(stores, &tenant).await.len(), 3);
}

async fn of_twelve_concurrent_first_events_of_a_visitor_one_is_taken(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    assert_eq!(commit_at_once(stores, (0..12).map(|minute| visitor.arrives(minute)).collect()).await, 1);
    let known = known_well(stores, &visitor).await;
    assert_eq!((known.sessions.len(), known.touches.len()), (1, 1));
    assert_eq!(all_events(stores, &tenant).await.len(), 1);
}

async fn of_twelve_concurrent_new_sessions_one_is_taken(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let visitor = tenant.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    let returns = (60..72).map(|minute| visitor.returns(1, 0, minute)).collect();
    assert_eq!(commit_at_once(stores, returns).await, 1);
    let known = known_well(stores, &visitor).await;
    assert_eq!((known.version, known.sessions.len()), (2, 2));
}

async fn concurrent_commits_of_different_visitors_are_all_taken(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    assert_eq!(commit_at_once(stores, (1..=40).map(|n| tenant.visitor(n).arrives(n)).collect()).await, 40);
    let visitor = tenant.visitor(1);
    let page_views = (41..81).map(|minute| visitor.views(1, 1, minute)).collect();
    assert_eq!(commit_at_once(stores, page_views).await, 40);
    assert_eq!(last_event_at(stores, &visitor, 1).await, at(80));
    assert_eq!(all_events(stores, &tenant).await.len(), 80);
}
