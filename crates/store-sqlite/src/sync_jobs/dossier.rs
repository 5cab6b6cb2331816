use std::collections::BTreeSet;

use diesel::dsl::{count_star, max, min};
use diesel::prelude::*;
use leadtrail_domain::event::EventKind;
use leadtrail_domain::lead::Lead;
use leadtrail_domain::sync::{Dossier, Lease, SessionSpan};
use leadtrail_domain::time::Timestamp;

use crate::failure::Outcome;
use crate::lead_row::LeadRow;
use crate::row::Row;
use crate::schema::{identities, leads, sessions, tracking_events as events, visitors};
use crate::visits::{event, last_event_of_session};

/// How many pages a dossier has at most.
const VISITED_PAGES_MAX: usize = 1_000;

/// The job's lead that arrived last.
pub(super) fn newest_lead(connection: &mut SqliteConnection, lease: &Lease) -> Outcome<Option<Lead>> {
    let row = leads::table
        .filter(leads::job_id.eq(lease.job_id.0.as_bytes().as_slice()))
        .order((leads::received_at.desc(), leads::lead_id.desc()))
        .select(LeadRow::as_select())
        .first(connection)
        .optional()?;
    Ok(row.map(LeadRow::read).transpose()?)
}

pub(super) fn dossier(
    connection: &mut SqliteConnection,
    lease: &Lease,
    email_hash: &[u8],
) -> Outcome<Dossier> {
    let job = Row::of("sync_jobs", lease.job_id.0.as_bytes());
    let lead = newest_lead(connection, lease)?.ok_or_else(|| job.corrupt("lead_id"))?;
    let row = Row::of("leads", lead.id.0.as_bytes());
    let event = event(connection, lead.project_id, &lead.pixel_id, lead.event_id)?
        .ok_or_else(|| row.corrupt("event_id"))?;
    let visitor = lead.visitor_id.0.as_bytes().as_slice();
    let project = lead.project_id.0.as_bytes().as_slice();
    let last_seen_at: Option<i64> = events::table
        .filter(events::visitor_id.eq(visitor))
        .select(max(events::occurred_at))
        .first(connection)?;
    let visit_count: i64 =
        sessions::table.filter(sessions::visitor_id.eq(visitor)).select(count_star()).first(connection)?;
    let lead_count: i64 = leads::table
        .filter(leads::project_id.eq(project).and(leads::email_hash.eq(email_hash)))
        .select(count_star())
        .first(connection)?;
    Ok(Dossier {
        session: session_span(connection, &lead)?,
        first_seen_at: first_seen_at(connection, project, email_hash, visitor)?
            .ok_or_else(|| row.corrupt("visitor_id"))?,
        last_seen_at: last_seen_at.map_or(lead.occurred_at, Timestamp::from_micros),
        visited_pages: visited_pages(connection, visitor)?,
        visit_count: row.count("visitor_id", visit_count)?,
        lead_count: row.count("email_hash", lead_count)?,
        lead,
        event,
    })
}

fn session_span(connection: &mut SqliteConnection, lead: &Lead) -> Outcome<SessionSpan> {
    let session = lead.session_id.0.as_bytes().as_slice();
    let started_at: Option<i64> =
        sessions::table.find(session).select(sessions::started_at).first(connection).optional()?;
    let started_at =
        started_at.ok_or_else(|| Row::of("leads", lead.id.0.as_bytes()).corrupt("session_id"))?;
    let end = last_event_of_session(connection, lead.visitor_id.0.as_bytes(), session, started_at)?;
    Ok(SessionSpan {
        started_at: Timestamp::from_micros(started_at),
        last_event_at: Timestamp::from_micros(end),
    })
}

/// When the first of the person's visitors was first seen.
fn first_seen_at(
    connection: &mut SqliteConnection,
    project: &[u8],
    email_hash: &[u8],
    visitor: &[u8],
) -> Outcome<Option<Timestamp>> {
    let own: Option<i64> =
        visitors::table.find(visitor).select(visitors::first_seen_at).first(connection).optional()?;
    let any: Option<i64> = identities::table
        .inner_join(visitors::table.on(visitors::visitor_id.eq(identities::visitor_id)))
        .filter(identities::project_id.eq(project).and(identities::email_hash.eq(email_hash)))
        .select(min(visitors::first_seen_at))
        .first(connection)?;
    Ok(own.into_iter().chain(any).min().map(Timestamp::from_micros))
}

/// The visitor's pages, newest first, each once. Read along the index until there are enough.
fn visited_pages(connection: &mut SqliteConnection, visitor: &[u8]) -> Outcome<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut pages = Vec::new();
    let views = events::table
        .filter(events::visitor_id.eq(visitor))
        .filter(events::event_type.eq(EventKind::Pageview.as_str()))
        .order((events::occurred_at.desc(), events::event_id.desc()))
        .select(events::page_url)
        .load_iter::<String, _>(connection)?;
    for page in views {
        let page = page?;
        if seen.insert(page.clone()) {
            pages.push(page);
        }
        if pages.len() == VISITED_PAGES_MAX {
            break;
        }
    }
    Ok(pages)
}
