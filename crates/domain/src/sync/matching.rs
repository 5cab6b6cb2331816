//! Whom a look-up found: compared again here, because writing onto a namesake is worse than not writing.

use unicode_normalization::UnicodeNormalization;

use crate::crm::{Candidate, PersonId, PersonQuery};
use crate::email::EmailAddress;
use crate::project::OnMany;

/// Whom a look-up found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Match {
    /// Nobody.
    Nobody,
    /// The persons to write to; one, but for [`OnMany::All`].
    Persons(Vec<PersonId>),
    /// Several, of whom none may be written.
    Ambiguous(Vec<PersonId>),
}

/// Judges the candidates of a look-up.
///
/// By e-mail, a candidate counts if one of its addresses is the one looked for in normal form; several are judged by
/// `on_many`. By name, a candidate counts if its name is the same after NFKC, case and white space; several are always
/// ambiguous, since a name is no identity.
pub fn judge(by: &PersonQuery, candidates: &[Candidate], on_many: OnMany) -> Match {
    let mut verified: Vec<&Candidate> = match by {
        PersonQuery::Email { email, .. } => candidates.iter().filter(|c| has_email(c, email)).collect(),
        PersonQuery::Name(name) => {
            let wanted = folded(name);
            candidates
                .iter()
                .filter(|c| c.name.as_deref().is_some_and(|name| folded(name) == wanted))
                .collect()
        }
    };
    verified.sort_by(|a, b| a.id.cmp(&b.id));
    verified.dedup_by(|a, b| a.id == b.id);
    let ids = || verified.iter().map(|candidate| candidate.id.clone()).collect();
    match (verified.as_slice(), by, on_many) {
        ([], _, _) => Match::Nobody,
        ([one], _, _) => Match::Persons(vec![one.id.clone()]),
        (_, PersonQuery::Email { .. }, OnMany::All) => Match::Persons(ids()),
        (several, PersonQuery::Email { .. }, OnMany::Newest) => {
            newest(several).map_or_else(|| Match::Ambiguous(ids()), |id| Match::Persons(vec![id]))
        }
        (_, PersonQuery::Name(_), _) | (_, PersonQuery::Email { .. }, OnMany::Ambiguous) => {
            Match::Ambiguous(ids())
        }
    }
}

fn has_email(candidate: &Candidate, wanted: &EmailAddress) -> bool {
    candidate.emails.iter().any(|email| email.parse::<EmailAddress>().is_ok_and(|email| email == *wanted))
}

/// A name as people compare it.
fn folded(name: &str) -> String {
    let normal: String = name.nfkc().flat_map(char::to_lowercase).collect();
    normal.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The one added last; nobody where two were added at the same time, or the CRM does not say.
fn newest(candidates: &[&Candidate]) -> Option<PersonId> {
    let latest = candidates.iter().filter_map(|candidate| candidate.added_at).max()?;
    let mut at_latest = candidates.iter().filter(|candidate| candidate.added_at == Some(latest));
    let one = at_latest.next()?;
    at_latest.next().is_none().then(|| one.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn person(id: &str, name: &str, email: &str, added: Option<i64>) -> Candidate {
        Candidate {
            id: PersonId(id.into()),
            name: Some(name.into()),
            emails: vec![email.into()],
            added_at: added.map(Timestamp::from_millis),
        }
    }

    fn by_email(email: &str) -> PersonQuery {
        PersonQuery::Email { email: email.parse().unwrap(), changed_since: Timestamp::EPOCH }
    }

    fn persons(ids: &[&str]) -> Vec<PersonId> {
        ids.iter().map(|id| PersonId((*id).to_owned())).collect()
    }

    #[test]
    fn a_substring_hit_is_nobody() {
        let hits = [person("1", "A", "jane@x.example.org", None), person("2", "B", "xjane@x.example", None)];
        assert_eq!(judge(&by_email("jane@x.example"), &hits, OnMany::All), Match::Nobody);
    }

    #[test]
    fn several_persons_with_the_email_are_judged_as_the_project_says() {
        let hits = [person("1", "A", "J@x.example", Some(1)), person("2", "B", "j@X.example ", Some(2))];
        let judged = |on_many| judge(&by_email("j@x.example"), &hits, on_many);
        assert_eq!(judged(OnMany::Ambiguous), Match::Ambiguous(persons(&["1", "2"])));
        assert_eq!(judged(OnMany::Newest), Match::Persons(persons(&["2"])));
        assert_eq!(judged(OnMany::All), Match::Persons(persons(&["1", "2"])));
    }

    #[test]
    fn of_persons_whose_age_is_unknown_or_equal_none_is_newest() {
        for added in [None, Some(7)] {
            let hits = [person("1", "A", "j@x.example", added), person("2", "B", "j@x.example", added)];
            assert_eq!(
                judge(&by_email("j@x.example"), &hits, OnMany::Newest),
                Match::Ambiguous(persons(&["1", "2"]))
            );
        }
    }

    #[test]
    fn a_name_matches_only_where_exactly_one_person_bears_it() {
        let by_name = PersonQuery::Name("José  Ångström".into());
        let one = person("1", "jose\u{301} A\u{30a}NGSTRÖM", "a@x.example", Some(1));
        let near = person("2", "José Ångströmsson", "b@x.example", Some(2));
        assert_eq!(judge(&by_name, &[one.clone(), near], OnMany::Newest), Match::Persons(persons(&["1"])));
        let namesake = person("3", "José Ångström", "c@x.example", Some(3));
        assert_eq!(judge(&by_name, &[one, namesake], OnMany::Newest), Match::Ambiguous(persons(&["1", "3"])));
    }

    #[test]
    fn the_same_person_brought_twice_is_one() {
        let hits = [person("1", "A", "j@x.example", None), person("1", "A", "j@x.example", None)];
        assert_eq!(
            judge(&by_email("j@x.example"), &hits, OnMany::Ambiguous),
            Match::Persons(persons(&["1"]))
        );
    }
}
