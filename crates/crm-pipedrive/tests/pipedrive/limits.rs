//! The limits of a few seconds, which are kept to, and the day's, which is told.

use std::sync::mpsc;
use std::time::Duration;

use leadtrail_crm_pipedrive::PipedriveCrm;
use leadtrail_domain::crm::{Budget, PersonQuery};
use leadtrail_domain::ports::{Crm, CrmError, RateScope};
use wiremock::ResponseTemplate;

use crate::fake::{Operation, PipedriveFake, outbound};

fn by_name() -> PersonQuery {
    PersonQuery::Name("Jane Doe".to_owned())
}

/// Time that stands still until it is moved on, however long the network takes.
pub(crate) struct StoppedClock(Option<mpsc::Sender<()>>);

impl StoppedClock {
    pub(crate) fn stop() -> Self {
        tokio::time::pause();
        let (keep, kept) = mpsc::channel();
        // While a thread is at work, paused time does not run ahead by itself.
        tokio::task::spawn_blocking(move || kept.recv());
        Self(Some(keep))
    }
}

impl Drop for StoppedClock {
    fn drop(&mut self) {
        self.0.take();
        tokio::time::resume();
    }
}

#[tokio::test]
async fn the_eleventh_search_of_two_seconds_waits_for_its_turn() {
    let fake = PipedriveFake::start().await;
    let crm = fake.crm();
    let _clock = StoppedClock::stop();
    for _search in 0..10 {
        crm.find(&by_name()).await.unwrap();
    }
    let eleventh = tokio::spawn(async move { crm.find(&by_name()).await });
    tokio::time::advance(Duration::from_millis(1_900)).await;
    assert!(!eleventh.is_finished());
    assert_eq!(fake.count(Operation::Search), 10);
    tokio::time::advance(Duration::from_millis(300)).await;
    assert_eq!(eleventh.await.unwrap(), Ok(Vec::new()));
    assert_eq!(fake.count(Operation::Search), 11);
}

#[tokio::test]
async fn a_turn_that_would_come_too_late_is_a_limit_met_and_nothing_is_sent() {
    let fake = PipedriveFake::start().await;
    let mut settings = fake.settings();
    settings.call_time_max = Duration::from_secs(4);
    let crm = PipedriveCrm::new(settings, outbound());
    let _clock = StoppedClock::stop();
    for _search in 0..10 {
        crm.find(&by_name()).await.unwrap();
    }
    let limited =
        CrmError::RateLimited { retry_after: Duration::from_millis(2_100), scope: RateScope::Burst };
    assert_eq!(crm.find(&by_name()).await, Err(limited));
    assert_eq!(fake.count(Operation::Search), 10);
}

#[tokio::test]
async fn two_seconds_have_twenty_requests_or_as_many_as_the_answers_say() {
    for (said, expected) in [(None, 20), (Some("40"), 40), (Some("many"), 20)] {
        let fake = PipedriveFake::start().await;
        let mut settings = fake.settings();
        settings.call_time_max = Duration::from_secs(1);
        settings.fields_ttl = Duration::ZERO;
        let crm = PipedriveCrm::new(settings, outbound());
        let answer = ResponseTemplate::new(200).set_body_string(r#"{"success":true,"data":[]}"#);
        let answer = match said {
            Some(limit) => answer.insert_header("x-ratelimit-limit", limit),
            None => answer,
        };
        fake.answer_always(Operation::ListFields, answer);
        let _clock = StoppedClock::stop();
        while crm.list_fields().await.is_ok() {}
        assert_eq!(fake.count(Operation::ListFields), expected);
    }
}

#[tokio::test]
async fn the_days_budget_is_what_the_latest_answer_that_tells_it_says() {
    let fake = PipedriveFake::start().await;
    let crm = fake.crm();
    assert_eq!(crm.budget(), None);
    crm.find(&by_name()).await.unwrap();
    assert_eq!(crm.budget(), None);
    for (remaining, limit, expected) in [
        ("29980", "30000", Some(Budget { remaining: 29_980, limit: Some(30_000) })),
        // Whatever cannot be read is no news.
        ("29960", "", Some(Budget { remaining: 29_960, limit: Some(30_000) })),
        ("plenty", "1", Some(Budget { remaining: 29_960, limit: Some(30_000) })),
        ("-20", "30000", Some(Budget { remaining: 0, limit: Some(30_000) })),
    ] {
        fake.set_budget(remaining, limit);
        crm.find(&by_name()).await.unwrap();
        assert_eq!(crm.budget(), expected, "{remaining} of {limit}");
    }
    let asked = fake.asked().len();
    crm.budget();
    assert_eq!(fake.asked().len(), asked);

    fake.set_budget("7", "30000");
    fake.answer_always(Operation::Search, ResponseTemplate::new(429));
    assert!(crm.find(&by_name()).await.is_err());
    assert_eq!(crm.budget().map(|budget| budget.remaining), Some(7), "a refusal tells it too");
}

#[tokio::test]
async fn requests_that_write_are_another_unit_than_the_days_tokens() {
    let fake = PipedriveFake::start().await;
    let answer = ResponseTemplate::new(200).set_body_string(r#"{"success":true,"data":null}"#);
    fake.answer_always(Operation::Search, answer.insert_header("x-daily-requests-left", "9999"));
    let crm = fake.crm();
    crm.find(&by_name()).await.unwrap();
    assert_eq!(crm.budget(), None);
}
