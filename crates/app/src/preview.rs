//! What the person of an e-mail would be told, and why, without telling it.

use std::collections::BTreeSet;

use leadtrail_domain::crm::{CrmField, FieldKey, PersonId, PersonQuery, WritePolicy};
use leadtrail_domain::email::EmailAddress;
use leadtrail_domain::id::LeadId;
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Crm, CrmError, JourneyBounds, Journeys, StoreError, SyncJobs};
use leadtrail_domain::project::{NameMatch, Project};
use leadtrail_domain::sync::matching::{Match, judge};
use leadtrail_domain::sync::plan::{Resolved, resolve};
use leadtrail_domain::sync::preview::{Ruling, dossier, rulings};
use leadtrail_domain::sync::{fields, mapping};
use leadtrail_domain::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::accounts::Accounts;
use crate::crm_account::{ProvisionError, connected};
use crate::reattribute::PERSON_VISITORS_MAX;
use crate::sync_queue::plain;

/// How much of a person's past is read: what somebody did, not from where.
const BOUNDS: JourneyBounds = JourneyBounds { browsers: PERSON_VISITORS_MAX, touches: 0, events: 1_000 };
/// How many leads of a person are counted.
const LEADS_MAX: u32 = 1_000;

/// What the person of an e-mail would be told.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Preview {
    /// The address asked about.
    pub email: String,
    /// The connection.
    pub account: String,
    /// What would become of a job.
    pub outcome: &'static str,
    /// Why, in a sentence.
    pub why: String,
    /// The person's newest lead, which the values are of; absent where no form had the address.
    pub lead_id: Option<LeadId>,
    /// When that form was sent.
    pub lead_at: Option<Timestamp>,
    /// Each person that would be written.
    pub persons: Vec<PersonPreview>,
    /// Our fields that have a value and go nowhere, with the reason.
    pub left_out: Vec<LeftOut>,
}

/// What one person would be told.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PersonPreview {
    /// The person.
    pub person: PersonId,
    /// Each field that has a value and a place.
    pub fields: Vec<FieldPreview>,
}

/// What becomes of one field.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FieldPreview {
    /// Our field.
    pub field: String,
    /// The CRM's name of its place.
    pub name: String,
    /// When it may be written.
    pub policy: WritePolicy,
    /// What the person has; null where the field is empty.
    pub before: Value,
    /// What we have.
    pub after: Value,
    /// What becomes of it.
    pub ruling: Ruling,
    /// Why.
    pub reason: &'static str,
}

/// A field that goes nowhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LeftOut {
    /// Our field.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The project has no connection.
    #[error(transparent)]
    Connection(#[from] ProvisionError),
    /// The CRM does not answer.
    #[error(transparent)]
    Crm(#[from] CrmError),
    /// The store does not answer.
    #[error("the store did not answer")]
    Store(#[from] StoreError),
}

/// The stores that a preview reads.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The person's past.
    pub journeys: &'a dyn Journeys,
    /// What was written before.
    pub jobs: &'a dyn SyncJobs,
    /// The connections.
    pub accounts: &'a Accounts,
}

/// What the person of `email` would be told now. Writes nothing, in the CRM or here.
///
/// # Errors
/// [`PreviewError`] says which.
pub async fn preview(
    sources: Sources<'_>,
    project: &Project,
    email: &EmailAddress,
    now: Timestamp,
) -> Result<Preview, PreviewError> {
    let connected = connected(sources.accounts, project).await?;
    let crm = connected.crm.as_ref();
    let leads = sources.journeys.leads_of(project.id, &email.hash(), LEADS_MAX).await?;
    let mut preview = Preview {
        email: email.as_str().to_owned(),
        account: connected.account.to_string(),
        outcome: "nothing",
        why: String::new(),
        lead_id: leads.first().map(|lead| lead.id),
        lead_at: leads.first().map(|lead| lead.occurred_at),
        persons: Vec::new(),
        left_out: Vec::new(),
    };
    let crm_fields = crm.list_fields().await?;
    let findings = mapping::check(&project.settings.crm, &crm_fields);
    let (found, by) = look_up(crm, project, email, leads.first(), now).await?;
    let persons = match found {
        Match::Nobody => {
            preview.outcome = "not_found";
            "the CRM has nobody with the e-mail; persons are never made".clone_into(&mut preview.why);
            return Ok(preview);
        }
        Match::Ambiguous(persons) => {
            preview.outcome = "ambiguous";
            let ids: Vec<&str> = persons.iter().map(|person| person.0.as_str()).collect();
            preview.why = format!("several persons have the same {by} ({}): none is written", ids.join(", "));
            return Ok(preview);
        }
        Match::Persons(persons) => persons,
    };
    let Some(lead) = leads.first() else {
        preview.why = format!("person {} has the e-mail, and no form was sent with it", persons[0]);
        return Ok(preview);
    };
    let journey = sources.journeys.journey(project.id, lead.id, &BOUNDS).await?;
    let count = u64::try_from(leads.len()).unwrap_or(u64::MAX);
    let Some(dossier) = dossier(lead, &journey, count) else {
        "the form's event is no longer kept".clone_into(&mut preview.why);
        return Ok(preview);
    };
    let wanted = fields::wanted(&dossier, &project.settings);
    let resolved = resolve(&wanted, &crm_fields, &project.settings.crm);
    preview.left_out = resolved
        .left_out
        .iter()
        .map(|(name, reason)| LeftOut { field: name.to_string(), reason: reason.clone() })
        .collect();
    let keys: BTreeSet<FieldKey> = resolved.values.keys().cloned().collect();
    for person in persons {
        let current = crm.read(&person, &keys).await?;
        let account = &project.settings.crm.account;
        let written = sources.jobs.ever_written(project.id, account, &person).await?;
        let rulings = rulings(&resolved, &current, &written);
        let shown = shown(&resolved, &crm_fields, &current, &rulings);
        preview.persons.push(PersonPreview { person, fields: shown });
    }
    let writes = preview.persons.iter().flat_map(|person| &person.fields);
    let writes = writes.filter(|field| field.ruling == Ruling::Write).count();
    if mapping::is_refused(&findings) {
        "the field mapping is in error, so that nothing is written before it is mended: `leadtrail crm verify`"
            .clone_into(&mut preview.why);
    } else if !project.settings.crm.enabled {
        "the project's CRM is off: leads are not told".clone_into(&mut preview.why);
    } else {
        preview.outcome = "synced";
        preview.why = format!("found by {by}; {writes} fields would be written");
    }
    Ok(preview)
}

/// Whom the e-mail, or else the name, finds, and by which.
async fn look_up(
    crm: &dyn Crm,
    project: &Project,
    email: &EmailAddress,
    lead: Option<&Lead>,
    now: Timestamp,
) -> Result<(Match, &'static str), CrmError> {
    let settings = &project.settings.crm;
    let changed_since = lead.map_or(now, |lead| lead.received_at);
    let by_email = PersonQuery::Email { email: email.clone(), changed_since };
    let found = judge(&by_email, &crm.find(&by_email).await?, settings.on_many);
    let names = lead.and_then(|lead| Some((lead.first_name.as_ref()?, lead.last_name.as_ref()?)));
    match names {
        Some((first, last))
            if found == Match::Nobody
                && settings.name_match == NameMatch::Unique
                && crm.capabilities().finds_by_name =>
        {
            let by_name = PersonQuery::Name(format!("{first} {last}"));
            Ok((judge(&by_name, &crm.find(&by_name).await?, settings.on_many), "name"))
        }
        Some(_) | None => Ok((found, "e-mail")),
    }
}

fn shown(
    resolved: &Resolved,
    crm_fields: &[CrmField],
    current: &std::collections::BTreeMap<FieldKey, leadtrail_domain::crm::FieldValue>,
    rulings: &std::collections::BTreeMap<FieldKey, Ruling>,
) -> Vec<FieldPreview> {
    let name = |key: &FieldKey| {
        let field = crm_fields.iter().find(|field| field.key == *key);
        field.map_or_else(|| key.0.clone(), |field| field.name.clone())
    };
    let mut shown: Vec<FieldPreview> = rulings
        .iter()
        .filter_map(|(key, ruling)| {
            let target = resolved.values.get(key)?;
            Some(FieldPreview {
                field: target.name.to_string(),
                name: name(key),
                policy: target.policy,
                before: current.get(key).map_or(Value::Null, plain),
                after: plain(&target.value),
                ruling: *ruling,
                reason: ruling.reason(),
            })
        })
        .collect();
    shown.sort_by(|one, other| one.field.cmp(&other.field));
    shown
}
