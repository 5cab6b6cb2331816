//! Telling the CRM, with the sandbox CRM, the reference store and a clock that the test moves.

mod accounts;
mod engine;
mod explained;
mod fakes;
mod outage;
#[path = "../../../domain/tests/world/site.rs"]
#[expect(dead_code, reason = "these tests need a part of the site only")]
mod site;
mod telling;
mod world;
