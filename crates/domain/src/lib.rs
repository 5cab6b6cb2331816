//! The words, rules and ports of Leadtrail, for use inside its server and inside other tools.
//!
//! A raw message becomes an [`Event`](event::Event) through [`Event::parse`](event::Event::parse), the one door.
//! [`ingest`](ingest::ingest) decides what a batch of events means for what is [known](visit::Known): which visitor,
//! which session, which touch, which lead, which job for the CRM. Its answer is a value ([`Changes`](visit::Changes))
//! that a store commits whole. [`sync`] says what a CRM person is told, and whether.
//!
//! This crate does no I/O, runs no task, reads no clock, draws no random number and logs nothing: time, ids and
//! settings are arguments.
//!
//! ```
//! use leadtrail_domain::signals::Signals;
//! use leadtrail_domain::web_url::{WebUrl, site_of};
//!
//! let (url, parameters) = WebUrl::parse("https://shop.example.co.uk/?utm_source=news&gclid=test")?;
//! let mut signals = Signals::default();
//! signals.offer_query(&parameters);
//! assert_eq!(site_of(url.host()), "example.co.uk");
//! assert_eq!(signals.utm.source.as_deref(), Some("news"));
//! assert_eq!(signals.click_id("gclid"), Some("test"));
//! # Ok::<(), leadtrail_domain::web_url::WebUrlError>(())
//! ```

pub mod channel;
pub mod classify;
pub mod click_id;
pub mod conversion;
pub mod cookie;
pub mod crm;
pub mod email;
pub mod event;
pub mod hygiene;
pub mod id;
pub mod ingest;
pub mod key;
pub mod lead;
pub mod model;
pub mod ports;
pub mod project;
pub mod reattribute;
#[cfg(feature = "schema")]
mod schema;
pub mod signals;
pub mod source;
pub mod sync;
pub mod text;
pub mod time;
pub mod touch;
pub mod visit;
pub mod web_url;

/// The example of the README, compiled and run with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct ReadmeExample;
