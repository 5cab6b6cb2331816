use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diesel::dsl::max;
use diesel::prelude::*;
use leadtrail_domain::id::{EventId, LeadId, PixelId, SessionId, SyncJobId, VisitorCookie, VisitorId};
use leadtrail_domain::lead::SubmissionKey;
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::sync::JobStatus;
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::{Attribution, Touch, TouchKind};
use leadtrail_domain::visit::{
    Answer, Known, KnownPerson, KnownSession, KnownSubmission, KnownVisitor, PersonKey, SESSIONS_KNOWN_MAX,
    TOUCHES_KNOWN_MAX, VisitQuery, VisitorKey, WaitingJob,
};

use crate::failure::Outcome;
use crate::row::Row;
use crate::schema::{
    identities, sessions, submissions, sync_jobs, touchpoints, tracking_events as events, visitors,
};

/// Answers a query by one cached statement per question: in one process a statement is a function call, and a list of
/// varying length could not be cached.
pub(super) fn load(connection: &mut SqliteConnection, query: &VisitQuery) -> Outcome<Known> {
    let mut known = Known::default();
    for key in &query.events {
        if let Some(answer) = answer(connection, key)? {
            known.events.insert(key.clone(), answer);
        }
    }
    for key in query.visitors.keys() {
        if let Some(visitor) = visitor(connection, key, query.sessions_since)? {
            known.visitors.insert(key.clone(), Arc::new(visitor));
        }
    }
    for key in &query.submissions {
        if let Some(submission) = submission(connection, key)? {
            known.submissions.insert(*key, submission);
        }
    }
    for key in &query.people {
        if let Some(person) = person(connection, key)? {
            known.people.insert(*key, person);
        }
    }
    Ok(known)
}

type AttributionColumns = (Option<String>, Option<String>, Option<String>, Option<String>);

fn attribution((source, medium, campaign, channel): AttributionColumns) -> Attribution {
    Attribution { source, medium, campaign, channel }
}

fn answer(connection: &mut SqliteConnection, (pixel, event): &(PixelId, EventId)) -> Outcome<Option<Answer>> {
    type Columns = (Vec<u8>, Vec<u8>, Option<String>, Option<AttributionColumns>);
    let id = event.uuid();
    let row: Option<Columns> = events::table
        .left_join(visitors::table.on(visitors::visitor_id.eq(events::visitor_id)))
        .left_join(sessions::table.on(sessions::session_id.eq(events::session_id)))
        .filter(events::event_id.eq(id.as_bytes().as_slice()))
        .filter(events::pixel_id.eq(pixel.as_str()))
        .select((
            events::visitor_id,
            events::session_id,
            visitors::cookie.nullable(),
            (sessions::source, sessions::medium, sessions::campaign, sessions::channel).nullable(),
        ))
        .first(connection)
        .optional()?;
    let Some((visitor_id, session_id, cookie, columns)) = row else { return Ok(None) };
    let row = Row::of("tracking_events", id.as_bytes());
    let cookie: Option<VisitorCookie> =
        cookie.map(|cookie| Row::of("visitors", &visitor_id).parse("cookie", &cookie)).transpose()?;
    let (visitor_id, session_id) =
        (row.uuid("visitor_id", &visitor_id)?, row.uuid("session_id", &session_id)?);
    // Who is not recognised was told no ids.
    let recognised = cookie.is_some();
    Ok(Some(Answer {
        event_id: *event,
        visitor_id: recognised.then_some(VisitorId(visitor_id)),
        session_id: recognised.then_some(SessionId(session_id)),
        visitor_cookie: cookie,
        attribution: columns.map(attribution).unwrap_or_default(),
        duplicate: true,
    }))
}

fn visitor(
    connection: &mut SqliteConnection,
    (project, cookie): &VisitorKey,
    since: Option<Timestamp>,
) -> Outcome<Option<KnownVisitor>> {
    let row: Option<(Vec<u8>, i64, i64)> = visitors::table
        .filter(visitors::project_id.eq(project.0.as_bytes().as_slice()))
        .filter(visitors::cookie.eq(cookie.as_str()))
        .select((visitors::visitor_id, visitors::version, visitors::first_seen_at))
        .first(connection)
        .optional()?;
    let Some((id, version, first_seen_at)) = row else { return Ok(None) };
    let id_read = Row::of("visitors", &id).uuid("visitor_id", &id)?;
    Ok(Some(KnownVisitor {
        id: VisitorId(id_read),
        version,
        first_seen_at: Timestamp::from_micros(first_seen_at),
        sessions: sessions_of(connection, &id, since)?,
        touches: bounded(touches_of(connection, &id)?),
    }))
}

/// A visitor's sessions with an event since that instant, and the latest, by their start.
fn sessions_of(
    connection: &mut SqliteConnection,
    visitor: &[u8],
    since: Option<Timestamp>,
) -> Outcome<Vec<KnownSession>> {
    type Columns = (Vec<u8>, i64, AttributionColumns);
    let columns = (
        sessions::session_id,
        sessions::started_at,
        (sessions::source, sessions::medium, sessions::campaign, sessions::channel),
    );
    let latest: Option<Columns> = sessions::table
        .filter(sessions::visitor_id.eq(visitor))
        .order((sessions::started_at.desc(), sessions::session_id.desc()))
        .select(columns)
        .first(connection)
        .optional()?;
    let Some(latest) = latest else { return Ok(Vec::new()) };
    let ends: Vec<(Vec<u8>, Option<i64>)> = events::table
        .filter(events::visitor_id.eq(visitor))
        .filter(events::occurred_at.ge(since.unwrap_or(Timestamp::MIN).micros()))
        .group_by(events::session_id)
        .select((events::session_id, max(events::occurred_at)))
        .load(connection)?;
    let mut ends: BTreeMap<Vec<u8>, i64> =
        ends.into_iter().filter_map(|(session, end)| Some((session, end?))).collect();
    let latest_end = match ends.remove(&latest.0) {
        Some(end) => end,
        None => last_event_of_session(connection, visitor, &latest.0, latest.1)?,
    };
    let mut rows = vec![(latest, latest_end)];
    for (session, end) in ends {
        let row: Option<Columns> =
            sessions::table.find(&session).select(columns).first(connection).optional()?;
        rows.extend(row.map(|row| (row, end)));
    }
    rows.sort_by(|((one, one_started, _), _), ((other, other_started, _), _)| {
        (one_started, one).cmp(&(other_started, other))
    });
    rows.drain(..rows.len().saturating_sub(SESSIONS_KNOWN_MAX));
    rows.into_iter()
        .map(|((id, started_at, columns), end)| {
            Ok(KnownSession {
                id: SessionId(Row::of("sessions", &id).uuid("session_id", &id)?),
                started_at: Timestamp::from_micros(started_at),
                last_event_at: Timestamp::from_micros(end),
                attribution: attribution(columns),
            })
        })
        .collect()
}

/// When a session's latest event occurred, in microseconds; its start where it has none.
pub(crate) fn last_event_of_session(
    connection: &mut SqliteConnection,
    visitor: &[u8],
    session: &[u8],
    started_at: i64,
) -> Outcome<i64> {
    let end: Option<i64> = events::table
        .filter(events::visitor_id.eq(visitor))
        .filter(events::occurred_at.ge(started_at))
        .filter(events::session_id.eq(session))
        .select(max(events::occurred_at))
        .first(connection)?;
    Ok(end.unwrap_or(started_at))
}

/// A visitor's touches: the latest, the first and the first that is not direct, in their order and each once.
fn touches_of(connection: &mut SqliteConnection, visitor: &[u8]) -> Outcome<Vec<Arc<Touch>>> {
    let most = i64::try_from(TOUCHES_KNOWN_MAX).unwrap_or(i64::MAX);
    let touches = touchpoints::table
        .filter(touchpoints::visitor_id.eq(visitor))
        .select((touchpoints::event_id, touchpoints::touch));
    let mut rows: Vec<(Vec<u8>, String)> = touches
        .order((touchpoints::at.desc(), touchpoints::event_id.desc(), touchpoints::pixel_id.desc()))
        .limit(most)
        .load(connection)?;
    rows.reverse();
    if rows.len() >= TOUCHES_KNOWN_MAX {
        let in_order = touches.order((touchpoints::at, touchpoints::event_id, touchpoints::pixel_id));
        let mut firsts: Vec<(Vec<u8>, String)> = in_order.limit(1).load(connection)?;
        firsts.extend(in_order.filter(touchpoints::kind.ne(TouchKind::Direct.as_str())).limit(1).load::<(
            Vec<u8>,
            String,
        )>(
            connection,
        )?);
        firsts.append(&mut rows);
        rows = firsts;
    }
    let touches: Result<Vec<_>, StoreError> =
        rows.iter().map(|(event, touch)| Ok(Arc::new(touch_of(event, touch)?))).collect();
    let mut touches = touches?;
    touches.sort_by(|one, other| one.key().cmp(&other.key()));
    touches.dedup_by(|one, other| one.key() == other.key());
    Ok(touches)
}

/// A touch as its row has it.
fn touch_of(event: &[u8], touch: &str) -> Result<Touch, StoreError> {
    Row::of("touchpoints", event).json("touch", touch)
}

/// Of touches in their order: the latest, the first and the first that is not direct.
fn bounded(touches: Vec<Arc<Touch>>) -> Vec<Arc<Touch>> {
    let beyond = touches.len().saturating_sub(TOUCHES_KNOWN_MAX);
    let first_non_direct = touches.iter().position(|touch| !touch.is_direct());
    touches
        .into_iter()
        .enumerate()
        .filter(|(place, _)| *place >= beyond || *place == 0 || Some(*place) == first_non_direct)
        .map(|(_, touch)| touch)
        .collect()
}

fn submission(connection: &mut SqliteConnection, key: &SubmissionKey) -> Outcome<Option<KnownSubmission>> {
    let row: Option<(Vec<u8>, i64, i64)> = submissions::table
        .filter(submissions::submission_key.eq(key.0.as_slice()))
        .order(submissions::count.desc())
        .select((submissions::lead_id, submissions::received_at, submissions::count))
        .first(connection)
        .optional()?;
    let Some((lead, received_at, count)) = row else { return Ok(None) };
    Ok(Some(KnownSubmission {
        lead_id: LeadId(Row::of("submissions", &lead).uuid("lead_id", &lead)?),
        received_at: Timestamp::from_micros(received_at),
        count,
    }))
}

fn person(
    connection: &mut SqliteConnection,
    (project, email_hash): &PersonKey,
) -> Outcome<Option<KnownPerson>> {
    let (project, email_hash) = (project.0.as_bytes().as_slice(), email_hash.0.as_slice());
    let ids: Vec<Vec<u8>> = identities::table
        .filter(identities::project_id.eq(project))
        .filter(identities::email_hash.eq(email_hash))
        .select(identities::visitor_id)
        .load(connection)?;
    let jobs = sync_jobs::table
        .filter(sync_jobs::project_id.eq(project))
        .filter(sync_jobs::email_hash.eq(email_hash));
    let last_sequence: Option<i64> = jobs.select(max(sync_jobs::sequence)).first(connection)?;
    if ids.is_empty() && last_sequence.is_none() {
        return Ok(None);
    }
    let waiting: Option<(Vec<u8>, String)> = jobs
        .filter(sync_jobs::status.eq(JobStatus::Pending.as_str()))
        .filter(sync_jobs::wanted.is_null())
        .filter(sync_jobs::sequence.eq(last_sequence.unwrap_or(0)))
        .select((sync_jobs::job_id, sync_jobs::account))
        .first(connection)
        .optional()?;
    let mut visitors = BTreeSet::new();
    let mut touches = Vec::new();
    for id in &ids {
        visitors.insert(VisitorId(Row::of("identities", id).uuid("visitor_id", id)?));
        touches.append(&mut touches_of(connection, id)?);
    }
    touches.sort_by(|one, other| one.key().cmp(&other.key()));
    Ok(Some(KnownPerson {
        visitors,
        touches: bounded(touches),
        waiting_job: waiting.map(|(id, account)| waiting_job(&id, &account)).transpose()?,
        last_sequence: last_sequence.unwrap_or(0),
    }))
}

fn waiting_job(id: &[u8], account: &str) -> Result<WaitingJob, StoreError> {
    let row = Row::of("sync_jobs", id);
    Ok(WaitingJob { id: SyncJobId(row.uuid("job_id", id)?), account: row.parse("account", account)? })
}
