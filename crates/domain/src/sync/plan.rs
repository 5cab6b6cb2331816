//! From what a person shall be told to what may be written: which CRM field each value goes to, in which form, and
//! whether its policy allows it.

use std::collections::{BTreeMap, BTreeSet};

use super::Wanted;
use super::fields::{PAGE_SEPARATOR, policy};
use crate::crm::{CrmField, CrmFieldKind, FieldKey, FieldName, FieldValue, Patch, WritePolicy, folded_name};
use crate::project::CrmSettings;

/// What is wanted, in the CRM's terms.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Resolved {
    /// By CRM field: which of ours it is, its value, and when it may be written.
    pub values: BTreeMap<FieldKey, Target>,
    /// What goes nowhere, and why.
    pub left_out: BTreeMap<FieldName, String>,
}

/// Where one value goes.
#[derive(Clone, PartialEq, Debug)]
pub struct Target {
    /// Our field.
    pub name: FieldName,
    /// The value as the CRM field takes it.
    pub value: FieldValue,
    /// When it may be written.
    pub policy: WritePolicy,
}

/// Finds the CRM field of each wanted value by the project's mapping: a key or name where it names one, else the field
/// of the same name whatever its case, spaces, hyphens or underscores. What has no field, several, or one of a type
/// that cannot hold it is left out and said; of two that want one field, the one that the mapping names gets it.
pub fn resolve(wanted: &Wanted, fields: &[CrmField], settings: &CrmSettings) -> Resolved {
    let mut resolved = Resolved::default();
    let target = |name: &FieldName| settings.mapping.get(name).and_then(|target| target.field.as_deref());
    let (mapped, preset): (Vec<_>, Vec<_>) = wanted.fields.keys().partition(|name| target(name).is_some());
    for name in mapped.into_iter().chain(preset) {
        let policy = policy(name, settings);
        if policy == WritePolicy::Never {
            continue;
        }
        let found = field_for(target(name).unwrap_or(name.as_str()), fields).map_err(|no| no.to_string());
        let found = found.and_then(|field| {
            if let Some(taken) = resolved.values.get(&field.key) {
                return Err(format!("its field already takes {}", taken.name));
            }
            Ok((field, value_for(name, wanted, &field.kind)?))
        });
        match found {
            Ok((field, value)) => {
                resolved.values.insert(field.key.clone(), Target { name: name.clone(), value, policy });
            }
            Err(reason) => {
                resolved.left_out.insert(name.clone(), reason);
            }
        }
    }
    resolved
}

/// Why there is no field to a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum NoField {
    #[error("the CRM has no such field")]
    Absent,
    #[error("the CRM has several fields of that name")]
    Several,
}

/// The field of a key, or the one of a name.
pub(super) fn field_for<'f>(target: &str, fields: &'f [CrmField]) -> Result<&'f CrmField, NoField> {
    if let Some(field) = fields.iter().find(|field| field.key.0 == target) {
        return Ok(field);
    }
    let folded = folded_name(target);
    let mut named = fields.iter().filter(|field| folded_name(&field.name) == folded);
    match (named.next(), named.next()) {
        (Some(field), None) => Ok(field),
        (None, _) => Err(NoField::Absent),
        (Some(_), Some(_)) => Err(NoField::Several),
    }
}

fn value_for(name: &FieldName, wanted: &Wanted, kind: &CrmFieldKind) -> Result<FieldValue, String> {
    let shown = wanted.fields.get(name);
    let typed = wanted.typed.get(name).or(shown);
    let text = || shown.and_then(as_text).ok_or_else(|| "it has no text".to_owned());
    match kind {
        CrmFieldKind::Text { chars_max } => {
            let most = usize::try_from(*chars_max).unwrap_or(usize::MAX);
            let separator = (name.as_str() == "visited_pages").then_some(PAGE_SEPARATOR);
            Ok(FieldValue::Text(cut(text()?, most, separator)))
        }
        CrmFieldKind::Number => match typed {
            Some(FieldValue::Number(number)) => Ok(FieldValue::Number(*number)),
            _ => (text()?.trim().parse().ok())
                .filter(|number: &f64| number.is_finite())
                .map(FieldValue::Number)
                .ok_or_else(|| "the CRM field takes numbers".to_owned()),
        },
        CrmFieldKind::Date => match typed {
            Some(FieldValue::Date(date)) => Ok(FieldValue::Date(*date)),
            _ => Err("the CRM field takes dates".to_owned()),
        },
        CrmFieldKind::Choice { options } => {
            let text = text()?;
            let option = options.iter().find(|option| folded_name(option) == folded_name(&text));
            option
                .map(|label| FieldValue::Choice(label.clone()))
                .ok_or_else(|| "the CRM field has no such option".to_owned())
        }
        CrmFieldKind::Other(other) => Err(format!("the CRM field is of type {other}")),
    }
}

fn as_text(value: &FieldValue) -> Option<String> {
    match value {
        FieldValue::Text(text) | FieldValue::Choice(text) => Some(text.clone()),
        FieldValue::Number(number) => Some(number.to_string()),
        FieldValue::Date(date) => Some(date.to_string()),
        FieldValue::Null => None,
    }
}

/// The text cut to so many characters: at a separator where it is a list, so that no part of an entry is left.
fn cut(text: String, chars_max: usize, separator: Option<&str>) -> String {
    let Some((end, _)) = text.char_indices().nth(chars_max) else { return text };
    let kept = &text[..end];
    let whole = match separator {
        Some(separator) if text[end..].starts_with(separator) => kept,
        Some(separator) => kept.rsplit_once(separator).map_or(kept, |(whole, _)| whole),
        None => kept,
    };
    whole.to_owned()
}

/// What may be written to a person who now has `current`, and to whom we have ever written the fields `written`. What
/// the person already has is not written again.
pub fn permitted(
    resolved: &Resolved,
    current: &BTreeMap<FieldKey, FieldValue>,
    written: &BTreeSet<FieldKey>,
) -> Patch {
    let empty = |key: &FieldKey| current.get(key).is_none_or(is_empty);
    resolved
        .values
        .iter()
        .filter(|(key, target)| match target.policy {
            WritePolicy::Always => true,
            WritePolicy::IfEmpty => empty(key),
            WritePolicy::Once => empty(key) && !written.contains(*key),
            WritePolicy::Never => false,
        })
        .filter(|(key, target)| current.get(*key) != Some(&target.value))
        .map(|(key, target)| (key.clone(), target.value.clone()))
        .collect()
}

fn is_empty(value: &FieldValue) -> bool {
    match value {
        FieldValue::Null => true,
        FieldValue::Text(text) | FieldValue::Choice(text) => text.trim().is_empty(),
        FieldValue::Number(_) | FieldValue::Date(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::FieldTarget;

    fn field(key: &str, name: &str, kind: CrmFieldKind) -> CrmField {
        CrmField { key: FieldKey(key.into()), name: name.into(), kind }
    }

    fn text(chars_max: u32) -> CrmFieldKind {
        CrmFieldKind::Text { chars_max }
    }

    fn wanted(fields: &[(&str, &str)]) -> Wanted {
        let fields =
            fields.iter().map(|(name, value)| (name.parse().unwrap(), FieldValue::Text((*value).into())));
        Wanted { fields: fields.collect(), ..Wanted::default() }
    }

    #[test]
    fn a_field_is_found_by_its_name_whatever_its_spelling() {
        for name in ["UTM Source", "utm-source", "utm_source", "UtmSource"] {
            let resolved = resolve(
                &wanted(&[("utm_source", "x")]),
                &[field("k", name, text(255))],
                &CrmSettings::default(),
            );
            assert!(resolved.values.contains_key(&FieldKey("k".into())), "{name}");
        }
    }

    #[test]
    fn what_has_no_field_or_several_is_left_out_and_said() {
        let fields = [
            field("a", "gclid", text(255)),
            field("b", "GCLID", text(255)),
            field("c", "city", CrmFieldKind::Date),
        ];
        let resolved = resolve(
            &wanted(&[("gclid", "x"), ("utm_source", "y"), ("city", "z")]),
            &fields,
            &CrmSettings::default(),
        );
        assert_eq!(resolved.values, BTreeMap::new());
        assert_eq!(resolved.left_out.len(), 3);
    }

    #[test]
    fn two_of_our_fields_never_share_one_of_the_crms() {
        let target = FieldTarget { field: Some("k".into()), policy: None };
        let mapping =
            [("utm_source".parse().unwrap(), target.clone()), ("utm_medium".parse().unwrap(), target)];
        let settings = CrmSettings { mapping: mapping.into(), ..CrmSettings::default() };
        let resolved = resolve(
            &wanted(&[("utm_source", "s"), ("utm_medium", "m")]),
            &[field("k", "K", text(9))],
            &settings,
        );
        assert_eq!((resolved.values.len(), resolved.left_out.len()), (1, 1));
    }

    #[test]
    fn a_text_is_cut_to_the_field_and_a_list_at_an_entry() {
        assert_eq!(cut("ééé".into(), 2, None), "éé");
        assert_eq!(cut("aa, bb, cc".into(), 7, Some(PAGE_SEPARATOR)), "aa");
        assert_eq!(cut("aa, bb, cc".into(), 6, Some(PAGE_SEPARATOR)), "aa, bb");
        assert_eq!(cut("aaaa".into(), 3, Some(PAGE_SEPARATOR)), "aaa");
    }

    #[test]
    fn policies_decide_by_what_the_person_has_and_what_we_wrote() {
        let key = FieldKey("k".into());
        let value = FieldValue::Text("new".into());
        let old = BTreeMap::from([(key.clone(), FieldValue::Text("old".into()))]);
        let ours = BTreeSet::from([key.clone()]);
        let allowed = |policy, current: &BTreeMap<_, _>, written: &BTreeSet<_>| {
            let target = Target { name: "gclid".parse().unwrap(), value: value.clone(), policy };
            let resolved =
                Resolved { values: BTreeMap::from([(key.clone(), target)]), ..Resolved::default() };
            !permitted(&resolved, current, written).is_empty()
        };
        let (nothing, never) = (BTreeMap::new(), BTreeSet::new());
        for (policy, on_empty, on_old, on_cleared) in [
            (WritePolicy::Always, true, true, true),
            (WritePolicy::IfEmpty, true, false, true),
            (WritePolicy::Once, true, false, false),
            (WritePolicy::Never, false, false, false),
        ] {
            assert_eq!(allowed(policy, &nothing, &never), on_empty, "{policy:?}");
            assert_eq!(allowed(policy, &old, &never), on_old, "{policy:?}");
            assert_eq!(allowed(policy, &nothing, &ours), on_cleared, "{policy:?}");
        }
        let same = BTreeMap::from([(key.clone(), value.clone())]);
        assert!(!allowed(WritePolicy::Always, &same, &never));
    }

    #[test]
    fn a_number_or_date_is_told_in_the_fields_type() {
        let mut wanted = wanted(&[("session_duration", "15 minutes"), ("gclid", "17")]);
        wanted.typed.insert("session_duration".parse().unwrap(), FieldValue::Number(900.0));
        let fields =
            [field("a", "session_duration", CrmFieldKind::Number), field("b", "gclid", CrmFieldKind::Number)];
        let resolved = resolve(&wanted, &fields, &CrmSettings::default());
        let values: Vec<_> = resolved.values.values().map(|target| target.value.clone()).collect();
        assert_eq!(values, [FieldValue::Number(900.0), FieldValue::Number(17.0)]);
    }
}
