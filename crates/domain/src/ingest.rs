//! The decision what a batch of events means: a pure function from what is known to what changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::conversion::Conversion;
use crate::event::{Arrival, Collected, Event, EventKind, EventSync, Form, StoredEvent, VisitorName};
use crate::id::{ConversionId, LeadId, ProjectId, SessionId, Slug, SyncJobId, VisitorId};
use crate::lead::{Lead, SUBMISSION_WINDOW, SubmissionKey};
use crate::time::Timestamp;
use crate::touch::{FourTouches, RULES_VERSION, Touch, TouchKind};
use crate::visit::{
    Answer, AssumedVisitor, Changes, Freshness, Identity, JoinedJob, Known, KnownPerson, KnownSession,
    KnownSubmission, NewSession, NewSubmission, NewSyncJob, NewTouch, NewVisitor, PersonKey, SESSION_TIMEOUT,
    VisitQuery, VisitorKey, WaitingJob, WidenedSession,
};
use crate::web_url::without_query;

/// What a project wants of the decision.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IngestPolicy {
    /// Where its leads are told; `None`: nowhere, and no job is made.
    pub crm: Option<CrmRoute>,
    /// Whether a new external signal inside a session opens a new one.
    pub split_sessions_on_campaign: bool,
}

/// Where a project's leads are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CrmRoute {
    /// The connection.
    pub account: Slug,
    /// How long after the form.
    pub delay: Duration,
}

/// The policies of the projects in a batch. A project without one gets the default: no CRM, no split.
pub type Policies = BTreeMap<ProjectId, IngestPolicy>;

/// What was decided.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Decision {
    /// What a store must commit before anybody is answered.
    pub changes: Changes,
    /// What the senders are told, in the order of the events.
    pub answers: Vec<Answer>,
}

/// What must be known before these events can be decided.
pub fn query_for<'a>(events: impl IntoIterator<Item = &'a Collected>) -> VisitQuery {
    let mut query = VisitQuery::default();
    for Collected { event, conversions, .. } in events {
        query.events.insert((event.pixel_id.clone(), event.id));
        let reach = event.occurred_at.minus(SESSION_TIMEOUT);
        query.sessions_since = Some(query.sessions_since.map_or(reach, |since| since.min(reach)));
        let email = event.form.as_ref().and_then(|form| form.email.as_ref());
        if let Some(cookie) = event.visitor.cookie() {
            // Leads and conversions freeze the visitor's touches, so that for them another node's latest ones count too.
            let freezes = email.is_some() || !conversions.is_empty();
            let freshness = if freezes { Freshness::Current } else { Freshness::Cached };
            let entry = query.visitors.entry((event.project_id, cookie.clone())).or_insert(freshness);
            *entry = (*entry).max(freshness);
        }
        if let (Some(email), Some(form)) = (email, &event.form) {
            query.people.insert((event.project_id, email.hash()));
            if event.kind == EventKind::FormSubmit {
                query.submissions.insert(SubmissionKey::of(event.project_id, &event.pixel_id, email, form));
            }
        }
    }
    query
}

/// Decides what a batch of events means, from what [`query_for`] asked for.
///
/// Deterministic: equal arguments give equal decisions, ids included. Within the batch events are taken in the order of
/// (`occurred_at`, event id), whatever the order they stand in; answers keep that of the events. For events that arrive
/// in that order, deciding a batch at once or in parts leads to the same state.
pub fn ingest(known: &Known, events: &[Collected], policies: &Policies) -> Decision {
    let mut batch = Batch::new(known, policies);
    let mut answers: Vec<Option<Answer>> = Vec::with_capacity(events.len());
    let mut first_of = BTreeMap::new();
    let mut fresh = Vec::with_capacity(events.len());
    let mut repeats = Vec::new();
    for (index, Collected { event, .. }) in events.iter().enumerate() {
        let key = (event.pixel_id.clone(), event.id);
        if let Some(answer) = known.events.get(&key) {
            answers.push(Some(answer.clone()));
            continue;
        }
        answers.push(None);
        match first_of.entry(key) {
            std::collections::btree_map::Entry::Occupied(first) => repeats.push((index, *first.get())),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(index);
                fresh.push(index);
            }
        }
    }
    fresh.sort_by_key(|index| (events[*index].event.occurred_at, events[*index].event.id));
    for index in fresh {
        answers[index] = Some(batch.take(&events[index]));
    }
    for (repeat, first) in repeats {
        answers[repeat] = answers[first].clone().map(|answer| Answer { duplicate: true, ..answer });
    }
    Decision { changes: batch.into_changes(), answers: answers.into_iter().flatten().collect() }
}

/// The state while a batch is decided: what is known, and what the batch has added so far.
struct Batch<'a> {
    known: &'a Known,
    policies: &'a Policies,
    changes: Changes,
    visitors: Vec<Visitor>,
    visitor_of: BTreeMap<VisitorKey, usize>,
    people: BTreeMap<PersonKey, KnownPerson>,
    submissions: BTreeMap<SubmissionKey, KnownSubmission>,
}

struct Visitor {
    id: VisitorId,
    project_id: ProjectId,
    /// The version it was known with; `None` for a new one.
    known_version: Option<i64>,
    /// The latest event that was known.
    known_until: Timestamp,
    sessions: Vec<KnownSession>,
    touches: Vec<Arc<Touch>>,
    advances: bool,
    opens_session: bool,
}

impl<'a> Batch<'a> {
    fn new(known: &'a Known, policies: &'a Policies) -> Self {
        Self {
            known,
            policies,
            changes: Changes::default(),
            visitors: Vec::new(),
            visitor_of: BTreeMap::new(),
            people: BTreeMap::new(),
            submissions: BTreeMap::new(),
        }
    }

    fn take(&mut self, collected: &Collected) -> Answer {
        let event = &collected.event;
        let policy = self.policies.get(&event.project_id).cloned().unwrap_or_default();
        let visitor = self.visitor(event);
        let session = self.session(visitor, collected, policy.split_sessions_on_campaign);
        let lead_id = self.identify(visitor, session.id, event, policy.crm.as_ref());
        self.convert(visitor, session.id, collected);
        let visitor_id = self.visitors[visitor].id;
        self.changes.events.push(StoredEvent {
            event: event.clone(),
            visitor_id,
            session_id: session.id,
            lead_id,
            sync: EventSync::default(),
        });
        let cookie = event.visitor.cookie().cloned();
        Answer {
            event_id: event.id,
            visitor_id: cookie.is_some().then_some(visitor_id),
            session_id: cookie.is_some().then_some(session.id),
            visitor_cookie: cookie,
            attribution: session.attribution,
            duplicate: false,
        }
    }

    /// The visitor of an event, known or new, as a place in `visitors`.
    fn visitor(&mut self, event: &Event) -> usize {
        let key = event.visitor.cookie().map(|cookie| (event.project_id, cookie.clone()));
        if let Some(place) = key.as_ref().and_then(|key| self.visitor_of.get(key)) {
            return *place;
        }
        let visitor = match key.as_ref().and_then(|key| self.known.visitors.get(key)) {
            Some(known) => Visitor {
                id: known.id,
                project_id: event.project_id,
                known_version: Some(known.version),
                known_until: known.sessions.iter().map(|s| s.last_event_at).max().unwrap_or(Timestamp::MIN),
                sessions: known.sessions.clone(),
                touches: known.touches.clone(),
                advances: false,
                opens_session: false,
            },
            None => self.new_visitor(event),
        };
        self.visitors.push(visitor);
        let place = self.visitors.len() - 1;
        if let Some(key) = key {
            self.visitor_of.insert(key, place);
        }
        place
    }

    fn new_visitor(&mut self, event: &Event) -> Visitor {
        let id = match &event.visitor {
            VisitorName::Cookie(cookie) => {
                VisitorId::derive(event.occurred_at, event.project_id, cookie.as_str())
            }
            VisitorName::Unlinked => {
                let name = format!("event {} {}", event.pixel_id, event.id);
                VisitorId::derive(event.occurred_at, event.project_id, &name)
            }
        };
        self.changes.visitors.push(NewVisitor {
            id,
            project_id: event.project_id,
            name: event.visitor.clone(),
            first_seen_at: event.occurred_at,
            version: 1,
        });
        Visitor {
            id,
            project_id: event.project_id,
            known_version: None,
            known_until: Timestamp::MIN,
            sessions: Vec::new(),
            touches: Vec::new(),
            advances: false,
            opens_session: false,
        }
    }

    /// The session an event joins or opens, after the touch it makes is written.
    fn session(&mut self, place: usize, collected: &Collected, split_on_campaign: bool) -> KnownSession {
        let event = &collected.event;
        let visitor = &mut self.visitors[place];
        let joined = nearest_session(&visitor.sessions, event.occurred_at);
        let arrival = external_touch(collected, joined.map(|index| visitor.sessions[index].id));
        let news = match (&arrival, joined) {
            (Some(touch), Some(index)) => {
                let latest = visitor.latest_touch_in(visitor.sessions[index].id, touch.order());
                latest.is_none_or(|latest| !latest.says_the_same_as(touch))
            }
            (Some(_), None) => true,
            (None, _) => false,
        };
        let splits = split_on_campaign
            && news
            && joined.is_some_and(|index| event.occurred_at >= visitor.sessions[index].last_event_at);
        match joined.filter(|_| !splits) {
            Some(index) => {
                if let Some(touch) = arrival.filter(|_| news) {
                    visitor.add_touch(&mut self.changes, touch);
                }
                let session = &mut visitor.sessions[index];
                session.last_event_at = session.last_event_at.max(event.occurred_at);
                let widens = event.occurred_at < session.started_at;
                if widens {
                    session.started_at = event.occurred_at;
                    visitor.advances = true;
                    let widened = WidenedSession {
                        id: session.id,
                        project_id: visitor.project_id,
                        started_at: event.occurred_at,
                    };
                    self.changes.widened.retain(|earlier| earlier.id != widened.id);
                    self.changes.widened.push(widened);
                }
                let joined = session.clone();
                if widens {
                    in_order(&mut visitor.sessions);
                }
                joined
            }
            None => visitor.open_session(&mut self.changes, collected),
        }
    }

    /// Writes down as what the event counts, with the visitor's touches as they are.
    fn convert(&mut self, place: usize, session: SessionId, collected: &Collected) {
        let Collected { event, conversions, .. } = collected;
        if conversions.is_empty() {
            return;
        }
        let visitor = &mut self.visitors[place];
        visitor.advances = true;
        let touches = FourTouches::among(&visitor.touches, (event.occurred_at, event.id));
        self.changes.conversions.extend(conversions.iter().map(|converted| Conversion {
            id: ConversionId::derive(event.occurred_at, &event.pixel_id, event.id, &converted.name),
            project_id: event.project_id,
            name: converted.name.clone(),
            pixel_id: event.pixel_id.clone(),
            event_id: event.id,
            visitor_id: visitor.id,
            session_id: session,
            occurred_at: event.occurred_at,
            value: converted.value,
            touches: touches.clone(),
        }));
    }

    /// Joins the visitor to the e-mail the event carries, and makes the lead of a form. The lead the event belongs to.
    fn identify(
        &mut self,
        place: usize,
        session: SessionId,
        event: &Event,
        crm: Option<&CrmRoute>,
    ) -> Option<LeadId> {
        let form = event.form.as_ref()?;
        let email = form.email.as_ref()?;
        let person_key = (event.project_id, email.hash());
        let known = self.known;
        let person = self
            .people
            .entry(person_key)
            .or_insert_with(|| known.people.get(&person_key).cloned().unwrap_or_default());
        let visitor_id = self.visitors[place].id;
        if event.visitor != VisitorName::Unlinked && person.visitors.insert(visitor_id) {
            self.changes.identities.push(Identity {
                project_id: event.project_id,
                email_hash: person_key.1,
                visitor_id,
                at: event.occurred_at,
            });
        }
        if event.kind != EventKind::FormSubmit {
            return None;
        }
        let key = SubmissionKey::of(event.project_id, &event.pixel_id, email, form);
        let earlier = self.submissions.get(&key).or_else(|| known.submissions.get(&key)).copied();
        if let Some(earlier) = earlier
            && event.received_at < earlier.received_at.plus(SUBMISSION_WINDOW)
        {
            return Some(earlier.lead_id);
        }
        let lead_id = LeadId::derive(event.received_at, &event.pixel_id, event.id);
        let count = earlier.map_or(0, |earlier| earlier.count) + 1;
        self.submissions.insert(key, KnownSubmission { lead_id, received_at: event.received_at, count });
        self.changes.submissions.push(NewSubmission {
            key,
            project_id: event.project_id,
            count,
            lead_id,
            received_at: event.received_at,
        });
        let job_id = crm.map(|route| self.job(person_key, lead_id, event.received_at, route));
        let lead = self.lead(lead_id, job_id, place, session, event, form);
        self.changes.leads.extend(lead);
        Some(lead_id)
    }

    /// The job of a lead: the person's waiting one, or a new one.
    fn job(
        &mut self,
        key: PersonKey,
        lead_id: LeadId,
        received_at: Timestamp,
        route: &CrmRoute,
    ) -> SyncJobId {
        let person = self.people.entry(key).or_default();
        if let Some(WaitingJob { id, .. }) =
            person.waiting_job.as_ref().filter(|job| job.account == route.account)
        {
            let id = *id;
            let from_this_batch = self.changes.jobs.iter().any(|job| job.id == id);
            let joined = JoinedJob { id, project_id: key.0 };
            if !from_this_batch && !self.changes.joined.contains(&joined) {
                self.changes.joined.push(joined);
            }
            return id;
        }
        let id = SyncJobId::derive(received_at, lead_id);
        person.waiting_job = Some(WaitingJob { id, account: route.account.clone() });
        person.last_sequence += 1;
        self.changes.jobs.push(NewSyncJob {
            id,
            project_id: key.0,
            account: route.account.clone(),
            lead_id,
            email_hash: key.1,
            sequence: person.last_sequence,
            created_at: received_at,
            due_at: received_at.plus(route.delay),
        });
        id
    }

    fn lead(
        &self,
        id: LeadId,
        job_id: Option<SyncJobId>,
        place: usize,
        session: SessionId,
        event: &Event,
        form: &Form,
    ) -> Option<Lead> {
        let email = form.email.clone()?;
        let person = self.people.get(&(event.project_id, email.hash()));
        let until = (event.occurred_at, event.id);
        let own = &self.visitors[place];
        let visitors = person.map(|person| &person.visitors);
        let is_persons = |visitor: &&Visitor| visitors.is_some_and(|ids| ids.contains(&visitor.id));
        let touches = FourTouches::among(
            (own.touches.iter())
                .chain(person.into_iter().flat_map(|person| &person.touches))
                .chain(self.visitors.iter().filter(is_persons).flat_map(|visitor| &visitor.touches)),
            until,
        );
        let in_session = |touch: &&Arc<Touch>| touch.session_id == session && touch.order() <= until;
        let session_touch =
            own.touches.iter().filter(in_session).min_by(|one, other| one.key().cmp(&other.key())).cloned();
        Some(Lead {
            id,
            project_id: event.project_id,
            pixel_id: event.pixel_id.clone(),
            event_id: event.id,
            visitor_id: own.id,
            session_id: session,
            job_id,
            email,
            first_name: form.first_name.clone(),
            last_name: form.last_name.clone(),
            occurred_at: event.occurred_at,
            received_at: event.received_at,
            touches,
            session_touch,
        })
    }

    fn into_changes(mut self) -> Changes {
        self.changes.assumed = self
            .visitors
            .iter()
            .filter_map(|visitor| {
                Some(AssumedVisitor {
                    id: visitor.id,
                    project_id: visitor.project_id,
                    version: visitor.known_version?,
                    advances: visitor.advances,
                    no_event_after: visitor.opens_session.then_some(visitor.known_until),
                })
            })
            .collect();
        self.changes
    }
}

impl Visitor {
    fn open_session(&mut self, changes: &mut Changes, collected: &Collected) -> KnownSession {
        let event = &collected.event;
        let id = SessionId::derive(event.occurred_at, self.id, &event.pixel_id, event.id);
        let touch = external_touch(collected, Some(id)).or_else(|| match collected.arrival {
            Arrival::Direct => Some(touch_of(event, id, TouchKind::Direct, None)),
            Arrival::Internal | Arrival::External { .. } => None,
        });
        let session = KnownSession {
            id,
            started_at: event.occurred_at,
            last_event_at: event.occurred_at,
            attribution: touch.as_ref().map(Touch::attribution).unwrap_or_default(),
        };
        changes.sessions.push(NewSession {
            id,
            project_id: self.project_id,
            visitor_id: self.id,
            pixel_id: event.pixel_id.clone(),
            opening_event_id: event.id,
            started_at: event.occurred_at,
            attribution: session.attribution.clone(),
            landing_page: without_query(&event.page_url).to_owned(),
        });
        if let Some(touch) = touch {
            self.add_touch(changes, touch);
        }
        self.advances = true;
        self.opens_session = true;
        self.sessions.push(session.clone());
        in_order(&mut self.sessions);
        session
    }

    fn add_touch(&mut self, changes: &mut Changes, touch: Touch) {
        let touch = Arc::new(touch);
        self.advances = true;
        changes.touches.push(NewTouch {
            project_id: self.project_id,
            visitor_id: self.id,
            touch: Arc::clone(&touch),
        });
        let place = self.touches.partition_point(|other| other.key() <= touch.key());
        self.touches.insert(place, touch);
    }

    /// The touch of a session that was in force when something happened.
    fn latest_touch_in(
        &self,
        session: SessionId,
        until: (Timestamp, crate::id::EventId),
    ) -> Option<&Arc<Touch>> {
        self.touches
            .iter()
            .filter(|touch| touch.session_id == session && touch.order() <= until)
            .max_by(|one, other| one.key().cmp(&other.key()))
    }
}

/// Sessions as a store answers them: of those that opened at one instant the order is that of their ids, whether they are
/// known or new, so that it makes no difference where a batch ends.
fn in_order(sessions: &mut [KnownSession]) {
    sessions.sort_by_key(|session| (session.started_at, session.id));
}

/// The session nearest to an instant, if it lies less than [`SESSION_TIMEOUT`] away; of two as near the later one.
fn nearest_session(sessions: &[KnownSession], at: Timestamp) -> Option<usize> {
    let distance = |session: &KnownSession| {
        if at < session.started_at { session.started_at.since(at) } else { at.since(session.last_event_at) }
    };
    sessions
        .iter()
        .enumerate()
        .map(|(index, session)| (distance(session), index))
        .filter(|(distance, _)| *distance < SESSION_TIMEOUT)
        .min_by_key(|(distance, index)| (*distance, std::cmp::Reverse(*index)))
        .map(|(_, index)| index)
}

/// The touch of an arrival from elsewhere. Without a session yet, only what it says counts.
fn external_touch(collected: &Collected, session: Option<SessionId>) -> Option<Touch> {
    match &collected.arrival {
        Arrival::External { kind, referrer_host } => {
            let session = session.unwrap_or(SessionId(uuid::Uuid::nil()));
            Some(touch_of(&collected.event, session, *kind, referrer_host.clone()))
        }
        Arrival::Internal | Arrival::Direct => None,
    }
}

fn touch_of(event: &Event, session_id: SessionId, kind: TouchKind, referrer_host: Option<String>) -> Touch {
    Touch {
        event_id: event.id,
        pixel_id: event.pixel_id.clone(),
        session_id,
        at: event.occurred_at,
        kind,
        utm: event.signals.utm.clone(),
        click_ids: event.signals.click_ids.clone(),
        ad: event.signals.ad.clone(),
        referrer_url: referrer_host.as_ref().and(event.referrer_url.clone()),
        referrer_host,
        landing_page: without_query(&event.page_url).to_owned(),
        rules_version: RULES_VERSION,
    }
}
