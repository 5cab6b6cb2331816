use std::time::Duration;

use leadtrail_domain::ports::{CrmError, RateScope};
use serde::{Deserialize, Serialize};

/// What goes wrong in an account, whoever talks to it. Kept with the account: in its file, where it has one, so that
/// a running server meets what another process switched on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// How every call fails, until it is switched off.
    pub outage: Option<Outage>,
    /// So many look-ups by e-mail find nobody, as in a CRM whose search index lags behind; then no more.
    pub empty_email_searches: u32,
    /// So many updates are carried out and answered by [`CrmError::Transient`]; then no more.
    pub lost_answers: u32,
}

impl Faults {
    /// Whether nothing goes wrong.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How every call fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    /// The CRM is out of reach.
    Transient,
    /// The CRM does not accept the token.
    Auth,
    /// The CRM has been asked too often in a few seconds.
    Limited {
        /// For how long it asks to be left alone.
        seconds: u64,
    },
}

impl From<Outage> for CrmError {
    fn from(outage: Outage) -> Self {
        match outage {
            Outage::Transient => Self::Transient("the sandbox was told to fail".to_owned()),
            Outage::Auth => Self::Auth("the sandbox was told to refuse".to_owned()),
            Outage::Limited { seconds } => {
                Self::RateLimited { retry_after: Duration::from_secs(seconds), scope: RateScope::Burst }
            }
        }
    }
}
