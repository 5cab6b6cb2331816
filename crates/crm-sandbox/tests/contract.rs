//! The suite of the CRM port, in memory and in a file.

use std::sync::Arc;

use async_trait::async_trait;
use leadtrail_contract::crm::{CrmAccount, CrmSubject, Fault, NewPerson, PersonOnFile};
use leadtrail_crm_sandbox::{Faults, Outage, SandboxCrm};
use leadtrail_domain::crm::PersonId;
use tempfile::TempDir;

struct Account {
    sandbox: SandboxCrm,
    _folder: Option<TempDir>,
}

#[async_trait]
impl CrmAccount for Account {
    async fn add_person(&self, person: NewPerson) -> PersonId {
        let NewPerson { first_name, last_name, emails, added_at } = person;
        let person = leadtrail_crm_sandbox::NewPerson { first_name, last_name, emails, added_at };
        self.sandbox.add_person(person).expect("the person is added")
    }

    async fn remove_person(&self, person: &PersonId) {
        assert!(self.sandbox.remove_person(person).expect("the file can be written"));
    }

    async fn persons(&self) -> Vec<PersonOnFile> {
        let persons = self.sandbox.persons().expect("the file can be read").into_iter();
        persons
            .map(|person| PersonOnFile { id: person.id, name: person.name, emails: person.emails })
            .collect()
    }

    async fn lag_searches(&self, searches: u32) {
        let faults = Faults { empty_email_searches: searches, ..Faults::default() };
        self.sandbox.set_faults(faults).expect("the file can be written");
    }

    async fn set_fault(&self, fault: Option<Fault>) {
        let outage = fault.map(|fault| match fault {
            Fault::Outage => Outage::Transient,
            Fault::Credentials => Outage::Auth,
            Fault::Limit(wait) => Outage::Limited { seconds: wait.as_secs() },
        });
        let faults = Faults { outage, ..Faults::default() };
        self.sandbox.set_faults(faults).expect("the file can be written");
    }
}

fn in_memory() -> CrmSubject {
    let sandbox = SandboxCrm::in_memory();
    CrmSubject { crm: Arc::new(sandbox.clone()), account: Arc::new(Account { sandbox, _folder: None }) }
}

/// The adapter and the account have handles of their own, as a server and the command line have.
fn in_a_file() -> CrmSubject {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("crm.json");
    let handle = || SandboxCrm::at(&path).expect("the file can be used");
    let account = Account { sandbox: handle(), _folder: Some(folder) };
    CrmSubject { crm: Arc::new(handle()), account: Arc::new(account) }
}

leadtrail_contract::crm_contract!(mod memory: async { in_memory() });
leadtrail_contract::crm_contract!(mod file: async { in_a_file() });
