//! `cargo xtask deny`: cargo-deny over all dependencies, with the rules of `deny.toml`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::workspace::{self, Metadata};
use crate::{print, process, provision};

/// The version installed where none is on the path.
const VERSION: &str = "0.20.2";

/// The versions whose `deny.toml` is ours.
const SERIES: &str = "cargo-deny 0.20.";

/// How long fetching the advisory database may take, in seconds.
const FETCH_AT_MOST: &str = "60";

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    crate::takes_nothing("deny", arguments)?;
    let tool = provide()?;
    let deny = || {
        let mut command = Command::new(&tool);
        command.current_dir(workspace::root()).arg("--all-features");
        command
    };
    process::run(deny().args(["check", "bans", "licenses", "sources"]))?;
    // Advisories need a database from the network, which not every machine may reach.
    let fetched = process::output(
        Command::new("timeout")
            .arg(FETCH_AT_MOST)
            .arg(&tool)
            .args(["fetch", "db"])
            .current_dir(workspace::root()),
    );
    match fetched {
        Ok(_progress) => process::run(deny().args(["check", "advisories"])),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.lines().next().unwrap_or_default();
            print(&format!("deny: advisories LEFT OUT, their database cannot be fetched: {reason}\n"))
        }
    }
}

/// cargo-deny from the path, or ours, installed the first time.
fn provide() -> Result<PathBuf> {
    let tools = Metadata::members_only()?.target()?.join("tools");
    let ours = tools.join("bin/cargo-deny");
    let found =
        process::on_path(&["cargo-deny"]).into_iter().chain([ours.clone()]).find(|tool| is_ours(tool));
    if let Some(found) = found {
        return Ok(found);
    }
    eprintln!("xtask: installing cargo-deny {VERSION} under {}", tools.display());
    let mut install = process::cargo();
    install
        .args(["install", "--locked", "--debug", "--root"])
        .arg(&tools)
        .arg(format!("cargo-deny@{VERSION}"));
    // Without optimisation it is built in a third of the time and still checks in seconds.
    install.env("CARGO_PROFILE_DEV_DEBUG", "0");
    process::run(&mut install)?;
    Ok(ours)
}

fn is_ours(tool: &Path) -> bool {
    tool.is_file() && provision::version_of(tool).is_ok_and(|version| version.starts_with(SERIES))
}
