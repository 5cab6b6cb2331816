use std::cell::Cell;

use actix_web::http::header::HeaderMap;
use leadtrail_domain::event::RawEvent;

use super::{Client, Group, Limiters, Standing};
use crate::refusal::Refusal;

/// What the client of one request may send.
pub(crate) struct Allowance<'a> {
    limiters: &'a Limiters,
    client: Client,
    standing: Cell<Option<Standing>>,
}

impl<'a> Allowance<'a> {
    pub(crate) fn of(limiters: &'a Limiters, client: Client) -> Self {
        Self { limiters, client, standing: Cell::new(None) }
    }

    /// Takes one event from what is left; where nothing is, a form from the reserve.
    ///
    /// # Errors
    /// There is nothing left.
    pub(crate) fn charge(&self, raw: &RawEvent<'_>) -> Result<(), Refusal> {
        self.charge_one().or_else(|refusal| {
            let reserve = self.limiters.form_reserve.as_ref().filter(|_| raw.may_submit());
            let is_taken = reserve.is_some_and(|reserve| reserve.charge(self.client).retry_after.is_none());
            if is_taken { Ok(()) } else { Err(refusal) }
        })
    }

    /// Takes what was sent and is no event for one, so that nothing is free; answers how it is refused.
    pub(crate) fn charge_refused(&self, refusal: Refusal) -> Refusal {
        self.charge_one().err().unwrap_or(refusal)
    }

    /// Tells the client how it stands, where it was charged.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        if let Some(standing) = self.standing.get() {
            standing.put_into(headers);
        }
    }

    fn charge_one(&self) -> Result<(), Refusal> {
        let standing = self.limiters.charge(Group::Tracking, self.client);
        self.standing.set(standing);
        standing
            .and_then(|standing| standing.retry_after)
            .map_or(Ok(()), |after| Err(Refusal::limited(after)))
    }
}
