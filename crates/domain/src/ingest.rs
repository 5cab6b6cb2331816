//! The decision what a batch of events means.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::Collected;
use crate::id::{ProjectId, Slug};
use crate::visit::{Answer, Changes, Known};

/// What a project wants of the decision.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IngestPolicy {
    /// Where its leads are told; `None`: nowhere, and no job is made.
    pub crm: Option<CrmRoute>,
    /// Whether a new external signal inside a session opens a new one.
    pub split_sessions_on_campaign: bool,
}

/// Where a project's leads are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CrmRoute {
    /// The connection.
    pub account: Slug,
    /// How long after the form.
    pub delay: Duration,
}

/// The policies of the projects in a batch. A project without one gets the default: no CRM, no split.
pub type Policies = BTreeMap<ProjectId, IngestPolicy>;

/// What was decided.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Decision {
    /// What a store must commit before anybody is answered.
    pub changes: Changes,
    /// What the senders are told, in the order of the events.
    pub answers: Vec<Answer>,
}

/// Stub.
pub fn ingest(_known: &Known, _events: &[Collected], _policies: &Policies) -> Decision {
    Decision::default()
}
