//! The custom fields of persons: what Pipedrive says of them, and values in the form they take.

use std::collections::BTreeMap;

use leadtrail_domain::crm::{CrmField, CrmFieldKind, FieldKey, FieldValue};
use serde_json::{Number, Value};

use crate::answer::is_field_code;
use crate::wire::PersonField;

/// The most characters of the types `varchar`, `varchar_auto` and `phone`.
const SHORT_TEXT_CHARS_MAX: u32 = 255;
/// The most characters of the type `text`; the reference says "65k".
const LONG_TEXT_CHARS_MAX: u32 = 65_000;

/// The custom fields by code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(BTreeMap<FieldKey, Definition>);

#[derive(Clone, Debug)]
struct Definition {
    field: CrmField,
    /// The options' ids by label, where the field has options.
    options: Vec<(String, Value)>,
    /// Whether it takes several of the options.
    takes_several: bool,
}

impl Fields {
    pub(crate) fn extend(&mut self, page: Vec<PersonField>) {
        self.0.extend(page.into_iter().filter_map(definition));
    }

    /// Adds one more; `None` where it is no custom field.
    pub(crate) fn add(&mut self, field: PersonField) -> Option<CrmField> {
        let (key, definition) = definition(field)?;
        let field = definition.field.clone();
        self.0.insert(key, definition);
        Some(field)
    }

    pub(crate) fn knows(&self, key: &FieldKey) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn list(&self) -> Vec<CrmField> {
        self.0.values().map(|definition| definition.field.clone()).collect()
    }

    /// A value as the request takes it.
    ///
    /// # Errors
    /// Why the field cannot have it.
    pub(crate) fn encoded(&self, key: &FieldKey, value: &FieldValue) -> Result<Value, &'static str> {
        let definition = self.0.get(key).ok_or("the account has no such field")?;
        match (value, &definition.field.kind) {
            (FieldValue::Null, _) => Ok(Value::Null),
            (FieldValue::Text(text), CrmFieldKind::Text { chars_max }) => Ok(cut(text, *chars_max).into()),
            (FieldValue::Number(number), CrmFieldKind::Number) => {
                // Display writes whole numbers without a point, and infinities in letters.
                number
                    .to_string()
                    .parse::<Number>()
                    .map(Value::Number)
                    .map_err(|_infinite| "not a finite number")
            }
            (FieldValue::Date(date), CrmFieldKind::Date) => Ok(date.to_string().into()),
            (FieldValue::Choice(label), CrmFieldKind::Choice { .. }) => definition
                .options
                .iter()
                .find(|(option, _)| option == label)
                .map(
                    |(_, id)| {
                        if definition.takes_several { Value::from(vec![id.clone()]) } else { id.clone() }
                    },
                )
                .ok_or("the field has no such option"),
            (
                FieldValue::Text(_) | FieldValue::Number(_) | FieldValue::Date(_) | FieldValue::Choice(_),
                CrmFieldKind::Text { .. }
                | CrmFieldKind::Number
                | CrmFieldKind::Date
                | CrmFieldKind::Choice { .. }
                | CrmFieldKind::Other(_),
            ) => Err("the field is of another type"),
        }
    }

    /// A value as an answer has it; nothing where it is empty, or of a field unknown.
    pub(crate) fn decoded(&self, key: &FieldKey, value: &Value) -> Option<FieldValue> {
        let definition = self.0.get(key)?;
        let text = match value {
            Value::Null => return None,
            Value::String(text) if text.is_empty() => return None,
            Value::Array(items) if items.is_empty() => return None,
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
        };
        // A field that holds what its type does not promise is shown as the text it is: it is not empty.
        let typed = match definition.field.kind {
            CrmFieldKind::Text { .. } | CrmFieldKind::Other(_) => None,
            CrmFieldKind::Number => text.parse().ok().map(FieldValue::Number),
            CrmFieldKind::Date => text.parse().ok().map(FieldValue::Date),
            CrmFieldKind::Choice { .. } => definition.chosen(value),
        };
        Some(typed.unwrap_or(FieldValue::Text(text)))
    }
}

impl Definition {
    /// The option that a value has; those of several in one text.
    fn chosen(&self, value: &Value) -> Option<FieldValue> {
        let ids = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        let label_of =
            |id| self.options.iter().find(|(_, option)| option == id).map(|(label, _)| label.as_str());
        let labels: Vec<&str> = ids.iter().map(label_of).collect::<Option<_>>()?;
        Some(match labels[..] {
            [label] => FieldValue::Choice(label.to_owned()),
            _ => FieldValue::Text(labels.join(", ")),
        })
    }
}

/// The type of field that a new one is to have; `None` where none is made.
pub(crate) fn field_type(kind: &CrmFieldKind) -> Option<&'static str> {
    match kind {
        CrmFieldKind::Text { chars_max } if *chars_max <= SHORT_TEXT_CHARS_MAX => Some("varchar"),
        CrmFieldKind::Text { .. } => Some("text"),
        CrmFieldKind::Number => Some("double"),
        CrmFieldKind::Date => Some("date"),
        CrmFieldKind::Choice { .. } | CrmFieldKind::Other(_) => None,
    }
}

fn definition(field: PersonField) -> Option<(FieldKey, Definition)> {
    let key = field.field_code.filter(|code| is_field_code(code))?;
    if field.is_custom_field == Some(false) {
        return None;
    }
    let options: Vec<(String, Value)> =
        field.options.into_iter().flatten().filter_map(|option| Some((option.label?, option.id?))).collect();
    let field_type = field.field_type.unwrap_or_default();
    let kind = match field_type.as_str() {
        "varchar" | "varchar_auto" | "phone" => CrmFieldKind::Text { chars_max: SHORT_TEXT_CHARS_MAX },
        "text" => CrmFieldKind::Text { chars_max: LONG_TEXT_CHARS_MAX },
        "double" => CrmFieldKind::Number,
        "date" => CrmFieldKind::Date,
        "enum" | "set" => {
            CrmFieldKind::Choice { options: options.iter().map(|(label, _)| label.clone()).collect() }
        }
        _ => CrmFieldKind::Other(field_type.clone()),
    };
    let takes_several = field_type == "set";
    let name = field.field_name.unwrap_or_default();
    let key = FieldKey(key);
    Some((key.clone(), Definition { field: CrmField { key, name, kind }, options, takes_several }))
}

/// Cut by us: whether Pipedrive refuses a longer text or cuts it silently is not documented.
fn cut(text: &str, chars_max: u32) -> &str {
    let chars_max = usize::try_from(chars_max).unwrap_or(usize::MAX);
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}
