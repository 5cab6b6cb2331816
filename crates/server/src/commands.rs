//! What each command does.

mod check_config;
mod classify;
mod crm;
mod demo;
mod doctor;
mod hygiene;
mod key;
mod migrate;
mod pixel;
mod project;
mod reattribute;
mod serve;
mod sync;
mod why;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context as _;
use leadtrail_app::access::View;
use leadtrail_domain::ports::Projects;
use leadtrail_domain::project::Project;

use crate::cli::{Cli, Command, Common};
use crate::settings::{Flags, Layers, Settings};
use crate::telemetry;

/// The most rows a list of the command line asks for at a time.
const PAGE: u32 = 500;

/// Runs a command of the command line.
pub(crate) async fn run(cli: Cli, environment: &BTreeMap<String, String>) -> anyhow::Result<ExitCode> {
    let mut flags = Flags::default();
    if let Some(url) = &cli.common.store {
        flags.values.push(("store.url", url.clone()));
    }
    match cli.command {
        Command::CheckConfig(args) => {
            check_config::run(&layers(&cli.common, environment, &flags)?, args.json)
        }
        Command::Classify(args) => classify::run(&args),
        Command::Doctor(args) => doctor::run(&layers(&cli.common, environment, &flags)?, args.json).await,
        Command::Demo(args) => demo::run(&cli.common, environment, args).await,
        Command::Serve(args) => {
            flags.values.extend(args.bind.map(|address| ("http.bind", address.to_string())));
            serve::run(&start(&cli.common, environment, &flags)?).await
        }
        Command::Migrate(args) => migrate::run(&start(&cli.common, environment, &flags)?, &args).await,
        Command::Project(command) => project::run(&start(&cli.common, environment, &flags)?, command).await,
        Command::Pixel(command) => pixel::run(&start(&cli.common, environment, &flags)?, command).await,
        Command::Key(command) => key::run(&start(&cli.common, environment, &flags)?, command).await,
        Command::Crm(command) => crm::run(&start(&cli.common, environment, &flags)?, command).await,
        Command::Sync(command) => sync::run(&start(&cli.common, environment, &flags)?, command).await,
        Command::Reattribute(args) => {
            reattribute::run(&start(&cli.common, environment, &flags)?, &args).await
        }
        Command::Hygiene(args) => hygiene::run(&start(&cli.common, environment, &flags)?, &args).await,
        Command::Why(args) => why::run(&start(&cli.common, environment, &flags)?, &args).await,
    }
}

fn layers(common: &Common, environment: &BTreeMap<String, String>, flags: &Flags) -> anyhow::Result<Layers> {
    Layers::read(common.config.as_deref(), environment, flags).context("cannot read the settings")
}

/// The settings, with the log started as they say.
fn start(common: &Common, environment: &BTreeMap<String, String>, flags: &Flags) -> anyhow::Result<Settings> {
    let settings = Settings::from_layers(&layers(common, environment, flags)?)?;
    telemetry::start(&settings.log);
    Ok(settings)
}

/// Random bytes from the operating system.
fn entropy<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes to be had: {error}"))?;
    Ok(bytes)
}

/// The project of an id or slug.
async fn find_project(projects: &dyn Projects, name: &str) -> anyhow::Result<Project> {
    let found = leadtrail_app::projects::find(projects, View::All, name).await?;
    found.with_context(|| format!("there is no project `{name}`"))
}

/// Now, by the store's clock.
fn now(stores: &crate::wiring::Stores) -> leadtrail_domain::time::Timestamp {
    stores.clock.now()
}
