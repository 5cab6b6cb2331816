//! What is known of pixels, at most two seconds old.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use leadtrail_domain::id::{PixelId, Slug};
use leadtrail_domain::ingest::{CrmRoute, IngestPolicy};
use leadtrail_domain::ports::{Projects, StoreError};
use leadtrail_domain::project::{PixelContext, Project, own_account};

use crate::recent::Recent;

/// How old an answer may be: a change made by the API or the command line reaches a running server within this time.
pub const PIXEL_AGE_MAX: Duration = Duration::from_secs(2);
/// How many pixels are remembered.
pub const PIXELS_MAX: u64 = 20_000;

/// The pixels, read through a bounded cache.
#[derive(Clone)]
pub struct Pixels {
    projects: Arc<dyn Projects>,
    service: Arc<ServicePolicy>,
    recent: Recent<PixelId, KnownPixel>,
}

/// What the service's own settings say where a project's say nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ServicePolicy {
    /// The CRM connections of the service; a project's own is there when the project names it.
    pub accounts: BTreeSet<Slug>,
    /// How long after a form the CRM is told.
    pub sync_delay: Duration,
}

/// A pixel with what follows from its project's settings and the service's.
#[derive(Clone, PartialEq, Debug)]
pub struct KnownPixel {
    /// The pixel and its project.
    pub context: PixelContext,
    /// What the project wants of the decision.
    pub policy: IngestPolicy,
}

impl Pixels {
    /// The pixels of a store, under the service's settings.
    pub fn new(projects: Arc<dyn Projects>, service: ServicePolicy) -> Self {
        Self { projects, service: Arc::new(service), recent: Recent::new(PIXELS_MAX, PIXEL_AGE_MAX) }
    }

    /// A pixel, where it exists, archived or not. Unknown ones are asked for each time; of several askers at a time,
    /// one asks the store.
    ///
    /// # Errors
    /// `Transient` with the cause when the store does not answer.
    pub async fn known(&self, id: &PixelId) -> Result<Option<Arc<KnownPixel>>, StoreError> {
        let ask = async {
            let Some(context) = self.projects.pixel_context(id).await? else { return Ok(None) };
            let policy = self.service.for_project(&context.project);
            Ok(Some(KnownPixel { context, policy }))
        };
        self.recent.known(id, ask).await
    }
}

impl ServicePolicy {
    /// What follows for a project: its leads are told where its CRM is on and its account exists.
    fn for_project(&self, project: &Project) -> IngestPolicy {
        let settings = &project.settings;
        let account = &settings.crm.account;
        let told = settings.crm.enabled && (self.accounts.contains(account) || *account == own_account());
        IngestPolicy {
            crm: told.then(|| CrmRoute {
                account: settings.crm.account.clone(),
                delay: settings.sync_delay.map_or(self.sync_delay, Duration::from),
            }),
            split_sessions_on_campaign: settings.split_sessions_on_campaign,
        }
    }
}
