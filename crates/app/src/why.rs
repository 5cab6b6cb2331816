//! Why a lead is attributed as it is, and what the CRM was told of it.

use std::collections::{BTreeMap, BTreeSet};

use leadtrail_domain::email::EmailAddress;
use leadtrail_domain::event::{
    Arrival, Collected, Event, Neighbourhood, ReferrerKind, StoredEvent, VisitorName,
};
use leadtrail_domain::id::{EventId, LeadId, PixelId, SessionId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::model::{Model, ModelSettings, Touchpoint, credits};
use leadtrail_domain::ports::{Journey, Journeys, Projects, StoreError, SyncJobs};
use leadtrail_domain::project::{PixelContext, Project, TouchChoice};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::{Touch, TouchKind};
use serde::Serialize;
use uuid::Uuid;

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

impl Subject {
    /// What a text may mean as the id of an event: one that the client sent, or the one that we gave to the event then.
    pub fn of_event(text: &str) -> Vec<Self> {
        let sent = EventId::of_text(text);
        let given = Uuid::parse_str(text).ok().map(EventId::from_uuid).filter(|given| *given != sent);
        [Some(sent), given].into_iter().flatten().map(Self::Event).collect()
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
    /// From where the person came, each time, in order.
    pub touches: Vec<TouchShown>,
    /// How many events of the person are known.
    pub events: usize,
    /// What came before the form and is no touch of its own, by reason.
    pub ignored: Vec<Ignored>,
    /// Each model's credit for the touches, over its lookback window.
    pub models: Vec<ModelCredits>,
    /// What the CRM was told and answered; absent where the project tells none.
    pub job: Option<JobDetail>,
}

/// Events that are no touches, for one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ignored {
    /// Why, for people.
    pub why: String,
    /// How many.
    pub events: u32,
    /// The latest of them.
    pub latest: EventId,
    /// When that was.
    pub latest_at: Timestamp,
}

/// How one model shares the credit for a lead.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModelCredits {
    /// The model.
    pub model: Model,
    /// The touches that get some, in their order.
    pub touches: Vec<Credit>,
    /// What belongs to no touch: 1 where none lies in the window.
    pub none: f64,
}

/// A touch's share.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Credit {
    /// The event that carried the touch.
    pub event_id: EventId,
    /// More than 0, at most 1.
    pub credit: f64,
}

/// A touch as it is shown.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// The channel; absent where it is direct.
    pub channel: Option<String>,
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
    projects: &dyn Projects,
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
        let pixels = pixels_of(projects, project, &journey.events).await?;
        let (own, later) = by_browser(&journey, &lead);
        let chosen = chosen(&lead, project.settings.crm.touch);
        all.push(Why {
            lead_id: lead.id,
            email: lead.email.as_str().to_owned(),
            event_id: lead.event_id,
            pixel_id: lead.pixel_id.clone(),
            occurred_at: lead.occurred_at,
            rule: rule(project.settings.crm.touch),
            chosen: chosen.map(|touch| touch.event_id),
            touches: (journey.touches.iter())
                .map(|touch| shown(touch, &lead, chosen, later.contains(&touch.session_id)))
                .collect(),
            events: journey.events.len(),
            ignored: ignored(&journey, &lead, &pixels),
            models: Model::ALL.map(|model| model_credits(&own, &lead, model)).into(),
            job,
        });
    }
    Ok(all)
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

/// The events up to the form that made no touch, by the reason, in the order of the latest.
fn ignored(journey: &Journey, lead: &Lead, pixels: &BTreeMap<PixelId, PixelContext>) -> Vec<Ignored> {
    let touched: BTreeSet<_> =
        journey.touches.iter().map(|touch| (touch.event_id, &touch.pixel_id)).collect();
    let mut by_reason: BTreeMap<String, Ignored> = BTreeMap::new();
    for StoredEvent { event, .. } in &journey.events {
        if touched.contains(&(event.id, &event.pixel_id))
            || (event.occurred_at, event.id) > (lead.occurred_at, lead.event_id)
        {
            continue;
        }
        let why = pixels
            .get(&event.pixel_id)
            .map_or_else(|| "its pixel is gone".to_owned(), |pixel| reason(event, pixel));
        let one = Ignored { why: why.clone(), events: 0, latest: event.id, latest_at: event.occurred_at };
        let ignored = by_reason.entry(why).or_insert(one);
        ignored.events += 1;
        (ignored.latest, ignored.latest_at) = (event.id, event.occurred_at);
    }
    let mut ignored: Vec<Ignored> = by_reason.into_values().collect();
    ignored.sort_by_key(|one| (one.latest_at, one.latest));
    ignored
}

/// Why an event made no touch.
fn reason(event: &Event, pixel: &PixelContext) -> String {
    let host = |url: &str| url.split('/').nth(2).unwrap_or(url).to_owned();
    let from = event.referrer_url.as_deref().map(host).unwrap_or_default();
    let by = Collected::reread(event.clone(), pixel);
    if let Some(bot) = &event.client.bot {
        return format!("taken for a bot: {bot}");
    }
    match by.arrival {
        Arrival::External { .. } => "says the same as the touch before it in its session".to_owned(),
        Arrival::Direct if event.visitor == VisitorName::Unlinked => {
            "no consent, or Global Privacy Control: nothing is kept that would say from where".to_owned()
        }
        Arrival::Direct => "nothing says from where, in a session that was open".to_owned(),
        Arrival::Internal => match Neighbourhood::from(pixel).kind_of(event) {
            ReferrerKind::Ignored => format!(
                "from {from}, which visitors only pass through (payment, sign-in, or ignored by the project)"
            ),
            ReferrerKind::OwnSite => format!("from {from}, another of the pixel's own sites"),
            ReferrerKind::None | ReferrerKind::SameSite | ReferrerKind::Elsewhere => {
                "from another page of the site".to_owned()
            }
        },
    }
}

/// The touches that count for a lead, and the sessions of browsers that gave the e-mail only after its form.
fn by_browser<'a>(journey: &'a Journey, lead: &Lead) -> (Vec<&'a Touch>, BTreeSet<SessionId>) {
    let until = (lead.occurred_at, lead.event_id);
    let gave = |stored: &&StoredEvent| {
        let email = stored.event.form.as_ref().and_then(|form| form.email.as_ref());
        email == Some(&lead.email) && (stored.event.occurred_at, stored.event.id) <= until
    };
    let mut known: BTreeSet<VisitorId> =
        journey.events.iter().filter(gave).map(|stored| stored.visitor_id).collect();
    known.insert(lead.visitor_id);
    let of_others = journey.events.iter().filter(|stored| !known.contains(&stored.visitor_id));
    let later: BTreeSet<SessionId> = of_others.map(|stored| stored.session_id).collect();
    let own = journey.touches.iter().filter(|touch| !later.contains(&touch.session_id)).collect();
    (own, later)
}

fn model_credits(touches: &[&Touch], lead: &Lead, model: Model) -> ModelCredits {
    let path: Vec<Touchpoint> = touches.iter().map(|touch| Touchpoint::from(*touch)).collect();
    let shared = credits(&path, (lead.occurred_at, lead.event_id), model, &ModelSettings::default());
    let touches = touches.iter().zip(shared.touches).filter(|(_, credit)| *credit > 0.0);
    ModelCredits {
        model,
        touches: touches.map(|(touch, credit)| Credit { event_id: touch.event_id, credit }).collect(),
        none: shared.none,
    }
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

fn shown(touch: &Touch, lead: &Lead, chosen: Option<&Touch>, is_later: bool) -> TouchShown {
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
        channel: attribution.channel,
        click_ids: touch.click_ids.iter().map(|id| id.parameter.clone()).collect(),
        landing_page: touch.landing_page.clone(),
        note: if is_later {
            "ignored: that browser gave the e-mail only after the form".to_owned()
        } else {
            note(touch, lead, chosen.is_some_and(is_same))
        },
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
