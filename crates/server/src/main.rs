//! `leadtrail`: the tracking and attribution server in one binary. The command line stands in [`cli`], the choice of
//! adapters in [`wiring`].

mod cli;
mod commands;
mod measures;
mod output;
mod settings;
mod telemetry;
mod web;
mod wiring;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::anyhow!(error).context("cannot start")),
    };
    match runtime.block_on(commands::run(cli, &environment)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// Says what went wrong, on standard error. Exit code 1; wrong usage has already ended with 2.
#[expect(clippy::print_stderr, reason = "the one place where a command's failure is told")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("leadtrail: {error:#}");
    ExitCode::FAILURE
}
