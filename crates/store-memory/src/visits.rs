use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{EventId, PixelId, ProjectId, VisitorId};
use leadtrail_domain::lead::SubmissionKey;
use leadtrail_domain::ports::{StoreError, Visits};
use leadtrail_domain::sync::{JobStatus, SyncJob};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::Touch;
use leadtrail_domain::visit::{
    Answer, AssumedVisitor, Changes, Known, KnownPerson, KnownSession, KnownSubmission, KnownVisitor,
    NewSyncJob, PersonKey, SESSIONS_KNOWN_MAX, TOUCHES_KNOWN_MAX, VisitQuery, WaitingJob,
};

use crate::tables::{JobRow, SessionRow, Tables, VisitorRow};
use crate::{MemoryStore, take};

#[async_trait]
impl Visits for MemoryStore {
    async fn load(&self, query: &VisitQuery) -> Result<Known, StoreError> {
        let tables = self.tables()?;
        Ok(Known {
            events: query
                .events
                .iter()
                .filter_map(|key| Some((key.clone(), tables.answer(key.1, &key.0)?)))
                .collect(),
            visitors: query
                .visitors
                .keys()
                .filter_map(|key| {
                    let id = tables.visitor_of.get(key)?;
                    Some((key.clone(), Arc::new(tables.known_visitor(*id, query.sessions_since)?)))
                })
                .collect(),
            submissions: query
                .submissions
                .iter()
                .filter_map(|key| Some((*key, tables.known_submission(*key)?)))
                .collect(),
            people: query.people.iter().filter_map(|key| Some((*key, tables.known_person(*key)?))).collect(),
        })
    }

    async fn commit(&self, changes: &Changes) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        tables.check(changes)?;
        tables.apply(changes);
        if self.answers_lost.load(Ordering::SeqCst) {
            return Err(StoreError::transient("set to lose answers"));
        }
        Ok(())
    }

    async fn event(
        &self,
        project: ProjectId,
        pixel: &PixelId,
        event: EventId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        let tables = self.tables()?;
        let stored = tables.events.get(&(event, pixel.clone()));
        Ok(stored.filter(|stored| stored.event.project_id == project).cloned())
    }

    async fn events(
        &self,
        project: ProjectId,
        after: Option<(EventId, PixelId)>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let tables = self.tables()?;
        let events = tables
            .events
            .iter()
            .filter(|(key, stored)| {
                stored.event.project_id == project && after.as_ref().is_none_or(|after| *key > after)
            })
            .map(|(_key, stored)| stored.clone());
        Ok(take(events, limit))
    }
}

impl Tables {
    fn answer(&self, event: EventId, pixel: &PixelId) -> Option<Answer> {
        let stored = self.events.get(&(event, pixel.clone()))?;
        let cookie = stored.event.visitor.cookie().cloned();
        Some(Answer {
            event_id: event,
            visitor_id: cookie.is_some().then_some(stored.visitor_id),
            session_id: cookie.is_some().then_some(stored.session_id),
            visitor_cookie: cookie,
            attribution: self.sessions.get(&stored.session_id)?.session.attribution.clone(),
            duplicate: true,
        })
    }

    fn known_visitor(&self, id: VisitorId, sessions_since: Option<Timestamp>) -> Option<KnownVisitor> {
        let row = self.visitors.get(&id)?;
        let mut sessions: Vec<KnownSession> = row
            .sessions
            .iter()
            .filter_map(|id| self.sessions.get(id))
            .map(|row| KnownSession {
                id: row.session.id,
                started_at: row.session.started_at,
                last_event_at: row.last_event_at,
                attribution: row.session.attribution.clone(),
            })
            .collect();
        sessions.sort_by_key(|session| (session.started_at, session.id));
        let latest = sessions.last().map(|session| session.id);
        sessions.retain(|session| {
            sessions_since.is_none_or(|since| session.last_event_at >= since) || Some(session.id) == latest
        });
        sessions.drain(..sessions.len().saturating_sub(SESSIONS_KNOWN_MAX));
        Some(KnownVisitor {
            id,
            version: row.visitor.version,
            first_seen_at: row.visitor.first_seen_at,
            sessions,
            touches: known_touches(row.touches.iter().map(|new| Arc::clone(&new.touch)).collect()),
        })
    }

    fn known_submission(&self, key: SubmissionKey) -> Option<KnownSubmission> {
        let (_, latest) = self.submissions.range((key, i64::MIN)..=(key, i64::MAX)).next_back()?;
        Some(KnownSubmission {
            lead_id: latest.lead_id,
            received_at: latest.received_at,
            count: latest.count,
        })
    }

    /// A person is known by the visitors who gave the e-mail, or by jobs: a form of somebody who is not recognised
    /// makes a job and no identity.
    fn known_person(&self, key: PersonKey) -> Option<KnownPerson> {
        let visitors: BTreeSet<VisitorId> =
            self.identities.get(&key).into_iter().flatten().map(|(visitor, _at)| *visitor).collect();
        let jobs: Vec<&SyncJob> =
            self.jobs.values().filter(|row| row.person() == key).map(|row| &row.job).collect();
        if visitors.is_empty() && jobs.is_empty() {
            return None;
        }
        let touches = visitors
            .iter()
            .filter_map(|id| self.visitors.get(id))
            .flat_map(|row| &row.touches)
            .map(|new| Arc::clone(&new.touch))
            .collect();
        Some(KnownPerson {
            touches: known_touches(touches),
            waiting_job: jobs
                .iter()
                .max_by_key(|job| job.sequence)
                .filter(|job| still_waits(job))
                .map(|job| WaitingJob { id: job.id, account: job.account.clone() }),
            last_sequence: jobs.iter().map(|job| job.sequence).max().unwrap_or(0),
            visitors,
        })
    }

    /// Whether every condition on the fields of [`Changes`] holds.
    fn check(&self, changes: &Changes) -> Result<(), StoreError> {
        let holds = self.keys_are_new(changes)
            && changes.assumed.iter().all(|assumed| self.is_as_assumed(assumed))
            && changes.joined.iter().all(|joined| {
                self.jobs
                    .get(&joined.id)
                    .is_some_and(|row| row.job.project_id == joined.project_id && still_waits(&row.job))
            });
        if !holds {
            return Err(StoreError::Stale);
        }
        let opens = |id| changes.sessions.iter().any(|new| new.id == id) || self.sessions.contains_key(&id);
        let session_exists = changes.events.iter().all(|stored| opens(stored.session_id))
            && changes.widened.iter().all(|widened| opens(widened.id));
        if !session_exists {
            return Err(StoreError::rejected("a session does not exist"));
        }
        let comes = |id| changes.visitors.iter().any(|new| new.id == id) || self.visitors.contains_key(&id);
        let visitor_exists = changes.sessions.iter().all(|new| comes(new.visitor_id))
            && changes.touches.iter().all(|new| comes(new.visitor_id))
            && changes.events.iter().all(|stored| comes(stored.visitor_id));
        if !visitor_exists {
            return Err(StoreError::rejected("a visitor does not exist"));
        }
        Ok(())
    }

    /// Whether every unique key that a database would have is new.
    fn keys_are_new(&self, changes: &Changes) -> bool {
        let cookies = changes
            .visitors
            .iter()
            .filter_map(|new| new.name.cookie().map(|cookie| (new.project_id, cookie.clone())));
        let person_of = |new: &NewSyncJob| ((new.project_id, new.email_hash), new.sequence);
        all_new(changes.visitors.iter().map(|new| new.id), |id| self.visitors.contains_key(id))
            && all_new(cookies, |key| self.visitor_of.contains_key(key))
            && all_new(changes.sessions.iter().map(|new| new.id), |id| self.sessions.contains_key(id))
            && all_new(
                changes.touches.iter().map(|new| (new.visitor_id, new.touch.key())),
                |(visitor, key)| {
                    let touches = self.visitors.get(visitor).into_iter().flat_map(|row| &row.touches);
                    touches.into_iter().any(|known| known.touch.key() == *key)
                },
            )
            && all_new(
                changes.events.iter().map(|stored| (stored.event.id, stored.event.pixel_id.clone())),
                |key| self.events.contains_key(key),
            )
            && all_new(changes.conversions.iter().map(|new| new.id), |id| self.conversions.contains_key(id))
            && all_new(changes.leads.iter().map(|lead| lead.id), |id| self.leads.contains_key(id))
            && all_new(changes.submissions.iter().map(|new| (new.key, new.count)), |key| {
                self.submissions.contains_key(key)
            })
            && all_new(changes.jobs.iter().map(|new| new.id), |id| self.jobs.contains_key(id))
            && all_new(changes.jobs.iter().map(person_of), |(person, sequence)| {
                self.jobs.values().any(|row| row.person() == *person && row.job.sequence == *sequence)
            })
    }

    fn is_as_assumed(&self, assumed: &AssumedVisitor) -> bool {
        self.visitors.get(&assumed.id).is_some_and(|row| {
            let last_event_at =
                row.sessions.iter().filter_map(|id| self.sessions.get(id)).map(|row| row.last_event_at);
            row.visitor.project_id == assumed.project_id
                && row.visitor.version == assumed.version
                && assumed
                    .no_event_after
                    .is_none_or(|known| last_event_at.max().is_none_or(|last| last <= known))
        })
    }

    fn apply(&mut self, changes: &Changes) {
        for new in &changes.visitors {
            if let Some(cookie) = new.name.cookie() {
                self.visitor_of.insert((new.project_id, cookie.clone()), new.id);
            }
            let row = VisitorRow { visitor: new.clone(), sessions: BTreeSet::new(), touches: Vec::new() };
            self.visitors.insert(new.id, row);
        }
        for assumed in changes.assumed.iter().filter(|assumed| assumed.advances) {
            if let Some(row) = self.visitors.get_mut(&assumed.id) {
                row.visitor.version += 1;
            }
        }
        for new in &changes.sessions {
            if let Some(row) = self.visitors.get_mut(&new.visitor_id) {
                row.sessions.insert(new.id);
            }
            let row = SessionRow { session: new.clone(), last_event_at: new.started_at };
            self.sessions.insert(new.id, row);
        }
        for widened in &changes.widened {
            if let Some(row) = self.sessions.get_mut(&widened.id) {
                row.session.started_at = widened.started_at;
            }
        }
        for new in &changes.touches {
            if let Some(row) = self.visitors.get_mut(&new.visitor_id) {
                row.touches.push(new.clone());
            }
        }
        for stored in &changes.events {
            if let Some(row) = self.sessions.get_mut(&stored.session_id) {
                row.last_event_at = row.last_event_at.max(stored.event.occurred_at);
            }
            self.events.insert((stored.event.id, stored.event.pixel_id.clone()), stored.clone());
        }
        for new in &changes.conversions {
            self.conversions.insert(new.id, new.clone());
        }
        for lead in &changes.leads {
            self.leads.insert(lead.id, lead.clone());
        }
        for new in &changes.submissions {
            self.submissions.insert((new.key, new.count), *new);
        }
        for identity in &changes.identities {
            let person = self.identities.entry((identity.project_id, identity.email_hash)).or_default();
            person.entry(identity.visitor_id).or_insert(identity.at);
        }
        for new in &changes.jobs {
            self.jobs.insert(new.id, waiting(new));
        }
    }
}

/// Whether each of the keys comes once and is not known.
fn all_new<K: Ord>(keys: impl Iterator<Item = K>, known: impl Fn(&K) -> bool) -> bool {
    let mut seen = BTreeSet::new();
    keys.into_iter().all(|key| !known(&key) && seen.insert(key))
}

/// In their order: the latest [`TOUCHES_KNOWN_MAX`], the first, and the first that is not direct.
fn known_touches(mut touches: Vec<Arc<Touch>>) -> Vec<Arc<Touch>> {
    touches.sort_by(|one, other| one.key().cmp(&other.key()));
    let latest_from = touches.len().saturating_sub(TOUCHES_KNOWN_MAX);
    let first_non_direct = touches.iter().position(|touch| !touch.is_direct());
    touches
        .into_iter()
        .enumerate()
        .filter(|(place, _touch)| *place >= latest_from || *place == 0 || Some(*place) == first_non_direct)
        .map(|(_place, touch)| touch)
        .collect()
}

/// Whether a further lead may join.
fn still_waits(job: &SyncJob) -> bool {
    job.status == JobStatus::Pending && job.wanted.is_none()
}

fn waiting(new: &NewSyncJob) -> JobRow {
    JobRow {
        job: SyncJob {
            id: new.id,
            project_id: new.project_id,
            account: new.account.clone(),
            lead_id: new.lead_id,
            email_hash: new.email_hash,
            sequence: new.sequence,
            created_at: new.created_at,
            due_at: new.due_at,
            status: JobStatus::Pending,
            looks: 0,
            failures: 0,
            wanted: None,
            planned: None,
            persons: Vec::new(),
            last_error: None,
            ended_at: None,
        },
        lease_number: 0,
        leased_until: None,
        written: Vec::new(),
        attempts: Vec::new(),
    }
}
