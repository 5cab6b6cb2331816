//! What a sync would do, for whoever asks before it does.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::plan::{Resolved, permitted};
use super::{Dossier, SessionSpan};
use crate::crm::{FieldKey, FieldValue, WritePolicy};
use crate::event::EventKind;
use crate::lead::Lead;
use crate::ports::Journey;

/// What becomes of one value, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// It would be written.
    Write,
    /// The person has it already.
    Same,
    /// The field has a value, and may be written while it is empty only.
    NotEmpty,
    /// We wrote the field of this person before, and may only once.
    WrittenBefore,
}

impl Ruling {
    /// Why, for people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Write => "its policy allows it",
            Self::Same => "the person has this value already",
            Self::NotEmpty => "the field has a value, and is written while it is empty only",
            Self::WrittenBefore => "we wrote it to this person before, and do so once only",
        }
    }
}

/// What becomes of each value by the same rules as [`permitted`], for a person who has `current` and to whom we have
/// ever written the fields `written`.
pub fn rulings(
    resolved: &Resolved,
    current: &BTreeMap<FieldKey, FieldValue>,
    written: &BTreeSet<FieldKey>,
) -> BTreeMap<FieldKey, Ruling> {
    let patch = permitted(resolved, current, written);
    let nothing = BTreeMap::new();
    let if_empty = permitted(resolved, &nothing, written);
    resolved
        .values
        .iter()
        .map(|(key, target)| {
            let ruling = if patch.contains_key(key) {
                Ruling::Write
            } else if current.get(key) == Some(&target.value) {
                Ruling::Same
            } else if target.policy == WritePolicy::Once && !if_empty.contains_key(key) {
                Ruling::WrittenBefore
            } else {
                Ruling::NotEmpty
            };
            (key.clone(), ruling)
        })
        .collect()
}

/// What a job of this lead would be built from, as far as the person's journey tells; `None` where the lead's event is
/// not part of it. A journey that was cut short has fewer visits and a later first day.
pub fn dossier(lead: &Lead, journey: &Journey, lead_count: u64) -> Option<Dossier> {
    let own = || journey.events.iter().filter(|stored| stored.visitor_id == lead.visitor_id);
    let times = |all: Vec<crate::time::Timestamp>| (all.iter().min().copied(), all.iter().max().copied());
    let event = own().find(|one| one.event.id == lead.event_id && one.event.pixel_id == lead.pixel_id)?;
    let of_session = own().filter(|stored| stored.session_id == lead.session_id);
    let (started_at, last_event_at) = times(of_session.map(|stored| stored.event.occurred_at).collect());
    let (_, last_seen_at) = times(own().map(|stored| stored.event.occurred_at).collect());
    let (first_seen_at, _) = times(journey.events.iter().map(|stored| stored.event.occurred_at).collect());
    let sessions: BTreeSet<_> = own().map(|stored| stored.session_id).collect();
    let mut visited_pages: Vec<String> = Vec::new();
    for stored in journey.events.iter().rev() {
        let is_view = stored.visitor_id == lead.visitor_id && stored.event.kind == EventKind::Pageview;
        if is_view && !visited_pages.contains(&stored.event.page_url) {
            visited_pages.push(stored.event.page_url.clone());
        }
    }
    Some(Dossier {
        lead: lead.clone(),
        event: event.clone(),
        session: SessionSpan {
            started_at: started_at.unwrap_or(lead.occurred_at),
            last_event_at: last_event_at.unwrap_or(lead.occurred_at),
        },
        first_seen_at: first_seen_at.unwrap_or(lead.occurred_at),
        last_seen_at: last_seen_at.unwrap_or(lead.occurred_at),
        visited_pages,
        visit_count: u64::try_from(sessions.len()).unwrap_or(u64::MAX),
        lead_count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::plan::Target;

    fn text(value: &str) -> FieldValue {
        FieldValue::Text(value.to_owned())
    }

    #[test]
    fn what_is_ruled_to_be_written_is_what_is_permitted_and_all_else_has_its_reason() {
        let key = FieldKey("k".to_owned());
        for (policy, current, before, ruling) in [
            (WritePolicy::Always, None, false, Ruling::Write),
            (WritePolicy::Always, Some("old"), true, Ruling::Write),
            (WritePolicy::Always, Some("new"), false, Ruling::Same),
            (WritePolicy::IfEmpty, None, true, Ruling::Write),
            (WritePolicy::IfEmpty, Some("old"), false, Ruling::NotEmpty),
            (WritePolicy::Once, None, false, Ruling::Write),
            (WritePolicy::Once, None, true, Ruling::WrittenBefore),
            (WritePolicy::Once, Some("old"), false, Ruling::NotEmpty),
            (WritePolicy::Once, Some("old"), true, Ruling::WrittenBefore),
        ] {
            let target =
                Target { name: "utm_source".parse().expect("one of ours"), value: text("new"), policy };
            let resolved =
                Resolved { values: BTreeMap::from([(key.clone(), target)]), left_out: BTreeMap::new() };
            let current = current.map(|value| (key.clone(), text(value))).into_iter().collect();
            let written = before.then(|| key.clone()).into_iter().collect();
            let rulings = rulings(&resolved, &current, &written);
            assert_eq!(rulings[&key], ruling, "{policy:?} {current:?} {written:?}");
            let is_permitted = permitted(&resolved, &current, &written).contains_key(&key);
            assert_eq!(is_permitted, ruling == Ruling::Write);
        }
    }
}
