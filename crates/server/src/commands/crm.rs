//! `leadtrail crm`: the CRM accounts, the field mapping, and the sandbox.

mod account;
mod connection;
mod mapping;
mod mapping_file;
mod sandbox;

use std::process::ExitCode;

use crate::cli::CrmCommand;
use crate::settings::Settings;
use crate::wiring;

pub(super) use self::sandbox::{described, wall_clock};

/// Works on the CRM.
pub(super) async fn run(settings: &Settings, command: CrmCommand) -> anyhow::Result<ExitCode> {
    match command {
        CrmCommand::SandboxPerson { .. }
        | CrmCommand::SandboxShow { .. }
        | CrmCommand::SandboxScript { .. } => sandbox::run(settings, command),
        CrmCommand::Mapping(command) => mapping::run(settings, command).await,
        CrmCommand::Connection(command) => connection::run(settings, command).await,
        CrmCommand::Verify { project, json } => {
            let stores = wiring::open_ready(&settings.store).await?;
            account::verify(settings, &stores, &project, json).await
        }
        CrmCommand::Provision { project, fields, dry_run: _, yes, json } => {
            let stores = wiring::open_ready(&settings.store).await?;
            let wanted = fields.into_iter().collect();
            account::provision(settings, &stores, &project, &wanted, yes, json).await
        }
        CrmCommand::TestEmail { email, project, json } => {
            let stores = wiring::open_ready(&settings.store).await?;
            account::test_email(settings, &stores, &project, &email, json).await
        }
    }
}
