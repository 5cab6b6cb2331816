use std::collections::{BTreeMap, BTreeSet};

use leadtrail_domain::crm::{
    Candidate, CrmField, CrmFieldKind, FieldKey, FieldValue, Patch, PersonId, PersonQuery,
};
use leadtrail_domain::ports::CrmError;
use leadtrail_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::faults::Faults;

/// A person to add.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPerson {
    /// The first name; may be empty.
    pub first_name: String,
    /// The last name; may be empty.
    pub last_name: String,
    /// The e-mail addresses, taken as they are: other persons may have them too.
    pub emails: Vec<String>,
    /// When the CRM learnt of the person.
    pub added_at: Timestamp,
}

/// A person of the account.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// A whole number above zero, never given twice.
    pub id: PersonId,
    /// The full name.
    pub name: String,
    /// The first name.
    pub first_name: String,
    /// The last name.
    pub last_name: String,
    /// The e-mail addresses, as they were entered.
    pub emails: Vec<String>,
    /// When the CRM learnt of the person.
    pub added_at: Timestamp,
    /// What the custom fields hold, by key, which is the name of our field: a string, a number, or a date as a
    /// string. Empty fields are absent.
    pub fields: BTreeMap<FieldKey, Value>,
}

impl Person {
    pub(crate) fn has_email(&self, email: &str) -> bool {
        let email = email.trim().to_lowercase();
        self.emails.iter().any(|own| own.trim().to_lowercase() == email)
    }

    /// Whether each word of `name` begins a word of the person's name: near matches come along, as they do in the
    /// searches of real CRMs.
    fn resembles(&self, name: &str) -> bool {
        let own = self.name.to_lowercase();
        let asked = name.to_lowercase();
        let mut words = asked.split_whitespace().peekable();
        words.peek().is_some()
            && words.all(|word| own.split_whitespace().any(|own_word| own_word.starts_with(word)))
    }
}

/// Everything the CRM keeps.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    next_id: u64,
    persons: BTreeMap<u64, Person>,
    /// The fields that were made beside those the account began with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    made_fields: Vec<CrmField>,
    #[serde(default, skip_serializing_if = "Faults::is_none")]
    pub(crate) faults: Faults,
}

impl Default for Account {
    fn default() -> Self {
        Self { next_id: 1, persons: BTreeMap::new(), made_fields: Vec::new(), faults: Faults::default() }
    }
}

impl Account {
    pub(crate) fn made_fields(&self) -> &[CrmField] {
        &self.made_fields
    }

    /// Makes a field; its key is one that no field has.
    pub(crate) fn make_field(&mut self, name: String, kind: CrmFieldKind) -> CrmField {
        let key = FieldKey(format!("made_{}", self.made_fields.len() + 1));
        let field = CrmField { key, name, kind };
        self.made_fields.push(field.clone());
        field
    }

    pub(crate) fn persons(&self) -> impl Iterator<Item = &Person> {
        self.persons.values()
    }

    pub(crate) fn person(&self, id: &PersonId) -> Option<&Person> {
        self.persons.get(&id.0.parse().ok()?)
    }

    pub(crate) fn add(&mut self, new: NewPerson) -> PersonId {
        let number = self.next_id;
        self.next_id = number.saturating_add(1);
        let id = PersonId(number.to_string());
        let name = format!("{} {}", new.first_name.trim(), new.last_name.trim()).trim().to_owned();
        let NewPerson { first_name, last_name, emails, added_at } = new;
        let fields = BTreeMap::new();
        self.persons
            .insert(number, Person { id: id.clone(), name, first_name, last_name, emails, added_at, fields });
        id
    }

    /// Whether there was such a person.
    pub(crate) fn remove(&mut self, id: &PersonId) -> bool {
        id.0.parse().is_ok_and(|number: u64| self.persons.remove(&number).is_some())
    }

    pub(crate) fn find(&self, by: &PersonQuery) -> Vec<Candidate> {
        self.persons()
            .filter(|person| match by {
                PersonQuery::Email { email, changed_since: _ } => person.has_email(email.as_str()),
                PersonQuery::Name(name) => person.resembles(name),
            })
            .map(|person| Candidate {
                id: person.id.clone(),
                name: Some(person.name.clone()).filter(|name| !name.is_empty()),
                emails: person.emails.clone(),
                added_at: Some(person.added_at),
            })
            .collect()
    }

    pub(crate) fn read(
        &self,
        definitions: &[CrmField],
        id: &PersonId,
        keys: &BTreeSet<FieldKey>,
    ) -> Result<BTreeMap<FieldKey, FieldValue>, CrmError> {
        let person = self.person(id).ok_or(CrmError::NotFound)?;
        Ok(definitions
            .iter()
            .filter(|field| keys.contains(&field.key))
            .filter_map(|field| {
                let value = person.fields.get(&field.key)?;
                Some((field.key.clone(), decoded(value, &field.kind)?))
            })
            .collect())
    }

    /// Writes all of the patch or nothing of it; the fields whose value became another.
    pub(crate) fn update(
        &mut self,
        definitions: &[CrmField],
        id: &PersonId,
        patch: &Patch,
    ) -> Result<BTreeSet<FieldKey>, CrmError> {
        let number: u64 =
            id.0.parse().map_err(|_not_a_number: std::num::ParseIntError| CrmError::NotFound)?;
        let person = self.persons.get_mut(&number).ok_or(CrmError::NotFound)?;
        let mut values = BTreeMap::new();
        let mut refused: BTreeMap<Refusal, BTreeSet<FieldKey>> = BTreeMap::new();
        for (key, value) in patch {
            let definition = definitions.iter().find(|field| field.key == *key);
            match encoded(value, definition.map(|field| &field.kind)) {
                Ok(value) => {
                    values.insert(key.clone(), value);
                }
                Err(refusal) => {
                    refused.entry(refusal).or_default().insert(key.clone());
                }
            }
        }
        if let Some((refusal, fields)) = refused.pop_first() {
            return Err(CrmError::Permanent { code: refusal.code().to_owned(), fields });
        }
        let mut changed = BTreeSet::new();
        for (key, value) in values {
            let before = if value.is_null() {
                person.fields.remove(&key)
            } else {
                person.fields.insert(key.clone(), value.clone())
            };
            if before.unwrap_or(Value::Null) != value {
                changed.insert(key);
            }
        }
        Ok(changed)
    }
}

/// Why a value is not taken; the first kind met is the one reported.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    UnknownField,
    WrongType,
    TooLong,
}

impl Refusal {
    fn code(self) -> &'static str {
        match self {
            Self::UnknownField => "unknown_field",
            Self::WrongType => "wrong_type",
            Self::TooLong => "text_too_long",
        }
    }
}

fn encoded(value: &FieldValue, kind: Option<&CrmFieldKind>) -> Result<Value, Refusal> {
    let kind = kind.ok_or(Refusal::UnknownField)?;
    match (value, kind) {
        (FieldValue::Null, _) => Ok(Value::Null),
        (FieldValue::Text(text), CrmFieldKind::Text { chars_max }) => {
            let fits = u32::try_from(text.chars().count()).is_ok_and(|chars| chars <= *chars_max);
            if fits { Ok(Value::from(text.as_str())) } else { Err(Refusal::TooLong) }
        }
        (FieldValue::Number(number), CrmFieldKind::Number) => {
            number_as_json(*number).ok_or(Refusal::WrongType)
        }
        (FieldValue::Date(date), CrmFieldKind::Date) => Ok(Value::from(date.to_string())),
        (FieldValue::Choice(label), CrmFieldKind::Choice { options }) if options.contains(label) => {
            Ok(Value::from(label.as_str()))
        }
        (
            FieldValue::Text(_) | FieldValue::Number(_) | FieldValue::Date(_) | FieldValue::Choice(_),
            CrmFieldKind::Text { .. }
            | CrmFieldKind::Number
            | CrmFieldKind::Date
            | CrmFieldKind::Choice { .. }
            | CrmFieldKind::Other(_),
        ) => Err(Refusal::WrongType),
    }
}

fn decoded(value: &Value, kind: &CrmFieldKind) -> Option<FieldValue> {
    match kind {
        CrmFieldKind::Text { .. } | CrmFieldKind::Other(_) => {
            value.as_str().map(|text| FieldValue::Text(text.to_owned()))
        }
        CrmFieldKind::Number => value.as_f64().map(FieldValue::Number),
        CrmFieldKind::Date => value.as_str()?.parse().ok().map(FieldValue::Date),
        CrmFieldKind::Choice { .. } => value.as_str().map(|label| FieldValue::Choice(label.to_owned())),
    }
}

/// A number as people write it: a whole one without a point.
fn number_as_json(number: f64) -> Option<Value> {
    let whole = number.to_string().parse::<i64>().ok().map(Value::from);
    whole.or_else(|| serde_json::Number::from_f64(number).map(Value::Number))
}
