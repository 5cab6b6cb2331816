//! How often a client may ask, and what becomes of who asks more often.

mod allowance;
mod client;
mod limiter;
mod rate;

pub(crate) use self::allowance::Allowance;
pub use self::client::Client;
pub use self::limiter::{CLIENTS_MAX, Limiter, Standing};
pub use self::rate::{NotARate, PER_UNIT_MAX, Rate};

/// How often one client may ask; absent: as often as it likes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Events sent. A batch costs its length.
    pub tracking: Option<Rate>,
    /// Requests that change nothing.
    pub reading: Option<Rate>,
    /// Requests that change something.
    pub managing: Option<Rate>,
    /// Submitted forms taken beyond `tracking`; absent: none.
    pub form_reserve: Option<Rate>,
    /// Requests without a valid key, where one is needed or presented. Beyond it they are answered 429 instead of 401;
    /// a valid key from the same address is not kept out.
    pub failed_authentications: Option<Rate>,
}

/// Routes that share a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// What sends events.
    Tracking,
    /// What a key reads.
    Reading,
    /// What a key changes.
    Managing,
}

/// The limiters of a running service.
pub(crate) struct Limiters {
    tracking: Option<Limiter>,
    reading: Option<Limiter>,
    managing: Option<Limiter>,
    form_reserve: Option<Limiter>,
    failed_authentications: Option<Limiter>,
}

impl Limiters {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            tracking: limits.tracking.map(Limiter::new),
            reading: limits.reading.map(Limiter::new),
            managing: limits.managing.map(Limiter::new),
            form_reserve: limits.form_reserve.map(Limiter::new),
            failed_authentications: limits.failed_authentications.map(Limiter::new),
        }
    }

    /// Takes one request of `group` from what `client` has left; `None` where there is no limit.
    pub(crate) fn charge(&self, group: Group, client: Client) -> Option<Standing> {
        let limiter = match group {
            Group::Tracking => &self.tracking,
            Group::Reading => &self.reading,
            Group::Managing => &self.managing,
        };
        limiter.as_ref().map(|limiter| limiter.charge(client))
    }

    /// Notes that `client` presented no valid key.
    pub(crate) fn charge_failure(&self, client: Client) -> Option<Standing> {
        self.failed_authentications.as_ref().map(|limiter| limiter.charge(client))
    }
}
