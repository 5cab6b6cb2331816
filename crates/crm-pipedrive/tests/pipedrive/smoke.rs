//! The adapter and an account of Pipedrive's own, one for trying things out. Opt-in: `PIPEDRIVE_SANDBOX_TOKEN` has its
//! API token and `PIPEDRIVE_SANDBOX_BASE_URL` its address. Where `PIPEDRIVE_SANDBOX_EMAIL` names a person of it, that
//! person is written too, in a field of the test's own.

use std::sync::Arc;

use leadtrail_crm_pipedrive::{PipedriveCrm, PipedriveSettings};
use leadtrail_domain::crm::{CrmField, CrmFieldKind, FieldValue, NewCrmField, Patch, PersonQuery};
use leadtrail_domain::email::EmailAddress;
use leadtrail_domain::ports::Crm;
use leadtrail_domain::time::Timestamp;
use leadtrail_outbound::{Outbound, OutboundSettings};

use crate::fake::PipedriveFake;

const FIELD: &str = "Leadtrail smoke test";

#[tokio::test]
async fn an_account_of_pipedrives_answers_as_the_stand_in_does_where_one_is_named() {
    let (Some(token), Some(base_url)) =
        (variable("PIPEDRIVE_SANDBOX_TOKEN"), variable("PIPEDRIVE_SANDBOX_BASE_URL"))
    else {
        eprintln!("not tried: PIPEDRIVE_SANDBOX_TOKEN and PIPEDRIVE_SANDBOX_BASE_URL do not name an account");
        return;
    };
    let base_url = base_url.parse().expect("PIPEDRIVE_SANDBOX_BASE_URL ends in /api/v2");
    let outbound = Arc::new(Outbound::new(&OutboundSettings::default()));
    let crm = PipedriveCrm::new(PipedriveSettings::new(base_url, token.into()), outbound);
    let email = variable("PIPEDRIVE_SANDBOX_EMAIL").map(|email| email.parse().expect("an e-mail address"));
    try_out(&crm, email.as_ref()).await;
    eprintln!("the day's budget: {:?}", crm.budget());
}

#[tokio::test]
async fn the_stand_in_answers_as_an_account_of_pipedrives_does() {
    let fake = PipedriveFake::start().await;
    fake.add_jane();
    try_out(&fake.crm(), Some(&"jane@example.com".parse().unwrap())).await;
}

async fn try_out(crm: &PipedriveCrm, email: Option<&EmailAddress>) {
    let by = |email: &EmailAddress| PersonQuery::Email {
        email: email.clone(),
        changed_since: "2026-01-01T00:00:00Z".parse::<Timestamp>().expect("an instant"),
    };
    let fields = crm.list_fields().await.expect("the fields are listed");
    let nobody = "nobody-at-all+leadtrail@example.com".parse().expect("an e-mail");
    assert_eq!(crm.find(&by(&nobody)).await, Ok(Vec::new()));
    assert_eq!(crm.find(&PersonQuery::Name("Nobody Atall Leadtrail".to_owned())).await, Ok(Vec::new()));
    let Some(email) = email else { return };

    let found = crm.find(&by(email)).await.expect("the person is looked up");
    let [person] = &found[..] else { panic!("one person has the e-mail, not {}", found.len()) };
    let field = match fields.into_iter().find(|field| field.name == FIELD) {
        Some(field) => field,
        None => make_field(crm).await,
    };
    // The 256th character is cut off here; that the rest is taken whole is what only an account can tell.
    let patch = Patch::from([(field.key.clone(), FieldValue::Text("ü".repeat(256)))]);
    let receipt = crm.update(&person.id, &patch).await.expect("the person is written");
    assert!(receipt.applied.contains(&field.key), "{receipt:?}");
    let read = crm.read(&person.id, &[field.key.clone()].into()).await.expect("the person is read");
    assert_eq!(read, Patch::from([(field.key.clone(), FieldValue::Text("ü".repeat(255)))]));
    let cleared = Patch::from([(field.key.clone(), FieldValue::Null)]);
    crm.update(&person.id, &cleared).await.expect("the field is cleared");
    assert_eq!(crm.read(&person.id, &[field.key].into()).await, Ok(Patch::new()));
}

async fn make_field(crm: &PipedriveCrm) -> CrmField {
    let new = NewCrmField { name: FIELD.to_owned(), kind: CrmFieldKind::Text { chars_max: 255 } };
    crm.create_field(&new).await.expect("the field is made")
}

#[expect(clippy::disallowed_methods, reason = "the account to try is whoever runs the tests' matter")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
