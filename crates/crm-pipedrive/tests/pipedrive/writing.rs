//! What is written, and what becomes of a write that one field would spoil.

use std::collections::{BTreeMap, BTreeSet};

use leadtrail_domain::crm::{CrmFieldKind, FieldKey, FieldValue, Patch, Receipt};
use leadtrail_domain::ports::{Crm, CrmError};
use serde_json::json;

use crate::fake::{Operation, PipedriveFake, key, validation_failed};

fn text(value: &str) -> FieldValue {
    FieldValue::Text(value.to_owned())
}

#[tokio::test]
async fn each_type_of_field_gets_the_form_it_takes() {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    let patch = Patch::from([
        (key("UTM Source"), text(&"ü".repeat(300))),
        (key("Landing Page"), text(&"x".repeat(70_000))),
        (key("Lead Count"), FieldValue::Number(500.0)),
        (key("First Seen On"), FieldValue::Date("2026-11-22".parse().unwrap())),
        (key("Size"), FieldValue::Choice("Large".to_owned())),
        (key("Interests"), FieldValue::Choice("Small".to_owned())),
    ]);
    let crm = fake.crm();
    let receipt = crm.update(&jane, &patch).await.unwrap();
    assert_eq!(receipt, Receipt { applied: patch.keys().cloned().collect(), dropped: BTreeMap::new() });
    assert_eq!(fake.stored(&jane, "UTM Source"), json!("ü".repeat(255)));
    assert_eq!(fake.stored(&jane, "Landing Page"), json!("x".repeat(65_000)));
    assert_eq!(fake.stored(&jane, "Lead Count"), json!(500));
    assert_eq!(fake.stored(&jane, "First Seen On"), json!("2026-11-22"));
    assert_eq!(fake.stored(&jane, "Size"), json!(32));
    assert_eq!(fake.stored(&jane, "Interests"), json!([31]));
    let read = crm.read(&jane, &patch.keys().cloned().collect()).await.unwrap();
    assert_eq!(read[&key("Size")], FieldValue::Choice("Large".to_owned()));
    assert_eq!(read[&key("Interests")], FieldValue::Choice("Small".to_owned()));
}

#[tokio::test]
async fn a_value_that_its_field_cannot_have_is_dropped_and_the_others_are_written() {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    let impossible = [
        (key("Lead Count"), text("three")),
        (key("First Seen On"), FieldValue::Number(3.0)),
        (key("Size"), FieldValue::Choice("Huge".to_owned())),
        (key("Interests"), FieldValue::Choice("Huge".to_owned())),
        (key("Budget"), FieldValue::Number(5.0)),
        (FieldKey("name".to_owned()), text("John")),
        (key("Nowhere"), text("x")),
    ];
    let dropped: BTreeSet<FieldKey> = impossible.iter().map(|(key, _)| key.clone()).collect();
    let mut patch = Patch::from(impossible);
    patch.insert(key("UTM Medium"), text("cpc"));
    let receipt = fake.crm().update(&jane, &patch).await.unwrap();
    assert_eq!(receipt.applied, BTreeSet::from([key("UTM Medium")]));
    assert_eq!(receipt.dropped.into_keys().collect::<BTreeSet<_>>(), dropped);
    let infinite = Patch::from([(key("Lead Count"), FieldValue::Number(f64::INFINITY))]);
    assert_eq!(fake.crm().update(&jane, &infinite).await.unwrap().applied, BTreeSet::new());
    assert_eq!(fake.count(Operation::PatchPerson), 1);
}

#[tokio::test]
async fn a_field_deleted_since_the_list_was_read_is_dropped_by_name_and_the_rest_is_written() {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    let crm = fake.crm();
    crm.list_fields().await.unwrap();
    fake.delete_field("UTM Source");
    let patch = Patch::from([(key("UTM Source"), text("news")), (key("UTM Medium"), text("cpc"))]);
    let receipt = crm.update(&jane, &patch).await.unwrap();
    assert_eq!(receipt.applied, BTreeSet::from([key("UTM Medium")]));
    assert_eq!(
        receipt.dropped,
        BTreeMap::from([(
            key("UTM Source"),
            "refused by Pipedrive (ERR_SCHEMA_VALIDATION_FAILED)".to_owned()
        )])
    );
    assert_eq!(fake.stored(&jane, "UTM Medium"), json!("cpc"));
    // The list was read again, so the next update is right at once.
    crm.update(&jane, &patch).await.unwrap();
    assert_eq!(fake.count(Operation::PatchPerson), 3);
}

#[tokio::test]
async fn a_write_refused_a_second_time_is_refused() {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    for field in ["UTM Source", "UTM Medium"] {
        fake.answer_next(Operation::PatchPerson, validation_failed(&format!("{}: no", key(field).0)));
    }
    let patch = Patch::from([(key("UTM Source"), text("news")), (key("UTM Medium"), text("cpc"))]);
    let refused = CrmError::Permanent {
        code: "ERR_SCHEMA_VALIDATION_FAILED".to_owned(),
        fields: BTreeSet::from([key("UTM Medium")]),
    };
    assert_eq!(fake.crm().update(&jane, &patch).await, Err(refused));
    assert_eq!(fake.count(Operation::PatchPerson), 2);
}

#[tokio::test]
async fn a_refusal_that_names_no_field_of_the_patch_is_not_tried_again() {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    fake.answer_always(Operation::PatchPerson, validation_failed(&key("Somebody Else's").0));
    let patch = Patch::from([(key("UTM Source"), text("news"))]);
    assert!(matches!(fake.crm().update(&jane, &patch).await, Err(CrmError::Permanent { .. })));
    assert_eq!(fake.count(Operation::PatchPerson), 1);
}

#[tokio::test]
async fn what_a_human_left_in_a_field_is_read_whatever_its_form() {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    fake.put(&jane, "UTM Source", json!(""));
    fake.put(&jane, "UTM Medium", json!(7));
    fake.put(&jane, "Lead Count", json!("12"));
    fake.put(&jane, "Size", json!(99));
    fake.put(&jane, "Interests", json!([31, 32]));
    fake.put(&jane, "Budget", json!({"value": 5, "currency": "EUR"}));
    let crm = fake.crm();
    let fields = crm.list_fields().await.unwrap();
    let kind =
        |name: &str| fields.iter().find(|field| field.key == key(name)).map(|field| field.kind.clone());
    assert_eq!(kind("Budget"), Some(CrmFieldKind::Other("monetary".to_owned())));
    let all = fields.iter().map(|field| field.key.clone()).collect();
    assert_eq!(
        crm.read(&jane, &all).await.unwrap(),
        BTreeMap::from([
            (key("UTM Medium"), text("7")),
            (key("Lead Count"), FieldValue::Number(12.0)),
            (key("Size"), text("99")),
            (key("Interests"), text("Small, Large")),
            (key("Budget"), text(r#"{"currency":"EUR","value":5}"#)),
        ])
    );
}
