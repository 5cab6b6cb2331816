//! What is said to a CRM: our fields, its fields, typed values, and when a value may be written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::email::EmailAddress;
use crate::time::Timestamp;

/// One of our fields, such as `utm_source` or `first_landing_page`: a name of the table in
/// [`sync::fields`](crate::sync::fields).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldName(String);

/// A name that is not one of our fields.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not one of our fields")]
pub struct FieldNameError(pub String);

impl FieldName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FieldName {
    type Err = FieldNameError;

    fn from_str(text: &str) -> Result<Self, FieldNameError> {
        if crate::sync::fields::is_field(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(FieldNameError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for FieldName {
    type Error = FieldNameError;

    fn try_from(text: String) -> Result<Self, FieldNameError> {
        text.parse()
    }
}

impl From<FieldName> for String {
    fn from(name: FieldName) -> Self {
        name.0
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When a field of a person may be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WritePolicy {
    /// Each time.
    Always,
    /// While it is empty in the CRM.
    IfEmpty,
    /// While it is empty in the CRM and was never written by us to this person.
    Once,
    /// Never.
    Never,
}

/// The CRM's id of a person; opaque text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct PersonId(pub String);

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The CRM's key of a person's field; opaque text, unique in an account.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldKey(pub String);

/// A custom field of a person, as the CRM defines it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CrmField {
    /// Its key.
    pub key: FieldKey,
    /// Its name for people; not unique in every CRM.
    pub name: String,
    /// Its type.
    pub kind: CrmFieldKind,
}

/// The type of a CRM's field, as far as it decides how a value is written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrmFieldKind {
    /// A text of at most so many characters.
    Text {
        /// The most characters taken.
        chars_max: u32,
    },
    /// A number.
    Number,
    /// A calendar date.
    Date,
    /// One of several options, by label.
    Choice {
        /// The labels.
        options: Vec<String>,
    },
    /// Anything we do not write.
    Other(String),
}

/// A value as a CRM field takes it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum FieldValue {
    /// A text, cut to what the field takes.
    Text(String),
    /// A number.
    Number(f64),
    /// A calendar date.
    Date(NaiveDate),
    /// An option, by its label.
    Choice(String),
    /// Nothing: the field is cleared.
    Null,
}

/// What is written to one person in one call, by the CRM's field keys.
pub type Patch = BTreeMap<FieldKey, FieldValue>;

/// What a CRM can do beyond the least.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Its name for people.
    pub name: &'static str,
    /// Whether persons can be searched by name.
    pub finds_by_name: bool,
}

/// How a person is looked up. There is no way to create one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PersonQuery {
    /// By e-mail, exactly. An adapter whose search lags behind also looks among the persons changed since then.
    Email {
        /// The address.
        email: EmailAddress,
        /// The form's arrival, less a quarter of an hour.
        changed_since: Timestamp,
    },
    /// By full name.
    Name(String),
}

/// A person that a look-up brought. Not yet a match: the domain compares again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The person.
    pub id: PersonId,
    /// The name, as the CRM has it.
    pub name: Option<String>,
    /// The e-mail addresses, as the CRM has them.
    pub emails: Vec<String>,
    /// When the person was added, where the CRM says it.
    pub added_at: Option<Timestamp>,
}

/// What an update did.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Receipt {
    /// The fields written.
    pub applied: BTreeSet<FieldKey>,
    /// The fields the CRM did not take, with its reason.
    pub dropped: BTreeMap<FieldKey, String>,
}

/// A field of persons to be made, on a human's demand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewCrmField {
    /// Its name for people, 1 to 255 characters.
    pub name: String,
    /// Its type: `Text`, `Number` or `Date`. How long a text may be is the CRM's to say: one of more than 255
    /// characters asks for its type of long texts.
    pub kind: CrmFieldKind,
}

/// What an account lets us ask in a day, in the CRM's own units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// How much is left of it.
    pub remaining: u64,
    /// How much there is in a day, where the CRM says it.
    pub limit: Option<u64>,
}

/// The names under which a preset compares: letters and digits only, lower-case, so that `UTM Source`, `utm-source`
/// and `utm_source` are one.
pub fn folded_name(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
