//! The CRM connections, and how each stands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leadtrail_domain::id::{ProjectId, Slug};
use leadtrail_domain::ports::{Crm, StoreError};
use leadtrail_domain::project::Account;
use leadtrail_domain::sync::account::{AccountState, BreakerSettings, Report, Room, Standing, Ticket};
use leadtrail_domain::time::Timestamp;
use metrics::gauge;

use crate::connections::OwnConnections;
use crate::measures;

/// The CRM connections: those of the service by name, and the projects' own.
pub struct Accounts {
    service: BTreeMap<Slug, Arc<Connected>>,
    own: Option<OwnConnections>,
    breaker: BreakerSettings,
    opened: Mutex<BTreeMap<ProjectId, (Timestamp, Arc<Connected>)>>,
}

/// A CRM connection that is open, and how it stands.
pub struct Connected {
    /// Which it is.
    pub account: Account,
    /// The CRM behind it.
    pub crm: Arc<dyn Crm>,
    state: Mutex<AccountState>,
}

impl Accounts {
    /// The connections of the service. `own`: where the projects' are; without it there are none.
    pub fn new(
        service: BTreeMap<Slug, Arc<dyn Crm>>,
        own: Option<OwnConnections>,
        breaker: BreakerSettings,
    ) -> Self {
        let open = |(name, crm): (Slug, Arc<dyn Crm>)| {
            let account = Account::Service(name.clone());
            (name, Arc::new(Connected::new(account, crm, breaker)))
        };
        let service = service.into_iter().map(open).collect();
        Self { service, own, breaker, opened: Mutex::default() }
    }

    /// The names of the service's connections.
    pub fn names(&self) -> impl Iterator<Item = &Slug> {
        self.service.keys()
    }

    /// Where the projects' own connections are.
    pub fn own_connections(&self) -> Option<&OwnConnections> {
        self.own.as_ref()
    }

    /// A connection, opened where it is not yet, or was set anew; `None` where it is not set up.
    ///
    /// # Errors
    /// `Transient` when the store does not answer; `Corrupt` for a connection that cannot be unsealed.
    pub async fn connected(&self, account: &Account) -> Result<Option<Arc<Connected>>, StoreError> {
        match account {
            Account::Service(name) => Ok(self.service.get(name).cloned()),
            Account::Own(project) => self.own(*project).await,
        }
    }

    async fn own(&self, project: ProjectId) -> Result<Option<Arc<Connected>>, StoreError> {
        let Some(own) = &self.own else { return Ok(None) };
        let Some(sealed) = own.sealed(project).await? else {
            self.opened().remove(&project);
            return Ok(None);
        };
        if let Some((set_at, connected)) = self.opened().get(&project)
            && *set_at == sealed.set_at
        {
            return Ok(Some(Arc::clone(connected)));
        }
        let crm = own.open(&sealed)?;
        let connected = Arc::new(Connected::new(Account::Own(project), crm, self.breaker));
        self.opened().insert(project, (sealed.set_at, Arc::clone(&connected)));
        Ok(Some(connected))
    }

    /// The connections that are open: all of the service's, and the projects' that were used.
    pub fn open(&self) -> Vec<Arc<Connected>> {
        let own: Vec<_> = self.opened().values().map(|(_set_at, connected)| Arc::clone(connected)).collect();
        self.service.values().cloned().chain(own).collect()
    }

    /// Measures how each open connection stands, and what is left of its budget.
    pub(crate) fn measure(&self, now: Timestamp) {
        for connected in self.open() {
            let (account, standing) = (connected.account.to_string(), connected.standing(now).as_str());
            for one in Standing::NAMES {
                let is_it = if one == standing { 1.0 } else { 0.0 };
                gauge!(measures::CRM_STANDING, "account" => account.clone(), "standing" => one).set(is_it);
            }
            if let Some(budget) = connected.crm.budget() {
                gauge!(measures::CRM_BUDGET, "account" => account).set(measures::number(budget.remaining));
            }
        }
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<ProjectId, (Timestamp, Arc<Connected>)>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected {
    fn new(account: Account, crm: Arc<dyn Crm>, breaker: BreakerSettings) -> Self {
        Self { account, crm, state: Mutex::new(AccountState::new(breaker)) }
    }

    fn state(&self) -> MutexGuard<'_, AccountState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much may be asked of it at `now`.
    pub fn room(&self, now: Timestamp) -> Room {
        self.state().room(now)
    }

    /// How it stands at `now`.
    pub fn standing(&self, now: Timestamp) -> Standing {
        self.state().standing(now)
    }

    pub(crate) fn admit(&self, now: Timestamp) -> Option<Ticket> {
        self.state().admit(now)
    }

    /// Says what an attempt found. What a human must act upon is logged when it begins, once.
    pub(crate) fn report(&self, ticket: Ticket, report: Report, now: Timestamp) {
        let (before, after) = {
            let mut state = self.state();
            let before = state.standing(now);
            state.report(ticket, report, now);
            (before, state.standing(now))
        };
        let (account, name) = (&self.account, after.as_str());
        match (before, after) {
            (Standing::Refused(_), Standing::Refused(_))
            | (Standing::Open(_), Standing::Open(_))
            | (Standing::Limited(..), Standing::Limited(..))
            | (Standing::Ready, Standing::Ready) => {}
            (_, Standing::Refused(_)) => {
                tracing::error!(%account, "the CRM refuses the credentials; jobs wait until they are mended");
            }
            (_, Standing::Open(_)) => {
                tracing::warn!(%account, "the CRM keeps failing; it is left alone for a while");
            }
            (_, Standing::Limited(until, scope)) => {
                tracing::warn!(%account, %until, ?scope, "the CRM limits requests; jobs wait");
            }
            (_, Standing::Ready | Standing::HalfOpen) => {
                tracing::info!(%account, standing = name, "the CRM answers");
            }
        }
    }

    pub(crate) fn has_answered_since(&self, since: Timestamp) -> bool {
        self.state().has_answered_since(since)
    }
}
