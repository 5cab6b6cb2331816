//! The adapter against a stand-in for Pipedrive that checks every request.

mod document;
mod fake;
mod limits;
mod outcomes;
mod provisioning;
mod raw;
mod secrets;
mod smoke;
mod states;
mod suite;
mod writing;
