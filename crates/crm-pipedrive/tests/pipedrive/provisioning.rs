//! Fields made on a human's demand.

use leadtrail_domain::crm::{CrmField, CrmFieldKind, FieldValue, NewCrmField, Patch};
use leadtrail_domain::ports::{Crm, CrmError};
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::fake::{Operation, PipedriveFake};

fn text_field(name: &str) -> NewCrmField {
    NewCrmField { name: name.to_owned(), kind: CrmFieldKind::Text { chars_max: 255 } }
}

#[tokio::test]
async fn each_kind_of_field_is_made_of_the_type_that_holds_it() {
    let fake = PipedriveFake::start().await;
    let crm = fake.crm();
    for (kind, field_type, made) in [
        (CrmFieldKind::Text { chars_max: 1 }, "varchar", CrmFieldKind::Text { chars_max: 255 }),
        (CrmFieldKind::Text { chars_max: 255 }, "varchar", CrmFieldKind::Text { chars_max: 255 }),
        (CrmFieldKind::Text { chars_max: 256 }, "text", CrmFieldKind::Text { chars_max: 65_000 }),
        (CrmFieldKind::Number, "double", CrmFieldKind::Number),
        (CrmFieldKind::Date, "date", CrmFieldKind::Date),
    ] {
        let name = "UTM Term".to_owned();
        let field = crm.create_field(&NewCrmField { name: name.clone(), kind }).await.unwrap();
        assert_eq!((field.name, field.kind), (name.clone(), made));
        let asked = fake.asked().pop().expect("the field was asked for");
        assert_eq!(asked.body, json!({"field_name": name, "field_type": field_type}));
    }
    for kind in
        [CrmFieldKind::Choice { options: vec!["S".to_owned()] }, CrmFieldKind::Other("user".to_owned())]
    {
        let refused = crm.create_field(&NewCrmField { name: "Size".to_owned(), kind }).await;
        assert!(matches!(refused, Err(CrmError::Permanent { .. })), "{refused:?}");
    }
    assert_eq!(fake.count(Operation::CreateField), 5);
}

#[tokio::test]
async fn a_field_is_listed_and_written_as_soon_as_it_is_made() {
    let fake = PipedriveFake::start().await;
    let jane = fake.add_jane();
    let crm = fake.crm();
    let before = crm.list_fields().await.unwrap();
    let made = crm.create_field(&text_field("UTM Term")).await.unwrap();
    let keys = |fields: Vec<CrmField>| fields.into_iter().map(|field| field.key).collect::<Vec<_>>();
    let listed = keys(crm.list_fields().await.unwrap());
    assert_eq!(listed.len(), before.len() + 1);
    assert!(listed.contains(&made.key));
    // Two pages, once: the list was extended, not asked for again.
    assert_eq!(fake.count(Operation::ListFields), 2);
    let patch = Patch::from([(made.key.clone(), FieldValue::Text("shoes".to_owned()))]);
    assert!(crm.update(&jane, &patch).await.unwrap().applied.contains(&made.key));

    // Whoever had no list yet reads it with the field in it.
    let other = fake.crm();
    let made = other.create_field(&text_field("UTM Content")).await.unwrap();
    assert!(keys(other.list_fields().await.unwrap()).contains(&made.key));
}

#[tokio::test]
async fn what_the_token_may_not_or_the_plan_has_no_more_of_is_refused_by_pipedrives_code() {
    let capped = "feature_capping_custom_fields_limit";
    for (body, code) in [
        (json!({"success": false, "error": "The limit is reached", "code": capped}), capped),
        (json!({"success": false, "error": capped, "errorCode": 403}), capped),
        (json!({"success": false, "error": "no", "code": "ERR_FORBIDDEN"}), "ERR_FORBIDDEN"),
        (json!({"success": false, "error": "no access"}), "403"),
    ] {
        let fake = PipedriveFake::start().await;
        fake.answer_always(Operation::CreateField, ResponseTemplate::new(403).set_body_json(body));
        let refused = fake.crm().create_field(&text_field("UTM Term")).await;
        assert_eq!(refused, Err(CrmError::Permanent { code: code.to_owned(), fields: [].into() }));
    }
}

#[tokio::test]
async fn a_field_whose_making_is_uncertain_is_not_asked_for_twice_and_the_list_is_read_again() {
    let template = ResponseTemplate::new;
    for answer in [
        template(500),
        template(502),
        template(200).set_delay(std::time::Duration::from_secs(30)),
        template(200).set_body_json(json!({"success": true, "data": null})),
        template(200).set_body_json(json!({"success": true, "data": {"field_code": "no code"}})),
    ] {
        let fake = PipedriveFake::start().await;
        let crm = fake.crm();
        crm.list_fields().await.unwrap();
        fake.answer_always(Operation::CreateField, answer);
        assert!(matches!(crm.create_field(&text_field("UTM Term")).await, Err(CrmError::Transient(_))));
        assert_eq!(fake.count(Operation::CreateField), 1);
        crm.list_fields().await.unwrap();
        assert_eq!(fake.count(Operation::ListFields), 4);
    }
}
