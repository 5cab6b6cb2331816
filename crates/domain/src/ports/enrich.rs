use std::net::IpAddr;

use crate::event::Client;

/// What a request tells about its client, as received.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RequestFacts<'a> {
    /// The client's address, as far as it can be trusted.
    pub ip: Option<IpAddr>,
    /// The `User-Agent` header, or what the caller says in its place.
    pub user_agent: Option<&'a str>,
}

/// What is known about browsers, bots and places.
pub trait Enrich: Send + Sync {
    /// What these facts say. Never fails: what is unknown is absent. The address is passed through whole.
    fn enrich(&self, facts: &RequestFacts<'_>) -> Client;
}
