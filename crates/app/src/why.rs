//! Why a lead is attributed as it is, and what the CRM was told of it.

use leadtrail_domain::email::EmailAddress;
use leadtrail_domain::id::{EventId, LeadId, PixelId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Journeys, StoreError, SyncJobs};
use leadtrail_domain::project::{Project, TouchChoice};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::{Touch, TouchKind};
use serde::Serialize;

use crate::accounts::Accounts;
use crate::sync_queue::{self, JobDetail};

/// How many leads of a person are shown.
const LEADS_MAX: u32 = 20;
/// How much of a person's past is read.
const JOURNEY_MAX: u32 = 500;

/// Which lead is asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// All of a person.
    Email(EmailAddress),
    /// Those that an event made.
    Event(EventId),
}

/// Why a lead is attributed as it is.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Why {
    /// The lead.
    pub lead_id: LeadId,
    /// The address of the form.
    pub email: String,
    /// The event that made it.
    pub event_id: EventId,
    /// The pixel whose page had the form.
    pub pixel_id: PixelId,
    /// When it was sent.
    pub occurred_at: Timestamp,
    /// The rule of the project by which the plain fields are filled.
    pub rule: &'static str,
    /// The touch that the rule chose; absent where there is none that it may choose.
    pub chosen: Option<EventId>,
    /// From where the person came, each time, in order.
    pub touches: Vec<TouchShown>,
    /// How many events of the person are known.
    pub events: usize,
    /// What the CRM was told and answered; absent where the project tells none.
    pub job: Option<JobDetail>,
}

/// A touch as it is shown.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TouchShown {
    /// When.
    pub at: Timestamp,
    /// The event that carried it.
    pub event_id: EventId,
    /// What decided: `utm`, `click_id`, `referrer` or `direct`.
    pub kind: &'static str,
    /// The effective source; absent where it is direct.
    pub source: Option<String>,
    /// The effective medium.
    pub medium: Option<String>,
    /// The campaign.
    pub campaign: Option<String>,
    /// The names of the click ids.
    pub click_ids: Vec<String>,
    /// The page landed on.
    pub landing_page: String,
    /// Which of the lead's frozen touches it is: `first`, `first_non_direct`, `session`, `last_non_direct`, `last`.
    pub is: Vec<&'static str>,
    /// Why it counts, or does not.
    pub note: String,
}

/// The leads in question, newest first, each with why.
///
/// # Errors
/// Those of the stores.
pub async fn why(
    journeys: &dyn Journeys,
    jobs: &dyn SyncJobs,
    accounts: &Accounts,
    project: &Project,
    subject: &Subject,
) -> Result<Vec<Why>, StoreError> {
    let leads = match subject {
        Subject::Email(email) => journeys.leads_of(project.id, &email.hash(), LEADS_MAX).await?,
        Subject::Event(event) => journeys.leads_by_event(project.id, *event).await?,
    };
    let mut all = Vec::new();
    for lead in leads {
        let journey = journeys.journey(project.id, lead.id, JOURNEY_MAX).await?;
        let job = match lead.job_id {
            Some(id) => jobs.job(project.id, id).await?,
            None => None,
        };
        let job = match job {
            Some(job) => Some(sync_queue::detail(jobs, accounts, job).await?),
            None => None,
        };
        let chosen = chosen(&lead, project.settings.crm.touch);
        all.push(Why {
            lead_id: lead.id,
            email: lead.email.as_str().to_owned(),
            event_id: lead.event_id,
            pixel_id: lead.pixel_id.clone(),
            occurred_at: lead.occurred_at,
            rule: rule(project.settings.crm.touch),
            chosen: chosen.map(|touch| touch.event_id),
            touches: journey.touches.iter().map(|touch| shown(touch, &lead, chosen)).collect(),
            events: journey.events.len(),
            job,
        });
    }
    Ok(all)
}

fn chosen(lead: &Lead, choice: TouchChoice) -> Option<&Touch> {
    match choice {
        TouchChoice::First => lead.touches.first.as_deref(),
        TouchChoice::FirstNonDirect => lead.touches.first_non_direct.as_deref(),
        TouchChoice::Session => lead.session_touch.as_deref(),
        TouchChoice::LastNonDirect => lead.touches.last_non_direct.as_deref(),
    }
}

fn rule(choice: TouchChoice) -> &'static str {
    match choice {
        TouchChoice::First => "first: the earliest touch",
        TouchChoice::FirstNonDirect => "first_non_direct: the earliest touch that is not direct",
        TouchChoice::Session => "session: the touch that opened the session of the form",
        TouchChoice::LastNonDirect => "last_non_direct: the latest touch that is not direct",
    }
}

fn shown(touch: &Touch, lead: &Lead, chosen: Option<&Touch>) -> TouchShown {
    let four = &lead.touches;
    let names = [
        ("first", &four.first),
        ("first_non_direct", &four.first_non_direct),
        ("session", &lead.session_touch),
        ("last_non_direct", &four.last_non_direct),
        ("last", &four.last),
    ];
    let is_same = |other: &Touch| other.key() == touch.key();
    let is: Vec<&str> =
        names.iter().filter(|(_, one)| one.as_deref().is_some_and(is_same)).map(|(name, _)| *name).collect();
    let attribution = touch.attribution();
    TouchShown {
        at: touch.at,
        event_id: touch.event_id,
        kind: touch.kind.as_str(),
        source: attribution.source,
        medium: attribution.medium,
        campaign: attribution.campaign,
        click_ids: touch.click_ids.iter().map(|id| id.parameter.clone()).collect(),
        landing_page: touch.landing_page.clone(),
        note: note(touch, lead, chosen.is_some_and(is_same)),
        is,
    }
}

fn note(touch: &Touch, lead: &Lead, is_chosen: bool) -> String {
    let rule = match touch.kind {
        TouchKind::Utm => "a UTM parameter decides, before click ids and the referrer",
        TouchKind::ClickId => "no UTM parameter; a click id decides, before the referrer",
        TouchKind::Referrer => "neither UTM parameter nor click id; the referrer on another site decides",
        TouchKind::Direct => "no signal and no referrer on another site",
    };
    if touch.order() > (lead.occurred_at, lead.event_id) {
        "ignored: it came after the form".to_owned()
    } else if is_chosen {
        format!("chosen; {rule}")
    } else if touch.is_direct() {
        format!("direct: {rule}")
    } else {
        rule.to_owned()
    }
}
