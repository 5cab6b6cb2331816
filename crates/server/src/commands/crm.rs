use std::process::ExitCode;

use anyhow::Context as _;
use leadtrail_crm_sandbox::{NewPerson, Person};
use leadtrail_domain::time::Timestamp;
use serde_json::json;

use crate::cli::CrmCommand;
use crate::output::{self, Format};
use crate::settings::Settings;
use crate::wiring;

/// Works on the sandbox CRM.
pub(super) fn run(settings: &Settings, command: CrmCommand) -> anyhow::Result<ExitCode> {
    let sandbox = wiring::sandbox(settings)?;
    match command {
        CrmCommand::SandboxPerson { email, first_name, last_name, json } => {
            let emails = vec![email.as_str().to_owned()];
            let id =
                sandbox.add_person(NewPerson { first_name, last_name, emails, added_at: wall_clock() })?;
            output::result(Format::of(json), &json!({ "id": id }), || format!("added person {id}"))?;
        }
        CrmCommand::SandboxShow { email, json } => {
            let person = sandbox.person_by_email(email.as_str())?;
            let person =
                person.with_context(|| format!("the sandbox CRM has nobody with {}", email.as_str()))?;
            let value = json!({ "id": person.id, "fields": person.fields });
            output::result(Format::of(json), &value, || described(&person))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Now by this machine's clock: the sandbox CRM is a machine of its own, whose clock is not the store's.
#[expect(clippy::disallowed_methods, reason = "the sandbox CRM's own clock; no rule of ours reads it")]
pub(super) fn wall_clock() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.plus(since_epoch)
}

/// A person's filled fields, a line each.
pub(super) fn described(person: &Person) -> String {
    let width = person.fields.keys().map(|key| key.0.len()).max().unwrap_or(0);
    let fields: Vec<String> = person
        .fields
        .iter()
        .map(|(key, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("  {:width$}  {value}", key.0)
        })
        .collect();
    let head = format!("person {} {}", person.id, person.name);
    if fields.is_empty() {
        format!("{head}\n  (no fields filled)")
    } else {
        format!("{head}\n{}", fields.join("\n"))
    }
}
