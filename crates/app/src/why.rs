//! Why a lead or a conversion is attributed as it is, and what the CRM was told.

mod conversion;
mod credit;
mod ignored;
mod touches;

use std::collections::{BTreeMap, BTreeSet};

use leadtrail_domain::conversion::Conversion;
use leadtrail_domain::email::EmailAddress;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{EventId, LeadId, PixelId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::model::ModelSettings;
use leadtrail_domain::ports::{
    Conversions, Histories, JourneyBounds, Journeys, Projects, StoreError, SyncJobs,
};
use leadtrail_domain::project::{PixelContext, Project};
use leadtrail_domain::time::Timestamp;
use serde::Serialize;
use uuid::Uuid;

pub use self::conversion::ConversionWhy;
use self::credit::Shares;
pub use self::credit::{Credit, ModelCredits};
pub use self::ignored::Ignored;
pub use self::touches::TouchShown;
use crate::accounts::Accounts;
use crate::reattribute::PERSON_VISITORS_MAX;
use crate::sync_queue::{self, JobDetail};

/// How many leads of a person are shown.
const LEADS_MAX: u32 = 20;
/// How much of a person's past is read: the touches that may get credit, and of the events as many as show what was no
/// touch.
const BOUNDS: JourneyBounds = JourneyBounds { browsers: PERSON_VISITORS_MAX, touches: 10_000, events: 1_000 };

/// What is asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// All leads of a person.
    Email(EmailAddress),
    /// The leads that an event made, and what it counts as: of several ids the first by which something is known.
    Event(Vec<EventId>),
}

impl Subject {
    /// What a text may mean as the id of an event: one that the client sent, or the one that we gave to the event then.
    pub fn of_event(text: &str) -> Self {
        let sent = EventId::of_text(text);
        let given = Uuid::parse_str(text).ok().map(EventId::from_uuid).filter(|given| *given != sent);
        Self::Event([Some(sent), given].into_iter().flatten().collect())
    }
}

/// Where the answer is read.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// What led to the leads.
    pub journeys: &'a dyn Journeys,
    /// What counted as a conversion.
    pub conversions: &'a dyn Conversions,
    /// What led to that.
    pub histories: &'a dyn Histories,
    /// What the CRM was told.
    pub jobs: &'a dyn SyncJobs,
    /// What events are judged by.
    pub projects: &'a dyn Projects,
    /// The connections.
    pub accounts: &'a Accounts,
}

/// Why what was asked about is attributed as it is.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "WhyAnswer"))]
pub struct Explained {
    /// The leads, newest first; 20 of a person at most.
    pub leads: Vec<Why>,
    /// The conversions; none where a person was asked about.
    pub conversions: Vec<ConversionWhy>,
}

impl Explained {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.leads.is_empty() && self.conversions.is_empty()
    }
}

/// Why a lead is attributed as it is.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// From where the person came, each time, in order; of more than 500 those that count most.
    pub touches: Vec<TouchShown>,
    /// How many touches of the person are known.
    pub touches_known: usize,
    /// Whether there are still more, so that the credits are of the latest ones up to the form.
    pub touches_left_out: bool,
    /// How many events of the person are known.
    pub events: usize,
    /// Whether there are still more, so that what is ignored is not all.
    pub events_left_out: bool,
    /// How many browsers of the person are known: the one the form was sent with, and those that ever gave its e-mail.
    pub browsers: usize,
    /// Whether there are still more, of which nothing is told.
    pub browsers_left_out: bool,
    /// What came before the form and is no touch of its own, by reason.
    pub ignored: Vec<Ignored>,
    /// The lookback window over which the models count, and the half-life of time decay.
    pub attribution: ModelSettings,
    /// Each model's credit for the touches.
    pub models: Vec<ModelCredits>,
    /// What the CRM was told and answered; absent where the project tells none.
    pub job: Option<JobDetail>,
}

/// What is known of the subject, each with why.
///
/// # Errors
/// Those of the stores.
pub async fn why(
    sources: Sources<'_>,
    project: &Project,
    subject: &Subject,
) -> Result<Explained, StoreError> {
    match subject {
        Subject::Email(email) => {
            let leads = sources.journeys.leads_of(project.id, &email.hash(), LEADS_MAX).await?;
            explained(sources, project, &leads, Vec::new()).await
        }
        Subject::Event(ids) => {
            for id in ids {
                let leads = sources.journeys.leads_by_event(project.id, *id).await?;
                let conversions = sources.conversions.conversions_by_event(project.id, *id).await?;
                if !(leads.is_empty() && conversions.is_empty()) {
                    return explained(sources, project, &leads, conversions).await;
                }
            }
            Ok(Explained::default())
        }
    }
}

async fn explained(
    sources: Sources<'_>,
    project: &Project,
    leads: &[Lead],
    conversions: Vec<Conversion>,
) -> Result<Explained, StoreError> {
    let mut all = Explained::default();
    for lead in leads {
        all.leads.push(of_lead(sources, project, lead).await?);
    }
    for conversion in conversions {
        let history = sources.histories.history(project.id, conversion.visitor_id, 0).await?;
        let touches = history.map(|history| history.touches).unwrap_or_default();
        all.conversions.push(ConversionWhy::of(conversion, &touches, &project.settings.attribution));
    }
    Ok(all)
}

async fn of_lead(sources: Sources<'_>, project: &Project, lead: &Lead) -> Result<Why, StoreError> {
    let journey = sources.journeys.journey(project.id, lead.id, &BOUNDS).await?;
    let job = match lead.job_id {
        Some(id) => sources.jobs.job(project.id, id).await?,
        None => None,
    };
    let job = match job {
        Some(job) => Some(sync_queue::detail(sources.jobs, sources.accounts, job).await?),
        None => None,
    };
    let pixels = pixels_of(sources.projects, project, &journey.events).await?;
    let chosen = touches::chosen(lead, project.settings.crm.touch);
    let shares = Shares::of(&journey, lead, &project.settings.attribution);
    let shown = touches::shown(&journey, lead, &shares.weights());
    Ok(Why {
        lead_id: lead.id,
        email: lead.email.as_str().to_owned(),
        event_id: lead.event_id,
        pixel_id: lead.pixel_id.clone(),
        occurred_at: lead.occurred_at,
        rule: touches::rule(project.settings.crm.touch),
        chosen: chosen.map(|touch| touch.event_id),
        touches: (shown.iter())
            .map(|place| touches::described(&journey.touches[*place], &journey, lead, chosen))
            .collect(),
        touches_known: journey.touches.len(),
        touches_left_out: journey.left_out.touches,
        events: journey.events.len(),
        events_left_out: journey.left_out.events,
        browsers: journey.browsers.len(),
        browsers_left_out: journey.left_out.browsers,
        ignored: ignored::ignored(&journey, lead, &pixels),
        attribution: project.settings.attribution,
        models: shares.told(&shown),
        job,
    })
}

/// What the events were judged by.
async fn pixels_of(
    projects: &dyn Projects,
    project: &Project,
    events: &[StoredEvent],
) -> Result<BTreeMap<PixelId, PixelContext>, StoreError> {
    let ids: BTreeSet<&PixelId> = events.iter().map(|stored| &stored.event.pixel_id).collect();
    let mut pixels = BTreeMap::new();
    for id in ids {
        if let Some(pixel) = projects.pixel(project.id, id).await? {
            pixels.insert(id.clone(), PixelContext { pixel, project: project.clone() });
        }
    }
    Ok(pixels)
}
