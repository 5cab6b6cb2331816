//! The use cases of Leadtrail: taking in events in groups ([`ingest`]), knowing the pixels they are sent to
//! ([`pixels`]), telling the CRM ([`sync_loop`]), and keeping the store in shape ([`upkeep`]).
//!
//! Everything here works on the domain's ports; which adapter stands behind them is decided elsewhere. Rules stand in
//! `leadtrail-domain`: this crate only orders the calls.

mod cause;
pub mod ingest;
pub mod pixels;
pub mod shutdown;
pub mod sync_loop;
pub mod upkeep;
