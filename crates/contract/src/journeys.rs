//! The suite of [`Journeys`](leadtrail_domain::ports::Journeys).

use std::collections::{BTreeMap, BTreeSet};

use leadtrail_domain::email::EmailHash;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{LeadId, ProjectId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Journey, JourneyBounds, JourneyTouch, LeftOut};
use leadtrail_domain::visit::Changes;

use crate::Stores;
use crate::fixtures::{Tenant, Visitor, at, email, unlinked_form};

suite!($ journeys_contract, journeys, Stores,
    "`leadtrail_contract::journeys_contract!(async { Stores::of(store().await) });`", [
    a_persons_leads_are_listed_newest_first,
    leads_that_arrived_at_once_are_listed_by_id,
    a_persons_leads_are_not_shown_to_another_project,
    an_event_names_the_lead_it_made,
    an_event_that_repeats_a_submission_names_the_first_ones_lead,
    an_event_id_on_two_pixels_names_both_leads,
    an_event_names_no_lead_to_another_project,
    a_journey_tells_of_every_browser_that_gave_the_email,
    a_journey_is_bounded_keeps_what_led_to_the_lead_and_says_what_is_left_out,
    of_what_coincides_with_a_lead_only_smaller_ids_led_to_it,
    a_journey_tells_since_when_each_browser_gave_the_email_whatever_is_left_out,
    a_browser_without_an_event_that_has_the_email_is_told_without_since_when,
    of_many_browsers_those_that_gave_the_email_first_are_told_of_beside_the_leads,
    a_journey_of_somebody_not_recognised_tells_of_that_visit,
    a_journey_is_not_shown_to_another_project,
    the_latest_event_of_a_pixel_is_told_to_its_project_alone,
]);

const JANE: &str = "jane@example.com";

async fn commit(stores: &Stores, changes: &Changes) {
    stores.visits.commit(changes).await.expect("the changes are taken");
}

async fn leads_of(stores: &Stores, project: ProjectId, address: &str, limit: u32) -> Vec<LeadId> {
    let hash: EmailHash = email(address).hash();
    let leads = stores.journeys.leads_of(project, &hash, limit).await.expect("the store answers");
    leads.into_iter().map(|lead| lead.id).collect()
}

async fn leads_by_event(stores: &Stores, project: ProjectId, visitor: &Visitor, minute: u32) -> Vec<Lead> {
    stores.journeys.leads_by_event(project, visitor.event_id(minute)).await.expect("the store answers")
}

const MANY: JourneyBounds = JourneyBounds { browsers: 100, touches: 100, events: 100 };

async fn journey(stores: &Stores, project: ProjectId, lead: LeadId, bounds: JourneyBounds) -> Journey {
    stores.journeys.journey(project, lead, &bounds).await.expect("the store answers")
}

/// A phone and a laptop, on each of which Jane gave her e-mail: on the phone in minute 4, with a job, on the laptop in
/// minute 3 and again in minute 5.
async fn two_browsers(stores: &Stores) -> (Tenant, Visitor, Visitor) {
    let tenant = Tenant::create(stores, 1).await;
    let (phone, laptop) = (tenant.visitor(1), tenant.visitor(2));
    commit(stores, &phone.arrives(2)).await;
    commit(stores, &laptop.arrives(1)).await;
    commit(stores, &laptop.enquires(1, 1, 3, JANE)).await;
    commit(stores, &phone.submits(1, 2, 4, JANE, 1)).await;
    commit(stores, &laptop.enquires(1, 1, 5, JANE)).await;
    commit(stores, &laptop.enquires(1, 1, 6, "joan@example.com")).await;
    (tenant, phone, laptop)
}

async fn a_persons_leads_are_listed_newest_first(stores: &Stores) {
    let (tenant, phone, laptop) = two_browsers(stores).await;
    let all = [laptop.lead_id(5), phone.lead_id(4), laptop.lead_id(3)];
    assert_eq!(leads_of(stores, tenant.id(), JANE, 10).await, all);
    assert_eq!(leads_of(stores, tenant.id(), JANE, 2).await, all[..2]);
    assert_eq!(leads_of(stores, tenant.id(), "jim@example.com", 10).await, []);
    let leads = stores.journeys.leads_of(tenant.id(), &email(JANE).hash(), 10).await;
    let expected = phone.lead(2, 4, JANE, Some(phone.job_id(4)));
    assert_eq!(leads.expect("the store answers")[1], expected);
}

async fn leads_that_arrived_at_once_are_listed_by_id(stores: &Stores) {
    let tenant = Tenant::create(stores, 1).await;
    let browsers = [1, 2, 3].map(|n| tenant.visitor(n));
    for browser in &browsers {
        commit(stores, &browser.arrives(1)).await;
        let mut enquiry = browser.enquires(1, 1, 3, JANE);
        // Each made a lead, though the text is the same.
        enquiry.submissions.clear();
        commit(stores, &enquiry).await;
    }
    let mut all = browsers.map(|browser| browser.lead_id(3));
    all.sort();
    all.reverse();
    assert_eq!(leads_of(stores, tenant.id(), JANE, 10).await, all);
}

async fn a_persons_leads_are_not_shown_to_another_project(stores: &Stores) {
    two_browsers(stores).await;
    let theirs = Tenant::create(stores, 2).await;
    let visitor = theirs.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.enquires(1, 0, 1, JANE)).await;
    assert_eq!(leads_of(stores, theirs.id(), JANE, 10).await, [visitor.lead_id(1)]);
}

async fn an_event_names_the_lead_it_made(stores: &Stores) {
    let (tenant, phone, laptop) = two_browsers(stores).await;
    let expected = phone.lead(2, 4, JANE, Some(phone.job_id(4)));
    assert_eq!(leads_by_event(stores, tenant.id(), &phone, 4).await, [expected]);
    let expected = laptop.lead(1, 3, JANE, None);
    assert_eq!(leads_by_event(stores, tenant.id(), &laptop, 3).await, [expected]);
    // Neither a page view nor what is not there.
    for minute in [1, 9] {
        assert_eq!(leads_by_event(stores, tenant.id(), &laptop, minute).await, []);
    }
}

async fn an_event_that_repeats_a_submission_names_the_first_ones_lead(stores: &Stores) {
    let (tenant, phone, _laptop) = two_browsers(stores).await;
    let mut repetition = phone.views(1, 2, 7);
    repetition.events =
        vec![StoredEvent { lead_id: Some(phone.lead_id(4)), ..phone.stored(2, phone.form(7, JANE)) }];
    commit(stores, &repetition).await;
    let named = leads_by_event(stores, tenant.id(), &phone, 7).await;
    assert_eq!(named, leads_by_event(stores, tenant.id(), &phone, 4).await);
    assert_eq!(named.len(), 1);
    // The lead is the person's once.
    assert_eq!(leads_of(stores, tenant.id(), JANE, 10).await.len(), 3);
}

async fn an_event_id_on_two_pixels_names_both_leads(stores: &Stores) {
    let (tenant, phone, _laptop) = two_browsers(stores).await;
    let shop = phone.on(&tenant.second_pixel(stores).await);
    let mut enquiry = shop.enquires(1, 2, 4, "joan@example.com");
    // The session is the first pixel's.
    enquiry.events[0].session_id = phone.session_id(2);
    enquiry.leads[0].session_id = phone.session_id(2);
    commit(stores, &enquiry).await;
    let mut expected = [phone.lead_id(4), shop.lead_id(4)];
    expected.sort();
    let named = leads_by_event(stores, tenant.id(), &phone, 4).await;
    assert_eq!(named.into_iter().map(|lead| lead.id).collect::<Vec<_>>(), expected);
}

async fn an_event_names_no_lead_to_another_project(stores: &Stores) {
    let (_ours, phone, _laptop) = two_browsers(stores).await;
    let theirs = Tenant::create(stores, 2).await;
    assert_eq!(leads_by_event(stores, theirs.id(), &phone, 4).await, []);
    let visitor = theirs.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.enquires(1, 0, 4, JANE)).await;
    let named = leads_by_event(stores, theirs.id(), &phone, 4).await;
    assert_eq!(named.into_iter().map(|lead| lead.id).collect::<Vec<_>>(), [visitor.lead_id(4)]);
}

fn minutes(journey: &Journey) -> (Vec<u32>, Vec<u32>) {
    let minute = |at: leadtrail_domain::time::Timestamp| {
        u32::try_from(at.since(self::at(0)).as_secs() / 60).expect("a minute of the case")
    };
    let touches = journey.touches.iter().map(|one| minute(one.touch.at)).collect();
    (touches, journey.events.iter().map(|stored| minute(stored.event.occurred_at)).collect())
}

async fn a_journey_tells_of_every_browser_that_gave_the_email(stores: &Stores) {
    let (tenant, phone, laptop) = two_browsers(stores).await;
    commit(stores, &phone.returns(1, 4, 60)).await;
    let stranger = tenant.visitor(3);
    commit(stores, &stranger.arrives(3)).await;
    // What came after the lead is told too.
    for lead in [laptop.lead_id(3), phone.lead_id(4), laptop.lead_id(5)] {
        let journey = journey(stores, tenant.id(), lead, MANY).await;
        assert_eq!(minutes(&journey), (vec![1, 2, 60], vec![1, 2, 3, 4, 5, 6, 60]));
        let touches = [(&laptop, 1), (&phone, 2)].map(|(browser, minute)| JourneyTouch {
            visitor_id: browser.id,
            touch: (*browser.touch(minute, minute, Some("news"))).clone(),
        });
        assert_eq!(journey.touches[..2], touches);
        assert_eq!(journey.left_out, LeftOut::default());
        assert_eq!(journey.events[0], laptop.stored(1, laptop.pageview(1)));
        assert_eq!(journey.events[3].lead_id, Some(phone.lead_id(4)));
    }
}

async fn a_journey_is_bounded_keeps_what_led_to_the_lead_and_says_what_is_left_out(stores: &Stores) {
    let (tenant, phone, laptop) = two_browsers(stores).await;
    commit(stores, &phone.returns(1, 4, 60)).await;
    commit(stores, &laptop.returns(1, 6, 70)).await;
    let of_phones = |touches, events| {
        let bounds = JourneyBounds { touches, events, ..MANY };
        journey(stores, tenant.id(), phone.lead_id(4), bounds)
    };
    for (limit, touches, events) in [
        (0, vec![], vec![]),
        (1, vec![2], vec![4]),
        (2, vec![1, 2], vec![3, 4]),
        (3, vec![1, 2, 60], vec![2, 3, 4]),
        (4, vec![1, 2, 60, 70], vec![1, 2, 3, 4]),
        (6, vec![1, 2, 60, 70], vec![1, 2, 3, 4, 5, 6]),
        (8, vec![1, 2, 60, 70], vec![1, 2, 3, 4, 5, 6, 60, 70]),
    ] {
        let journey = of_phones(limit, limit).await;
        assert_eq!(minutes(&journey), (touches, events), "{limit}");
        let left_out = LeftOut { browsers: false, touches: limit < 4, events: limit < 8 };
        assert_eq!(journey.left_out, left_out, "{limit}");
    }
    // Each has a bound of its own.
    let journey = of_phones(4, 1).await;
    assert_eq!(minutes(&journey), (vec![1, 2, 60, 70], vec![4]));
}

async fn of_what_coincides_with_a_lead_only_smaller_ids_led_to_it(stores: &Stores) {
    let (tenant, phone, laptop) = two_browsers(stores).await;
    let tablet = tenant.visitor(3);
    commit(stores, &tablet.arrives(2)).await;
    commit(stores, &tablet.enquires(1, 2, 9, JANE)).await;
    for browser in [&phone, &tablet] {
        commit(stores, &browser.views(1, 2, 5)).await;
    }
    let bounds = JourneyBounds { events: 2, ..MANY };
    let journey = journey(stores, tenant.id(), laptop.lead_id(5), bounds).await;
    let ids: Vec<_> = journey.events.iter().map(|stored| stored.event.id).collect();
    assert_eq!(ids, [phone.event_id(5), laptop.event_id(5)]);
}

async fn a_journey_tells_since_when_each_browser_gave_the_email_whatever_is_left_out(stores: &Stores) {
    let (tenant, phone, laptop) = two_browsers(stores).await;
    // Given once more, by an event that occurred earlier and arrived later.
    let mut late = laptop.views(1, 1, 2);
    late.events = vec![laptop.stored(1, laptop.form(2, JANE))];
    commit(stores, &late).await;
    let nothing = JourneyBounds { browsers: 100, touches: 0, events: 0 };
    let journey = journey(stores, tenant.id(), phone.lead_id(4), nothing).await;
    let gave = |browser: &Visitor, minute| (browser.id, Some((at(minute), browser.event_id(minute))));
    assert_eq!(journey.browsers, BTreeMap::from([gave(&phone, 4), gave(&laptop, 2)]));
    assert_eq!((journey.touches.len(), journey.events.len()), (0, 0));
}

async fn a_browser_without_an_event_that_has_the_email_is_told_without_since_when(stores: &Stores) {
    let (tenant, phone, _laptop) = two_browsers(stores).await;
    let tablet = tenant.visitor(3);
    let mut arrives = tablet.arrives(3);
    arrives.identities.push(tablet.identity(3, JANE));
    commit(stores, &arrives).await;
    let journey = journey(stores, tenant.id(), phone.lead_id(4), MANY).await;
    assert_eq!(journey.browsers.get(&tablet.id), Some(&None));
}

async fn of_many_browsers_those_that_gave_the_email_first_are_told_of_beside_the_leads(stores: &Stores) {
    let (tenant, phone, laptop) = two_browsers(stores).await;
    let tablet = tenant.visitor(3);
    commit(stores, &tablet.arrives(1)).await;
    commit(stores, &tablet.enquires(1, 1, 8, JANE)).await;
    for (browsers, of_phone, of_tablet) in [
        (0, vec![&phone], vec![&tablet]),
        (1, vec![&laptop, &phone], vec![&laptop, &tablet]),
        (2, vec![&laptop, &phone, &tablet], vec![&laptop, &phone, &tablet]),
    ] {
        for (lead, expected) in [(phone.lead_id(4), of_phone), (tablet.lead_id(8), of_tablet)] {
            let journey = journey(stores, tenant.id(), lead, JourneyBounds { browsers, ..MANY }).await;
            let ids: BTreeSet<VisitorId> = expected.iter().map(|browser| browser.id).collect();
            assert_eq!(journey.browsers.keys().copied().collect::<BTreeSet<_>>(), ids, "{browsers}");
            let whose: BTreeSet<VisitorId> = journey.events.iter().map(|stored| stored.visitor_id).collect();
            assert_eq!(whose, ids, "{browsers}");
            assert_eq!(journey.left_out.browsers, browsers < 2);
        }
    }
}

async fn a_journey_of_somebody_not_recognised_tells_of_that_visit(stores: &Stores) {
    let (tenant, _phone, _laptop) = two_browsers(stores).await;
    let changes = unlinked_form(&tenant, 7, "jim@example.com");
    commit(stores, &changes).await;
    let gave = (changes.leads[0].occurred_at, changes.leads[0].event_id);
    let expected = Journey {
        browsers: BTreeMap::from([(changes.leads[0].visitor_id, Some(gave))]),
        events: changes.events.clone(),
        ..Journey::default()
    };
    assert_eq!(journey(stores, tenant.id(), changes.leads[0].id, MANY).await, expected);
}

async fn a_journey_is_not_shown_to_another_project(stores: &Stores) {
    let (tenant, phone, _laptop) = two_browsers(stores).await;
    let theirs = Tenant::create(stores, 2).await;
    let visitor = theirs.visitor(1);
    commit(stores, &visitor.arrives(0)).await;
    commit(stores, &visitor.enquires(1, 0, 1, JANE)).await;
    assert_eq!(journey(stores, theirs.id(), phone.lead_id(4), MANY).await, Journey::default());
    // The address in another project is another person.
    let own = journey(stores, theirs.id(), visitor.lead_id(1), MANY).await;
    assert_eq!(minutes(&own), (vec![0], vec![0, 1]));
    // A lead that is not there has none.
    assert_eq!(journey(stores, tenant.id(), phone.lead_id(50), MANY).await, Journey::default());
}

async fn the_latest_event_of_a_pixel_is_told_to_its_project_alone(stores: &Stores) {
    let (one, other) = (Tenant::create(stores, 1).await, Tenant::create(stores, 2).await);
    let last = async |project: ProjectId, tenant: &Tenant| {
        stores.journeys.last_event_at(project, &tenant.pixel.id).await.expect("the store answers")
    };
    assert_eq!(last(one.id(), &one).await, None);
    let (early, late) = (one.visitor(1), one.visitor(2));
    commit(stores, &late.arrives(7)).await;
    commit(stores, &early.arrives(2)).await;
    assert_eq!(last(one.id(), &one).await, Some(at(7)));
    assert_eq!(last(other.id(), &one).await, None);
    assert_eq!(last(other.id(), &other).await, None);
}
