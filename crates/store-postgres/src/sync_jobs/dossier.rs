//! Everything a claimed job is built from.

use diesel::dsl::{max, min};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text as TextSql, Uuid as UuidSql};
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::sync::{Dossier, Lease, SessionSpan};
use uuid::Uuid;

use super::{JobRow, held, newest_lead};
use crate::column::{At, ranged};
use crate::error::Failure;
use crate::lead_row::LeadRow;
use crate::schema::{identities, leads, sessions, tracking_events, visitors};
use crate::statement::{Statement, Text, bind};
use crate::visits::event_row::EventRow;

/// How many visited pages a dossier has at most.
const VISITED_PAGES_MAX: i64 = 1_000;

/// Each address once, at its latest view.
struct VisitedPages;

impl Text for VisitedPages {
    const SQL: &'static str = "SELECT page_url FROM tracking_events
        WHERE visitor_id = {} AND event_type = 'pageview'
        GROUP BY page_url ORDER BY max(occurred_at) DESC, page_url LIMIT {}";
    type Row = TextSql;
}

/// Reads it from one consistent state.
pub(super) fn read(connection: &mut PgConnection, lease: &Lease) -> Result<Dossier, Failure> {
    connection.build_transaction().read_only().repeatable_read().run(|connection| collect(connection, lease))
}

fn collect(connection: &mut PgConnection, lease: &Lease) -> Result<Dossier, Failure> {
    let missing = |table, column, id: Uuid| StoreError::Corrupt { table, column, id: id.to_string() };
    let job =
        held(lease).select(JobRow::as_select()).first(connection).optional()?.ok_or(StoreError::LeaseLost)?;
    let newest = newest_lead(connection, job.job_id)?;
    let newest = newest.ok_or_else(|| missing("sync_jobs", "lead_id", job.job_id))?;
    let lead = leads::table.find(newest).select(LeadRow::as_select()).first(connection)?.lead()?;
    let visitor = lead.visitor_id.0;

    let event = tracking_events::table
        .inner_join(visitors::table)
        .filter(tracking_events::event_id.eq(lead.event_id.uuid()))
        .filter(tracking_events::pixel_id.eq(lead.pixel_id.as_str()))
        .filter(tracking_events::partition_at.eq(At(lead.event_id.partition_at())))
        .select((EventRow::as_select(), visitors::cookie))
        .first::<(EventRow, Option<String>)>(connection)
        .optional()?;
    let (event, cookie) = event.ok_or_else(|| missing("leads", "event_id", newest))?;

    let session =
        sessions::table.find(lead.session_id.0).select(sessions::started_at).first(connection).optional()?;
    let At(started_at) = session.ok_or_else(|| missing("leads", "session_id", newest))?;
    let of_visitor = tracking_events::table.filter(tracking_events::visitor_id.eq(visitor));
    let last_event_at: Option<At> = of_visitor
        .filter(tracking_events::session_id.eq(lead.session_id.0))
        .select(max(tracking_events::occurred_at))
        .first(connection)?;
    let last_seen_at: Option<At> = of_visitor.select(max(tracking_events::occurred_at)).first(connection)?;

    let same_person = identities::table
        .filter(identities::project_id.eq(job.project_id))
        .filter(identities::email_hash.eq(&job.email_hash))
        .select(identities::visitor_id);
    let mut people: Vec<Uuid> = same_person.load(connection)?;
    people.push(visitor);
    let first_seen_at: Option<At> = visitors::table
        .filter(visitors::visitor_id.eq_any(people))
        .select(min(visitors::first_seen_at))
        .first(connection)?;

    let visited_pages = Statement::<VisitedPages>::new(vec![
        bind::<UuidSql, _>(visitor),
        bind::<BigInt, _>(VISITED_PAGES_MAX),
    ]);
    let visit_count: i64 =
        sessions::table.filter(sessions::visitor_id.eq(visitor)).count().get_result(connection)?;
    let lead_count: i64 = leads::table
        .filter(leads::project_id.eq(job.project_id))
        .filter(leads::email_hash.eq(&job.email_hash))
        .count()
        .get_result(connection)?;
    Ok(Dossier {
        session: SessionSpan { started_at, last_event_at: last_event_at.map_or(started_at, |at| at.0) },
        first_seen_at: first_seen_at.map_or(started_at, |at| at.0),
        last_seen_at: last_seen_at.map_or(lead.occurred_at, |at| at.0),
        visited_pages: visited_pages.load(connection)?,
        visit_count: ranged(visit_count, "sessions", "visitor_id", visitor)?,
        lead_count: ranged(lead_count, "leads", "email_hash", newest)?,
        event: event.stored(cookie)?,
        lead,
    })
}
