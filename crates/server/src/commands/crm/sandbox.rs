use std::process::ExitCode;

use anyhow::Context as _;
use leadtrail_crm_sandbox::{Faults, NewPerson, Outage, Person};
use leadtrail_domain::time::Timestamp;
use serde_json::json;

use crate::cli::{CrmCommand, SandboxOutage};
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
        CrmCommand::SandboxScript { outage, seconds, empty_searches, lost_answers, json } => {
            let outage = outage.map(|outage| match outage {
                SandboxOutage::Transient => Outage::Transient,
                SandboxOutage::Auth => Outage::Auth,
                SandboxOutage::Limited => Outage::Limited { seconds },
            });
            let faults = Faults { outage, empty_email_searches: empty_searches, lost_answers };
            sandbox.set_faults(faults.clone())?;
            output::result(Format::of(json), &faults, || told(&faults))?;
        }
        CrmCommand::Mapping(_)
        | CrmCommand::Connection(_)
        | CrmCommand::Verify { .. }
        | CrmCommand::Provision { .. }
        | CrmCommand::TestEmail { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn told(faults: &Faults) -> String {
    let mut lines = Vec::new();
    match faults.outage {
        Some(Outage::Transient) => lines.push("every call fails as if the CRM were out of reach".to_owned()),
        Some(Outage::Auth) => lines.push("every call fails as if the token were refused".to_owned()),
        Some(Outage::Limited { seconds }) => {
            lines.push(format!("every call is answered: too often, come back in {seconds} s"));
        }
        None => {}
    }
    if faults.empty_email_searches > 0 {
        lines.push(format!("{} look-ups by e-mail find nobody", faults.empty_email_searches));
    }
    if faults.lost_answers > 0 {
        lines.push(format!("{} updates are carried out and not answered", faults.lost_answers));
    }
    if lines.is_empty() {
        return "the sandbox CRM is well".to_owned();
    }
    lines.push("well again: `leadtrail crm sandbox-script`".to_owned());
    lines.join("\n")
}

/// Now by this machine's clock: the sandbox CRM is a machine of its own, whose clock is not the store's.
#[expect(clippy::disallowed_methods, reason = "the sandbox CRM's own clock; no rule of ours reads it")]
pub(in crate::commands) fn wall_clock() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH.plus(since_epoch)
}

/// A person's filled fields, a line each.
pub(in crate::commands) fn described(person: &Person) -> String {
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
