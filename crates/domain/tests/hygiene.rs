//! What is found wrong with the tags of links, in collected events.

#[expect(dead_code, reason = "the site of the ingest tests; these need a part of it")]
#[path = "world/site.rs"]
mod site;

use leadtrail_domain::event::Event;
use leadtrail_domain::hygiene::{EXAMPLE_CHARS_MAX, EXAMPLES_MAX, Finding, Inspection, Problem, findings};
use serde_json::json;
use site::Site;

fn event(page: &str, referrer: &str) -> Event {
    let body = json!({ "page_url": format!("https://www.acme.example{page}"), "referrer_url": referrer });
    Site::new().collected(0, &body).event
}

fn of(pages: &[&str]) -> Vec<Finding> {
    let events: Vec<Event> = pages.iter().map(|page| event(page, "")).collect();
    findings(&events)
}

#[test]
fn each_problem_is_found_where_it_is_and_nowhere_else() {
    for (page, referrer, problems) in [
        ("/?utm_source=news&utm_medium=email&utm_campaign=may", "", &[][..]),
        ("/", "https://www.google.com/", &[]),
        ("/?gclid=x&utm_source=google&utm_medium=cpc&utm_campaign=may", "", &[]),
        ("/?utm_source=home&utm_medium=banner", "https://shop.acme.example/", &[Problem::UtmOnInternalLink]),
        ("/?gclid=x", "", &[Problem::AdClickWithoutUtm]),
        ("/?fbclid=x", "", &[]),
        ("/?gclid=x&utm_source=google&utm_medium=organic", "", &[Problem::AdClickWithUnpaidMedium]),
        ("/?dclid=x&utm_source=dv360&utm_medium=display", "", &[]),
        ("/?utm_source=news", "", &[Problem::SourceWithoutMedium]),
        ("/?utm_medium=email", "", &[Problem::MediumWithoutSource]),
        ("/?utm_source=flyer&utm_medium=print", "", &[Problem::UnknownMedium]),
        ("/?utm_source=meta&utm_medium=cpc&utm_campaign={{campaign.name}}", "", &[Problem::UnresolvedMacro]),
        ("/?utm_source=news&utm_medium=email&to=jane%40x.example", "", &[Problem::EmailInUrl]),
        ("/to/jane@x.example?utm_source=news&utm_medium=email", "", &[Problem::EmailInUrl]),
        ("/?utm_source=www.ACME.example&utm_medium=referral", "", &[Problem::SelfReferral]),
    ] {
        let found: Vec<Problem> =
            findings(&[event(page, referrer)]).iter().map(|finding| finding.problem).collect();
        assert_eq!(found, problems, "{page} from {referrer}");
    }
}

#[test]
fn spellings_that_differ_by_case_are_one_finding() {
    let found = of(&[
        "/?utm_source=News&utm_medium=email",
        "/?utm_source=news&utm_medium=email",
        "/?utm_source=news&utm_medium=Email",
    ]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].problem, found[0].count), (Problem::CasingVariants, 2));
    assert_eq!(found[0].examples, ["utm_medium: Email, email", "utm_source: News, news"]);
}

#[test]
fn examples_are_bounded_in_order_and_hold_no_address_of_a_person() {
    let pages: Vec<String> = (0..20).rev().map(|n| format!("/p{n:02}?email=jane{n}@x.example")).collect();
    let found = of(&pages.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((found[0].problem, found[0].count), (Problem::EmailInUrl, 20));
    assert_eq!(found[0].examples.len(), EXAMPLES_MAX);
    assert_eq!(found[0].examples[0], "email on https://www.acme.example/p00");
    assert!(found[0].examples.iter().all(|example| !example.contains('@')));
}

#[test]
fn no_example_holds_the_value_of_a_click_id() {
    let click_id = "Cj0KCQiA-test-click";
    let page = format!("/{click_id}?gclid={click_id}&utm_source=ads-{click_id}");
    let found = of(&[&page, &format!("/?gclid={click_id}&utm_source=ADS-{click_id}")]);
    assert!(!format!("{found:?}").to_lowercase().contains(&click_id.to_lowercase()), "{found:?}");
    assert_eq!((found[0].problem, found[0].count), (Problem::SourceWithoutMedium, 2));
    // A word that is a click id by chance.
    assert_eq!(of(&["/?gclid=news&utm_source=news"])[0].examples, ["news"]);
}

#[test]
fn a_long_example_is_cut() {
    let found = of(&[&format!("/?utm_source={}", "ü".repeat(EXAMPLE_CHARS_MAX + 1))]);
    let example = &found[0].examples[0];
    assert_eq!(example.chars().count(), EXAMPLE_CHARS_MAX + 1);
    assert!(example.ends_with('…'));
}

#[test]
fn what_is_found_does_not_depend_on_the_order_of_the_events() {
    let pages = [
        "/?utm_source=News&utm_medium=email",
        "/b?gclid=x",
        "/?utm_source=news&utm_medium=print",
        "/a?gclid=y",
    ];
    let mut inspection = Inspection::default();
    for page in pages.iter().rev() {
        inspection.take(&event(page, ""));
    }
    assert_eq!(inspection.into_findings(), of(&pages));
}
