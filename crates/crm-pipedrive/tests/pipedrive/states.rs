//! The states Pipedrive may be in, and what the port makes of each.

use std::collections::BTreeSet;
use std::time::Duration;

use leadtrail_domain::crm::{FieldKey, FieldValue, Patch, PersonId, PersonQuery};
use leadtrail_domain::ports::{Crm, CrmError, RateScope};
use leadtrail_domain::time::Timestamp;
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::fake::{Operation, PipedriveFake, key, outbound, settings, validation_failed};
use crate::raw::{Manner, RawServer};

const SECOND: Duration = Duration::from_secs(1);

fn by_email(email: &str) -> PersonQuery {
    PersonQuery::Email { email: email.parse().expect("an e-mail"), changed_since: Timestamp::EPOCH }
}

fn source_is(value: &str) -> Patch {
    Patch::from([(key("UTM Source"), FieldValue::Text(value.to_owned()))])
}

fn status(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({"success": false, "error": "as asked for"}))
}

fn limited(scope: RateScope, seconds: u64) -> CrmError {
    CrmError::RateLimited { retry_after: SECOND * u32::try_from(seconds).expect("a short wait"), scope }
}

fn permanent(code: &str, fields: &[&str]) -> CrmError {
    CrmError::Permanent { code: code.to_owned(), fields: fields.iter().map(|name| key(name)).collect() }
}

/// What each call of the port makes of an answer that comes to every request.
async fn outcomes(answer: &ResponseTemplate) -> [CrmError; 4] {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    let crm = fake.crm();
    crm.list_fields().await.expect("the fields are listed before");
    for operation in
        [Operation::Search, Operation::ListPersons, Operation::ReadPerson, Operation::PatchPerson]
    {
        fake.answer_always(operation, answer.clone());
    }
    let unlisted = fake.crm();
    fake.answer_always(Operation::ListFields, answer.clone());
    [
        unlisted.list_fields().await.expect_err("an error of the list of fields"),
        crm.find(&by_email("jane@example.com")).await.expect_err("an error of the search"),
        crm.read(&jane, &BTreeSet::from([key("UTM Source")])).await.expect_err("an error of the read"),
        crm.update(&jane, &source_is("news")).await.expect_err("an error of the update"),
    ]
}

#[tokio::test]
async fn an_answer_means_the_same_wherever_it_comes() {
    let html =
        |status| ResponseTemplate::new(status).set_body_string("<!DOCTYPE html><title>Attention</title>");
    let daily = json!({"success": false, "error": "daily request budget exceeded", "errorCode": 429});
    let burst =
        || ResponseTemplate::new(429).set_body_json(json!({"success": false, "error": "Request over limit"}));
    for (answer, expected) in [
        (
            ResponseTemplate::new(403).set_body_json(json!({"success": false, "code": "ERR_FORBIDDEN"})),
            permanent("ERR_FORBIDDEN", &[]),
        ),
        (html(403), limited(RateScope::Blocked, 30 * 60)),
        (html(403).insert_header("retry-after", "3600"), limited(RateScope::Blocked, 3_600)),
        (burst(), limited(RateScope::Burst, 2)),
        (burst().insert_header("retry-after", "10"), limited(RateScope::Burst, 10)),
        (burst().insert_header("retry-after", "Fri, 01 Jan 2027 00:00:00 GMT"), limited(RateScope::Burst, 2)),
        (
            burst().insert_header("retry-after", "1").insert_header("x-ratelimit-reset", "7"),
            limited(RateScope::Burst, 7),
        ),
        (burst().insert_header("retry-after", "61"), limited(RateScope::Daily, 61)),
        (
            burst().insert_header("retry-after", "9").insert_header("x-daily-ratelimit-token-remaining", "0"),
            limited(RateScope::Daily, 9),
        ),
        (
            ResponseTemplate::new(429).set_body_json(&daily).insert_header("retry-after", "3939"),
            limited(RateScope::Daily, 3_939),
        ),
        (ResponseTemplate::new(429).set_body_json(&daily), limited(RateScope::Daily, 3_600)),
        (burst().insert_header("retry-after", "99999999999"), limited(RateScope::Daily, 24 * 60 * 60)),
        (html(429), limited(RateScope::Burst, 2)),
        (status(400), permanent("400", &[])),
        (validation_failed("nothing by name"), permanent("ERR_SCHEMA_VALIDATION_FAILED", &[])),
        (
            ResponseTemplate::new(422)
                .set_body_json(json!({"success": false, "code": "jane@example.com is no code"})),
            permanent("422", &[]),
        ),
        (status(405), permanent("405", &[])),
        (status(415), permanent("415", &[])),
        (status(501), permanent("501", &[])),
        (status(418), permanent("418", &[])),
    ] {
        for outcome in outcomes(&answer).await {
            assert_eq!(outcome, expected, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_token_and_a_closed_account_are_matters_of_credentials() {
    let gateway =
        json!({"success": false, "error": "unauthorized access", "errorCode": 401, "error_info": "see docs"});
    for answer in
        [ResponseTemplate::new(401).set_body_json(&gateway), ResponseTemplate::new(401), status(402)]
    {
        for outcome in outcomes(&answer).await {
            assert!(matches!(outcome, CrmError::Auth(_)), "{answer:?}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn what_may_pass_or_cannot_be_understood_is_transient() {
    for answer in [
        status(500),
        status(502),
        ResponseTemplate::new(503).set_body_string("<html>"),
        status(408),
        status(423),
        status(301).insert_header("location", "https://elsewhere.example/"),
        ResponseTemplate::new(200).set_body_string("{\"success\": true, \"data\": {"),
        ResponseTemplate::new(200).set_body_string("<html>"),
        ResponseTemplate::new(200).set_body_json(json!({"success": true, "data": "surprise"})),
        ResponseTemplate::new(200).set_body_json(json!({"success": false, "error": "no", "data": null})),
        ResponseTemplate::new(200).set_body_string("x".repeat(2 * 1_024 * 1_024)),
    ] {
        for outcome in outcomes(&answer).await {
            assert!(matches!(outcome, CrmError::Transient(_)), "{answer:?}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_404_is_a_vanished_person_only_where_a_person_was_asked_for() {
    for answer in [status(404), status(410)] {
        let [fields, search, read, update] = outcomes(&answer).await;
        assert!(matches!((fields, search), (CrmError::Transient(_), CrmError::Transient(_))));
        assert_eq!((read, update), (CrmError::NotFound, CrmError::NotFound));
    }
}

#[tokio::test]
async fn a_deleted_person_that_is_still_answered_for_is_gone() {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    fake.mark_deleted(&jane);
    let crm = fake.crm();
    assert_eq!(crm.find(&by_email("jane@example.com")).await, Ok(Vec::new()));
    assert_eq!(crm.read(&jane, &BTreeSet::new()).await, Err(CrmError::NotFound));
    assert_eq!(crm.update(&jane, &source_is("news")).await, Err(CrmError::NotFound));
}

#[tokio::test]
async fn a_passing_failure_is_tried_twice_more_and_then_left_to_the_queue() {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    let crm = fake.crm();
    fake.answer_next(Operation::PatchPerson, status(500));
    fake.answer_next(Operation::PatchPerson, status(503));
    assert!(crm.update(&jane, &source_is("news")).await.is_ok());
    assert_eq!(fake.count(Operation::PatchPerson), 3);

    fake.answer_always(Operation::Search, status(500));
    assert!(matches!(crm.find(&by_email("jane@example.com")).await, Err(CrmError::Transient(_))));
    assert_eq!(fake.count(Operation::Search), 3);
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    for (answer, times) in
        [(status(401), 1), (status(429), 1), (status(400), 1), (status(501), 1), (status(408), 1)]
    {
        let fake = PipedriveFake::start().await;
        fake.answer_always(Operation::Search, answer);
        assert!(fake.crm().find(&by_email("jane@example.com")).await.is_err());
        assert_eq!(fake.count(Operation::Search), times);
        assert_eq!(fake.count(Operation::ListPersons), 0);
    }
}

#[tokio::test]
async fn a_call_ends_in_its_time_however_long_each_answer_takes() {
    let fake = PipedriveFake::start().await;
    fake.answer_always(Operation::Search, ResponseTemplate::new(200).set_delay(30 * SECOND));
    let mut settings = fake.settings();
    settings.call_time_max = Duration::from_millis(100);
    let crm = leadtrail_crm_pipedrive::PipedriveCrm::new(settings, outbound());
    assert!(matches!(crm.find(&by_email("jane@example.com")).await, Err(CrmError::Transient(_))));
    assert_eq!(fake.count(Operation::Search), 1);
}

#[tokio::test]
async fn a_request_without_an_answer_is_given_up_and_tried_again() {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    fake.answer_next(Operation::Search, ResponseTemplate::new(200).set_delay(30 * SECOND));
    let found = fake.crm().find(&by_email("jane@example.com")).await.unwrap();
    assert_eq!(found[0].id, jane);
    assert_eq!(fake.count(Operation::Search), 2);
}

#[tokio::test]
async fn requests_one_after_another_share_a_connection() {
    let server = RawServer::start(Manner::Empty);
    let mut settings = settings(&server.uri());
    settings.fields_ttl = Duration::ZERO;
    let crm = leadtrail_crm_pipedrive::PipedriveCrm::new(settings, outbound());
    for _request in 0..5 {
        assert_eq!(crm.list_fields().await, Ok(Vec::new()));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn the_search_is_asked_first_and_the_list_only_where_the_index_lags() {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    fake.lag_searches(1);
    let crm = fake.crm();
    let found = crm.find(&by_email("jane@example.com")).await.unwrap();
    assert_eq!(found.iter().map(|candidate| &candidate.id).collect::<Vec<_>>(), [&jane]);
    assert_eq!(found[0].added_at, Some(Timestamp::EPOCH));
    crm.find(&by_email("jane@example.com")).await.unwrap();
    assert_eq!((fake.count(Operation::Search), fake.count(Operation::ListPersons)), (2, 1));
}

#[tokio::test]
async fn several_persons_with_one_address_are_dated_by_one_more_request() {
    let fake = PipedriveFake::start().await;
    let emails = ["jane@example.com".to_owned()];
    let years = ["2024-01-02T03:04:05Z", "2026-01-02T03:04:05Z", "2025-01-02T03:04:05Z"];
    let years = years.map(|at| at.parse::<Timestamp>().unwrap());
    let mut expected: Vec<_> = years.map(|at| (fake.add_person("Jane", "Doe", &emails, at), Some(at))).into();
    // A near match of the index is nobody to be asked about.
    fake.add_person("Jim", "Doe", &["not-jane@example.com".to_owned()], Timestamp::EPOCH);
    let crm = fake.crm();
    let dated = async || {
        let found = crm.find(&by_email("jane@example.com")).await.unwrap();
        found.into_iter().map(|candidate| (candidate.id, candidate.added_at)).collect::<Vec<_>>()
    };
    assert_eq!(dated().await, expected);
    assert_eq!((fake.count(Operation::Search), fake.count(Operation::ListPersons)), (1, 1));

    // Who has gone since the index was made is still a candidate: reading will tell.
    let without_one = json!({"success": true, "data": [
        {"id": 1, "add_time": "2024-01-02T03:04:05Z"}, {"id": 3, "add_time": "2025-01-02T03:04:05Z"},
    ]});
    fake.answer_next(Operation::ListPersons, ResponseTemplate::new(200).set_body_json(without_one));
    expected[1].1 = None;
    assert_eq!(dated().await, expected);

    fake.answer_next(Operation::ListPersons, status(401));
    assert!(matches!(crm.find(&by_email("jane@example.com")).await, Err(CrmError::Auth(_))));
}

#[tokio::test]
async fn persons_without_names_e_mails_or_ids_are_no_obstacle() {
    let fake = PipedriveFake::start().await;
    let items = json!([
        {"item": null},
        {"item": {"id": null, "emails": ["jane@example.com"]}},
        {"item": {"id": 7, "name": null, "emails": [null, "Jane@Example.com"]}},
        {"item": {"id": "8", "emails": null}},
    ]);
    let envelope = |data| ResponseTemplate::new(200).set_body_json(json!({"success": true, "data": data}));
    fake.answer_next(Operation::Search, envelope(json!({"items": items})));
    let crm = fake.crm();
    let found = crm.find(&by_email("jane@example.com")).await.unwrap();
    assert_eq!(
        found.into_iter().map(|candidate| candidate.id).collect::<Vec<_>>(),
        [PersonId("7".to_owned())]
    );

    fake.answer_next(Operation::Search, envelope(json!({"items": null})));
    fake.answer_next(
        Operation::ListPersons,
        envelope(json!([{"id": 1, "emails": null}, {"id": 2, "emails": [null, {"value": null}]}])),
    );
    assert_eq!(crm.find(&by_email("jane@example.com")).await, Ok(Vec::new()));

    fake.answer_next(Operation::Search, envelope(json!(null)));
    assert_eq!(crm.find(&PersonQuery::Name("Jane Doe".to_owned())).await, Ok(Vec::new()));
}

#[tokio::test]
async fn one_letter_is_nobodys_name() {
    let fake = PipedriveFake::start().await;
    assert_eq!(fake.crm().find(&PersonQuery::Name(" J ".to_owned())).await, Ok(Vec::new()));
    assert_eq!(fake.count(Operation::Search), 0);
}

#[tokio::test]
async fn the_list_of_fields_is_believed_for_its_time_and_only_when_it_was_read_whole() {
    let fake = PipedriveFake::start().await;
    let crm = fake.crm();
    fake.answer_next(Operation::ListFields, status(429));
    assert!(crm.list_fields().await.is_err());
    let listed: Vec<FieldKey> = crm.list_fields().await.unwrap().into_iter().map(|field| field.key).collect();
    assert_eq!(listed.len(), 8);
    crm.list_fields().await.unwrap();
    // One refused request, and two pages.
    assert_eq!(fake.count(Operation::ListFields), 3);

    let mut settings = fake.settings();
    settings.fields_ttl = Duration::ZERO;
    let forgetful = leadtrail_crm_pipedrive::PipedriveCrm::new(settings, outbound());
    forgetful.list_fields().await.unwrap();
    forgetful.list_fields().await.unwrap();
    assert_eq!(fake.count(Operation::ListFields), 7);
}
