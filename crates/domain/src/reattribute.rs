//! Attribution anew: what stored events mean under the rules of this version.
//!
//! Canonical: the result follows from the events alone, in whatever order they arrived. Visitors, session ids and leads
//! stay what they were answered as; touches, what sessions are attributed to, the touches frozen with leads, and what
//! counts as a conversion are decided again.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::conversion::Conversion;
use crate::email::EmailHash;
use crate::event::{Collected, StoredEvent};
use crate::id::{EventId, PixelId, SessionId, VisitorId};
use crate::ingest::{IngestPolicy, Policies, ingest};
use crate::lead::Lead;
use crate::project::PixelContext;
use crate::time::Timestamp;
use crate::touch::{Attribution, FourTouches, Touch};
use crate::visit::{EventKey, Known};

/// How many events of one visitor are decided anew at most; who has more is left as it is, and reported.
pub const HISTORY_EVENTS_MAX: u32 = 20_000;

/// What is stored of a visitor.
#[derive(Clone, PartialEq, Debug)]
pub struct History {
    /// The visitor.
    pub visitor_id: VisitorId,
    /// Its version.
    pub version: i64,
    /// Its events, in their order (by time, id, then pixel).
    pub events: Vec<StoredEvent>,
    /// Its sessions, by id.
    pub sessions: BTreeMap<SessionId, StoredSession>,
    /// Its touches, in their order.
    pub touches: Vec<Arc<Touch>>,
    /// Its conversions, by id.
    pub conversions: Vec<Conversion>,
}

/// A session as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredSession {
    /// The pixel of its opening event.
    pub pixel_id: PixelId,
    /// Its opening event.
    pub opening_event_id: EventId,
    /// What it is attributed to.
    pub attribution: Attribution,
}

/// What a visitor's events mean.
#[derive(Clone, PartialEq, Debug)]
pub struct Revision {
    /// The visitor.
    pub visitor_id: VisitorId,
    /// The version it was decided from.
    pub version: i64,
    /// All its touches, in their order.
    pub touches: Vec<Arc<Touch>>,
    /// All its conversions, by id.
    pub conversions: Vec<Conversion>,
    /// What its sessions are attributed to.
    pub sessions: BTreeMap<SessionId, Attribution>,
    /// Where the visitor first gave each e-mail.
    pub identified: BTreeMap<EmailHash, (Timestamp, EventId)>,
    /// The opening touches of the sessions that forms were sent in, by the form's event.
    pub opened_by: BTreeMap<EventKey, Arc<Touch>>,
}

/// Decides anew what a visitor's events mean. `pixels`: those of its project; an event of another one is left out.
pub fn revise(history: &History, pixels: &BTreeMap<PixelId, PixelContext>) -> Revision {
    let collected: Vec<Collected> = (history.events.iter())
        .filter_map(|stored| {
            Some(Collected::reread(stored.event.clone(), pixels.get(&stored.event.pixel_id)?))
        })
        .collect();
    let policies: Policies = (pixels.values())
        .map(|context| {
            let split_sessions_on_campaign = context.project.settings.split_sessions_on_campaign;
            (context.project.id, IngestPolicy { crm: None, split_sessions_on_campaign })
        })
        .collect();
    let decided = ingest(&Known::default(), &collected, &policies).changes;

    // Sessions as they would be had the events come in their order; what was answered stays.
    let answered: BTreeMap<(&PixelId, EventId), SessionId> = (history.events.iter())
        .map(|stored| ((&stored.event.pixel_id, stored.event.id), stored.session_id))
        .collect();
    let canonical: BTreeMap<(&PixelId, EventId), SessionId> = (decided.events.iter())
        .map(|stored| ((&stored.event.pixel_id, stored.event.id), stored.session_id))
        .collect();
    let attributed: BTreeMap<SessionId, &Attribution> =
        decided.sessions.iter().map(|session| (session.id, &session.attribution)).collect();

    let mut opened_by = BTreeMap::new();
    let mut touches = Vec::with_capacity(decided.touches.len());
    let mut opening: BTreeMap<SessionId, Arc<Touch>> = BTreeMap::new();
    for new in &decided.touches {
        let session_id = answered.get(&(&new.touch.pixel_id, new.touch.event_id)).copied();
        let mut touch = Touch::clone(&new.touch);
        touch.session_id = session_id.unwrap_or(touch.session_id);
        let touch = Arc::new(touch);
        opening.entry(new.touch.session_id).or_insert_with(|| Arc::clone(&touch));
        touches.push(touch);
    }
    touches.sort_by(|one, other| one.key().cmp(&other.key()));
    let mut conversions: Vec<Conversion> = (decided.conversions.into_iter())
        .map(|new| Conversion {
            visitor_id: history.visitor_id,
            session_id: answered.get(&(&new.pixel_id, new.event_id)).copied().unwrap_or(new.session_id),
            touches: FourTouches::among(&touches, (new.occurred_at, new.event_id)),
            ..new
        })
        .collect();
    conversions.sort_by_key(|conversion| conversion.id);
    let mut identified = BTreeMap::new();
    for stored in &history.events {
        let event = &stored.event;
        let Some(email) = event.form.as_ref().and_then(|form| form.email.as_ref()) else { continue };
        identified.entry(email.hash()).or_insert((event.occurred_at, event.id));
        let session = canonical.get(&(&event.pixel_id, event.id));
        let touch = session.and_then(|session| opening.get(session));
        if let Some(touch) = touch.filter(|touch| touch.order() <= (event.occurred_at, event.id)) {
            opened_by.insert((event.pixel_id.clone(), event.id), Arc::clone(touch));
        }
    }
    let sessions = (history.sessions.iter())
        .map(|(id, stored)| {
            let key = (&stored.pixel_id, stored.opening_event_id);
            let attribution = canonical.get(&key).and_then(|session| attributed.get(session));
            (*id, attribution.map_or_else(|| stored.attribution.clone(), |one| (*one).clone()))
        })
        .collect();
    Revision {
        visitor_id: history.visitor_id,
        version: history.version,
        touches,
        conversions,
        sessions,
        identified,
        opened_by,
    }
}

impl Revision {
    /// Whether the visitor has all of this already.
    pub fn is_told_by(&self, history: &History) -> bool {
        self.touches == history.touches
            && self.conversions == history.conversions
            && self.sessions.iter().all(|(id, attribution)| {
                history.sessions.get(id).is_some_and(|stored| stored.attribution == *attribution)
            })
    }
}

/// A lead with the touches that follow from `own`, its visitor's revision, and those of all visitors who ever gave its
/// e-mail: whoever gave it later than the form counts for later leads only.
pub fn revise_lead(lead: &Lead, own: &Revision, persons: &[Arc<Revision>]) -> Lead {
    let until = (lead.occurred_at, lead.event_id);
    let hash = lead.email.hash();
    let before = |revision: &&Arc<Revision>| revision.identified.get(&hash).is_some_and(|at| *at <= until);
    let of_person = persons.iter().filter(before).flat_map(|revision| &revision.touches);
    Lead {
        touches: FourTouches::among(own.touches.iter().chain(of_person), until),
        session_touch: own.opened_by.get(&(lead.pixel_id.clone(), lead.event_id)).cloned(),
        ..lead.clone()
    }
}
