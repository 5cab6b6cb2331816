//! The use cases of Leadtrail: taking in events in groups ([`ingest`]), knowing the pixels they are sent to
//! ([`pixels`]), telling the CRM ([`sync_loop`]), knowing who asks ([`access`]), managing projects and pixels
//! ([`projects`]) and keys ([`keys`]), keeping the store in shape ([`upkeep`]), and what of all this is measured
//! ([`measures`]).
//!
//! Everything here works on the domain's ports; which adapter stands behind them is decided elsewhere. Rules stand in
//! `leadtrail-domain`: this crate only orders the calls.

pub mod access;
pub mod accounts;
mod cause;
pub mod connections;
pub mod ingest;
pub mod input;
pub mod keys;
pub mod measures;
pub mod pixels;
pub mod projects;
mod recent;
pub mod shutdown;
pub mod sync_loop;
pub mod upkeep;
