//! The suite of the CRM port.

use std::sync::Arc;

use async_trait::async_trait;
use leadtrail_contract::CrmSubject;
use leadtrail_contract::crm::{CrmAccount, Fault, NewPerson, PersonOnFile};
use leadtrail_domain::crm::PersonId;
use wiremock::ResponseTemplate;

use crate::fake::{Operation, PipedriveFake};

#[async_trait]
impl CrmAccount for PipedriveFake {
    async fn add_person(&self, person: NewPerson) -> PersonId {
        Self::add_person(self, &person.first_name, &person.last_name, &person.emails, person.added_at)
    }

    async fn remove_person(&self, person: &PersonId) {
        Self::remove_person(self, person);
    }

    async fn persons(&self) -> Vec<PersonOnFile> {
        let persons = Self::persons(self).into_iter();
        persons.map(|(id, name, emails)| PersonOnFile { id, name, emails }).collect()
    }

    async fn lag_searches(&self, searches: u32) {
        Self::lag_searches(self, searches);
    }

    async fn set_fault(&self, fault: Option<Fault>) {
        let answer = match fault {
            Some(Fault::Outage) => ResponseTemplate::new(503),
            Some(Fault::Credentials) => ResponseTemplate::new(401),
            Some(Fault::Limit(wait)) => {
                ResponseTemplate::new(429).insert_header("retry-after", wait.as_secs().to_string())
            }
            None => return self.mend(),
        };
        for operation in Operation::ALL {
            self.answer_always(operation, answer.clone());
        }
    }
}

async fn subject() -> CrmSubject {
    let fake = PipedriveFake::start().await;
    CrmSubject { crm: Arc::new(fake.crm()), account: Arc::new(fake) }
}

/// The index brings nobody, so that everybody is found by the list of persons changed lately.
async fn lagging_subject() -> CrmSubject {
    let fake = PipedriveFake::start().await;
    fake.lag_searches(u32::MAX);
    CrmSubject { crm: Arc::new(fake.crm()), account: Arc::new(fake) }
}

leadtrail_contract::crm_contract!(mod prompt_index: async { subject().await });
leadtrail_contract::crm_contract!(mod lagging_index: async { lagging_subject().await });
