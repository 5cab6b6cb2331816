//! Whether a project's fields have a place in its CRM.

use leadtrail_domain::crm::{CrmField, CrmFieldKind, FieldName, FieldValue};
use leadtrail_domain::id::Slug;
use leadtrail_domain::project::CrmSettings;
use leadtrail_domain::sync::Wanted;
use leadtrail_domain::sync::fields::{self, FieldKind};
use leadtrail_domain::sync::plan::resolve;
use leadtrail_domain::time::Timestamp;

use super::Finding;

/// Resolves a sample of every field, as a sync does with what is known of a lead.
pub(super) fn judge(slug: &Slug, settings: &CrmSettings, fields: &[CrmField]) -> Finding {
    let sample = sample();
    let fields: Vec<CrmField> = fields.iter().cloned().map(without_options).collect();
    let resolved = resolve(&sample, &fields, settings);
    // What the preset has no place for is left out by design; what the mapping names must be there.
    let wrong: Vec<String> = resolved
        .left_out
        .iter()
        .filter(|(name, _)| settings.mapping.get(*name).is_some_and(|target| target.field.is_some()))
        .map(|(name, reason)| format!("{name} ({reason})"))
        .collect();
    let (placed, all) = (resolved.values.len(), sample.fields.len());
    if !wrong.is_empty() {
        let found = format!("{slug}: mapped to no place: {}", wrong.join(", "));
        Finding::fail("mapping", found, "name fields that the CRM has in the project's crm.mapping")
    } else if placed == 0 {
        let found = format!("{slug}: the CRM has no field for any of ours, nothing would be written");
        Finding::fail(
            "mapping",
            found,
            "add person fields there such as `utm_source`, or map ours by crm.mapping",
        )
    } else {
        Finding::ok("mapping", format!("{slug}: {placed} of our {all} fields have a place"))
    }
}

/// A value of each field, of the type that it has.
fn sample() -> Wanted {
    let mut wanted = Wanted::default();
    for spec in fields::all() {
        let Ok(name) = spec.name.parse::<FieldName>() else { continue };
        let typed = match spec.kind {
            FieldKind::Text | FieldKind::LongText => None,
            FieldKind::Number => Some(FieldValue::Number(1.0)),
            FieldKind::Date => Some(FieldValue::Date(Timestamp::EPOCH.to_datetime().date_naive())),
        };
        wanted.typed.extend(typed.map(|typed| (name.clone(), typed)));
        wanted.fields.insert(name, FieldValue::Text("1".to_owned()));
    }
    wanted
}

/// Which options fit depends on the lead: any sample would be wrong.
fn without_options(field: CrmField) -> CrmField {
    match field.kind {
        CrmFieldKind::Choice { .. } => CrmField { kind: CrmFieldKind::Text { chars_max: 255 }, ..field },
        CrmFieldKind::Text { .. } | CrmFieldKind::Number | CrmFieldKind::Date | CrmFieldKind::Other(_) => {
            field
        }
    }
}

#[cfg(test)]
mod tests {
    use leadtrail_domain::crm::FieldKey;
    use leadtrail_domain::project::FieldTarget;

    use super::super::Verdict;
    use super::*;

    fn field(key: &str, name: &str, kind: CrmFieldKind) -> CrmField {
        CrmField { key: FieldKey(key.to_owned()), name: name.to_owned(), kind }
    }

    fn mapped(pairs: &[(&str, &str)]) -> CrmSettings {
        let target = |field: &str| FieldTarget { field: Some(field.to_owned()), policy: None };
        let mapping = pairs.iter().map(|(ours, theirs)| (ours.parse().unwrap(), target(theirs))).collect();
        CrmSettings { mapping, ..CrmSettings::default() }
    }

    #[test]
    fn what_a_mapping_names_must_be_there_once_and_of_a_fitting_type() {
        let text = || CrmFieldKind::Text { chars_max: 255 };
        let fields = [
            field("k1", "UTM Source", text()),
            field("k2", "Quelle", text()),
            field("k3", "Doppelt", text()),
            field("k4", "doppelt", text()),
            field("k5", "Wann", CrmFieldKind::Date),
            field("k6", "Land", CrmFieldKind::Choice { options: vec!["DE".to_owned()] }),
        ];
        let slug: Slug = "acme".parse().unwrap();
        for (mapping, verdict) in [
            (&[][..], Verdict::Ok),
            (&[("utm_medium", "quelle")], Verdict::Ok),
            (&[("utm_medium", "k3")], Verdict::Ok),
            (&[("country", "Land")], Verdict::Ok),
            (&[("utm_medium", "Doppelt")], Verdict::Fail),
            (&[("utm_medium", "nowhere")], Verdict::Fail),
            (&[("utm_medium", "Wann")], Verdict::Fail),
            (&[("utm_medium", "Quelle"), ("utm_campaign", "Quelle")], Verdict::Fail),
        ] {
            let finding = judge(&slug, &mapped(mapping), &fields);
            assert_eq!(finding.verdict, verdict, "{mapping:?}: {finding:?}");
        }
        assert_eq!(judge(&slug, &CrmSettings::default(), &[]).verdict, Verdict::Fail);
    }
}
