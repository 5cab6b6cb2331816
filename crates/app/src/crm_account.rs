//! Whether a project's CRM account is fit for what shall be told, and making it so.

use std::collections::BTreeSet;
use std::sync::Arc;

use leadtrail_domain::crm::{CrmField, CrmFieldKind, FieldName, PersonQuery};
use leadtrail_domain::email::EmailAddress;
use leadtrail_domain::ports::{CrmError, Page, Projects, RateScope, StoreError};
use leadtrail_domain::project::{Account, Project};
use leadtrail_domain::sync::mapping::{self, Finding, Severity};
use leadtrail_domain::time::Timestamp;
use serde::Serialize;

use crate::accounts::{Accounts, Connected};
use crate::cause::cause;

/// How many custom fields the smallest plan of Pipedrive has room for, over everything in the account (its knowledge
/// base, 2026-08).
pub const FIELDS_OF_SMALLEST_PLAN: usize = 30;
/// The CRM whose plans have room for so many fields.
const PIPEDRIVE: &str = "Pipedrive";
/// How many projects are read at a time.
const PROJECTS_PAGE: u32 = 200;
/// Whom nobody is: searched for to see whether searching is allowed.
const NOBODY: &str = "leadtrail-probe@example.com";

/// What a look at a project's CRM account found.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "CrmVerification"))]
pub struct Verified {
    /// Whether leads are told: no finding is an error.
    pub ok: bool,
    /// The connection.
    pub account: String,
    /// The CRM's name for people; absent without a connection.
    pub crm: Option<&'static str>,
    /// How many fields of persons it has; absent where it does not answer.
    pub fields: Option<usize>,
    /// How many of ours have a place there.
    pub placed: Option<usize>,
    /// What is left of the day's budget, where the CRM says it.
    pub budget_remaining: Option<u64>,
    /// How much there is in a day.
    pub budget_limit: Option<u64>,
    /// What its owner should know, gravest first.
    pub findings: Vec<Finding>,
}

/// Why fields were not made.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The project has no connection.
    #[error("no CRM connection named {0} is set up")]
    NoConnection(Account),
    /// The CRM did not tell its fields.
    #[error("the CRM did not tell its fields")]
    Crm(#[source] CrmError),
    /// The store did not answer.
    #[error("the store did not answer")]
    Store(#[from] StoreError),
}

/// The fields that an account lacks.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Provisioned {
    /// The connection.
    pub account: String,
    /// How many fields it has beside these.
    pub present: usize,
    /// The fields, made or to be made.
    pub fields: Vec<ProvisionedField>,
    /// Why not all were made; the ones after it were not tried.
    pub problem: Option<String>,
}

/// A field that an account lacks.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ProvisionedField {
    /// Our field.
    pub field: FieldName,
    /// Its name in the CRM.
    pub name: String,
    /// Its type there.
    pub kind: &'static str,
    /// Its key, once it is made.
    pub key: Option<String>,
}

/// Looks at a project's CRM account: its fields under the project's mapping, whether the token may search, and what is
/// left of its budget. Writes nothing.
///
/// # Errors
/// Those of the store.
pub async fn verify(accounts: &Accounts, project: &Project, now: Timestamp) -> Result<Verified, StoreError> {
    let account = Account::of(project.id, &project.settings.crm.account);
    let mut verified = Verified {
        ok: false,
        account: account.to_string(),
        crm: None,
        fields: None,
        placed: None,
        budget_remaining: None,
        budget_limit: None,
        findings: Vec::new(),
    };
    if !project.settings.crm.enabled {
        verified.findings.push(finding(
            Severity::Warning,
            "the project's CRM is off: no lead is told".to_owned(),
            "`leadtrail project update PROJECT --set crm.enabled=true`",
        ));
    }
    match accounts.connected(&account).await {
        Ok(Some(connected)) => look(&connected, project, now, &mut verified).await,
        Ok(None) => verified.findings.push(finding(
            Severity::Error,
            format!("no CRM connection named {account} is set up"),
            "set crm.* or crm.accounts.NAME.* of the service, or the project's own: `leadtrail crm connection set`",
        )),
        Err(StoreError::Rejected(why)) => verified.findings.push(finding(
            Severity::Error,
            why.to_string(),
            "set crm.connection_key to the key it was set under, or set it again: `leadtrail crm connection set`",
        )),
        Err(error) => return Err(error),
    }
    verified.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    verified.ok = !mapping::is_refused(&verified.findings);
    Ok(verified)
}

/// Looks once at the mapping of every project whose leads are told, and logs what its owner should know: at the start of
/// the service, before a lead shows it. Only the lists of fields are asked for.
pub async fn report_mappings(projects: Arc<dyn Projects>, accounts: Arc<Accounts>) {
    let mut page = Page::first(PROJECTS_PAGE);
    loop {
        let found = match projects.projects(&page).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(error = cause(&error), "the field mappings were not looked at");
                return;
            }
        };
        page.after = found.last().map(|project| project.id);
        for project in found.iter().filter(|one| one.archived_at.is_none() && one.settings.crm.enabled) {
            let account = Account::of(project.id, &project.settings.crm.account);
            let Ok(Some(connected)) = accounts.connected(&account).await else { continue };
            match connected.crm.list_fields().await {
                Ok(fields) => report(project, &mapping::check(&project.settings.crm, &fields)),
                Err(error) => {
                    tracing::warn!(project.id = %project.id, %account, error = cause(&error),
                        "the CRM does not tell its fields");
                }
            }
        }
        if page.after.is_none() {
            return;
        }
    }
}

fn report(project: &Project, findings: &[Finding]) {
    for finding in findings.iter().filter(|finding| finding.severity != Severity::Note) {
        tracing::warn!(
            project.id = %project.id,
            severity = ?finding.severity,
            finding = finding.what,
            mend = finding.mend,
            "a field mapping should be looked at"
        );
    }
}

async fn look(connected: &Connected, project: &Project, now: Timestamp, verified: &mut Verified) {
    let settings = &project.settings.crm;
    verified.crm = Some(connected.crm.capabilities().name);
    match connected.crm.list_fields().await {
        Ok(fields) => {
            let missing = mapping::missing(settings, &fields).len();
            let all = leadtrail_domain::sync::fields::all().count();
            verified.fields = Some(fields.len());
            verified.placed = Some(all.saturating_sub(missing));
            verified.findings.extend(mapping::check(settings, &fields));
            if verified.crm == Some(PIPEDRIVE) {
                verified.findings.extend(plan_cap(fields.len(), missing));
            }
        }
        Err(error) => verified.findings.push(refused("the fields of persons cannot be listed", &error)),
    }
    let nobody: EmailAddress = NOBODY.parse().expect("a constant address");
    if let Err(error) = connected.crm.find(&PersonQuery::Email { email: nobody, changed_since: now }).await {
        verified.findings.push(refused("persons cannot be searched", &error));
    }
    if let Some(budget) = connected.crm.budget() {
        verified.budget_remaining = Some(budget.remaining);
        verified.budget_limit = budget.limit;
        if budget.limit.is_some_and(|limit| budget.remaining < limit / 10) {
            let what = format!("{} are left of the day's budget", budget.remaining);
            let mend = "leads wait when it is used up; other integrations share it";
            verified.findings.push(finding(Severity::Warning, what, mend));
        }
    }
}

fn plan_cap(present: usize, missing: usize) -> Option<Finding> {
    (missing > 0 && present + missing > FIELDS_OF_SMALLEST_PLAN).then(|| {
        finding(
            Severity::Note,
            format!("with what is missing ({missing}) there are {} fields in the account", present + missing),
            "Pipedrive's smallest plan has room for 30; make some only: `leadtrail crm provision --field NAME`",
        )
    })
}

fn finding(severity: Severity, what: String, mend: &str) -> Finding {
    Finding { severity, field: None, what, mend: mend.to_owned() }
}

fn refused(what: &str, error: &CrmError) -> Finding {
    let mend = match error {
        CrmError::Auth(_) => "set the API token of a user who may see and edit persons",
        CrmError::RateLimited { scope: RateScope::Burst, .. } => "try again in a moment",
        CrmError::RateLimited { scope: RateScope::Daily | RateScope::Blocked, .. } => {
            "leads wait until the limit ends; see who else uses the account's budget"
        }
        CrmError::Transient(_) => "see that the address is the account's and reachable from here",
        CrmError::NotFound | CrmError::Permanent { .. } => {
            "let the token's user see persons and their fields (permission sets of the CRM)"
        }
    };
    finding(Severity::Error, format!("{what}: {error}"), mend)
}

/// Opens a project's connection.
///
/// # Errors
/// There is none, or the store does not answer.
pub(crate) async fn connected(
    accounts: &Accounts,
    project: &Project,
) -> Result<Arc<Connected>, ProvisionError> {
    let account = Account::of(project.id, &project.settings.crm.account);
    accounts.connected(&account).await?.ok_or(ProvisionError::NoConnection(account))
}

/// Makes the fields that a project's account lacks, or only those of `wanted` where there are any; with `is_dry`, only
/// says which. The first that the CRM refuses ends it.
///
/// # Errors
/// Nothing was made: [`ProvisionError`] says why.
pub async fn provision(
    accounts: &Accounts,
    project: &Project,
    wanted: &BTreeSet<FieldName>,
    is_dry: bool,
) -> Result<Provisioned, ProvisionError> {
    let connected = connected(accounts, project).await?;
    let present: Vec<CrmField> = connected.crm.list_fields().await.map_err(ProvisionError::Crm)?;
    let mut provisioned = Provisioned {
        account: connected.account.to_string(),
        present: present.len(),
        fields: Vec::new(),
        problem: None,
    };
    for (field, new) in mapping::missing(&project.settings.crm, &present) {
        if !wanted.is_empty() && !wanted.contains(&field) {
            continue;
        }
        let mut made = ProvisionedField { field, name: new.name.clone(), kind: kind(&new.kind), key: None };
        if !is_dry && provisioned.problem.is_none() {
            match connected.crm.create_field(&new).await {
                Ok(field) => made.key = Some(field.key.0),
                Err(error) => provisioned.problem = Some(format!("{}: {error}", made.name)),
            }
        }
        provisioned.fields.push(made);
    }
    Ok(provisioned)
}

fn kind(kind: &CrmFieldKind) -> &'static str {
    match kind {
        CrmFieldKind::Text { chars_max } if *chars_max > 255 => "long text",
        CrmFieldKind::Text { .. } => "text",
        CrmFieldKind::Number => "number",
        CrmFieldKind::Date => "date",
        CrmFieldKind::Choice { .. } => "choice",
        CrmFieldKind::Other(_) => "other",
    }
}
