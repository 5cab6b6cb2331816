//! The routes as a browser, a monitor and an attacker meet them: over a socket, on a store in memory.

mod access;
mod assets;
mod bad_input;
mod batches;
mod clients;
mod connections;
mod conversions;
mod cookies;
mod cors;
mod described;
mod drop_in;
mod events;
mod framing;
mod headers;
mod health;
mod limits;
mod log;
mod managing;
mod privacy;
mod service;
mod slow_clients;
mod sync;
