//! What only a real browser can show. Behind the feature `browser`: `cargo xtask test` provides the Chromium.

mod devtools;
mod driver;
