//! What Pipedrive's answers are made of, as far as they are read. Everything may be null or absent: the documents
//! promise more than the answers keep.

use std::collections::BTreeMap;

use leadtrail_domain::crm::{Candidate, FieldKey, PersonId};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) success: Option<bool>,
    #[serde(default = "Option::default")]
    pub(crate) data: Option<T>,
    pub(crate) additional_data: Option<AdditionalData>,
}

#[derive(Deserialize)]
pub(crate) struct AdditionalData {
    pub(crate) next_cursor: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct SearchHits {
    items: Option<Vec<SearchHit>>,
}

#[derive(Deserialize)]
struct SearchHit {
    item: Option<SearchItem>,
}

/// A person as the search index has it: e-mails are plain strings, and there are no times.
#[derive(Deserialize)]
struct SearchItem {
    id: Option<Id>,
    name: Option<String>,
    emails: Option<Vec<Option<String>>>,
}

impl SearchHits {
    pub(crate) fn candidates(self) -> Vec<Candidate> {
        let items = self.items.into_iter().flatten().filter_map(|hit| hit.item);
        items
            .filter_map(|item| {
                Some(Candidate {
                    id: item.id?.into(),
                    name: item.name,
                    emails: item.emails.into_iter().flatten().flatten().collect(),
                    added_at: None,
                })
            })
            .collect()
    }
}

/// A person as the database has it.
#[derive(Deserialize)]
pub(crate) struct Person {
    id: Option<Id>,
    name: Option<String>,
    emails: Option<Vec<Option<Email>>>,
    add_time: Option<String>,
    is_deleted: Option<bool>,
    custom_fields: Option<BTreeMap<FieldKey, Value>>,
}

#[derive(Deserialize)]
struct Email {
    value: Option<String>,
}

impl Person {
    /// Deleted persons are still answered for thirty days.
    pub(crate) fn is_deleted(&self) -> bool {
        self.is_deleted == Some(true)
    }

    pub(crate) fn candidate(self) -> Option<Candidate> {
        if self.is_deleted() {
            return None;
        }
        Some(Candidate {
            id: self.id?.into(),
            name: self.name,
            emails: self.emails.into_iter().flatten().flatten().filter_map(|email| email.value).collect(),
            added_at: self.add_time.and_then(|at| at.parse().ok()),
        })
    }

    pub(crate) fn into_custom_fields(self) -> BTreeMap<FieldKey, Value> {
        self.custom_fields.unwrap_or_default()
    }
}

#[derive(Deserialize)]
pub(crate) struct PersonField {
    pub(crate) field_name: Option<String>,
    pub(crate) field_code: Option<String>,
    pub(crate) field_type: Option<String>,
    pub(crate) is_custom_field: Option<bool>,
    pub(crate) options: Option<Vec<FieldOption>>,
}

#[derive(Deserialize)]
pub(crate) struct FieldOption {
    pub(crate) id: Option<Value>,
    pub(crate) label: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Text(String),
}

impl From<Id> for PersonId {
    fn from(id: Id) -> Self {
        match id {
            Id::Number(number) => Self(number.to_string()),
            Id::Text(text) => Self(text),
        }
    }
}
