//! The adapter against a stand-in for Pipedrive that checks every request.

mod fake;
mod limits;
mod provisioning;
mod secrets;
mod states;
mod suite;
mod writing;
