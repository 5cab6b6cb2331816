//! The binary `leadtrail` from outside: what scripts hold on to, and what survives when it is killed. With the feature
//! `live`, on the PostgreSQL that `LEADTRAIL_TEST_POSTGRES_URL` names as well.

mod client;
mod commands;
mod crash;
mod load;
mod log_lines;
mod process;
#[cfg(feature = "live")]
mod scratch;
mod stop;
mod stored;
