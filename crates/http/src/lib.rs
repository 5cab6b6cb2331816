//! The HTTP side of Leadtrail: what browsers send and load, what monitors ask, and what the bearers of API keys manage. A
//! driving adapter: it turns requests into calls of [`leadtrail_app`] and their answers into responses, and decides
//! nothing about visits. Which route exists, and who may use it, stands in one table ([`routes()`]).
//!
//! It never logs a body, an address, a cookie or a query, never answers a bad request with a 5xx, and never answers
//! an event before the store has it.
//!
//! ```no_run
//! use leadtrail_http::{Collector, listen};
//!
//! async fn serve(collector: Collector) -> std::io::Result<()> {
//!     let (address, server) = listen(collector, ([127, 0, 0, 1], 8080).into())?;
//!     let handle = server.handle();
//!     // `handle.stop(true)` lets what is under way be answered and ends `server`.
//!     println!("listening on http://{address}");
//!     server.await
//! }
//! ```

mod access;
mod asked;
mod body;
mod client_address;
mod collector;
mod connection;
mod cookie;
mod cors;
mod description;
mod envelope;
mod json;
mod limits;
mod listing;
mod measures;
mod message;
mod open_files;
mod problem;
mod refusal;
mod routes;
mod security;
mod sender;
mod server;
mod take;

pub use self::access::{Class, Needs, Reach};
pub use self::asked::INPUT_BYTES_MAX;
pub use self::client_address::{AddressHeader, PlaceHeaders, Proxies};
pub use self::collector::{Collector, Environment, HttpSettings, MetricsAccess};
pub use self::limits::{CLIENTS_MAX, Client, Group, Limiter, Limits, NotARate, PER_UNIT_MAX, Rate, Standing};
pub use self::measures::{REQUEST_SECONDS, REQUESTS, describe_measures};
pub use self::message::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, EVENT_BYTES_MAX};
pub use self::open_files::{FILES_PER_CONNECTION, raise_open_files};
pub use self::routes::{PinnedScript, RouteEntry, openapi, pinned_scripts, routes};
pub use self::server::listen;
