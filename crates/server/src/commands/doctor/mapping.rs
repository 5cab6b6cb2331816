//! Whether a project's fields have a place in its CRM.

use leadtrail_domain::crm::CrmField;
use leadtrail_domain::id::Slug;
use leadtrail_domain::project::CrmSettings;
use leadtrail_domain::sync::fields as ours;
use leadtrail_domain::sync::mapping::{self, Severity};

use super::Finding;

/// The mapping as a sync judges it, in one line; `leadtrail crm verify` tells the rest.
pub(super) fn judge(slug: &Slug, settings: &CrmSettings, fields: &[CrmField]) -> Finding {
    let findings = mapping::check(settings, fields);
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    let wrong: Vec<&str> = errors.map(|finding| finding.what.as_str()).collect();
    let all = ours::all().count();
    let placed = all.saturating_sub(mapping::missing(settings, fields).len());
    if !wrong.is_empty() {
        let found = format!("{slug}: no lead is told before this is mended: {}", wrong.join("; "));
        Finding::fail("mapping", found, "`leadtrail crm verify` names the mend of each")
    } else if placed == 0 {
        let found = format!("{slug}: the CRM has no field for any of ours, nothing would be written");
        Finding::fail("mapping", found, "`leadtrail crm provision` makes them, or map ours by crm.mapping")
    } else {
        Finding::ok("mapping", format!("{slug}: {placed} of our {all} fields have a place"))
    }
}

#[cfg(test)]
mod tests {
    use leadtrail_domain::crm::{CrmFieldKind, FieldKey};
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
