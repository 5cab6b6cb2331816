use std::time::Duration;

use super::{Client, Event, RawEvent};
use crate::id::{EventId, VisitorCookie};
use crate::project::PixelContext;
use crate::time::Timestamp;
use crate::touch::TouchKind;

/// How far behind `received_at` a client's clock is believed.
pub const CLIENT_CLOCK_BEHIND_MAX: Duration = Duration::from_hours(72);
/// How far ahead of `received_at` a client's clock is believed.
pub const CLIENT_CLOCK_AHEAD_MAX: Duration = Duration::from_mins(5);

/// What is known of a message beside its body.
#[derive(Clone, Debug)]
pub struct ParseContext<'a> {
    /// The pixel it was sent to, which is active.
    pub pixel: &'a PixelContext,
    /// When it arrived.
    pub received_at: Timestamp,
    /// The id it gets where it has none.
    pub fallback_id: EventId,
    /// The visitor's cookie as the request's headers have it.
    pub header_cookie: Option<VisitorCookie>,
    /// The cookie the visitor gets where it has none.
    pub fallback_cookie: VisitorCookie,
    /// What the request's headers told about the client, with the whole address.
    pub client: Client,
    /// Whether the browser says Global Privacy Control.
    pub gpc: bool,
    /// The request's `Referer` header.
    pub referer: Option<&'a str>,
}

/// An event, and how its visitor arrived.
#[derive(Clone, PartialEq, Debug)]
pub struct Collected {
    /// The event.
    pub event: Event,
    /// How its visitor arrived at the page.
    pub arrival: Arrival,
}

/// How a visitor arrived at a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// From elsewhere: something says where from.
    External {
        /// What decided.
        kind: TouchKind,
        /// The referring host, where it lies on another site.
        referrer_host: Option<String>,
    },
    /// From the same site, or one that does not count (payment, sign-in).
    Internal,
    /// Nothing says from where.
    Direct,
}

/// Why a message is no event: every problem that was found.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a valid event")]
pub struct Rejected {
    /// The problems.
    pub problems: Vec<FieldProblem>,
}

/// One field's problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldProblem {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it, safe to show.
    pub problem: String,
}

impl Event {
    /// Stub.
    /// # Errors
    /// x
    pub fn parse(_raw: &RawEvent<'_>, _context: &ParseContext<'_>) -> Result<Collected, Rejected> {
        Err(Rejected { problems: vec![] })
    }
}
