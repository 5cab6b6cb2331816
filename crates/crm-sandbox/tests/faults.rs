//! What the tests of the sync loop switch on, and what they may ask afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leadtrail_crm_sandbox::{Call, NewPerson, SandboxCrm, Writes};
use leadtrail_domain::crm::{CrmField, CrmFieldKind, FieldKey, FieldValue, Patch, PersonId, PersonQuery};
use leadtrail_domain::ports::{Crm, CrmError, RateScope};
use leadtrail_domain::time::Timestamp;

fn with_jane() -> (SandboxCrm, PersonId) {
    let crm = SandboxCrm::in_memory();
    let id = crm
        .add_person(NewPerson {
            first_name: "Jane".to_owned(),
            last_name: "Doe".to_owned(),
            emails: vec!["jane@example.com".to_owned()],
            added_at: Timestamp::EPOCH,
        })
        .expect("an account in memory takes everybody");
    (crm, id)
}

fn by_email() -> PersonQuery {
    PersonQuery::Email {
        email: "jane@example.com".parse().expect("an e-mail"),
        changed_since: Timestamp::EPOCH,
    }
}

fn key(name: &str) -> FieldKey {
    FieldKey(name.to_owned())
}

fn text(name: &str, value: &str) -> Patch {
    BTreeMap::from([(key(name), FieldValue::Text(value.to_owned()))])
}

#[tokio::test]
async fn a_lagging_search_finds_nobody_for_a_while_and_a_name_search_does_not_lag() {
    let (crm, _id) = with_jane();
    crm.lag_searches(2);
    assert_eq!(crm.find(&PersonQuery::Name("Jane Doe".to_owned())).await.unwrap().len(), 1);
    let mut found = Vec::new();
    for _search in 0..3 {
        found.push(crm.find(&by_email()).await.unwrap().len());
    }
    assert_eq!(found, [0, 0, 1]);
}

#[tokio::test]
async fn an_outage_lasts_until_it_is_mended_and_writes_nothing() {
    let (crm, id) = with_jane();
    for error in [
        CrmError::Transient("down".to_owned()),
        CrmError::Auth("token".to_owned()),
        CrmError::RateLimited { retry_after: Duration::from_secs(2), scope: RateScope::Burst },
    ] {
        crm.fail(error.clone());
        assert_eq!(crm.find(&by_email()).await.as_ref(), Err(&error));
        assert_eq!(crm.read(&id, &BTreeSet::new()).await.as_ref(), Err(&error));
        assert_eq!(crm.list_fields().await.as_ref(), Err(&error));
        assert_eq!(crm.update(&id, &text("utm_source", "news")).await.as_ref(), Err(&error));
    }
    crm.mend();
    assert!(crm.writes().is_empty());
    assert_eq!(crm.find(&by_email()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn so_many_failures_as_asked_for_and_no_more() {
    let (crm, _id) = with_jane();
    let error = CrmError::Transient("reset".to_owned());
    crm.fail_next(2, &error);
    assert_eq!(crm.find(&by_email()).await, Err(error.clone()));
    assert_eq!(crm.find(&by_email()).await, Err(error));
    assert_eq!(crm.find(&by_email()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_update_with_a_lost_answer_was_made() {
    let (crm, id) = with_jane();
    crm.lose_answers(1);
    let patch = text("utm_source", "news");
    assert!(matches!(crm.update(&id, &patch).await, Err(CrmError::Transient(_))));
    crm.update(&id, &patch).await.unwrap();
    assert_eq!(
        crm.writes(),
        BTreeMap::from([((id.clone(), key("utm_source")), Writes { made: 2, changed: 1 })])
    );
    let updates = crm
        .calls()
        .into_iter()
        .filter(|call| *call == Call::Update { person: id.clone(), patch: patch.clone() });
    assert_eq!(updates.count(), 2);
}

#[tokio::test]
async fn a_refused_value_leaves_the_others_unwritten() {
    let (crm, id) = with_jane();
    let crm = crm.with_fields(vec![
        field("source", CrmFieldKind::Text { chars_max: 3 }),
        field("visits", CrmFieldKind::Number),
        field("seen", CrmFieldKind::Date),
        field("size", CrmFieldKind::Choice { options: vec!["S".to_owned(), "L".to_owned()] }),
        field("owner", CrmFieldKind::Other("user".to_owned())),
    ]);
    let good = (key("source"), FieldValue::Text("äöü".to_owned()));
    for (bad, code) in [
        (("gone", FieldValue::Text("x".to_owned())), "unknown_field"),
        (("visits", FieldValue::Text("3".to_owned())), "wrong_type"),
        (("visits", FieldValue::Number(f64::NAN)), "wrong_type"),
        (("seen", FieldValue::Text("2026-11-23".to_owned())), "wrong_type"),
        (("size", FieldValue::Choice("M".to_owned())), "wrong_type"),
        (("owner", FieldValue::Number(1.0)), "wrong_type"),
    ] {
        let patch = BTreeMap::from([good.clone(), (key(bad.0), bad.1)]);
        let refused = CrmError::Permanent { code: code.to_owned(), fields: BTreeSet::from([key(bad.0)]) };
        assert_eq!(crm.update(&id, &patch).await, Err(refused));
    }
    let long =
        CrmError::Permanent { code: "text_too_long".to_owned(), fields: BTreeSet::from([key("source")]) };
    assert_eq!(crm.update(&id, &text("source", "four")).await, Err(long));
    assert!(crm.writes().is_empty());
    crm.update(&id, &BTreeMap::from([good])).await.unwrap();
}

fn field(name: &str, kind: CrmFieldKind) -> CrmField {
    CrmField { key: key(name), name: name.to_owned(), kind }
}
