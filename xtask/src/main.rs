//! Development commands of Leadtrail: `cargo xtask --help` lists them. Only `std` and what is compiled in seconds, so
//! that the first command in a fresh clone starts at once.

mod api_fuzz;
mod bench;
mod ci;
mod deny;
mod fuzz;
mod guarded;
mod logs;
mod pixel;
mod postgres;
mod process;
mod provision;
mod refresh_data;
mod secrets;
mod server;
mod steps;
mod test;
mod tidy;
mod workspace;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

/// One command: its name, its arguments, what it is for, and what it does.
struct Task {
    name: &'static str,
    arguments: &'static str,
    summary: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const TASKS: [Task; 10] = [
    Task {
        name: "test",
        arguments: "[--without postgres|browser]… [-- CARGO TEST ARGUMENTS]",
        summary: "every test, then the search of their logs; provides PostgreSQL, Chromium and nginx for itself",
        run: test::run,
    },
    Task {
        name: "ci",
        arguments: "[--no-test]",
        summary: "what a change must pass: fmt, tidy, scan-secrets, clippy, doc, deny, fuzz, api-fuzz, test",
        run: ci::run,
    },
    Task {
        name: "tidy",
        arguments: "",
        summary: "the rules of this repository that the compiler does not know: arrows, schemas, layout",
        run: tidy::run,
    },
    Task {
        name: "deny",
        arguments: "",
        summary: "licences, sources and bans of all dependencies, by cargo-deny",
        run: deny::run,
    },
    Task {
        name: "scan-secrets",
        arguments: "",
        summary: "tokens and private keys in the tree and in the whole history",
        run: secrets::run,
    },
    Task {
        name: "api-fuzz",
        arguments: "",
        summary: "valid and invalid requests made of the OpenAPI description, against a server, by schemathesis",
        run: api_fuzz::run,
    },
    Task {
        name: "fuzz",
        arguments: "[url|referrer|form|cookie]… [--seconds N]",
        summary: "libFuzzer on what reads strangers' input in the domain, 5 s each unless said otherwise; needs a C++ compiler",
        run: fuzz::run,
    },
    Task {
        name: "bench",
        arguments: "http [--store sqlite|postgres] [--connections N] [--seconds N]",
        summary: "events per second and latency of a release server under a closed loop of POST /api/track",
        run: bench::run,
    },
    Task {
        name: "pixel",
        arguments: "",
        summary: "static/built: the pixel's scripts, minified and compressed; needs Node, which nothing else does",
        run: pixel::run,
    },
    Task {
        name: "refresh-data",
        arguments: "",
        summary: "the newest rules for browsers and bots into crates/enrich/data, from PyPI and npm",
        run: refresh_data::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let asks_for_help = |argument: &String| argument == "--help" || argument == "-h" || argument == "help";
    let ours = arguments.split(|argument| argument == "--").next().unwrap_or(&[]);
    let Some((name, rest)) = arguments.split_first() else {
        return print(&help());
    };
    if ours.iter().any(asks_for_help) {
        return print(&help());
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        bail!("no command `{name}`; `cargo xtask --help` lists them");
    };
    (task.run)(rest)
}

fn help() -> String {
    let lines =
        TASKS.iter().map(|task| format!("  {} {}\n      {}\n", task.name, task.arguments, task.summary));
    format!("cargo xtask COMMAND\n\n{}", lines.collect::<String>())
}

/// # Errors
/// There are arguments.
fn takes_nothing(task: &str, arguments: &[String]) -> Result<()> {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => bail!("`{task}` does not take `{argument}`"),
    }
}

/// Writes a result to standard output; progress and problems go to standard error.
fn print(text: &str) -> Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_command_and_says_what_it_is_for() {
        let text = help();
        for task in &TASKS {
            assert!(text.contains(&format!("  {} ", task.name)));
            assert!(text.contains(task.summary));
        }
    }

    #[test]
    fn a_command_that_does_not_exist_is_an_error_that_names_it() {
        let error = run(&["tset".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("`tset`"));
    }
}
