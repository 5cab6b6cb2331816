use std::process::ExitCode;

use serde_json::json;

use crate::cli::MigrateArgs;
use crate::output::{self, Format};
use crate::settings::Settings;
use crate::wiring;

/// Applies, lists or checks migrations.
pub(super) async fn run(settings: &Settings, args: &MigrateArgs) -> anyhow::Result<ExitCode> {
    let stores = wiring::open(&settings.store).await?;
    let only_look = args.plan || args.check;
    let names = if only_look { stores.schema.pending().await? } else { stores.schema.migrate().await? };
    let key = if only_look { "pending" } else { "applied" };
    output::result(Format::of(args.json), &json!({ key: names }), || match names.as_slice() {
        [] => "the schema is up to date".to_owned(),
        names => names.iter().map(|name| format!("{key}: {name}")).collect::<Vec<_>>().join("\n"),
    })?;
    Ok(if args.check && !names.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
