//! `cargo xtask fuzz`: libFuzzer on the parts of the domain that read what strangers send, on the stable toolchain.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::workspace::{self, Metadata};
use crate::{print, process};

/// The targets, each a binary of `crates/domain/fuzz`, with the key of the vectors that seeds it.
const TARGETS: [(&str, Option<&str>); 4] =
    [("url", Some("url")), ("referrer", Some("referrer")), ("form", None), ("cookie", None)];

/// What a form and a cookie look like when all is well.
const SEEDS: [(&str, &str); 4] = [
    ("form", r#"{"email":"jane@x.example","first_name":"Jane","name":"Jane Doe","company":"Acme"}"#),
    (
        "form",
        r#"{"page_url":"https://a.example/?utm_source=x","form_data":"{\"e-mail\":\"a@x.example\"}","props":{"a":1}}"#,
    ),
    ("cookie", "a=b; lt_visitor=abcdefgh; ppp_visitor=pxl_0123456789abcdef"),
    ("cookie", "ppp_visitor=pxl_0123456789abcdef\nlt_visitor=<x>"),
];

/// Coverage for libFuzzer without a nightly compiler: the pass that `-Zsanitizer` would add, by its LLVM options. No
/// address sanitizer: the domain has no unsafe code.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Enough to find what a change broke at once; long runs are asked for.
const SECONDS: u32 = 5;

/// What the caller asked for.
#[derive(PartialEq, Eq, Debug)]
struct Asked {
    targets: Vec<&'static str>,
    seconds: u32,
}

impl Asked {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut asked = Self { targets: Vec::new(), seconds: SECONDS };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            if argument == "--seconds" {
                let seconds = arguments.next().and_then(|seconds| seconds.parse().ok());
                asked.seconds = seconds.filter(|seconds| *seconds > 0).context("--seconds takes a number")?;
            } else if let Some((target, _)) = TARGETS.iter().find(|(target, _)| *target == argument) {
                asked.targets.push(target);
            } else {
                bail!("`fuzz` takes url, referrer, form, cookie and --seconds N, not `{argument}`");
            }
        }
        if asked.targets.is_empty() {
            asked.targets.extend(TARGETS.map(|(target, _)| target));
        }
        Ok(asked)
    }
}

/// Runs the command: each target for the time given, from what earlier runs found and from the vectors.
///
/// # Errors
/// There is no C++ compiler, the targets do not compile, or an input breaks what a target asserts.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let asked = Asked::parse(arguments)?;
    let target = Metadata::members_only()?.target()?.join("fuzz");
    let triple = host()?;
    // Named as a target, so that build scripts and macros are built without the instrumentation.
    let mut build = process::cargo();
    build
        .current_dir(workspace::root().join("crates/domain/fuzz"))
        .env("RUSTFLAGS", RUSTFLAGS)
        .args(["build", "--locked", "--release", "--bins", "--target", &triple, "--target-dir"])
        .arg(&target);
    process::run(&mut build)?;
    for name in asked.targets {
        let corpus = target.join("corpus").join(name);
        seed(name, &corpus)?;
        let findings = target.join("findings").join(name);
        fs::create_dir_all(&findings).with_context(|| findings.display().to_string())?;
        let mut fuzzer = std::process::Command::new(target.join(&triple).join("release").join(name));
        fuzzer
            .arg(&corpus)
            .arg(format!("-artifact_prefix={}/", findings.display()))
            .arg(format!("-max_total_time={}", asked.seconds))
            .args(["-max_len=8192", "-timeout=5", "-print_final_stats=1", "-verbosity=0"]);
        process::run(&mut fuzzer)
            .with_context(|| format!("`{name}`: the input lies in {}", findings.display()))?;
        print(&format!("{name}: {} s without a finding\n", asked.seconds))?;
    }
    Ok(())
}

/// The triple of this machine.
fn host() -> Result<String> {
    let version = process::output(std::process::Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Gives a target what is known to be interesting. What is there stays.
fn seed(name: &str, corpus: &Path) -> Result<()> {
    fs::create_dir_all(corpus).with_context(|| corpus.display().to_string())?;
    let mut seeds: Vec<String> =
        SEEDS.iter().filter(|(target, _)| *target == name).map(|(_, seed)| (*seed).to_owned()).collect();
    let key = TARGETS.iter().find(|(target, _)| *target == name).and_then(|(_, key)| *key);
    if let Some(key) = key {
        let vectors = workspace::root().join("crates/domain/tests/vectors");
        for entry in fs::read_dir(&vectors).with_context(|| vectors.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let cases: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
                seeds
                    .extend(workspace::items(&cases).filter_map(|case| Some(case[key].as_str()?.to_owned())));
            }
        }
    }
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(corpus.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Asked> {
        Asked::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn targets_and_seconds_are_asked_for() {
        assert_eq!(parse("").unwrap().targets, ["url", "referrer", "form", "cookie"]);
        assert_eq!(parse("url --seconds 600").unwrap(), Asked { targets: vec!["url"], seconds: 600 });
        for bad in ["urls", "--seconds", "--seconds x", "--seconds 0"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
