//! Laws that hold for any input: of credits, of signals, of landings, of tenants. Those of batches and first touches stand
//! with the other tests of ingest.

#[expect(dead_code, reason = "the site of the ingest tests; these need a part of it")]
#[path = "world/site.rs"]
mod site;

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use leadtrail_domain::channel;
use leadtrail_domain::classify::{LandingRule, classify};
use leadtrail_domain::conversion::Conversion;
use leadtrail_domain::event::{Collected, Neighbourhood};
use leadtrail_domain::id::EventId;
use leadtrail_domain::ingest::{Policies, ingest, query_for};
use leadtrail_domain::model::{Model, ModelSettings, Touchpoint, credits};
use leadtrail_domain::ports::{Journeys as _, Visits as _};
use leadtrail_domain::signals::Signals;
use leadtrail_domain::text::{PARAMETER_CHARS_MAX, URL_CHARS_MAX};
use leadtrail_domain::time::Span;
use leadtrail_domain::touch::FourTouches;
use leadtrail_store_memory::MemoryStore;
use proptest::prelude::*;
use serde_json::{Value, json};
use site::{Site, minute};

/// Paths in their order, with touches at the same instant and far apart.
fn path() -> impl Strategy<Value = Vec<Touchpoint>> {
    prop::collection::vec((0u32..200_000, any::<bool>(), any::<u16>()), 0..200).prop_map(|touches| {
        let mut path: Vec<Touchpoint> = touches
            .into_iter()
            .map(|(at, is_direct, event)| Touchpoint {
                order: (minute(at), EventId::of_text(&event.to_string())),
                is_direct,
            })
            .collect();
        path.sort_by_key(|touch| touch.order);
        path
    })
}

fn settings() -> impl Strategy<Value = ModelSettings> {
    let minutes = |count| Span::try_from(Duration::from_mins(count)).expect("less than ten years");
    (0u64..400_000, 0u64..40_000).prop_map(move |(lookback, half_life)| ModelSettings {
        lookback: minutes(lookback),
        half_life: minutes(half_life),
    })
}

/// An address of a page with some signals, or none.
fn page() -> impl Strategy<Value = String> {
    let queries =
        ["", "?utm_source=google&gclid=x", "?utm_source=meta", "?fbclid=y", "?utm_campaign=a&utm_source="];
    let path = prop::sample::select(vec!["", "pricing"]);
    (path, 0usize..queries.len())
        .prop_map(move |(path, n)| format!("https://www.acme.example/{path}{}", queries[n]))
}

/// A message of one of three visitors.
fn message() -> impl Strategy<Value = (u32, Value)> {
    let referrers = ["", "https://www.acme.example/", "https://www.bing.com/", "https://www.paypal.com/"];
    (0u32..45, 0usize..3, page(), 0usize..referrers.len(), 0usize..8).prop_map(
        move |(gap, visitor, page, referrer, form)| {
            let mut body = json!({
                "page_url": page,
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

/// What stands in an address where a parameter's name or value does.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_]{0,12}",
        "\\PC{0,12}",
        prop::sample::select(vec![
            "utm_source",
            "UTM_Medium",
            "gclid",
            "utm_x",
            "%",
            "%2",
            "%zz",
            "%20",
            "+",
            "%00",
            "",
            "sccid",
            "adset"
        ])
        .prop_map(str::to_owned),
    ]
}

fn query() -> impl Strategy<Value = String> {
    prop::collection::vec((word(), word()), 0..8).prop_map(|pairs| {
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    })
}

proptest! {
    #[test]
    fn credits_sum_to_one_for_any_path(path in path(), at in 0u32..220_000, settings in settings()) {
        let conversion = (minute(at), EventId::of_text("conversion"));
        for model in Model::ALL {
            let shared = credits(&path, conversion, model, &settings);
            prop_assert_eq!(shared.touches.len(), path.len());
            let sum: f64 = shared.touches.iter().sum::<f64>() + shared.none;
            prop_assert!((sum - 1.0).abs() <= 1e-9, "{} sums to {}", model, sum);
            prop_assert!(shared.touches.iter().all(|share| (0.0..=1.0).contains(share)));
            let any_in_window = path.iter().any(|touch| {
                touch.order <= conversion && touch.order.0 >= conversion.0.minus(settings.lookback.duration())
            });
            prop_assert_eq!(shared.none == 0.0, any_in_window);
        }
    }

    #[test]
    fn a_later_touch_never_earns_less_by_time(path in path(), settings in settings()) {
        let conversion = (minute(220_000), EventId::of_text("conversion"));
        let shared = credits(&path, conversion, Model::TimeDecay, &settings);
        for pair in shared.touches.windows(2) {
            prop_assert!(pair[0] <= pair[1]);
        }
    }

    #[test]
    fn null_and_empty_never_beat_a_value(query in query(), empty in prop::sample::select(vec!["", " ", "\u{0}", "\t"])) {
        let names = ["utm_source", "utm_medium", "utm_campaign", "utm_id", "utm_x", "gclid", "fbclid", "ad_id", "adset"];
        let landing = |offer_first: bool| {
            let mut signals = Signals::default();
            if offer_first {
                for name in names {
                    signals.offer(name, empty);
                }
            }
            let (_, parameters) = leadtrail_domain::web_url::WebUrl::parse(&format!("https://a.example/?{query}"))
                .map_err(|error| TestCaseError::reject(error.to_string()))?;
            signals.offer_query(&parameters);
            let before = signals.clone();
            for name in names {
                    signals.offer(name, empty);
                }
            prop_assert_eq!(&signals, &before);
            Ok(signals)
        };
        prop_assert_eq!(landing(true)?, landing(false)?);
    }

    #[test]
    fn null_in_a_body_never_beats_the_page(page in page()) {
        let site = Site::new();
        let plain = site.collected(0, &json!({ "page_url": page }));
        let nulls = site.collected(0, &json!({
            "page_url": page, "utm_source": null, "utm_medium": "", "utm_campaign": " ", "gclid": null, "fbclid": "",
        }));
        prop_assert_eq!(plain.event.signals, nulls.event.signals);
    }

    #[test]
    fn any_landing_is_classified_within_the_bounds(host in "[a-z]{1,8}", query in query(), referrer in "\\PC{0,60}") {
        let url = format!("https://{host}.example/?{query}");
        let landing = classify(&url, Some(&referrer), &Neighbourhood::default());
        let Ok(landing) = landing else { return Ok(()) };
        prop_assert!(landing.signals.values().all(|value| value.chars().count() <= PARAMETER_CHARS_MAX));
        let external =
            matches!(landing.rule, LandingRule::Utm | LandingRule::ClickId | LandingRule::Referrer);
        prop_assert_eq!(landing.channel.is_some(), external);
        if external {
            prop_assert!(landing.touch);
        } else {
            prop_assert_eq!((landing.source, landing.medium), (None, None));
        }
    }

    #[test]
    fn what_was_kept_of_an_address_is_kept_again(url in "https?://[a-z]{1,9}\\.example/\\PC{0,200}") {
        let Ok((kept, parameters)) = leadtrail_domain::web_url::WebUrl::parse(&url) else { return Ok(()) };
        prop_assert!(kept.as_str().chars().count() <= URL_CHARS_MAX);
        let again = leadtrail_domain::web_url::WebUrl::parse(kept.as_str());
        prop_assert_eq!(again, Ok((kept, parameters)));
    }

    #[test]
    fn case_and_margins_do_not_change_a_channel(
        source in prop::sample::select(vec!["google", "Facebook", "news", "chatgpt.com", "SMS", "x"]),
        medium in prop::sample::select(vec!["cpc", "Email", "organic", "print", "paid_social", "web-push"]),
        ad_click in any::<bool>(),
    ) {
        let plain = channel::decide(Some(source), Some(medium), None, ad_click).channel;
        let (loud, wide) = (source.to_uppercase(), format!(" {} ", medium.to_uppercase()));
        prop_assert_eq!(channel::decide(Some(&loud), Some(&wide), None, ad_click).channel, plain);
    }

    #[test]
    fn the_four_touches_do_not_depend_on_the_order_they_come_in(
        messages in prop::collection::vec(message(), 1..25), turn in 0usize..25,
    ) {
        let site = Site::new();
        let mut at = 0;
        for (gap, body) in &messages {
            at += gap;
            let mut body = body.clone();
            body["visitor_cookie"] = json!("cookie-0");
            site.one(at, &body);
        }
        let touches = site.known("cookie-0").touches;
        let until = (minute(at), EventId::of_text("until"));
        let mut turned = touches.clone();
        turned.rotate_left(turn.min(touches.len()));
        turned.reverse();
        let four = FourTouches::among(&touches, until);
        prop_assert_eq!(&FourTouches::among(&turned, until), &four);
        for touch in [four.first, four.first_non_direct, four.last_non_direct, four.last].into_iter().flatten() {
            prop_assert!(touches.iter().any(|known| Arc::ptr_eq(known, &touch)), "whole touches, never mixed ones");
        }
    }

    #[test]
    fn a_later_event_changes_no_earlier_lead_or_conversion(messages in prop::collection::vec(message(), 2..20)) {
        let site = Site::new();
        let mut at = 0;
        let (mut leads, mut conversions) = (Vec::new(), Vec::new());
        for (gap, body) in messages {
            at += gap + 1;
            let (changes, _) = site.take(&[site.collected(at, &body)]);
            leads.extend(changes.leads);
            conversions.extend(changes.conversions);
        }
        conversions.sort_by_key(|conversion: &Conversion| conversion.id);
        prop_assert_eq!(site.conversions(), conversions, "a conversion stands as it was decided");
        for lead in leads {
            let stored = block_on(site.store.leads_of(site.project(), &lead.email.hash(), u32::MAX)).unwrap();
            prop_assert!(stored.contains(&lead), "a lead stands as it was decided");
        }
    }

    #[test]
    fn a_tenants_data_is_a_function_of_its_own_events(
        messages in prop::collection::vec((any::<bool>(), message()), 1..30), batch in 1usize..8,
    ) {
        let shared = Arc::new(MemoryStore::new());
        let (ours, theirs) = (Site::of(Arc::clone(&shared), "ours", "px-ours"), Site::of(shared, "theirs", "px-theirs"));
        let alone = Site::of(Arc::new(MemoryStore::new()), "ours", "px-ours");
        let policies = Policies::from([
            (ours.project(), ours.policy.clone()),
            (theirs.project(), theirs.policy.clone()),
        ]);
        let mut at = 0;
        let mut all = Vec::new();
        for (index, (is_ours, (gap, body))) in messages.into_iter().enumerate() {
            at += gap;
            let mut body = body;
            body["event_id"] = json!(format!("019ab0e4-7c00-7abc-8def-{index:012x}"));
            let site = if is_ours { &ours } else { &theirs };
            all.push((is_ours, site.collected(at, &body)));
        }
        for part in all.chunks(batch) {
            let events: Vec<Collected> = part.iter().map(|(_, event)| event.clone()).collect();
            let known = block_on(ours.store.load(&query_for(&events))).unwrap();
            let decision = ingest(&known, &events, &policies);
            block_on(ours.store.commit(&decision.changes)).unwrap();
            let own: Vec<Collected> =
                part.iter().filter(|(is_ours, _)| *is_ours).map(|(_, event)| event.clone()).collect();
            let answers: Vec<_> = decision
                .answers
                .iter()
                .zip(part)
                .filter(|(_, (is_ours, _))| *is_ours)
                .map(|(answer, _)| answer.clone())
                .collect();
            if !own.is_empty() {
                prop_assert_eq!(alone.take(&own).1, answers);
            }
        }
        prop_assert_eq!(ours.events(), alone.events());
        prop_assert_eq!(ours.jobs(), alone.jobs());
        prop_assert_eq!(ours.conversions(), alone.conversions());
        for event in alone.events() {
            let cookie = event.event.visitor.cookie().unwrap().as_str();
            prop_assert_eq!(ours.known(cookie), alone.known(cookie));
        }
    }
}
