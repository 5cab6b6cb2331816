//! Whether a project's field mapping fits its CRM account.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fields::{self, FieldKind, FieldSpec};
use super::plan::{NoField, field_for};
use crate::crm::{CrmField, CrmFieldKind, FieldKey, FieldName, NewCrmField, WritePolicy};
use crate::project::CrmSettings;

/// A text field of at most so many characters cuts addresses: what Pipedrive's `varchar` takes.
const SHORT_TEXT_CHARS: u32 = 255;

/// How grave a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", schemars(rename = "FindingSeverity"))]
pub enum Severity {
    /// For information.
    Note,
    /// A value is left out or cut; the rest is told.
    Warning,
    /// Nothing is told before it is mended: a value might go into the wrong field.
    Error,
}

/// Something about a mapping that its owner should know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "MappingFinding"))]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// Our field, where it is about one.
    pub field: Option<FieldName>,
    /// What is the matter, in a sentence.
    pub what: String,
    /// What to do about it.
    pub mend: String,
}

/// What is the matter with a mapping, gravest first. Of the preset, what the CRM lacks is a note and what does not fit
/// a warning; what a mapping names must be there and fit.
pub fn check(settings: &CrmSettings, fields: &[CrmField]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut taken: BTreeMap<&FieldKey, FieldName> = BTreeMap::new();
    // What is mapped comes first: of two that want one field, the preset gives way.
    for is_mapped in [true, false] {
        for (name, spec) in written(settings) {
            let target = target(&name, settings);
            if target.is_some() == is_mapped {
                findings.extend(check_field(&name, spec, target, fields, &mut taken));
            }
        }
    }
    findings
        .sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.field.cmp(&other.field)));
    findings
}

/// Whether nothing may be told under a mapping with these findings.
pub fn is_refused(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// The fields that a mapping wants and the CRM lacks, as they are to be made: by their preset name, or the one that the
/// mapping gives.
pub fn missing(settings: &CrmSettings, fields: &[CrmField]) -> Vec<(FieldName, NewCrmField)> {
    written(settings)
        .filter_map(|(name, spec)| {
            let target = target(&name, settings);
            match field_for(target.unwrap_or(name.as_str()), fields) {
                Err(NoField::Absent) => {
                    let shown = target.map_or_else(|| shown(name.as_str()), str::to_owned);
                    Some((name, NewCrmField { name: shown, kind: kind(spec) }))
                }
                Ok(_) | Err(NoField::Several) => None,
            }
        })
        .collect()
}

/// Our fields that the mapping lets be written.
fn written(settings: &CrmSettings) -> impl Iterator<Item = (FieldName, FieldSpec)> {
    fields::all().filter_map(|spec| {
        let name: FieldName = spec.name.parse().ok()?;
        (fields::policy(&name, settings) != WritePolicy::Never).then_some((name, spec))
    })
}

/// Where the mapping sends a field; `None` where the preset does.
fn target<'s>(name: &FieldName, settings: &'s CrmSettings) -> Option<&'s str> {
    settings.mapping.get(name)?.field.as_deref()
}

fn check_field<'f>(
    name: &FieldName,
    spec: FieldSpec,
    target: Option<&str>,
    fields: &'f [CrmField],
    taken: &mut BTreeMap<&'f FieldKey, FieldName>,
) -> Option<Finding> {
    let grave = if target.is_some() { Severity::Error } else { Severity::Warning };
    let finding = |severity, what: String, mend: &str| {
        Some(Finding { severity, field: Some(name.clone()), what, mend: mend.to_owned() })
    };
    let wanted = target.unwrap_or(name.as_str());
    let field = match field_for(wanted, fields) {
        Ok(field) => field,
        Err(NoField::Absent) => {
            let severity = if target.is_some() { Severity::Error } else { Severity::Note };
            let what = format!("{name}: the CRM has no field `{wanted}`");
            return finding(severity, what, "`leadtrail crm provision` makes it; or map another");
        }
        Err(NoField::Several) => {
            let what = format!("{name}: the CRM has several fields named `{wanted}`");
            return finding(grave, what, "map the field by its key, or rename the others in the CRM");
        }
    };
    if let Some(other) = taken.get(&field.key) {
        let what = format!("{name} and {other} want the same field `{}`", field.name);
        return finding(grave, what, "map one of them elsewhere, or give it the policy `never`");
    }
    taken.insert(&field.key, name.clone());
    match (fit(spec, &field.kind), &field.kind) {
        (Fit::No, kind) => {
            let what = format!("{name}: the field `{}` is of type {}", field.name, shown_kind(kind));
            finding(grave, what, "map a text field; the type of a field cannot be changed")
        }
        (Fit::Options, _) => {
            let what = format!("{name}: the field `{}` takes its own options only", field.name);
            finding(Severity::Warning, what, "values without an option are left out; a text field takes all")
        }
        (Fit::Whole, CrmFieldKind::Text { chars_max })
            if spec.kind == FieldKind::LongText && *chars_max <= SHORT_TEXT_CHARS =>
        {
            let what = format!("{name}: the field `{}` cuts texts at {chars_max} characters", field.name);
            finding(Severity::Warning, what, "map a field of long texts, or accept that addresses are cut")
        }
        (Fit::Whole, _) => None,
    }
}

enum Fit {
    Whole,
    Options,
    No,
}

fn fit(spec: FieldSpec, kind: &CrmFieldKind) -> Fit {
    let fits = match kind {
        CrmFieldKind::Text { .. } => true,
        CrmFieldKind::Choice { .. } => return Fit::Options,
        CrmFieldKind::Number => spec.kind == FieldKind::Number || spec.also == Some(FieldKind::Number),
        CrmFieldKind::Date => spec.kind == FieldKind::Date || spec.also == Some(FieldKind::Date),
        CrmFieldKind::Other(_) => false,
    };
    if fits { Fit::Whole } else { Fit::No }
}

fn shown_kind(kind: &CrmFieldKind) -> &str {
    match kind {
        CrmFieldKind::Text { .. } => "text",
        CrmFieldKind::Number => "number",
        CrmFieldKind::Date => "date",
        CrmFieldKind::Choice { .. } => "choice",
        CrmFieldKind::Other(other) => other,
    }
}

/// The CRM type that suits one of our fields best.
fn kind(spec: FieldSpec) -> CrmFieldKind {
    match spec.kind {
        FieldKind::Text => CrmFieldKind::Text { chars_max: SHORT_TEXT_CHARS },
        FieldKind::LongText => CrmFieldKind::Text { chars_max: u32::MAX },
        FieldKind::Number => CrmFieldKind::Number,
        FieldKind::Date => CrmFieldKind::Date,
    }
}

/// `first_utm_source` as `First UTM Source`: as people write it, and found again by the preset.
fn shown(name: &str) -> String {
    let word = |word: &str| match word {
        "utm" | "id" | "ip" | "url" => word.to_uppercase(),
        word if word.ends_with("clid") => word.to_uppercase(),
        word => {
            let mut chars = word.chars();
            chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
        }
    };
    name.split('_').filter(|part| !part.is_empty()).map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crm::folded_name;
    use crate::project::FieldTarget;

    const TEXT: CrmFieldKind = CrmFieldKind::Text { chars_max: 255 };

    fn field(key: &str, name: &str, kind: CrmFieldKind) -> CrmField {
        CrmField { key: FieldKey(key.into()), name: name.into(), kind }
    }

    fn mapped(pairs: &[(&str, &str)]) -> CrmSettings {
        let mapping = pairs.iter().map(|(name, target)| {
            (name.parse().unwrap(), FieldTarget { field: Some((*target).into()), policy: None })
        });
        CrmSettings { mapping: mapping.collect(), ..CrmSettings::default() }
    }

    fn grave(settings: &CrmSettings, fields: &[CrmField]) -> Vec<(Severity, String)> {
        let findings = check(settings, fields).into_iter();
        let grave = findings.filter(|finding| finding.severity > Severity::Note);
        grave.map(|f| (f.severity, f.field.map(|name| name.to_string()).unwrap_or_default())).collect()
    }

    #[test]
    fn an_empty_account_under_the_preset_is_no_error_and_every_field_is_missing() {
        let findings = check(&CrmSettings::default(), &[]);
        assert!(!is_refused(&findings));
        assert_eq!(findings.len(), fields::all().count());
        assert_eq!(missing(&CrmSettings::default(), &[]).len(), fields::all().count());
    }

    #[test]
    fn what_is_provisioned_is_found_again_and_fits() {
        let made = missing(&CrmSettings::default(), &[]);
        let fields: Vec<CrmField> =
            made.iter().map(|(name, new)| field(name.as_str(), &new.name, new.kind.clone())).collect();
        assert_eq!(check(&CrmSettings::default(), &fields), []);
        assert_eq!(missing(&CrmSettings::default(), &fields), []);
    }

    #[test]
    fn what_a_mapping_names_must_be_there_fit_and_stand_alone() {
        let fields = [
            field("a", "Source", TEXT),
            field("b", "Date", CrmFieldKind::Date),
            field("c", "Twin", TEXT),
            field("d", "twin", TEXT),
        ];
        for (settings, name) in [
            (mapped(&[("utm_source", "Nowhere")]), "utm_source"),
            (mapped(&[("utm_source", "Date")]), "utm_source"),
            (mapped(&[("utm_source", "Twin")]), "utm_source"),
            (mapped(&[("utm_source", "a"), ("utm_medium", "Source")]), "utm_medium"),
        ] {
            assert_eq!(grave(&settings, &fields), [(Severity::Error, name.to_owned())]);
        }
        assert_eq!(grave(&mapped(&[("utm_source", "c"), ("utm_medium", "d")]), &fields), []);
    }

    #[test]
    fn of_two_that_want_one_field_the_preset_gives_way() {
        let fields = [field("a", "UTM Source", TEXT)];
        let settings = mapped(&[("last_utm_source", "a")]);
        assert_eq!(grave(&settings, &fields), [(Severity::Warning, "utm_source".to_owned())]);
    }

    #[test]
    fn addresses_in_a_short_field_are_a_warning_and_typed_values_fit_their_types() {
        let fields = [
            field("a", "Page URL", TEXT),
            field("b", "Session duration", CrmFieldKind::Number),
            field("c", "Last visited on", CrmFieldKind::Date),
            field("d", "gclid", CrmFieldKind::Number),
            field("e", "Channel", CrmFieldKind::Choice { options: vec!["Paid".into()] }),
        ];
        let grave = grave(&CrmSettings::default(), &fields);
        let wanted = ["channel", "gclid", "page_url"].map(|name| (Severity::Warning, name.to_owned()));
        assert_eq!(grave, wanted);
    }

    #[test]
    fn a_field_is_named_as_people_write_it_and_folds_back() {
        assert_eq!(shown("first_utm_source"), "First UTM Source");
        for spec in fields::all() {
            assert_eq!(folded_name(&shown(spec.name)), folded_name(spec.name));
        }
    }
}
