//! What a store holds, read through its ports.

use std::sync::Arc;

use anyhow::Result;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::ProjectId;
use leadtrail_domain::ports::{Clock, JobFilter, SyncJobs, Visits};
use leadtrail_domain::sync::SyncJob;
use leadtrail_domain::time::Timestamp;
use leadtrail_store_postgres::{PostgresSettings, PostgresStore};
use leadtrail_store_sqlite::SqliteStore;

const PAGE: u32 = 500;

/// A store beside the service that uses it, or used it. Clones are the same store.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) visits: Arc<dyn Visits>,
    jobs: Arc<dyn SyncJobs>,
    clock: Arc<dyn Clock>,
}

impl Stored {
    /// The store of a `sqlite:` or `postgres://` URL, with its schema in place.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        Ok(if url.starts_with("sqlite:") {
            let store = SqliteStore::open(url)?;
            store.migrate().await?;
            Self::of(Arc::new(store))
        } else {
            let store = PostgresStore::connect(url, PostgresSettings::default()).await?;
            store.migrate().await?;
            Self::of(Arc::new(store))
        })
    }

    fn of<S: Visits + SyncJobs + Clock + 'static>(store: Arc<S>) -> Self {
        Self { visits: store.clone(), jobs: store.clone(), clock: store }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Every event of a project.
    pub(crate) async fn events(&self, project: ProjectId) -> Result<Vec<StoredEvent>> {
        let mut all: Vec<StoredEvent> = Vec::new();
        loop {
            let after = all.last().map(|stored| (stored.event.id, stored.event.pixel_id.clone()));
            let page = self.visits.events(project, after, PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// Every sync job of a project.
    pub(crate) async fn jobs(&self, project: ProjectId) -> Result<Vec<SyncJob>> {
        let mut all: Vec<SyncJob> = Vec::new();
        loop {
            let filter = JobFilter { before: all.last().map(|job| job.id), ..JobFilter::default() };
            let page = self.jobs.jobs(project, &filter, PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }
}
