//! Attribution decided anew: the same whatever the order of arrival, nothing where nothing changed, and readable.

#[path = "../../domain/tests/world/site.rs"]
#[expect(dead_code, reason = "these tests need a part of the site only")]
mod site;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use leadtrail_app::reattribute::{Detail, Position, Reattribution, Report, Wish};
use leadtrail_domain::event::Collected;
use leadtrail_domain::id::{EventId, SessionId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{
    Histories as _, JobAction, JourneyBounds, Journeys as _, Page, Projects as _, Queue, SyncJobs as _,
};
use leadtrail_domain::project::{Project, default_account};
use leadtrail_domain::sync::{JobStatus, NextStep, Settlement, Wanted};
use leadtrail_domain::touch::{FourTouches, Touch};
use leadtrail_store_memory::ManualClock;
use proptest::prelude::*;
use serde_json::{Value, json};
use site::{Site, minute};
use uuid::Uuid;

const JANE: &str = "jane@x.example";
const WISH: Wish = Wish { dry_run: false, requeue: false, from: None, details_max: 100 };
const DRY: Wish = Wish { dry_run: true, ..WISH };

fn reattribution(site: &Site) -> Reattribution {
    let clock = Arc::new(ManualClock::new(minute(5_000)));
    Reattribution::new(site.store.clone(), site.store.clone(), site.store.clone(), clock)
}

fn run(site: &Site, wish: &Wish) -> Report {
    let project = block_on(site.store.project(site.project())).expect("a store that works");
    let project = project.expect("the site's project");
    block_on(reattribution(site).run(&project, wish, |_, _| {})).expect("a store that works")
}

fn leads(site: &Site) -> Vec<Lead> {
    block_on(site.store.leads(site.project(), &Page::first(u32::MAX))).expect("a store that works")
}

/// From now on visits from there are no arrivals.
fn ignore_referrer(site: &Site, host: &str) {
    let project = block_on(site.store.project(site.project())).expect("a store that works");
    let was = project.expect("the site's project");
    let mut becomes = was.clone();
    becomes.settings.ignore_referrers.push(host.parse().expect("a host"));
    assert!(block_on(site.store.update_project(&was, &becomes)).expect("a store that works"));
}

/// A touch but for its session, which is called as it was answered.
fn anywhere(touch: &Touch) -> Touch {
    Touch { session_id: SessionId(Uuid::nil()), ..touch.clone() }
}

type Touches = Vec<Option<Touch>>;
type Converted = BTreeMap<(EventId, String), (Option<String>, Touches)>;

/// The touches of each visitor, lead and conversion, and what conversions are worth.
fn told(site: &Site, cookies: usize) -> (Vec<Vec<Touch>>, BTreeMap<EventId, Touches>, Converted) {
    let known = |cookie: usize| {
        let seen = site
            .events()
            .iter()
            .any(|stored| stored.event.visitor.cookie().is_some_and(|own| own.as_str() == name(cookie)));
        if seen { site.known(&name(cookie)).touches } else { Vec::new() }
    };
    let visitors =
        (0..cookies).map(|cookie| known(cookie).iter().map(|touch| anywhere(touch)).collect()).collect();
    let leads = leads(site).into_iter().map(|lead| {
        let four = &lead.touches;
        let all =
            [&four.first, &four.first_non_direct, &four.last_non_direct, &four.last, &lead.session_touch];
        (lead.event_id, all.map(|touch| touch.as_deref().map(anywhere)).to_vec())
    });
    let conversions = site.conversions().into_iter().map(|conversion| {
        let four = &conversion.touches;
        let all = [&four.first, &four.first_non_direct, &four.last_non_direct, &four.last];
        let touches = all.map(|touch| touch.as_deref().map(anywhere)).to_vec();
        let value = conversion.value.map(|value| value.to_string());
        ((conversion.event_id, conversion.name.to_string()), (value, touches))
    });
    (visitors, leads.collect(), conversions.collect())
}

const COOKIES: usize = 3;

fn name(cookie: usize) -> String {
    format!("cookie-{cookie}")
}

#[derive(Clone, Debug)]
struct Happening {
    at: u32,
    cookie: usize,
    page: &'static str,
    referrer: &'static str,
    /// The person whose form it is.
    form: Option<usize>,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let page = prop::sample::select(vec![
        "/",
        "/pricing",
        "/?utm_source=google&utm_medium=cpc&gclid=c1",
        "/?utm_source=meta&fbclid=f1",
        "/?msclkid=m1",
    ]);
    let referrer = prop::sample::select(vec![
        "",
        "https://www.acme.example/",
        "https://www.google.com/",
        "https://checkout.stripe.com/pay",
        "https://blog.example/post",
    ]);
    let one = (0..900_u32, 0..COOKIES, page, referrer, prop::option::weighted(0.2, 0..2_usize))
        .prop_map(|(at, cookie, page, referrer, form)| Happening { at, cookie, page, referrer, form });
    // Nine hundred minutes are too long for sessions to meet; a tenth of them is not.
    prop::collection::vec(one, 1..24).prop_flat_map(|all| {
        (Just(all), 1..10_u32).prop_map(|(all, dense)| {
            all.into_iter().map(|one| Happening { at: one.at / dense, ..one }).collect()
        })
    })
}

/// The events, all arrived at once but named by when they occurred.
fn events(site: &Site, happenings: &[Happening]) -> Vec<Collected> {
    let body = |(number, happening): (usize, &Happening)| -> Value {
        let mut body = json!({
            "event_id": format!("event {number}"),
            "timestamp": minute(happening.at).to_string(),
            "page_url": format!("https://www.acme.example{}", happening.page),
            "referrer_url": happening.referrer,
            "visitor_cookie": name(happening.cookie),
        });
        if let Some(person) = happening.form {
            body["form_data"] =
                json!({ "email": format!("p{person}@x.example"), "first_name": format!("N{number}") });
        }
        body
    };
    happenings.iter().enumerate().map(|numbered| site.collected(1_000, &body(numbered))).collect()
}

fn in_order(mut events: Vec<Collected>) -> Vec<Collected> {
    events.sort_by_key(|collected| (collected.event.occurred_at, collected.event.id));
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn what_arrived_in_its_order_is_as_it_was_decided(happenings in happenings(), batch in 1..8_usize, splits: bool) {
        let mut site = Site::new();
        site.pixel.project.settings.split_sessions_on_campaign = splits;
        site.policy.split_sessions_on_campaign = splits;
        let was = block_on(site.store.project(site.project())).unwrap().unwrap();
        block_on(site.store.update_project(&was, &site.pixel.project)).unwrap();
        for batch in in_order(events(&site, &happenings)).chunks(batch) {
            site.take(batch);
        }
        let before = told(&site, COOKIES);
        let report = run(&site, &WISH);
        prop_assert_eq!((report.visitors_changed, report.leads_changed), (0, 0), "{:#?}", report.details);
        prop_assert_eq!(told(&site, COOKIES), before);
    }

    #[test]
    fn whatever_the_order_of_arrival_all_is_the_same_afterwards_and_again(
        happenings in happenings(),
        keys in prop::collection::vec(any::<u32>(), 24),
        batch in 1..8_usize,
    ) {
        let (calm, wild) = (Site::new(), Site::new());
        let all = in_order(events(&calm, &happenings));
        for batch in all.chunks(batch) {
            calm.take(batch);
        }
        let mut shuffled: Vec<_> = keys.into_iter().zip(all).collect();
        shuffled.sort_by_key(|(key, _)| *key);
        for (_key, event) in shuffled {
            wild.take(&[event]);
        }
        run(&wild, &WISH);
        prop_assert_eq!(told(&wild, COOKIES), told(&calm, COOKIES));
        let again = run(&wild, &WISH);
        prop_assert_eq!((again.visitors_changed, again.leads_changed), (0, 0), "{:#?}", again.details);
    }

    #[test]
    fn what_counts_for_a_lead_by_its_journey_is_what_it_is_attributed_to(
        happenings in happenings(),
        keys in prop::collection::vec(any::<u32>(), 24),
    ) {
        let site = Site::new();
        let mut shuffled: Vec<_> = keys.into_iter().zip(events(&site, &happenings)).collect();
        shuffled.sort_by_key(|(key, _)| *key);
        for (_key, event) in shuffled {
            site.take(&[event]);
        }
        run(&site, &WISH);
        for lead in leads(&site) {
            prop_assert_eq!(four_of_journey(&site, &lead), lead.touches);
        }
    }
}

/// The four among the touches of a lead's journey that count for it.
fn four_of_journey(site: &Site, lead: &Lead) -> FourTouches {
    let bounds = JourneyBounds { browsers: u32::MAX, touches: u32::MAX, events: 0 };
    let journey = block_on(site.store.journey(site.project(), lead.id, &bounds)).expect("a store that works");
    let counting: Vec<Arc<Touch>> = (journey.touches.iter())
        .filter(|one| journey.counts_for(lead, one.visitor_id))
        .map(|one| Arc::new(one.touch.clone()))
        .collect();
    FourTouches::among(&counting, (lead.occurred_at, lead.event_id))
}

/// A visit from a site that is ignored later, and a form in it.
fn visit_by_way_of_a_portal() -> Site {
    let site = Site::new();
    site.visit(0, "cookie-a", "/", "https://portal.example/apps");
    site.submit(1, "cookie-a", JANE);
    ignore_referrer(&site, "portal.example");
    site
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let site = visit_by_way_of_a_portal();
    let before = (site.known("cookie-a"), leads(&site));
    let report = run(&site, &DRY);
    assert_eq!((report.visitors, report.visitors_changed, report.touches_removed), (1, 1, 1));
    assert_eq!((report.sessions_changed, report.leads, report.leads_changed), (1, 1, 1));
    let Detail::Visitor { touches, .. } = &report.details[0] else { panic!("{:?}", report.details) };
    let was = touches[0].before.as_deref();
    assert!(was.is_some_and(|text| text.starts_with("portal.example / referral")), "{was:?}");
    assert_eq!(touches[0].after, None);
    let Detail::Lead { touches, .. } = &report.details[1] else { panic!("{:?}", report.details) };
    assert_eq!(
        touches.iter().map(|change| change.touch).collect::<Vec<_>>(),
        ["first", "first_non_direct", "last_non_direct", "last", "session"]
    );
    assert_eq!((site.known("cookie-a"), leads(&site)), before);
}

#[test]
fn touches_sessions_and_leads_follow_the_rules_of_now() {
    let site = visit_by_way_of_a_portal();
    let report = run(&site, &WISH);
    assert_eq!((report.visitors_changed, report.leads_changed, report.requeued), (1, 1, 0));
    let known = site.known("cookie-a");
    assert_eq!((known.touches.len(), known.sessions[0].attribution.source.as_deref()), (0, None));
    assert_eq!((leads(&site)[0].touches.first.clone(), leads(&site)[0].session_touch.clone()), (None, None));
    // What was ignored stays so for what comes next.
    let next = site.visit(10, "cookie-a", "/b", "");
    assert_eq!(next.attribution.source, None);
}

#[test]
fn what_is_described_is_bounded_and_the_rest_is_counted() {
    let site = visit_by_way_of_a_portal();
    let report = run(&site, &Wish { details_max: 1, ..DRY });
    assert_eq!((report.details.len(), report.details_left_out), (1, 1));
}

/// The job is frozen from its newest lead, and synced where `status` says so.
fn told_as(site: &Site, status: JobStatus) {
    let queue = Queue { project_id: site.project(), account: default_account() };
    let claims = block_on(site.store.claim(&queue, minute(60), Duration::from_mins(1), 1))
        .expect("a store that works");
    let claim = &claims[0];
    let wanted = Wanted { lead_id: leads(site).last().map(|lead| lead.id), ..Wanted::default() };
    block_on(site.store.freeze(&claim.lease, &wanted)).expect("a store that works");
    let next = NextStep::End { status, persons: Vec::new(), written: Vec::new() };
    let settlement = Settlement { at: minute(60), next, note: "settled".to_owned(), steps: Vec::new() };
    block_on(site.store.settle(&claim.lease, &settlement)).expect("a store that works");
}

#[test]
fn what_the_crm_was_told_is_told_again_only_where_that_is_asked_and_nobody_said_never() {
    for (status, requeue, told) in [
        (JobStatus::Synced, false, 0),
        (JobStatus::Synced, true, 1),
        (JobStatus::Skipped, true, 0),
        (JobStatus::NotFound, true, 0),
    ] {
        let site = visit_by_way_of_a_portal();
        told_as(&site, status);
        let report = run(&site, &Wish { requeue, ..WISH });
        assert_eq!((report.leads_changed, report.requeued, report.worked_on), (1, told, 0), "{status}");
        assert_eq!(site.jobs()[0].status == JobStatus::Pending, told == 1, "{status}");
    }
    // One that is still to be built is built from what the lead says by then; a human's hold stands.
    let site = visit_by_way_of_a_portal();
    assert_eq!(run(&site, &Wish { requeue: true, ..WISH }).requeued, 0);
    let site = visit_by_way_of_a_portal();
    block_on(site.store.act(site.project(), site.jobs()[0].id, JobAction::Hold, minute(5), "a human"))
        .unwrap();
    assert_eq!(run(&site, &Wish { requeue: true, ..WISH }).requeued, 0);
    assert_eq!(site.jobs()[0].status, JobStatus::Held);
}

/// From now on this counts as a conversion, and nothing else.
fn count_only(site: &Site, rules: &Value) {
    let project = block_on(site.store.project(site.project())).expect("a store that works");
    let was = project.expect("the site's project");
    let mut becomes = was.clone();
    becomes.settings.conversions = serde_json::from_value(rules.clone()).expect("conversions");
    assert!(block_on(site.store.update_project(&was, &becomes)).expect("a store that works"));
}

#[test]
fn what_counts_by_now_counts_from_the_beginning() {
    let site = Site::new();
    site.visit(0, "cookie-a", "/?utm_source=news", "");
    site.visit(1, "cookie-a", "/pricing", "");
    site.visit(2, "cookie-a", "/thanks", "");
    count_only(&site, &json!({ "thanks": {"page": "/thanks"}, "prices": {"page": "/pricing", "value": 7} }));
    let changes =
        |report: &Report| (report.conversions_added, report.conversions_changed, report.conversions_removed);
    let before = site.conversions();
    let report = run(&site, &DRY);
    assert_eq!((changes(&report), report.touches_added + report.touches_changed), ((1, 1, 0), 0));
    let Detail::Visitor { conversions, .. } = &report.details[0] else { panic!("{:?}", report.details) };
    let after: Vec<_> = conversions.iter().map(|change| change.after.as_deref().unwrap_or("none")).collect();
    assert!(after[0].starts_with("value 7, news"), "{after:?}");
    assert!(after[1].starts_with("no value, news"), "{after:?}");
    assert_eq!(site.conversions(), before);
    run(&site, &WISH);
    let [prices, thanks] = site.conversions().try_into().unwrap();
    assert_eq!((prices.value, thanks.name.as_str()), (Some(7.0), "thanks"));
    assert_eq!(thanks.touches, prices.touches);
    assert_eq!(run(&site, &WISH).visitors_changed, 0);
    count_only(&site, &json!({}));
    assert_eq!(changes(&run(&site, &WISH)), (0, 0, 2));
    assert_eq!(site.conversions(), []);
}

#[test]
fn who_stopped_goes_on_where_it_was() {
    let site = Site::new();
    for number in 0..3 {
        let cookie = format!("cookie-{number}");
        site.visit(number, &cookie, "/", "https://portal.example/apps");
        site.submit(number + 10, &cookie, &format!("p{number}@x.example"));
    }
    ignore_referrer(&site, "portal.example");
    let first = block_on(site.store.visitors(site.project(), &Page::first(1))).unwrap()[0];
    let from = Some(Position::Visitor(first));
    let report = run(&site, &Wish { from, ..DRY });
    assert_eq!((report.visitors_changed, report.leads_changed), (2, 3));
    let report = run(&site, &Wish { from: Some(Position::Lead(None)), ..DRY });
    assert_eq!((report.visitors, report.leads_changed), (0, 3));
    let from = Some(Position::Lead(Some(leads(&site)[1].id)));
    let report = run(&site, &Wish { from, ..DRY });
    assert_eq!((report.visitors, report.leads_changed), (0, 1));
    for position in [Position::Visitor(first), Position::Lead(None), Position::Lead(Some(leads(&site)[1].id))]
    {
        assert_eq!(position.to_string().parse(), Ok(position));
    }
    for text in ["", "visitor", "visitor:", "lead:x", "leads:1"] {
        assert!(text.parse::<Position>().is_err(), "{text}");
    }
}

#[test]
fn another_projects_visitors_and_leads_stay_as_they_are() {
    let site = visit_by_way_of_a_portal();
    let other = Site::of(site.store.clone(), "other", "other-px");
    other.visit(0, "cookie-a", "/", "https://portal.example/apps");
    other.submit(1, "cookie-a", JANE);
    ignore_referrer(&other, "portal.example");
    let before = (other.known("cookie-a"), leads(&other));
    run(&site, &WISH);
    assert_eq!((other.known("cookie-a"), leads(&other)), before);
}

#[test]
fn a_person_recognised_on_another_browser_after_the_form_does_not_change_its_lead() {
    let site = Site::new();
    site.visit(0, "cookie-b", "/?utm_source=meta", "");
    site.visit(5, "cookie-a", "/?utm_source=google", "");
    site.submit(6, "cookie-a", JANE);
    site.one(20, &site::form("cookie-b", JANE, "J."));
    let project: Project = block_on(site.store.project(site.project())).unwrap().unwrap();
    let first = |site: &Site| {
        leads(site)
            .iter()
            .map(|lead| lead.touches.first.as_ref().and_then(|touch| touch.utm.source.clone()))
            .collect::<Vec<_>>()
    };
    let before = first(&site);
    assert_eq!(before, [Some("google".to_owned()), Some("meta".to_owned())]);
    let report = block_on(reattribution(&site).run(&project, &WISH, |_, _| {})).unwrap();
    assert_eq!(report.leads_changed, 0, "{:#?}", report.details);
    assert_eq!(first(&site), before);
}
