//! The load: one statement, so that its answer is one consistent state.

use std::collections::BTreeSet;
use std::sync::Arc;

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text as TextSql};
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::id::{EventId, LeadId, SessionId, Slug, SyncJobId, VisitorCookie, VisitorId};
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::{Attribution, Touch};
use leadtrail_domain::visit::{
    Answer, EventKey, Known, KnownPerson, KnownSession, KnownSubmission, KnownVisitor, PersonKey, VisitQuery,
    VisitorKey, WaitingJob,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::PostgresStore;
use crate::column::Columns;
use crate::statement::{Statement, Text};

// Each part answers with one JSON array, in which a key is told by its place in the question. Instants are microseconds
// since 1970.

macro_rules! micros_sql {
    ($at:literal) => {
        concat!("(extract(epoch FROM ", $at, ") * 1000000)::bigint")
    };
}

// `IS NOT DISTINCT FROM` keeps the planner from the index on (pixel_id, occurred_at): the plan is made once, on a fresh
// store without statistics, where every index looks the same and that one would walk all events of the pixel.
macro_rules! events_sql {
    () => {
        "SELECT (
            SELECT json_agg(json_build_array(
                q.n, e.visitor_id, e.session_id, v.cookie, s.source, s.medium, s.campaign, s.channel))
            FROM UNNEST({}, {}, {}) WITH ORDINALITY AS q (event_id, pixel_id, partition_at, n)
            JOIN tracking_events e
                ON e.event_id = q.event_id AND e.pixel_id IS NOT DISTINCT FROM q.pixel_id AND e.partition_at = q.partition_at
            JOIN visitors v ON v.visitor_id = e.visitor_id
            JOIN sessions s ON s.session_id = e.session_id
        )::text"
    };
}

// The sessions asked for are those with an event since then, whose index entries are the latest of the visitor; an
// older one is looked at only where it is the visitor's latest.
macro_rules! visitors_sql {
    () => {
        concat!(
            ", (
                SELECT json_agg(json_build_object(
                    'n', q.n, 'id', v.visitor_id, 'version', v.version,
                    'first_seen_at', ",
            micros_sql!("v.first_seen_at"),
            ",
                    'sessions', (
                        SELECT json_agg(json_build_array(k.session_id, ",
            micros_sql!("k.started_at"),
            ", ",
            micros_sql!("k.last_event_at"),
            ", k.source, k.medium, k.campaign, k.channel) ORDER BY k.started_at, k.session_id)
                        FROM (
                            SELECT s.session_id, s.started_at, s.source, s.medium, s.campaign, s.channel,
                                coalesce(recent.last_event_at, (
                                    SELECT max(e.occurred_at) FROM tracking_events e
                                    WHERE e.visitor_id = s.visitor_id AND e.session_id = s.session_id
                                ), s.started_at) AS last_event_at
                            FROM sessions s
                            LEFT JOIN (
                                SELECT e.session_id, max(e.occurred_at) AS last_event_at
                                FROM tracking_events e
                                WHERE e.visitor_id = v.visitor_id AND e.occurred_at >= since.at
                                GROUP BY e.session_id
                            ) recent ON recent.session_id = s.session_id
                            WHERE s.visitor_id = v.visitor_id
                                AND (recent.session_id IS NOT NULL OR s.session_id = (
                                    SELECT l.session_id FROM sessions l WHERE l.visitor_id = v.visitor_id
                                    ORDER BY l.started_at DESC, l.session_id DESC LIMIT 1
                                ))
                            ORDER BY s.started_at DESC, s.session_id DESC
                            LIMIT 200
                        ) k
                    ),
                    'touches', (
                        SELECT json_agg(t.touch ORDER BY t.at, t.event_id, t.pixel_id)
                        FROM (
                            SELECT DISTINCT ON (u.at, u.event_id, u.pixel_id) u.at, u.event_id, u.pixel_id, u.touch
                            FROM (
                                (SELECT at, event_id, pixel_id, touch FROM touchpoints WHERE visitor_id = v.visitor_id
                                 ORDER BY at DESC, event_id DESC, pixel_id DESC LIMIT 64)
                                UNION ALL
                                (SELECT at, event_id, pixel_id, touch FROM touchpoints WHERE visitor_id = v.visitor_id
                                 ORDER BY at, event_id, pixel_id LIMIT 1)
                                UNION ALL
                                (SELECT at, event_id, pixel_id, touch FROM touchpoints
                                 WHERE visitor_id = v.visitor_id AND kind <> 'direct'
                                 ORDER BY at, event_id, pixel_id LIMIT 1)
                            ) u
                        ) t
                    )
                ))
                FROM (SELECT coalesce({}, '-infinity') AS at) since
                CROSS JOIN UNNEST({}, {}) WITH ORDINALITY AS q (project_id, cookie, n)
                JOIN visitors v ON v.project_id = q.project_id AND v.cookie = q.cookie
            )::text"
        )
    };
}

macro_rules! people_sql {
    () => {
        concat!(
            ", (
                SELECT json_agg(json_build_array(q.n, k.lead_id, ",
            micros_sql!("k.received_at"),
            ", k.count))
                FROM UNNEST({}) WITH ORDINALITY AS q (submission_key, n)
                CROSS JOIN LATERAL (
                    SELECT s.lead_id, s.received_at, s.count FROM submissions s
                    WHERE s.submission_key = q.submission_key ORDER BY s.count DESC LIMIT 1
                ) k
            )::text, (
                SELECT json_agg(json_build_object(
                    'n', q.n,
                    'visitors', (
                        SELECT json_agg(i.visitor_id) FROM identities i
                        WHERE i.project_id = q.project_id AND i.email_hash = q.email_hash
                    ),
                    'touches', (
                        SELECT json_agg(t.touch ORDER BY t.at, t.event_id, t.pixel_id, t.visitor_id)
                        FROM (
                            SELECT DISTINCT ON (u.at, u.event_id, u.pixel_id, u.visitor_id)
                                u.at, u.event_id, u.pixel_id, u.visitor_id, u.touch
                            FROM (
                                (SELECT t.at, t.event_id, t.pixel_id, t.visitor_id, t.touch
                                 FROM identities i JOIN touchpoints t ON t.visitor_id = i.visitor_id
                                 WHERE i.project_id = q.project_id AND i.email_hash = q.email_hash
                                 ORDER BY t.at DESC, t.event_id DESC, t.pixel_id DESC, t.visitor_id DESC LIMIT 64)
                                UNION ALL
                                (SELECT t.at, t.event_id, t.pixel_id, t.visitor_id, t.touch
                                 FROM identities i JOIN touchpoints t ON t.visitor_id = i.visitor_id
                                 WHERE i.project_id = q.project_id AND i.email_hash = q.email_hash
                                 ORDER BY t.at, t.event_id, t.pixel_id, t.visitor_id LIMIT 1)
                                UNION ALL
                                (SELECT t.at, t.event_id, t.pixel_id, t.visitor_id, t.touch
                                 FROM identities i JOIN touchpoints t ON t.visitor_id = i.visitor_id
                                 WHERE i.project_id = q.project_id AND i.email_hash = q.email_hash AND t.kind <> 'direct'
                                 ORDER BY t.at, t.event_id, t.pixel_id, t.visitor_id LIMIT 1)
                            ) u
                        ) t
                    ),
                    'waiting_job', (
                        SELECT json_build_object('id', l.job_id, 'account', l.account)
                        FROM (
                            SELECT j.job_id, j.account, j.status, j.wanted FROM sync_jobs j
                            WHERE j.project_id = q.project_id AND j.email_hash = q.email_hash
                            ORDER BY j.sequence DESC LIMIT 1
                        ) l
                        WHERE l.status = 'pending' AND l.wanted IS NULL
                    ),
                    'last_sequence', (
                        SELECT max(j.sequence) FROM sync_jobs j
                        WHERE j.project_id = q.project_id AND j.email_hash = q.email_hash
                    )
                ))
                FROM UNNEST({}, {}) WITH ORDINALITY AS q (project_id, email_hash, n)
            )::text"
        )
    };
}

type JsonColumn = Nullable<TextSql>;

/// Whether events are stored: all that is asked when a cache knows the visitors.
struct LoadEvents;

impl Text for LoadEvents {
    const SQL: &'static str = events_sql!();
    type Row = JsonColumn;
}

/// The same, and their visitors.
struct LoadVisitors;

impl Text for LoadVisitors {
    const SQL: &'static str = concat!(events_sql!(), visitors_sql!());
    type Row = (JsonColumn, JsonColumn);
}

/// The same, and submissions and people: for batches with a form in them.
struct LoadAll;

impl Text for LoadAll {
    const SQL: &'static str = concat!(events_sql!(), visitors_sql!(), people_sql!());
    type Row = (JsonColumn, JsonColumn, JsonColumn, JsonColumn);
}

pub(super) async fn load(store: &PostgresStore, query: &VisitQuery) -> Result<Known, StoreError> {
    let mut columns = Columns::default();
    columns.uuids(query.events.iter().map(|(_, event)| event.uuid()));
    columns.texts(query.events.iter().map(|(pixel, _)| pixel.as_str()));
    columns.instants(query.events.iter().map(|(_, event)| event.partition_at()));
    let asks_for_people = !(query.submissions.is_empty() && query.people.is_empty());
    if query.visitors.is_empty() && !asks_for_people {
        if query.events.is_empty() {
            return Ok(Known::default());
        }
        let statement = Statement::<LoadEvents>::new(columns.finish()?);
        let events: Option<String> =
            store.ask(move |connection| Ok((&statement).get_result(connection)?)).await?;
        return known(query, [events, None, None, None]);
    }
    columns.optional_instant(query.sessions_since);
    columns.uuids(query.visitors.keys().map(|(project, _)| project.0));
    columns.texts(query.visitors.keys().map(|(_, cookie)| cookie.as_str()));
    if !asks_for_people {
        let statement = Statement::<LoadVisitors>::new(columns.finish()?);
        let (events, visitors): (Option<String>, Option<String>) =
            store.ask(move |connection| Ok((&statement).get_result(connection)?)).await?;
        return known(query, [events, visitors, None, None]);
    }
    columns.hashes(query.submissions.iter().map(|key| &key.0));
    columns.uuids(query.people.iter().map(|(project, _)| project.0));
    columns.hashes(query.people.iter().map(|(_, EmailHash(hash))| hash));
    let statement = Statement::<LoadAll>::new(columns.finish()?);
    let (events, visitors, submissions, people): (
        Option<String>,
        Option<String>,
        Option<String>,
        Option<String>,
    ) = store.ask(move |connection| Ok((&statement).get_result(connection)?)).await?;
    known(query, [events, visitors, submissions, people])
}

/// Place in the question from 1, visitor, session, cookie, and the four of the session's attribution.
type EventAnswer = (
    usize,
    Uuid,
    Uuid,
    Option<VisitorCookie>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// Id, start, latest event, and the four of the attribution.
type SessionAnswer = (Uuid, i64, i64, Option<String>, Option<String>, Option<String>, Option<String>);

/// Place in the question, lead, arrival, count.
type SubmissionAnswer = (usize, Uuid, i64, i64);

#[derive(Deserialize)]
struct VisitorAnswer {
    n: usize,
    id: Uuid,
    version: i64,
    first_seen_at: i64,
    sessions: Option<Vec<SessionAnswer>>,
    touches: Option<Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
struct WaitingAnswer {
    id: SyncJobId,
    account: Slug,
}

#[derive(Deserialize)]
struct PersonAnswer {
    n: usize,
    visitors: Option<BTreeSet<VisitorId>>,
    touches: Option<Vec<Box<RawValue>>>,
    waiting_job: Option<WaitingAnswer>,
    last_sequence: Option<i64>,
}

fn known(
    query: &VisitQuery,
    [events, visitors, submissions, people]: [Option<String>; 4],
) -> Result<Known, StoreError> {
    let mut known = Known::default();
    let keys: Vec<&EventKey> = query.events.iter().collect();
    for answer in answers::<EventAnswer>(events, "tracking_events")? {
        let (key, answer) = event_answer(&keys, answer)?;
        known.events.insert(key, answer);
    }
    let keys: Vec<&VisitorKey> = query.visitors.keys().collect();
    for answer in answers::<VisitorAnswer>(visitors, "visitors")? {
        let key = asked(&keys, answer.n, "visitors")?.clone();
        known.visitors.insert(key, Arc::new(known_visitor(answer)?));
    }
    let keys: Vec<_> = query.submissions.iter().collect();
    for (n, lead, received_at, count) in answers::<SubmissionAnswer>(submissions, "submissions")? {
        let submission = KnownSubmission {
            lead_id: LeadId(lead),
            received_at: Timestamp::from_micros(received_at),
            count,
        };
        known.submissions.insert(*asked(&keys, n, "submissions")?, submission);
    }
    let keys: Vec<&PersonKey> = query.people.iter().collect();
    for answer in answers::<PersonAnswer>(people, "identities")? {
        let key = *asked(&keys, answer.n, "identities")?;
        let person = KnownPerson {
            touches: touches(answer.touches, answer.n)?,
            visitors: answer.visitors.unwrap_or_default(),
            waiting_job: answer.waiting_job.map(|WaitingAnswer { id, account }| WaitingJob { id, account }),
            last_sequence: answer.last_sequence.unwrap_or(0),
        };
        if person != KnownPerson::default() {
            known.people.insert(key, person);
        }
    }
    Ok(known)
}

fn event_answer(keys: &[&EventKey], answer: EventAnswer) -> Result<(EventKey, Answer), StoreError> {
    let (n, visitor, session, cookie, source, medium, campaign, channel) = answer;
    let key: EventKey = asked(keys, n, "tracking_events")?.clone();
    let event_id: EventId = key.1;
    let is_recognised = cookie.is_some();
    let answer = Answer {
        event_id,
        visitor_id: is_recognised.then_some(VisitorId(visitor)),
        session_id: is_recognised.then_some(SessionId(session)),
        visitor_cookie: cookie,
        attribution: Attribution { source, medium, campaign, channel },
        duplicate: true,
    };
    Ok((key, answer))
}

fn known_visitor(answer: VisitorAnswer) -> Result<KnownVisitor, StoreError> {
    let sessions = answer.sessions.unwrap_or_default().into_iter();
    Ok(KnownVisitor {
        id: VisitorId(answer.id),
        version: answer.version,
        first_seen_at: Timestamp::from_micros(answer.first_seen_at),
        sessions: sessions
            .map(|(id, started_at, last_event_at, source, medium, campaign, channel)| KnownSession {
                id: SessionId(id),
                started_at: Timestamp::from_micros(started_at),
                last_event_at: Timestamp::from_micros(last_event_at),
                attribution: Attribution { source, medium, campaign, channel },
            })
            .collect(),
        touches: touches(answer.touches, answer.id)?,
    })
}

fn answers<T: DeserializeOwned>(json: Option<String>, table: &'static str) -> Result<Vec<T>, StoreError> {
    let Some(json) = json else { return Ok(Vec::new()) };
    // What serde_json says of it may quote what is stored: only the place is told.
    serde_json::from_str(&json).map_err(|quoting| StoreError::Corrupt {
        table,
        column: "*",
        id: format!("at byte {} of the answer", quoting.column()),
    })
}

/// The key at a place of the question, counted from 1.
fn asked<'a, K>(keys: &[&'a K], n: usize, table: &'static str) -> Result<&'a K, StoreError> {
    let key = n.checked_sub(1).and_then(|place| keys.get(place));
    key.copied().ok_or_else(|| StoreError::Corrupt { table, column: "*", id: n.to_string() })
}

fn touches(
    stored: Option<Vec<Box<RawValue>>>,
    owner: impl ToString + Copy,
) -> Result<Vec<Arc<Touch>>, StoreError> {
    let parse = |touch: &RawValue| {
        serde_json::from_str(touch.get()).map(Arc::new).map_err(|_unreadable| StoreError::Corrupt {
            table: "touchpoints",
            column: "touch",
            id: owner.to_string(),
        })
    };
    stored.unwrap_or_default().iter().map(|touch| parse(touch)).collect()
}
