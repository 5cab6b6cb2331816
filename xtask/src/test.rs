//! `cargo xtask test`: every test of the repository, with what they need.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::logs::{self, Extent, Logs};
use crate::postgres::{Cluster, Durability, MAJOR_MIN};
use crate::steps::Steps;
use crate::workspace::{self, Metadata};
use crate::{process, provision};

/// The integration test, in whichever crate, that drives a real browser; it stands behind the feature of this name.
const BROWSER: &str = "browser";

/// The feature behind which tests need the server that `POSTGRES_URL` names.
const LIVE: &str = "live";

const POSTGRES_URL: &str = "LEADTRAIL_TEST_POSTGRES_URL";
const CHROMIUM: &str = "LEADTRAIL_TEST_CHROMIUM";
const NGINX: &str = "LEADTRAIL_TEST_NGINX";

/// What the caller asked for.
#[derive(Default, PartialEq, Eq, Debug)]
struct Asked {
    without_postgres: bool,
    without_browser: bool,
    /// Given to `cargo test` as they are.
    cargo_arguments: Vec<String>,
}

impl Asked {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut asked = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--" => asked.cargo_arguments = arguments.by_ref().cloned().collect(),
                "--without" => match arguments.next().map(String::as_str) {
                    Some("postgres") => asked.without_postgres = true,
                    Some(BROWSER) => asked.without_browser = true,
                    other => bail!("--without takes `postgres` or `browser`, not `{}`", other.unwrap_or("")),
                },
                other => bail!("`test` does not take `{other}`; arguments for cargo test follow `--`"),
            }
        }
        Ok(asked)
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let asked = Asked::parse(arguments)?;
    let mut steps = Steps::default();
    run_into(&asked, &mut steps)?;
    steps.finish(workspace::in_ci())
}

/// Runs every test as steps of a longer command.
pub(crate) fn run_all(steps: &mut Steps) -> Result<()> {
    run_into(&Asked::default(), steps)
}

fn run_into(asked: &Asked, steps: &mut Steps) -> Result<()> {
    let metadata = Metadata::members_only()?;
    let mut features = Vec::new();
    let mut environment: Vec<(&str, OsString)> = Vec::new();

    let mut cluster = None;
    if asked.without_postgres {
        steps.leave_out("PostgreSQL: its contract suite and its end-to-end tests");
    } else if let Some(url) = workspace::setting(POSTGRES_URL) {
        steps.run("the PostgreSQL that LEADTRAIL_TEST_POSTGRES_URL names", || check_version(&url));
        environment.push((POSTGRES_URL, url));
        features.extend(metadata.features_named(LIVE));
    } else {
        let started = steps.run("a throw-away PostgreSQL", || {
            let bin = provision::postgres()?;
            eprintln!("{}", provision::version_of(&bin.join("postgres"))?);
            Cluster::start(&bin, &metadata.target()?, Durability::Relaxed)
        });
        let Some(started) = started else {
            steps.leave_out("every test: there is no PostgreSQL");
            return Ok(());
        };
        environment.push((POSTGRES_URL, started.url().into()));
        features.extend(metadata.features_named(LIVE));
        cluster = Some(started);
    }

    if asked.without_browser {
        steps.leave_out("the tests in a real browser");
    } else {
        let found = steps.run("a Chromium, and an nginx before the sites that it visits", || {
            let (chromium, nginx) = (provision::chromium()?, provision::nginx()?);
            eprintln!("{}", provision::version_of(&chromium)?);
            eprintln!("{}", provision::nginx_version(&nginx)?);
            Ok((chromium, nginx))
        });
        let Some((chromium, nginx)) = found else {
            steps.leave_out("every test: there is no Chromium or no nginx");
            return Ok(());
        };
        environment.push((CHROMIUM, chromium.into()));
        environment.push((NGINX, nginx.into()));
        features.extend(metadata.features_named(BROWSER));
    }

    let logs = Logs::begin(&metadata.target()?)?;
    environment.push((logs::FOLDER, logs.folder().into()));

    // One selection of packages and features throughout: anything else would build the dependencies again.
    let selection = selection(&asked.cargo_arguments, &features);
    let cargo_test = |arguments: &[String]| {
        let mut command: Command = process::cargo();
        command.args(["test", "--no-fail-fast"]).args(&selection).args(arguments);
        process::run(command.envs(environment.iter().map(|(name, value)| (name, value))))
    };
    if !asked.cargo_arguments.is_empty() {
        steps.leave_out(format!("what `cargo test {}` does not select", asked.cargo_arguments.join(" ")));
        steps.run("selected tests", || cargo_test(&asked.cargo_arguments));
    } else if steps.run("build of the tests", || cargo_test(&["--no-run".to_owned()])).is_some() {
        for (name, arguments) in parts(&metadata.integration_tests(&features)) {
            steps.run(name, || cargo_test(&arguments));
        }
    } else {
        steps.leave_out("every test: the build failed");
    }
    drop(cluster);
    let extent = if asked.cargo_arguments.is_empty() { Extent::Whole } else { Extent::Part };
    steps.run("search of the logs", || logs.search(extent));
    Ok(())
}

/// Which packages and features to build: all, or of the packages that the caller names with `-p` those alone.
fn selection(cargo_arguments: &[String], features: &[String]) -> Vec<String> {
    let ours = cargo_arguments.split(|argument| argument == "--").next().unwrap_or_default();
    let named: Vec<&String> = ours
        .windows(2)
        .filter_map(|pair| matches!(pair[0].as_str(), "-p" | "--package").then_some(&pair[1]))
        .collect();
    let of_named = |feature: &&String| {
        named.is_empty() || named.iter().any(|name| feature.split('/').next() == Some(name.as_str()))
    };
    let features: Vec<&str> = features.iter().filter(of_named).map(String::as_str).collect();
    let mut selection = if named.is_empty() { vec!["--workspace".to_owned()] } else { Vec::new() };
    if !features.is_empty() {
        selection.extend(["--features".to_owned(), features.join(",")]);
    }
    selection
}

/// The parts of the whole, with the targets that `cargo test` selects for each.
fn parts(integration_tests: &[String]) -> Vec<(&'static str, Vec<String>)> {
    let mut suites = Vec::new();
    let mut browser = Vec::new();
    for name in integration_tests {
        let part = if name == BROWSER { &mut browser } else { &mut suites };
        part.extend(["--test".to_owned(), name.clone()]);
    }
    let mut parts = vec![("unit tests", ["--lib", "--bins", "--examples"].map(str::to_owned).to_vec())];
    if !suites.is_empty() {
        parts.push(("contract suites and black-box tests", suites));
    }
    if !browser.is_empty() {
        parts.push(("tests in a real browser", browser));
    }
    parts.push(("examples in the documentation", vec!["--doc".to_owned()]));
    parts
}

/// Asks a named server for its version where there is a client to ask with; the suites themselves need the server, and
/// fail without it.
fn check_version(url: &OsString) -> Result<()> {
    if process::on_path(&["psql"]).is_none() {
        eprintln!("xtask: no psql here to ask for the version");
        return Ok(());
    }
    let mut psql = Command::new("psql");
    let answer = process::output(psql.arg("--no-psqlrc").arg(url).args([
        "--tuples-only",
        "--no-align",
        "--command=SHOW server_version_num",
    ]))?;
    let number: u32 =
        answer.trim().parse().with_context(|| format!("server_version_num `{}`", answer.trim()))?;
    let major = number / 10_000;
    if major < MAJOR_MIN {
        bail!("PostgreSQL {major} is older than {MAJOR_MIN}");
    }
    eprintln!("PostgreSQL {major}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_follows_two_dashes_is_for_cargo_test() {
        let asked = Asked::parse(&words("--without browser -- -p leadtrail-domain --without x")).unwrap();
        assert!(asked.without_browser && !asked.without_postgres);
        assert_eq!(asked.cargo_arguments, words("-p leadtrail-domain --without x"));
    }

    #[test]
    fn only_named_parts_can_be_left_out() {
        assert!(Asked::parse(&words("--without sqlite")).unwrap_err().to_string().contains("`sqlite`"));
        assert!(Asked::parse(&words("--fast")).is_err());
    }

    #[test]
    fn named_packages_are_selected_with_their_features_alone() {
        let features = words("leadtrail-store-postgres/live leadtrail-server/browser");
        let all = words("--workspace --features leadtrail-store-postgres/live,leadtrail-server/browser");
        assert_eq!(selection(&words("lease -- -p"), &features), all);
        let named = words("--features leadtrail-server/browser");
        assert_eq!(selection(&words("-p leadtrail-server"), &features), named);
        assert_eq!(selection(&words("-p leadtrail-domain"), &features), Vec::<String>::new());
    }

    #[test]
    fn every_integration_test_is_in_exactly_one_part() {
        let parts = parts(&words("browser contract http"));
        let named: Vec<&String> = parts
            .iter()
            .flat_map(|(_name, arguments)| arguments)
            .filter(|word| !word.starts_with("--"))
            .collect();
        assert_eq!(named, ["contract", "http", "browser"]);
    }
}
