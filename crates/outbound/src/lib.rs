//! The one way from Leadtrail to other people's servers.
//!
//! A request goes to a [`Destination`], which is checked once, when it is read: an operator may name any https host,
//! and http on the own machine; a URL that came over the API must be https and may reach public addresses only, which
//! is checked again at each connect, since a name may point elsewhere by then. Redirects are answers like any other
//! and are not followed. Every request ends within a time, and every answer within a size.
//!
//! Nothing is retried here: only the caller knows what may be sent twice. Neither errors nor `Debug` show a query, a
//! header or a body.
//!
//! ```
//! use leadtrail_outbound::{Destination, Outbound, OutboundSettings, Request};
//!
//! # async fn status() -> Result<u16, Box<dyn std::error::Error>> {
//! let outbound = Outbound::new(&OutboundSettings::default());
//! let persons = Destination::of_operator("https://crm.example/api/v2")?.below(["persons", "search"]);
//! let answer = outbound.send(Request::get(persons).query("term", "jane@example.com")).await?;
//! # Ok(answer.status)
//! # }
//! assert!(Destination::of_client("https://127.0.0.1/hook").is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod client;
mod destination;
mod request;

pub use self::address::is_public;
pub use self::client::{Outbound, OutboundError, OutboundSettings};
pub use self::destination::{Destination, DestinationError};
pub use self::request::{Request, Response};
