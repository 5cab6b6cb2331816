//! The account in a file: several handles stand for several processes, as each opens and locks the file for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use leadtrail_crm_sandbox::{Faults, NewPerson, Outage, SandboxCrm, SandboxError};
use leadtrail_domain::crm::{FieldKey, FieldValue, PersonId, PersonQuery};
use leadtrail_domain::ports::{Crm, CrmError, RateScope};
use leadtrail_domain::time::Timestamp;

fn named(first_name: &str, email: &str) -> NewPerson {
    NewPerson {
        first_name: first_name.to_owned(),
        last_name: "Doe".to_owned(),
        emails: vec![email.to_owned()],
        added_at: Timestamp::EPOCH,
    }
}

fn source_is(value: &str) -> BTreeMap<FieldKey, FieldValue> {
    BTreeMap::from([(FieldKey("utm_source".to_owned()), FieldValue::Text(value.to_owned()))])
}

#[tokio::test]
async fn a_second_process_sees_what_the_first_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.json");
    let server = SandboxCrm::at(&path).unwrap();
    let command_line = SandboxCrm::at(&path).unwrap();

    let id = command_line.add_person(named("Jane", "jane@example.com")).unwrap();
    server.update(&id, &source_is("news")).await.unwrap();

    let shown = command_line.person_by_email("JANE@example.com").unwrap().unwrap();
    assert_eq!(serde_json::to_value(&shown.fields).unwrap(), serde_json::json!({"utm_source": "news"}));
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.json");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let crm = SandboxCrm::at(path).unwrap();
                for turn in 0..10 {
                    crm.add_person(named("Jane", &format!("{writer}.{turn}@example.com"))).unwrap();
                }
            });
        }
    });
    let persons = SandboxCrm::at(&path).unwrap().persons().unwrap();
    let emails: BTreeSet<_> = persons.iter().flat_map(|person| &person.emails).collect();
    let ids: BTreeSet<_> = persons.iter().map(|person| &person.id).collect();
    assert_eq!((emails.len(), ids.len()), (40, 40));
}

#[test]
fn an_id_is_not_given_again_after_its_person_was_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.json");
    let crm = SandboxCrm::at(&path).unwrap();
    let first = crm.add_person(named("Jane", "jane@example.com")).unwrap();
    assert!(crm.remove_person(&first).unwrap());
    assert_ne!(SandboxCrm::at(&path).unwrap().add_person(named("Jane", "jane@example.com")).unwrap(), first);
}

#[test]
fn something_else_at_the_path_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.json");
    for content in ["not json", r#"{"persons":[]}"#, r#"{"next_id":1,"persons":{},"deals":[]}"#] {
        std::fs::write(&path, content).unwrap();
        assert!(matches!(SandboxCrm::at(&path), Err(SandboxError::Corrupt { .. })), "{content}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let crm = SandboxCrm::at("no-such-folder/crm.json").unwrap();
    let error = crm.add_person(named("Jane", "jane@example.com")).unwrap_err();
    assert!(matches!(&error, SandboxError::Io { path, .. } if path.starts_with(Path::new("no-such-folder"))));
}

#[tokio::test]
async fn a_file_damaged_under_a_running_server_is_an_outage_and_not_an_empty_account() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.json");
    let crm = SandboxCrm::at(&path).unwrap();
    let id = crm.add_person(named("Jane", "jane@example.com")).unwrap();
    std::fs::write(&path, "{").unwrap();
    assert!(matches!(crm.update(&id, &source_is("news")).await, Err(CrmError::Transient(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{");
    assert_eq!(id, PersonId("1".to_owned()));
}

#[tokio::test]
async fn a_running_server_meets_the_faults_that_another_process_switches_on_and_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.json");
    let server = SandboxCrm::at(&path).unwrap();
    let command_line = SandboxCrm::at(&path).unwrap();
    let id = command_line.add_person(named("Jane", "jane@example.com")).unwrap();
    let by_email =
        PersonQuery::Email { email: "jane@example.com".parse().unwrap(), changed_since: Timestamp::EPOCH };
    let limited = CrmError::RateLimited { retry_after: Duration::from_secs(9), scope: RateScope::Burst };
    for outage in [Outage::Transient, Outage::Auth, Outage::Limited { seconds: 9 }] {
        command_line.set_faults(Faults { outage: Some(outage), ..Faults::default() }).unwrap();
        assert_eq!(server.find(&by_email).await, Err(outage.into()));
        assert_eq!(server.update(&id, &source_is("news")).await, Err(outage.into()));
    }
    assert_eq!(server.find(&by_email).await, Err(limited));

    let faults = Faults { outage: None, empty_email_searches: 2, lost_answers: 1 };
    command_line.set_faults(faults).unwrap();
    let mut found = Vec::new();
    for _search in 0..3 {
        found.push(server.find(&by_email).await.unwrap().len());
    }
    assert_eq!(found, [0, 0, 1]);
    assert!(matches!(server.update(&id, &source_is("news")).await, Err(CrmError::Transient(_))));
    assert_eq!(command_line.person(&id).unwrap().unwrap().fields.len(), 1, "the update was carried out");
    assert!(server.update(&id, &source_is("news")).await.is_ok());
    assert!(command_line.faults().unwrap().is_none(), "what wears off has worn off");
}

#[test]
fn a_file_without_faults_does_not_speak_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crm.json");
    let crm = SandboxCrm::at(&path).unwrap();
    crm.set_faults(Faults { outage: Some(Outage::Auth), ..Faults::default() }).unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().contains("faults"));
    crm.set_faults(Faults::default()).unwrap();
    crm.add_person(named("Jane", "jane@example.com")).unwrap();
    assert!(!std::fs::read_to_string(&path).unwrap().contains("faults"));
}
