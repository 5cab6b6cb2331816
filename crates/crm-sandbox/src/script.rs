use std::collections::{BTreeMap, BTreeSet, VecDeque};

use leadtrail_domain::crm::{Budget, FieldKey, NewCrmField, Patch, PersonId, PersonQuery};
use leadtrail_domain::ports::CrmError;

/// What the port was asked.
#[derive(Clone, PartialEq, Debug)]
pub enum Call {
    /// For the fields.
    ListFields,
    /// To make a field.
    CreateField(NewCrmField),
    /// For persons.
    Find(PersonQuery),
    /// For what a person has.
    Read {
        /// The person.
        person: PersonId,
        /// In these fields.
        fields: BTreeSet<FieldKey>,
    },
    /// To write.
    Update {
        /// To this person.
        person: PersonId,
        /// This.
        patch: Patch,
    },
}

/// How often one field of one person was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Writes {
    /// Updates that were carried out.
    pub made: u64,
    /// Those among them after which the value was another.
    pub changed: u64,
}

/// What goes wrong next, and what was asked so far. Kept in memory, never in the file.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) outage: Option<CrmError>,
    pub(crate) failures: VecDeque<CrmError>,
    pub(crate) empty_email_searches: u32,
    pub(crate) lost_answers: u32,
    pub(crate) budget: Option<Budget>,
    pub(crate) writes: BTreeMap<(PersonId, FieldKey), Writes>,
    calls: VecDeque<Call>,
}

impl Script {
    /// A sandbox may run behind a server for days.
    const CALLS_KEPT_MAX: usize = 10_000;

    /// Notes the call.
    ///
    /// # Errors
    /// The failure it was told to answer with.
    pub(crate) fn begin(&mut self, call: Call) -> Result<(), CrmError> {
        if self.calls.len() == Self::CALLS_KEPT_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
        match self.failures.pop_front().or_else(|| self.outage.clone()) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.iter().cloned().collect()
    }

    pub(crate) fn written(&mut self, person: &PersonId, patch: &Patch, changed: &BTreeSet<FieldKey>) {
        for key in patch.keys() {
            let writes = self.writes.entry((person.clone(), key.clone())).or_default();
            writes.made += 1;
            writes.changed += u64::from(changed.contains(key));
        }
    }
}

/// Whether one of `left` was there to take.
pub(crate) fn take_one(left: &mut u32) -> bool {
    match left.checked_sub(1) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}
