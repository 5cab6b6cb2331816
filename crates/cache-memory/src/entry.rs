use std::collections::BTreeMap;
use std::sync::Arc;

use leadtrail_domain::id::{SessionId, VisitorId};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::Touch;
use leadtrail_domain::visit::{
    AssumedVisitor, Changes, KnownSession, KnownVisitor, NewSession, NewVisitor, SESSIONS_KNOWN_MAX,
    TOUCHES_KNOWN_MAX, VisitorKey,
};

/// A visitor in the cache.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) known: Arc<KnownVisitor>,
    /// Sessions that ended before this may be missing; `None`: none is.
    sessions_since: Option<Timestamp>,
}

impl Entry {
    pub(crate) fn new(known: Arc<KnownVisitor>, sessions_since: Option<Timestamp>) -> Self {
        Self { known, sessions_since }
    }

    /// Whether it has every session that a query with this bound asks for.
    pub(crate) fn reaches(&self, since: Option<Timestamp>) -> bool {
        // `None` is before every instant, on both sides.
        self.sessions_since <= since
    }

    /// The newer of both, with every later `last_event_at` of the other.
    pub(crate) fn merged(self, other: &Self) -> Self {
        if self.known.id != other.known.id {
            // The cookie has become another visitor's, which only a store can have said.
            return other.clone();
        }
        // Of one version, the one that reaches further back has all that the other has.
        let rank = |entry: &Self| (entry.known.version, std::cmp::Reverse(entry.sessions_since));
        let (newer, older) =
            if rank(&self) >= rank(other) { (self, other.clone()) } else { (other.clone(), self) };
        newer.extended(older.known.sessions.iter().map(|session| (session.id, session.last_event_at)))
    }

    /// The same with the later of its own and the given `last_event_at` of each session it has.
    fn extended(mut self, events: impl IntoIterator<Item = (SessionId, Timestamp)>) -> Self {
        for (id, at) in events {
            let place = self.known.sessions.iter().rposition(|session| session.id == id);
            if let Some(place) = place.filter(|place| self.known.sessions[*place].last_event_at < at) {
                Arc::make_mut(&mut self.known).sessions[place].last_event_at = at;
            }
        }
        self
    }
}

/// What a commit changed of one visitor.
pub(crate) struct Change<'a> {
    base: Base<'a>,
    sessions: Vec<&'a NewSession>,
    touches: Vec<&'a Arc<Touch>>,
    /// Sessions that now begin earlier.
    widened: Vec<(SessionId, Timestamp)>,
    /// When the events of this commit occurred, by session.
    events: Vec<(SessionId, Timestamp)>,
}

enum Base<'a> {
    New(&'a NewVisitor),
    Assumed(&'a AssumedVisitor),
    /// The commit has events of a visitor of whom it neither says that it is new nor assumes anything.
    Unknown,
}

impl<'a> Change<'a> {
    /// What `changes` change of each visitor who is recognised and has events among them.
    pub(crate) fn of_each_visitor(changes: &'a Changes) -> BTreeMap<VisitorKey, Self> {
        let mut by_id: BTreeMap<VisitorId, (VisitorKey, Self)> = BTreeMap::new();
        let mut visitor_of: BTreeMap<SessionId, VisitorId> = BTreeMap::new();
        for stored in &changes.events {
            let Some(cookie) = stored.event.visitor.cookie() else { continue };
            let (_key, change) = by_id
                .entry(stored.visitor_id)
                .or_insert_with(|| ((stored.event.project_id, cookie.clone()), Self::of(Base::Unknown)));
            change.events.push((stored.session_id, stored.event.occurred_at));
            visitor_of.insert(stored.session_id, stored.visitor_id);
        }
        for new in &changes.visitors {
            if let Some((_key, change)) = by_id.get_mut(&new.id) {
                change.base = Base::New(new);
            }
        }
        for assumed in &changes.assumed {
            if let Some((_key, change)) = by_id.get_mut(&assumed.id) {
                change.base = Base::Assumed(assumed);
            }
        }
        for new in &changes.sessions {
            if let Some((_key, change)) = by_id.get_mut(&new.visitor_id) {
                change.sessions.push(new);
            }
        }
        for new in &changes.touches {
            if let Some((_key, change)) = by_id.get_mut(&new.visitor_id) {
                change.touches.push(&new.touch);
            }
        }
        for widened in &changes.widened {
            // A session is widened by an event that joins it.
            let visitor = visitor_of.get(&widened.id);
            if let Some((_key, change)) = visitor.and_then(|id| by_id.get_mut(id)) {
                change.widened.push((widened.id, widened.started_at));
            }
        }
        by_id.into_values().collect()
    }

    fn of(base: Base<'a>) -> Self {
        Self { base, sessions: Vec::new(), touches: Vec::new(), widened: Vec::new(), events: Vec::new() }
    }

    /// The entry of a visitor that this commit made.
    pub(crate) fn new_entry(&self) -> Option<Entry> {
        let Base::New(new) = self.base else { return None };
        let nothing = KnownVisitor {
            id: new.id,
            version: new.version,
            first_seen_at: new.first_seen_at,
            sessions: Vec::new(),
            touches: Vec::new(),
        };
        Some(self.grown(Entry::new(Arc::new(nothing), None)))
    }

    /// An entry after this commit; `None` where it cannot be told from that entry.
    pub(crate) fn applied_to(&self, entry: Entry) -> Option<Entry> {
        let Base::Assumed(assumed) = self.base else { return None };
        if entry.known.id != assumed.id || entry.known.version < assumed.version {
            return None;
        }
        if entry.known.version > assumed.version {
            return Some(entry.extended(self.events.iter().copied()));
        }
        let mut entry = entry;
        if assumed.advances {
            Arc::make_mut(&mut entry.known).version += 1;
        }
        Some(self.grown(entry))
    }

    /// `entry` with the sessions, touches and events of this commit.
    fn grown(&self, mut entry: Entry) -> Entry {
        if !(self.sessions.is_empty() && self.touches.is_empty() && self.widened.is_empty()) {
            let known = Arc::make_mut(&mut entry.known);
            known.sessions.extend(self.sessions.iter().map(|new| KnownSession {
                id: new.id,
                started_at: new.started_at,
                last_event_at: new.started_at,
                attribution: new.attribution.clone(),
            }));
            for (id, started_at) in &self.widened {
                for session in known.sessions.iter_mut().filter(|session| session.id == *id) {
                    session.started_at = *started_at;
                }
            }
            known.sessions.sort_by_key(|session| (session.started_at, session.id));
            known.sessions.drain(..known.sessions.len().saturating_sub(SESSIONS_KNOWN_MAX));
            known.touches.extend(self.touches.iter().map(|touch| Arc::clone(touch)));
            bound_touches(&mut known.touches);
        }
        entry.extended(self.events.iter().copied())
    }
}

/// Keeps, in their order, those that [`KnownVisitor::touches`] promises.
fn bound_touches(touches: &mut Vec<Arc<Touch>>) {
    touches.sort_by(|one, other| one.key().cmp(&other.key()));
    let latest_from = touches.len().saturating_sub(TOUCHES_KNOWN_MAX);
    let first_non_direct = touches.iter().position(|touch| !touch.is_direct());
    let mut place = 0;
    touches.retain(|_touch| {
        let kept = place >= latest_from || place == 0 || Some(place) == first_non_direct;
        place += 1;
        kept
    });
}
