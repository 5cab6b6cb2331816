//! `cargo xtask ci`: what a change must pass.

use anyhow::{Result, bail};

use crate::steps::Steps;
use crate::workspace::{self, Metadata};
use crate::{api_fuzz, deny, fuzz, process, secrets, test, tidy};

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let with_tests = match arguments {
        [] => true,
        [only] if only == "--no-test" => false,
        [other, ..] => bail!("`ci` takes `--no-test`, not `{other}`"),
    };
    let metadata = Metadata::members_only()?;
    // The tests' code, too; not `--all-features`, which builds OpenSSL from source for `pg-tls`.
    let features = [metadata.features_named("live"), metadata.features_named("browser")].concat().join(",");
    let features: &[&str] = if features.is_empty() { &[] } else { &["--features", &features] };

    let mut steps = Steps::default();
    // What needs no build comes first; clippy and doc share what clippy has checked of the dependencies.
    steps.run("fmt", || process::run(process::cargo().args(["fmt", "--all", "--check"])));
    steps.run("tidy", || tidy::run(&[]));
    steps.run("scan-secrets", || secrets::run(&[]));
    steps.run("clippy", || {
        let mut clippy = process::cargo();
        clippy.args(["clippy", "--locked", "--workspace", "--all-targets"]).args(features);
        process::run(clippy.args(["--", "-D", "warnings"]))
    });
    steps.run("doc", || {
        let mut doc = process::cargo();
        doc.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--locked", "--workspace", "--no-deps"]);
        process::run(doc.args(features))
    });
    steps.run("deny", || deny::run(&[]));
    steps.run("fuzz", || fuzz::run(&[]));
    steps.run("api-fuzz", || api_fuzz::run(&[]));
    if with_tests {
        test::run_all(&mut steps)?;
    }
    steps.finish(workspace::in_ci())
}
