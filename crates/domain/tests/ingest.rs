//! What a batch of events means: sessions, touches, leads and jobs, decided and committed to the reference store.

#[path = "world/site.rs"]
mod site;

use std::time::Duration;

use leadtrail_domain::event::{Collected, EventKind};
use leadtrail_domain::project::default_account;
use leadtrail_domain::touch::FourTouches;
use proptest::prelude::*;
use serde_json::{Value, json};
use site::{DELAY, Site, form, minute};

const JANE: &str = "jane@x.example";

fn google(page: &str) -> String {
    format!("{page}?utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=click-1")
}

#[test]
fn a_page_view_after_29_minutes_extends_the_session_and_one_after_30_opens_another() {
    let site = Site::new();
    let first = site.visit(0, "cookie-a", "/", "");
    assert_eq!(site.visit(29, "cookie-a", "/b", "").session_id, first.session_id);
    assert_eq!(site.visit(58, "cookie-a", "/c", "").session_id, first.session_id);
    assert_ne!(site.visit(88, "cookie-a", "/d", "").session_id, first.session_id);
}

#[test]
fn the_same_cookie_is_one_visitor_and_the_answer_names_it() {
    let site = Site::new();
    let (first, second) = (site.visit(0, "cookie-a", "/", ""), site.visit(500, "cookie-a", "/", ""));
    assert_eq!(first.visitor_id, second.visitor_id);
    assert_ne!(first.visitor_id, site.visit(1, "cookie-b", "/", "").visitor_id);
    assert_eq!(first.visitor_cookie.unwrap().as_str(), "cookie-a");
}

#[test]
fn a_repeated_event_is_answered_the_same_and_changes_nothing() {
    let site = Site::new();
    let body = json!({ "page_url": "https://www.acme.example/?utm_source=x", "visitor_cookie": "cookie-a", "event_id": "e1" });
    let first = site.one(0, &body);
    site.visit(300, "cookie-a", "/", "");
    let (changes, answers) = site.take(&[site.collected(400, &body)]);
    assert!(changes.is_empty());
    assert!(answers[0].duplicate);
    assert_eq!(leadtrail_domain::visit::Answer { duplicate: false, ..answers[0].clone() }, first);
}

#[test]
fn the_first_of_equal_events_in_a_batch_wins() {
    let site = Site::new();
    let body = |title: &str| json!({ "page_url": "https://www.acme.example/", "visitor_cookie": "cookie-a", "event_id": "e1", "page_title": title });
    let (changes, answers) = site.take(&[site.collected(5, &body("one")), site.collected(1, &body("two"))]);
    assert_eq!(changes.events.len(), 1);
    assert_eq!(changes.events[0].event.page_title.as_deref(), Some("one"));
    assert_eq!(answers.iter().map(|answer| answer.duplicate).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn the_first_touch_survives_the_second_page_view_and_every_later_visit() {
    let site = Site::new();
    site.visit(0, "cookie-a", &google("/"), "https://www.google.com/");
    site.visit(1, "cookie-a", "/pricing", "https://www.acme.example/");
    site.visit(600, "cookie-a", "/?utm_source=newsletter&utm_medium=email", "");
    site.visit(1_200, "cookie-a", "/", "");
    assert_eq!(site.sources("cookie-a"), [Some("google".to_owned()), Some("newsletter".to_owned()), None]);
}

#[test]
fn a_touch_is_never_mixed_with_another_visits() {
    let site = Site::new();
    site.visit(0, "cookie-a", &google("/"), "");
    site.visit(600, "cookie-a", "/?utm_source=bing", "");
    let last = site.known("cookie-a").touches.pop().unwrap();
    assert_eq!(last.utm.source.as_deref(), Some("bing"));
    assert_eq!((last.utm.campaign.as_deref(), last.click_ids.len()), (None, 0));
}

#[test]
fn a_return_from_the_payment_page_keeps_the_campaign() {
    let site = Site::new();
    let first = site.visit(0, "cookie-a", &google("/"), "");
    let back = site.visit(10, "cookie-a", "/thanks", "https://checkout.stripe.com/pay");
    assert_eq!(back.session_id, first.session_id);
    let late = site.visit(100, "cookie-a", "/thanks", "https://www.paypal.com/");
    assert_ne!(late.session_id, first.session_id);
    assert_eq!(site.sources("cookie-a"), [Some("google".to_owned())]);
}

#[test]
fn reloading_the_landing_page_makes_no_second_touch_and_another_ad_does() {
    let site = Site::new();
    for at in [0, 1] {
        site.visit(at, "cookie-a", &google("/"), "");
    }
    let other = site.visit(2, "cookie-a", "/?utm_source=meta", "");
    assert_eq!(site.sources("cookie-a"), [Some("google".to_owned()), Some("meta".to_owned())]);
    assert_eq!(site.known("cookie-a").sessions.len(), 1);
    assert_eq!(other.attribution.source.as_deref(), Some("google"), "the session keeps its opening touch");
}

#[test]
fn a_project_may_want_a_new_session_for_a_new_campaign() {
    let mut site = Site::new();
    site.policy.split_sessions_on_campaign = true;
    let first = site.visit(0, "cookie-a", &google("/"), "");
    assert_eq!(site.visit(1, "cookie-a", &google("/"), "").session_id, first.session_id);
    let second = site.visit(2, "cookie-a", "/?utm_source=meta", "");
    assert_ne!(second.session_id, first.session_id);
    assert_eq!(site.visit(3, "cookie-a", "/b", "https://www.acme.example/").session_id, second.session_id);
}

#[test]
fn a_late_event_joins_the_nearest_session_and_never_merges_two() {
    let site = Site::new();
    let late = |at: u32, received: u32| {
        let occurred = minute(at).to_string();
        let body = json!({ "page_url": "https://www.acme.example/", "visitor_cookie": "cookie-a", "timestamp": occurred, "event_id": format!("late {at}") });
        site.one(received, &body)
    };
    let first = site.visit(0, "cookie-a", "/", "");
    let second = site.visit(50, "cookie-a", "/", "");
    assert_eq!(late(20, 60).session_id, first.session_id);
    assert_eq!(late(30, 61).session_id, first.session_id);
    assert_eq!(late(45, 62).session_id, second.session_id);
    let sessions = site.known("cookie-a").sessions;
    assert_eq!(sessions.len(), 2);
    assert_eq!((sessions[0].last_event_at, sessions[1].started_at), (minute(30), minute(45)));
}

#[test]
fn an_event_from_before_the_first_one_becomes_the_first_touch() {
    let site = Site::new();
    site.visit(100, "cookie-a", "/?utm_source=second", "");
    let body = json!({ "page_url": "https://www.acme.example/?utm_source=first", "visitor_cookie": "cookie-a", "timestamp": minute(0).to_string() });
    site.one(101, &body);
    assert_eq!(site.sources("cookie-a"), [Some("first".to_owned()), Some("second".to_owned())]);
}

#[test]
fn a_visitor_who_does_not_wish_to_be_recognised_is_a_new_one_each_time() {
    let site = Site::new();
    let body = |id: &str| json!({ "page_url": "https://www.acme.example/", "visitor_cookie": "cookie-a", "consent": "denied", "event_id": id });
    let answer = site.one(0, &body("e1"));
    assert_eq!((answer.visitor_id, answer.session_id, answer.visitor_cookie), (None, None, None));
    site.one(1, &body("e2"));
    let visitors: std::collections::BTreeSet<_> =
        site.events().iter().map(|event| event.visitor_id).collect();
    assert_eq!(visitors.len(), 2);
}

#[test]
fn a_form_makes_a_lead_with_the_four_touches_and_a_job_due_after_the_delay() {
    let site = Site::new();
    site.visit(0, "cookie-a", "/", "");
    site.visit(100, "cookie-a", &google("/"), "");
    site.visit(200, "cookie-a", "/?utm_source=meta", "");
    site.visit(300, "cookie-a", "/", "");
    let (changes, _) = site.take(&[site.collected(301, &form("cookie-a", JANE, "Jane"))]);
    let lead = &changes.leads[0];
    let FourTouches { first, first_non_direct, last_non_direct, last } = lead.touches.clone();
    let sources = [first, first_non_direct, last_non_direct, last]
        .map(|touch| touch.unwrap().source().map(str::to_owned));
    assert_eq!(sources, [None, Some("google".to_owned()), Some("meta".to_owned()), None]);
    assert_eq!(changes.jobs.len(), 1);
    assert_eq!(changes.jobs[0].due_at, minute(301).plus(DELAY));
    assert_eq!((changes.jobs[0].account.clone(), lead.job_id), (default_account(), Some(changes.jobs[0].id)));
    assert_eq!(changes.events[0].lead_id, Some(lead.id));
}

#[test]
fn a_later_visit_does_not_reach_an_earlier_lead() {
    let site = Site::new();
    site.visit(0, "cookie-a", "/?utm_source=first", "");
    site.visit(100, "cookie-a", "/?utm_source=later", "");
    let mut form = form("cookie-a", JANE, "Jane");
    form["timestamp"] = json!(minute(5).to_string());
    let (changes, _) = site.take(&[site.collected(101, &form)]);
    assert_eq!(changes.leads[0].touches.last.as_ref().unwrap().source(), Some("first"));
}

#[test]
fn the_touches_of_another_browser_with_the_same_email_count() {
    let site = Site::new();
    site.visit(0, "cookie-phone", &google("/"), "");
    site.submit(1, "cookie-phone", JANE);
    site.visit(5_000, "cookie-desk", "/", "");
    let (changes, _) = site.take(&[site.collected(5_001, &form("cookie-desk", "Jane@X.example", "Jane D."))]);
    assert_eq!(changes.leads[0].touches.first.as_ref().unwrap().source(), Some("google"));
}

#[test]
fn a_second_email_on_the_same_browser_is_a_second_lead() {
    let site = Site::new();
    site.submit(0, "cookie-a", JANE);
    site.submit(1, "cookie-a", "joe@x.example");
    assert_eq!((site.leads().len(), site.jobs().len()), (2, 2));
}

#[test]
fn equal_submissions_within_24_hours_are_one_lead_and_one_job() {
    let site = Site::new();
    for at in [0, 1, 24 * 60 - 1] {
        let mut form = form("cookie-a", JANE, "Jane");
        form["event_id"] = json!(format!("retry {at}"));
        site.one(at, &form);
    }
    assert_eq!((site.events().len(), site.leads().len(), site.jobs().len()), (3, 1, 1));
    site.submit(24 * 60, "cookie-a", JANE);
    assert_eq!(site.leads().len(), 2);
}

#[test]
fn waiting_submissions_of_one_person_are_one_job_that_keeps_its_due_time() {
    let site = Site::new();
    site.one(0, &form("cookie-a", JANE, "Jane"));
    site.one(3, &form("cookie-b", JANE, "J."));
    let jobs = site.jobs();
    assert_eq!((site.leads().len(), jobs.len()), (2, 1));
    assert_eq!(jobs[0].due_at, minute(0).plus(DELAY));
}

#[test]
fn a_lead_does_not_join_a_job_of_another_crm_account() {
    let mut site = Site::new();
    site.one(0, &form("cookie-a", JANE, "Jane"));
    site.policy.crm.as_mut().unwrap().account = "other".parse().unwrap();
    site.one(1, &form("cookie-a", JANE, "J."));
    let accounts: Vec<_> = site.jobs().into_iter().map(|job| job.account.to_string()).collect();
    assert_eq!(accounts.len(), 2);
    assert!(accounts.contains(&"default".to_owned()) && accounts.contains(&"other".to_owned()));
}

#[test]
fn a_project_whose_crm_is_off_makes_leads_and_no_job() {
    let mut site = Site::new();
    site.policy.crm = None;
    site.submit(0, "cookie-a", JANE);
    assert_eq!((site.leads().len(), site.jobs().len()), (1, 0));
}

#[test]
fn a_form_without_a_usable_email_is_kept_and_makes_no_lead() {
    let site = Site::new();
    site.one(0, &json!({ "page_url": "https://www.acme.example/", "visitor_cookie": "cookie-a", "event_type": "form_submit", "form_data": { "email": "not one" } }));
    assert_eq!(site.events()[0].event.kind, EventKind::FormSubmit);
    assert_eq!((site.leads().len(), site.jobs().len()), (0, 0));
}

#[test]
fn who_was_identified_is_known_when_the_form_comes_from_elsewhere() {
    let site = Site::new();
    site.visit(0, "cookie-a", &google("/"), "");
    site.one(1, &json!({ "page_url": "https://www.acme.example/", "visitor_cookie": "cookie-a", "event_type": "identify", "form_data": { "email": JANE } }));
    assert_eq!(site.leads().len(), 0);
    let (changes, _) = site.take(&[site.collected(100, &form("cookie-b", JANE, "Jane"))]);
    assert_eq!(changes.leads[0].touches.first.as_ref().unwrap().source(), Some("google"));
}

fn converted(site: &Site) -> Vec<(String, Option<f64>)> {
    site.conversions().into_iter().map(|one| (String::from(one.name), one.value)).collect()
}

#[test]
fn an_event_counts_as_what_its_project_says() {
    let site = Site::new();
    let custom = |at: u32, body: Value| {
        let mut event = json!({ "page_url": "https://www.acme.example/files", "visitor_cookie": "cookie-a" });
        event.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        site.one(at, &event);
    };
    custom(0, json!({ "event_type": "download" }));
    custom(1, json!({ "event_type": "download", "value": 20 }));
    custom(2, json!({ "event_type": "Download" }));
    custom(3, json!({ "event_type": "download", "page_url": "https://acme.example/" }));
    custom(4, json!({ "page_url": "https://other.example/pricing/?plan=b" }));
    custom(5, json!({ "event_type": "scroll", "page_url": "https://www.acme.example/pricing" }));
    site.submit(6, "cookie-a", JANE);
    let download = |value| ("download".to_owned(), Some(value));
    let expected =
        [download(1.0), download(20.0), ("prices".to_owned(), Some(5.0)), ("form".to_owned(), None)];
    assert_eq!(converted(&site), expected);
}

#[test]
fn an_event_may_be_several_conversions_and_a_repetition_is_none_more() {
    let mut site = Site::new();
    let rule = site.pixel.project.settings.conversions.values().next().unwrap().clone();
    site.pixel.project.settings.conversions.insert("again".parse().unwrap(), rule);
    let body = json!({ "page_url": "https://www.acme.example/", "event_type": "download", "visitor_cookie": "cookie-a", "event_id": "e1" });
    for at in [0, 1] {
        site.one(at, &body);
    }
    let mut names: Vec<String> = converted(&site).into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["again", "download"]);
}

#[test]
fn a_conversion_keeps_the_four_touches_as_they_were() {
    let site = Site::new();
    site.visit(0, "cookie-a", "/", "");
    site.visit(100, "cookie-a", &google("/"), "");
    let answer = site.visit(101, "cookie-a", "/pricing", "https://www.acme.example/");
    site.visit(200, "cookie-a", "/?utm_source=meta", "");
    let [conversion] = site.conversions().try_into().unwrap();
    assert_eq!(
        (Some(conversion.visitor_id), Some(conversion.session_id)),
        (answer.visitor_id, answer.session_id)
    );
    assert_eq!(conversion.occurred_at, minute(101));
    let FourTouches { first, first_non_direct, last_non_direct, last } = conversion.touches;
    assert!(first.unwrap().is_direct());
    for touch in [first_non_direct, last_non_direct, last] {
        assert_eq!(touch.unwrap().source(), Some("google"));
    }
}

#[test]
fn a_bots_event_counts_as_nothing() {
    let site = Site::new();
    let mut event = site.collected(0, &json!({ "page_url": "https://www.acme.example/pricing" })).event;
    assert_eq!(Collected::reread(event.clone(), &site.pixel).conversions.len(), 1);
    event.client.bot = Some("user agent".to_owned());
    assert_eq!(Collected::reread(event, &site.pixel).conversions, []);
}

/// A message of one of three visitors: a page view or a form, from one of a few places.
fn message() -> impl Strategy<Value = (u32, Value)> {
    let pages = ["/", "/pricing", "/?utm_source=google&gclid=x", "/?utm_source=meta", "/?fbclid=y"];
    let referrers = ["", "https://www.acme.example/", "https://www.bing.com/", "https://www.paypal.com/"];
    (0u32..45, 0usize..3, 0usize..pages.len(), 0usize..referrers.len(), 0usize..8).prop_map(
        move |(gap, visitor, page, referrer, form)| {
            let mut body = json!({
                "page_url": format!("https://www.acme.example{}", pages[page]),
                "referrer_url": referrers[referrer],
                "visitor_cookie": format!("cookie-{visitor}"),
            });
            if form < 2 {
                body["form_data"] = json!({ "email": format!("person{form}@x.example") });
            }
            (gap, body)
        },
    )
}

proptest! {
    #[test]
    fn events_in_their_order_mean_the_same_at_once_and_in_parts(
        messages in prop::collection::vec(message(), 1..40),
        cuts in prop::collection::vec(0usize..40, 0..6),
    ) {
        let (whole, parts) = (Site::new(), Site::new());
        let mut at = 0;
        let mut events = Vec::new();
        for (index, (gap, body)) in messages.iter().enumerate() {
            at += gap;
            let mut body = body.clone();
            // Ids that grow with the order of arrival, as those of clocks do.
            body["event_id"] = json!(format!("019ab0e4-7c00-7abc-8def-{index:012x}"));
            events.push(whole.collected(at, &body));
        }
        let (_, answers) = whole.take(&events);
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < events.len()).collect();
        cuts.push(0);
        cuts.push(events.len());
        cuts.sort_unstable();
        let mut in_parts = Vec::new();
        for pair in cuts.windows(2) {
            in_parts.extend(parts.take(&events[pair[0]..pair[1]]).1);
        }
        prop_assert_eq!(answers, in_parts);
        prop_assert_eq!(whole.events(), parts.events());
        prop_assert_eq!(whole.jobs(), parts.jobs());
        prop_assert_eq!(whole.conversions(), parts.conversions());
        for event in whole.events() {
            let cookie = event.event.visitor.cookie().unwrap().as_str();
            let (mut one, mut other) = (whole.known(cookie), parts.known(cookie));
            // How many commits it took is the one thing that differs.
            (one.version, other.version) = (0, 0);
            prop_assert_eq!(one, other);
        }
    }

    #[test]
    fn no_later_visit_changes_the_first_touch(messages in prop::collection::vec(message(), 2..20)) {
        let site = Site::new();
        let mut at = 0;
        let mut first = None;
        for (gap, body) in messages {
            at += gap + 1;
            site.one(at, &body);
            let now = site.known(body["visitor_cookie"].as_str().unwrap()).touches.first().cloned();
            if body["visitor_cookie"] == "cookie-0" {
                let remembered = first.get_or_insert(now.clone());
                if remembered.is_some() {
                    prop_assert_eq!(&now, &*remembered);
                }
                *remembered = now;
            }
        }
    }
}

#[test]
fn a_delay_is_that_of_the_project() {
    let mut site = Site::new();
    site.policy.crm.as_mut().unwrap().delay = Duration::ZERO;
    site.submit(0, "cookie-a", JANE);
    assert_eq!(site.jobs()[0].due_at, minute(0));
}

#[test]
fn what_the_replaced_tool_remembers_makes_no_touch_and_overwrites_none() {
    let site = Site::new();
    let todays = |page: &str, source: Option<&str>| {
        json!({
            "page_url": format!("https://www.acme.example{page}"), "visitor_cookie": "pxl_0123456789abcdef",
            "utm_source": source, "gclid": null, "attribution_source": "first_visit",
        })
    };
    site.one(0, &todays("/", Some("remembered")));
    site.one(1, &todays("/?utm_source=google", Some("remembered")));
    site.one(600, &todays("/pricing", Some("google")));
    let sources = site.sources("pxl_0123456789abcdef");
    assert_eq!(sources, [None, Some("google".to_owned()), None]);
    assert_eq!(
        site.events().iter().filter(|one| one.event.props.contains_key("history.utm_source")).count(),
        2
    );
}
