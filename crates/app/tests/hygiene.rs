//! What is found wrong with the links of a project, up to a bound.

#[path = "../../domain/tests/world/site.rs"]
#[expect(dead_code, reason = "these tests need a part of the site only")]
mod site;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::executor::block_on;
use leadtrail_app::hygiene::{
    DAYS_MAX, EVENTS_MAX, Hygiene, HygieneError, INSPECTIONS_AT_ONCE, Report, Subject,
};
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::hygiene::Problem;
use leadtrail_domain::id::{PixelId, ProjectId};
use leadtrail_domain::ports::{EventPage, Events, Projects as _, StoreError};
use leadtrail_domain::project::Pixel;
use leadtrail_store_memory::MemoryStore;
use serde_json::json;
use site::{Site, minute};
use tokio::sync::Semaphore;

/// So many minutes have a day.
const DAY: u32 = 24 * 60;
/// When it is asked.
const NOW: u32 = 40 * DAY;

fn subject(site: &Site) -> Subject {
    Subject { project: site.project(), pixel: None, days: 30, events_max: EVENTS_MAX }
}

fn inspect(site: &Site, subject: &Subject) -> Report {
    let hygiene = Hygiene::new(site.store.clone(), site.store.clone());
    block_on(hygiene.inspect(subject, minute(NOW), |_events| {})).expect("a store that works")
}

fn problems(report: &Report) -> Vec<(Problem, u64)> {
    report.findings.iter().map(|finding| (finding.problem, finding.count)).collect()
}

/// The same project's second pixel.
fn second(site: &Site) -> Site {
    let mut second = site.clone();
    second.pixel.pixel = Pixel { id: "second".parse().expect("a pixel id"), ..site.pixel.pixel.clone() };
    block_on(site.store.create_pixel(&second.pixel.pixel)).expect("a pixel of its own");
    second
}

/// So many page views that all lack a medium, one per minute from `from`.
fn views(site: &Site, from: u32, count: u32) {
    let view = |at| site.collected(at, &json!({"page_url": "https://www.acme.example/?utm_source=news"}));
    let all: Vec<_> = (from..from + count).map(view).collect();
    site.take(&all);
}

#[test]
fn all_pixels_of_a_project_are_looked_at_or_the_one_that_is_asked_about() {
    let site = Site::new();
    let second = second(&site);
    Site::of(site.store.clone(), "other", "theirs").visit(NOW - 1, "v-00000001", "/?utm_medium=email", "");
    site.visit(NOW - 3, "v-00000002", "/?utm_source=news", "");
    second.visit(NOW - 2, "v-00000003", "/?gclid=test", "");
    let all = inspect(&site, &subject(&site));
    assert_eq!(problems(&all), [(Problem::AdClickWithoutUtm, 1), (Problem::SourceWithoutMedium, 1)]);
    assert_eq!((all.events, all.complete, all.pixel_id), (2, true, None));
    let one = Subject { pixel: Some(second.pixel.pixel.id.clone()), ..subject(&site) };
    let one = inspect(&site, &one);
    assert_eq!(problems(&one), [(Problem::AdClickWithoutUtm, 1)]);
    assert_eq!((one.events, one.pixel_id), (1, Some(second.pixel.pixel.id)));
}

#[test]
fn only_the_days_asked_for_are_looked_at_and_what_fast_clocks_dated_ahead() {
    let site = Site::new();
    for at in [NOW - DAY, NOW - DAY - 1, NOW - 31 * DAY] {
        views(&site, at, 1);
    }
    let ahead = json!({"page_url": "https://www.acme.example/?utm_source=x", "timestamp": minute(NOW + 4)});
    site.take(&[site.collected(NOW, &ahead)]);
    for (days, events) in [(1, 2), (2, 3), (40, 4), (u32::MAX, 4)] {
        let report = inspect(&site, &Subject { days, ..subject(&site) });
        assert_eq!((report.events, report.complete), (events, true), "{days} days");
        assert_eq!(report.since, minute(NOW).minus(std::time::Duration::from_hours(24) * days.min(DAYS_MAX)));
    }
}

#[test]
fn of_more_events_than_the_bound_the_newest_are_looked_at_and_the_report_says_so() {
    let site = Site::new();
    site.visit(NOW - 2_000, "v-00000001", "/?utm_medium=email", "");
    views(&site, NOW - 1_500, 1_200);
    for (events_max, events, complete) in
        [(0, 0, false), (1, 1, false), (1_200, 1_200, false), (1_201, 1_201, true), (u32::MAX, 1_201, true)]
    {
        let report = inspect(&site, &Subject { events_max, ..subject(&site) });
        assert_eq!((report.events, report.complete), (events, complete), "{events_max}");
        let oldest = problems(&report).contains(&(Problem::MediumWithoutSource, 1));
        assert_eq!(oldest, complete, "{events_max}");
    }
    assert!(inspect(&Site::new(), &Subject { events_max: 0, ..subject(&Site::new()) }).complete);
}

#[test]
fn a_busy_pixel_does_not_use_up_what_a_quiet_one_needs() {
    let site = Site::new();
    let quiet = second(&site);
    views(&site, NOW - 2_000, 1_900);
    quiet.visit(NOW - 5_000, "v-00000001", "/?utm_medium=email", "");
    let report = inspect(&site, &Subject { events_max: 1_000, ..subject(&site) });
    assert_eq!((report.events, report.complete), (1_000, false));
    assert_eq!(problems(&report), [(Problem::SourceWithoutMedium, 999), (Problem::MediumWithoutSource, 1)]);
}

#[test]
fn what_is_done_so_far_is_told_meanwhile() {
    let site = Site::new();
    views(&site, NOW - 2_000, 700);
    let told = Mutex::new(Vec::new());
    let hygiene = Hygiene::new(site.store.clone(), site.store.clone());
    let progress = |events| told.lock().expect("nobody panics while holding it").push(events);
    block_on(hygiene.inspect(&subject(&site), minute(NOW), progress)).unwrap();
    assert_eq!(told.into_inner().unwrap(), [500, 700]);
}

/// Events that are answered when the gate opens.
struct Gated {
    store: Arc<MemoryStore>,
    gate: Semaphore,
}

#[async_trait]
impl Events for Gated {
    async fn of_pixel(
        &self,
        project: ProjectId,
        pixel: &PixelId,
        page: &EventPage,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let _open = self.gate.acquire().await.map_err(StoreError::transient)?;
        self.store.of_pixel(project, pixel, page).await
    }
}

#[test]
fn more_at_once_than_may_are_asked_to_come_back() {
    let site = Site::new();
    let gated = Arc::new(Gated { store: site.store.clone(), gate: Semaphore::new(0) });
    let hygiene = Hygiene::new(gated.clone(), site.store.clone());
    let subject = subject(&site);
    let ask = || hygiene.inspect(&subject, minute(NOW), |_events| {});
    let begun = futures::future::join_all((0..INSPECTIONS_AT_ONCE).map(|_| ask()));
    let late = async {
        let answer = ask().await;
        gated.gate.add_permits(1);
        answer
    };
    // Those that have begun are polled first.
    let (begun, late) = block_on(futures::future::join(begun, late));
    assert!(matches!(late, Err(HygieneError::Busy)), "{late:?}");
    assert!(begun.iter().all(Result::is_ok), "{begun:?}");
    assert!(block_on(ask()).is_ok(), "room is given back");
}
