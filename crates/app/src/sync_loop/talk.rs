//! The conversation with a CRM in one attempt, as it is recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use leadtrail_domain::crm::{
    Candidate, CrmField, FieldKey, FieldValue, Patch, PersonId, PersonQuery, Receipt,
};
use leadtrail_domain::ports::{Crm, CrmError};
use leadtrail_domain::sync::Step;
use leadtrail_domain::sync::matching::Match;

/// How many fields a step names.
const NAMED_MAX: usize = 60;

/// Asks a CRM and notes what was asked and answered, without secrets and personal data.
pub(super) struct Talk<'a> {
    crm: Option<&'a dyn Crm>,
    steps: Mutex<Vec<Step>>,
    /// The CRM's names of its fields, by key.
    names: Mutex<BTreeMap<FieldKey, String>>,
}

impl<'a> Talk<'a> {
    pub(super) fn with(crm: &'a dyn Crm) -> Self {
        Self { crm: Some(crm), steps: Mutex::default(), names: Mutex::default() }
    }

    /// There is nobody to ask.
    pub(super) fn with_nobody() -> Self {
        Self { crm: None, steps: Mutex::default(), names: Mutex::default() }
    }

    /// Whether anything but the list of fields, which is remembered, was asked.
    pub(super) fn has_asked(&self) -> bool {
        !self.steps().is_empty()
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn finds_by_name(&self) -> bool {
        self.crm.is_some_and(|crm| crm.capabilities().finds_by_name)
    }

    pub(super) async fn list_fields(&self) -> Result<Vec<CrmField>, CrmError> {
        let answer = self.crm()?.list_fields().await;
        match &answer {
            Ok(fields) => {
                let names = fields.iter().map(|field| (field.key.clone(), field.name.clone()));
                *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names.collect();
            }
            Err(error) => self.note("list the fields", error.to_string()),
        }
        answer
    }

    /// Whom a look-up finds, judged.
    pub(super) async fn find(
        &self,
        by: &PersonQuery,
        judge: impl FnOnce(&[Candidate]) -> Match,
    ) -> Result<Match, CrmError> {
        let asked = match by {
            PersonQuery::Email { .. } => "search by e-mail",
            PersonQuery::Name(_) => "search by name",
        };
        let answer = self.crm()?.find(by).await.map(|candidates| (candidates.len(), judge(&candidates)));
        self.note(
            asked,
            match &answer {
                Ok((candidates, Match::Nobody)) => format!("{candidates} candidates, nobody among them"),
                Ok((candidates, Match::Persons(persons))) => {
                    format!("{candidates} candidates, among them {}", listed(persons))
                }
                Ok((candidates, Match::Ambiguous(persons))) => {
                    format!("{candidates} candidates, several fit: {}", listed(persons))
                }
                Err(error) => error.to_string(),
            },
        );
        answer.map(|(_candidates, found)| found)
    }

    pub(super) async fn read(
        &self,
        person: &PersonId,
        keys: &BTreeSet<FieldKey>,
    ) -> Result<BTreeMap<FieldKey, FieldValue>, CrmError> {
        let answer = self.crm()?.read(person, keys).await;
        let asked = format!("read {} fields of person {person}", keys.len());
        self.note(
            &asked,
            match &answer {
                Ok(values) => format!("{} have a value", values.len()),
                Err(error) => error.to_string(),
            },
        );
        answer
    }

    pub(super) async fn update(&self, person: &PersonId, patch: &Patch) -> Result<Receipt, CrmError> {
        let answer = self.crm()?.update(person, patch).await;
        let asked = format!("update person {person}: {}", self.named(patch.keys()));
        self.note(
            &asked,
            match &answer {
                Ok(receipt) if receipt.dropped.is_empty() => "taken".to_owned(),
                Ok(receipt) => {
                    let reasons: BTreeSet<&str> = receipt.dropped.values().map(String::as_str).collect();
                    let reasons: Vec<&str> = reasons.into_iter().collect();
                    format!("not taken: {} ({})", self.named(receipt.dropped.keys()), reasons.join("; "))
                }
                Err(error) => error.to_string(),
            },
        );
        answer
    }

    fn crm(&self) -> Result<&'a dyn Crm, CrmError> {
        self.crm.ok_or_else(|| CrmError::Transient("there is no connection".to_owned()))
    }

    fn named<'k>(&self, keys: impl ExactSizeIterator<Item = &'k FieldKey>) -> String {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let more = keys.len().saturating_sub(NAMED_MAX);
        let shown: Vec<&str> =
            keys.take(NAMED_MAX).map(|key| names.get(key).map_or(key.0.as_str(), String::as_str)).collect();
        let shown = shown.join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    }

    fn note(&self, asked: &str, answered: String) {
        self.steps().push(Step { asked: asked.to_owned(), answered });
    }

    fn steps(&self) -> MutexGuard<'_, Vec<Step>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listed(persons: &[PersonId]) -> String {
    let ids: Vec<&str> = persons.iter().map(|person| person.0.as_str()).collect();
    format!("person {}", ids.join(", "))
}
