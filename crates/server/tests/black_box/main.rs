//! The binary `leadtrail` from outside: what scripts hold on to, and what survives when it is killed. With the feature
//! `live`, on the PostgreSQL that `LEADTRAIL_TEST_POSTGRES_URL` names as well.

mod canaries;
mod client;
mod commands;
mod crash;
mod doctor;
mod load;
mod log_lines;
mod metrics;
mod pixel_check;
mod process;
mod proxy;
mod reattribute;
mod request_ids;
#[cfg(feature = "live")]
mod scratch;
mod stop;
mod stored;
mod sync;
mod sync_crash;
