//! The vectors in `tests/vectors`: language-neutral cases of what the rules make of landings and of visits. The README
//! beside them describes the format.

#[expect(dead_code, reason = "the site of the ingest tests; these need a part of it")]
#[path = "world/site.rs"]
mod site;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use leadtrail_domain::classify::classify;
use leadtrail_domain::event::Neighbourhood;
use leadtrail_domain::id::EventId;
use leadtrail_domain::model::{Model, ModelSettings, Touchpoint, credits};
use leadtrail_domain::touch::{FourTouches, Touch};
use leadtrail_domain::web_url::HostPattern;
use serde::Deserialize;
use serde_json::{Value, json};
use site::{Site, minute};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LandingCase {
    url: String,
    referrer: Option<String>,
    site: Option<HostPattern>,
    ignore: Option<HostPattern>,
    expect: Value,
    why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VisitsCase {
    name: String,
    settings: VisitsSettings,
    events: Vec<VisitsEvent>,
    conversion: usize,
    expect: VisitsExpected,
    why: String,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct VisitsSettings {
    split_sessions_on_campaign: bool,
    site: Option<HostPattern>,
    ignore: Option<HostPattern>,
    lookback_days: Option<u64>,
    half_life_days: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VisitsEvent {
    minute: u32,
    received_minute: Option<u32>,
    url: String,
    referrer: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VisitsExpected {
    sessions: Vec<usize>,
    touches: Vec<Value>,
    first: Option<usize>,
    first_non_direct: Option<usize>,
    last_non_direct: Option<usize>,
    last: Option<usize>,
    credits: BTreeMap<String, Vec<f64>>,
    none: f64,
}

/// The cases of every file whose name begins so.
fn cases<T: for<'de> Deserialize<'de>>(prefix: &str) -> Vec<T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of the vectors") {
        let path = entry.expect("an entry").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
            let text = fs::read_to_string(&path).expect("a readable file");
            let cases: Vec<T> =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            all.extend(cases);
        }
    }
    all
}

#[test]
fn every_landing_is_classified_as_the_vectors_say() {
    let cases: Vec<LandingCase> = cases("landing_");
    assert!(cases.len() >= 300, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        assert!(!case.why.is_empty());
        let (own, ignored) = (Vec::from_iter(case.site), Vec::from_iter(case.ignore));
        let around = Neighbourhood { own_sites: &own, ignored: &ignored };
        let landing = classify(&case.url, case.referrer.as_deref(), &around).unwrap();
        let click_ids: serde_json::Map<_, _> =
            landing.click_ids.iter().map(|id| (id.parameter.clone(), json!(id.value))).collect();
        let found = json!({
            "signals": landing.signals,
            "click_ids": click_ids,
            "source": landing.source,
            "medium": landing.medium,
            "campaign": landing.campaign,
            "channel": landing.channel,
            "touch": landing.touch,
            "rule": landing.rule.as_str(),
        });
        if found != case.expect {
            wrong.push(format!(
                "{} from {:?}: {}\n  expected {}\n     found {found}",
                case.url, case.referrer, case.why, case.expect
            ));
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_sequence_of_visits_is_attributed_as_the_vectors_say() {
    let cases: Vec<VisitsCase> = cases("visits");
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        assert!(!case.why.is_empty());
        wrong.extend(
            differences(case).into_iter().map(|what| format!("{}: {what} ({})", case.name, case.why)),
        );
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

fn event_id(index: usize) -> String {
    format!("019ab0e4-7c00-7abc-8def-{index:012x}")
}

fn differences(case: &VisitsCase) -> Vec<String> {
    let mut site = Site::new();
    site.policy.split_sessions_on_campaign = case.settings.split_sessions_on_campaign;
    site.pixel.pixel.settings.origins.extend(case.settings.site.clone());
    site.pixel.project.settings.ignore_referrers.extend(case.settings.ignore.clone());
    let mut labels = Vec::new();
    let mut sessions = Vec::new();
    for (index, event) in case.events.iter().enumerate() {
        let body = json!({
            "page_url": event.url,
            "referrer_url": event.referrer,
            "visitor_cookie": "cookie-a",
            "event_id": event_id(index),
            "timestamp": minute(event.minute).to_string(),
        });
        let answer = site.one(event.received_minute.unwrap_or(event.minute), &body);
        let label = labels.iter().position(|known| *known == answer.session_id).unwrap_or_else(|| {
            labels.push(answer.session_id);
            labels.len() - 1
        });
        sessions.push(label + 1);
    }
    let mut differences = Vec::new();
    let mut check = |what: &str, found: &Value, expected: &Value| {
        if found != expected {
            differences.push(format!("{what}: expected {expected}, found {found}"));
        }
    };
    let expect = &case.expect;
    check("sessions", &json!(sessions), &json!(expect.sessions));

    let touches = site.known("cookie-a").touches;
    let place =
        |touch: &Touch| (0..case.events.len()).find(|n| EventId::of_text(&event_id(*n)) == touch.event_id);
    let shown: Vec<Value> = touches
        .iter()
        .map(|touch| {
            let attribution = touch.attribution();
            json!({ "event": place(touch), "source": attribution.source, "channel": attribution.channel })
        })
        .collect();
    check("touches", &json!(shown), &json!(expect.touches));

    let conversion =
        (minute(case.events[case.conversion].minute), EventId::of_text(&event_id(case.conversion)));
    let four = FourTouches::among(&touches, conversion);
    for (name, found, expected) in [
        ("first", four.first, expect.first),
        ("first_non_direct", four.first_non_direct, expect.first_non_direct),
        ("last_non_direct", four.last_non_direct, expect.last_non_direct),
        ("last", four.last, expect.last),
    ] {
        check(name, &json!(found.and_then(|touch| place(&touch))), &json!(expected));
    }

    let path: Vec<Touchpoint> = touches.iter().map(|touch| Touchpoint::from(&**touch)).collect();
    let days = |days: u64| format!("{days}d").parse().expect("a length of time");
    let settings = ModelSettings {
        lookback: days(case.settings.lookback_days.unwrap_or(90)),
        half_life: days(case.settings.half_life_days.unwrap_or(7)),
    };
    for model in Model::ALL {
        let found = credits(&path, conversion, model, &settings);
        let expected = &expect.credits[model.as_str()];
        let near = found.touches.len() == expected.len()
            && found.touches.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-9)
            && (found.none - expect.none).abs() < 1e-9;
        if !near {
            differences.push(format!("{model}: expected {expected:?} and {}, found {found:?}", expect.none));
        }
    }
    differences
}
