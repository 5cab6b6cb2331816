//! The use cases of Leadtrail: taking in events in groups ([`ingest`]), knowing the pixels they are sent to
//! ([`pixels`]), telling the CRM ([`sync_loop`]), looking at the queue and acting upon
//! it ([`sync_queue`]), a CRM account's fitness ([`crm_account`]), what a person would be told ([`preview`]) and why
//! ([`why`]), what counted as a conversion ([`conversions`]), deciding attribution anew ([`reattribute`]), the projects' own connections ([`connections`]), knowing who
//! asks ([`access`]), managing projects and pixels ([`projects`]) and keys ([`keys`]), whether a pixel works on a page
//! ([`pixel_check`]), what is wrong with a site's links ([`hygiene`]), keeping the store in shape ([`upkeep`]), and what of all this is measured
//! ([`measures`]).
//!
//! Everything here works on the domain's ports; which adapter stands behind them is decided elsewhere. Rules stand in
//! `leadtrail-domain`: this crate only orders the calls.

pub mod access;
pub mod accounts;
mod cause;
pub mod connections;
pub mod conversions;
pub mod crm_account;
pub mod finding;
pub mod hygiene;
pub mod ingest;
pub mod input;
pub mod keys;
pub mod measures;
pub mod pixel_check;
pub mod pixels;
pub mod preview;
pub mod projects;
pub mod reattribute;
mod recent;
pub mod shutdown;
pub mod sync_loop;
pub mod sync_queue;
pub mod upkeep;
pub mod why;
