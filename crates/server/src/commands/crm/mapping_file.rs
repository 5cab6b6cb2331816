//! A field mapping as a file: each of our fields with the CRM's field and the policy, where they differ from the preset.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use leadtrail_domain::crm::{FieldName, WritePolicy, folded_name};
use leadtrail_domain::project::FieldTarget;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as ValueError, StrDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong in a line of the file, which counts from 1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct LineProblem {
    line: usize,
    problem: String,
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.problem)
    }
}

/// Reads a mapping.
///
/// # Errors
/// Everything that is wrong with it, by line.
pub(super) fn read(text: &str) -> Result<BTreeMap<FieldName, FieldTarget>, Vec<LineProblem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { text, problems: Vec::new(), targets: BTreeMap::new() };
    for error in errors {
        reader.add(&error.span().unwrap_or_default(), error.message());
    }
    let mut mapping = BTreeMap::new();
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    for (name, value) in entries {
        let Ok(field) = name.get_ref().parse::<FieldName>() else {
            reader.add(&name.span(), &format!("`{}` is not one of our fields", name.get_ref()));
            continue;
        };
        let target = reader.target(value);
        reader.claim(&field, &target, &name.span());
        mapping.insert(field, target);
    }
    if reader.problems.is_empty() {
        return Ok(mapping);
    }
    reader.problems.sort();
    reader.problems.dedup();
    Err(reader.problems)
}

struct Reader<'t> {
    text: &'t str,
    problems: Vec<LineProblem>,
    /// Which of ours has a target, and in which line, by the target's folded name.
    targets: BTreeMap<String, (FieldName, usize)>,
}

impl Reader<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
    }

    fn add(&mut self, span: &Range<usize>, problem: &str) {
        self.problems.push(LineProblem { line: self.line(span), problem: problem.to_owned() });
    }

    fn target(&mut self, value: &Spanned<DeValue<'_>>) -> FieldTarget {
        let mut target = FieldTarget { field: None, policy: None };
        if let Some(field) = value.get_ref().as_str() {
            target.field = Some(field.to_owned());
        } else if let Some(table) = value.get_ref().as_table() {
            for (key, value) in table {
                match (key.get_ref().as_ref(), value.get_ref().as_str()) {
                    ("field", Some(field)) => target.field = Some(field.to_owned()),
                    ("policy", Some(text)) => target.policy = self.policy(text, &value.span()),
                    ("field" | "policy", None) => self.add(&value.span(), "is not a text"),
                    (other, _) => {
                        self.add(&key.span(), &format!("`{other}` is neither `field` nor `policy`"));
                    }
                }
            }
        } else {
            self.add(&value.span(), "is neither a field's name nor { field = …, policy = … }");
        }
        target
    }

    fn policy(&mut self, text: &str, span: &Range<usize>) -> Option<WritePolicy> {
        let policy: StrDeserializer<'_, ValueError> = text.into_deserializer();
        let policy = WritePolicy::deserialize(policy).ok();
        if policy.is_none() {
            self.add(span, &format!("`{text}` is none of always, if_empty, once, never"));
        }
        policy
    }

    /// Two of ours cannot go to one field, whatever way its name is written.
    fn claim(&mut self, field: &FieldName, target: &FieldTarget, span: &Range<usize>) {
        let Some(name) = target.field.as_deref().filter(|_| target.policy != Some(WritePolicy::Never)) else {
            return;
        };
        let line = self.line(span);
        match self.targets.get(&folded_name(name)).cloned() {
            Some((other, first)) => {
                self.add(span, &format!("`{name}` is where {other} goes already (line {first})"));
            }
            None => {
                self.targets.insert(folded_name(name), (field.clone(), line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        read(text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_field_is_named_alone_or_with_its_policy() {
        let mapping = read(
            "# what differs\nutm_source = \"Lead source\"\n\
             gclid = { field = \"Click\", policy = \"if_empty\" }\nip_address.policy = \"never\"\n",
        )
        .unwrap();
        let shown: Vec<_> =
            mapping.iter().map(|(name, one)| (name.as_str(), one.field.as_deref(), one.policy)).collect();
        assert_eq!(
            shown,
            [
                ("gclid", Some("Click"), Some(WritePolicy::IfEmpty)),
                ("ip_address", None, Some(WritePolicy::Never)),
                ("utm_source", Some("Lead source"), None),
            ]
        );
        assert!(read("").unwrap().is_empty());
    }

    #[test]
    fn everything_wrong_is_named_with_its_line() {
        let found = problems(
            "utm_source = \"Source\"\nemail = \"Email\"\n\nutm_medium = { filed = \"x\", policy = \"twice\" }\n\
             utm_term = 7\nutm_content = \"source\"\nutm_source = \"Again\"\n",
        );
        assert_eq!(found.len(), 6, "{found:?}");
        for (line, part) in [
            ("2: ", "`email` is not one of our fields"),
            ("4: ", "`filed` is neither"),
            ("4: ", "`twice` is none of"),
            ("5: ", "neither a field's name"),
            ("6: ", "where utm_source goes already (line 1)"),
            ("7: ", "duplicate"),
        ] {
            assert!(
                found.iter().any(|one| one.starts_with(line) && one.contains(part)),
                "{part} in {found:?}"
            );
        }
        assert!(problems("utm_source = ")[0].starts_with("1: "));
    }
}
