//! `cargo xtask pixel`: the scripts that browsers load, minified and compressed ahead of time.
//!
//! What it makes is committed, so that `cargo build` needs no Node; `cargo xtask tidy` holds it against its sources.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{self, Metadata};
use crate::{process, takes_nothing};

/// Where the sources lie; what is made of them lies in `built` below it.
pub(crate) const FOLDER: &str = "static";

/// A script, and what its minified and compressed form may weigh.
pub(crate) struct Script {
    /// The file's name.
    pub(crate) name: &'static str,
    /// Bytes.
    pub(crate) brotli_max: usize,
    /// Bytes; absent: not limited.
    pub(crate) gzip_max: Option<usize>,
}

/// Every script of the pixel.
pub(crate) const SCRIPTS: [Script; 2] = [
    Script { name: "pixel.js", brotli_max: 1_500, gzip_max: Some(1_700) },
    Script { name: "px-plus.js", brotli_max: 1_800, gzip_max: None },
];

/// Of swc, oxc-minify, terser and esbuild, the one that made the fewest bytes of both scripts' core (brotli: 1,467,
/// 1,486, 1,485 and 1,500).
const MINIFIER: &str = "@swc/core@1.16.22";

const BUILD: &str = include_str!("pixel.mjs");

/// Runs the command.
///
/// # Errors
/// There is no Node with npm, the registry cannot be reached, or a script is not JavaScript.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    takes_nothing("pixel", arguments)?;
    if process::on_path(&["npm"]).is_none() {
        bail!("no npm: building the scripts needs Node; building the program does not");
    }
    let tools = Metadata::members_only()?.target()?.join("tools/pixel");
    std::fs::create_dir_all(&tools).with_context(|| tools.display().to_string())?;
    let build = tools.join("build.mjs");
    std::fs::write(&build, BUILD).with_context(|| build.display().to_string())?;
    process::run(
        Command::new("npm")
            .args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
            .arg(&tools)
            .arg(MINIFIER),
    )?;
    process::run(
        Command::new("node")
            .args([&build, &tools, &workspace::root().join(FOLDER)])
            .args(SCRIPTS.iter().map(|script| script.name)),
    )
}
