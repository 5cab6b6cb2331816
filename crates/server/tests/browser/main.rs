//! What only a real browser can show. Behind the feature `browser`: `cargo xtask test` provides the Chromium, and
//! the nginx.

mod beyond;
#[expect(dead_code, reason = "as of `process`")]
#[path = "../black_box/client.rs"]
mod client;
mod demo;
mod devtools;
mod docs;
mod driver;
mod drop_in;
mod pixel;
#[expect(dead_code, reason = "the demo needs less of it than the black-box tests that it is shared with")]
#[path = "../black_box/process.rs"]
mod process;
#[cfg(feature = "live")]
#[path = "../black_box/scratch.rs"]
mod scratch;
#[expect(dead_code, reason = "as of `process`")]
#[path = "../black_box/stored.rs"]
mod stored;
