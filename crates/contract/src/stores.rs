use std::any::Any;
use std::sync::Arc;

use leadtrail_domain::ports::{
    Connections, Conversions, Events, Histories, Journeys, Keys, Maintenance, Projects, SyncJobs, Visits,
};

/// The subject of the store suites: one fresh, empty store, seen through each of its ports.
///
/// All ports must show the same store; a decorator stands in front of one of them.
#[derive(Clone)]
pub struct Stores {
    /// Visitors, sessions, touches, events and leads.
    pub visits: Arc<dyn Visits>,
    /// The queue of sync jobs.
    pub sync_jobs: Arc<dyn SyncJobs>,
    /// Projects and pixels. Every suite creates those it uses.
    pub projects: Arc<dyn Projects>,
    /// The projects' own CRM connections.
    pub connections: Arc<dyn Connections>,
    /// What led to a lead.
    pub journeys: Arc<dyn Journeys>,
    /// Stored pasts.
    pub histories: Arc<dyn Histories>,
    /// What was counted as a conversion.
    pub conversions: Arc<dyn Conversions>,
    /// What was collected.
    pub events: Arc<dyn Events>,
    /// API keys.
    pub keys: Arc<dyn Keys>,
    /// Upkeep.
    pub maintenance: Arc<dyn Maintenance>,
    kept: Vec<Arc<dyn Any + Send + Sync>>,
}

impl Stores {
    /// A store that implements every port.
    pub fn of<S>(store: Arc<S>) -> Self
    where
        S: Visits
            + SyncJobs
            + Journeys
            + Histories
            + Conversions
            + Events
            + Projects
            + Connections
            + Keys
            + Maintenance
            + 'static,
    {
        Self {
            visits: store.clone(),
            sync_jobs: store.clone(),
            journeys: store.clone(),
            histories: store.clone(),
            conversions: store.clone(),
            events: store.clone(),
            projects: store.clone(),
            connections: store.clone(),
            keys: store.clone(),
            maintenance: store,
            kept: Vec::new(),
        }
    }

    /// The same store with a decorator in front of its `Visits`.
    #[must_use]
    pub fn with_visits(mut self, decorate: impl FnOnce(Arc<dyn Visits>) -> Arc<dyn Visits>) -> Self {
        self.visits = decorate(self.visits);
        self
    }

    /// Drops `thing` after the store: a temporary directory, a database made for one test.
    #[must_use]
    pub fn keeping(mut self, thing: impl Any + Send + Sync) -> Self {
        self.kept.push(Arc::new(thing));
        self
    }
}
