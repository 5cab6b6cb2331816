use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Binary};
use diesel::sqlite::Sqlite;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::VisitorCookie;
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::sync::JobStatus;
use leadtrail_domain::touch::RULES_VERSION;
use leadtrail_domain::visit::{
    AssumedVisitor, Changes, Identity, JoinedJob, NewSession, NewSubmission, NewSyncJob, NewTouch,
    NewVisitor, WidenedSession,
};

use super::EventRow;
use crate::conversions::insert_conversion;
use crate::failure::{Failure, Outcome, is_unique_violation, json_text};
use crate::schema::{
    identities, leads, sessions, submissions, sync_jobs, touchpoints, tracking_events as events, visitors,
};

/// Makes all changes, or answers `Stale` for the first condition that does not hold: the explicit ones come first, as
/// they are about the state before this commit, then what is new, whose keys are conditions too.
///
/// Row by row: each statement is prepared once per connection, and in one process a statement is a function call.
pub(super) fn commit(connection: &mut SqliteConnection, changes: &Changes) -> Outcome<()> {
    match write(connection, changes) {
        Err(Failure::Database(error)) if is_unique_violation(&error) => {
            Err(Failure::Store(StoreError::Stale))
        }
        other => other,
    }
}

fn write(connection: &mut SqliteConnection, changes: &Changes) -> Outcome<()> {
    changes.assumed.iter().try_for_each(|assumed| assume(connection, assumed))?;
    changes.joined.iter().try_for_each(|joined| still_waits(connection, joined))?;
    changes.visitors.iter().try_for_each(|visitor| insert_visitor(connection, visitor))?;
    changes.sessions.iter().try_for_each(|session| insert_session(connection, session))?;
    changes.widened.iter().try_for_each(|widened| widen(connection, widened))?;
    changes.touches.iter().try_for_each(|touch| insert_touch(connection, touch))?;
    changes.events.iter().try_for_each(|event| insert_event(connection, event))?;
    changes.conversions.iter().try_for_each(|conversion| insert_conversion(connection, conversion))?;
    changes.leads.iter().try_for_each(|lead| insert_lead(connection, lead))?;
    changes.submissions.iter().try_for_each(|submission| insert_submission(connection, submission))?;
    changes.identities.iter().try_for_each(|identity| insert_identity(connection, identity))?;
    changes.jobs.iter().try_for_each(|job| insert_job(connection, job))
}

fn stale_unless(holds: bool) -> Outcome<()> {
    if holds { Ok(()) } else { Err(Failure::Store(StoreError::Stale)) }
}

fn assume(connection: &mut SqliteConnection, assumed: &AssumedVisitor) -> Outcome<()> {
    let id = assumed.id.0.as_bytes().as_slice();
    let version: Option<i64> = visitors::table
        .find(id)
        .filter(visitors::project_id.eq(assumed.project_id.0.as_bytes().as_slice()))
        .select(visitors::version)
        .first(connection)
        .optional()?;
    stale_unless(version == Some(assumed.version))?;
    if let Some(known) = assumed.no_event_after {
        let latest: Option<i64> = events::table
            .filter(events::visitor_id.eq(id))
            .order(events::occurred_at.desc())
            .select(events::occurred_at)
            .first(connection)
            .optional()?;
        stale_unless(latest.is_none_or(|latest| latest <= known.micros()))?;
    }
    if assumed.advances {
        Advance { visitor: id, version: assumed.version + 1 }.execute(connection)?;
    }
    Ok(())
}

/// Gives a visitor a version. Written out because diesel prepares each of its own updates anew.
struct Advance<'a> {
    visitor: &'a [u8],
    version: i64,
}

impl QueryId for Advance<'_> {
    type QueryId = Advance<'static>;

    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Sqlite> for Advance<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql("UPDATE visitors SET version = ");
        out.push_bind_param::<BigInt, _>(&self.version)?;
        out.push_sql(" WHERE visitor_id = ");
        out.push_bind_param::<Binary, _>(self.visitor)
    }
}

impl RunQueryDsl<SqliteConnection> for Advance<'_> {}

fn still_waits(connection: &mut SqliteConnection, joined: &JoinedJob) -> Outcome<()> {
    let waiting: Option<i64> = sync_jobs::table
        .find(joined.id.0.as_bytes().as_slice())
        .filter(sync_jobs::project_id.eq(joined.project_id.0.as_bytes().as_slice()))
        .filter(sync_jobs::status.eq(JobStatus::Pending.as_str()))
        .filter(sync_jobs::wanted.is_null())
        .select(sync_jobs::sequence)
        .first(connection)
        .optional()?;
    stale_unless(waiting.is_some())
}

fn insert_visitor(connection: &mut SqliteConnection, visitor: &NewVisitor) -> Outcome<()> {
    diesel::insert_into(visitors::table)
        .values((
            visitors::visitor_id.eq(visitor.id.0.as_bytes().as_slice()),
            visitors::project_id.eq(visitor.project_id.0.as_bytes().as_slice()),
            visitors::cookie.eq(visitor.name.cookie().map(VisitorCookie::as_str)),
            visitors::version.eq(visitor.version),
            visitors::first_seen_at.eq(visitor.first_seen_at.micros()),
        ))
        .execute(connection)?;
    Ok(())
}

fn insert_session(connection: &mut SqliteConnection, session: &NewSession) -> Outcome<()> {
    let opening = session.opening_event_id.uuid();
    diesel::insert_into(sessions::table)
        .values((
            sessions::session_id.eq(session.id.0.as_bytes().as_slice()),
            sessions::project_id.eq(session.project_id.0.as_bytes().as_slice()),
            sessions::visitor_id.eq(session.visitor_id.0.as_bytes().as_slice()),
            sessions::pixel_id.eq(session.pixel_id.as_str()),
            sessions::opening_event_id.eq(opening.as_bytes().as_slice()),
            sessions::started_at.eq(session.started_at.micros()),
            sessions::source.eq(session.attribution.source.as_deref()),
            sessions::medium.eq(session.attribution.medium.as_deref()),
            sessions::campaign.eq(session.attribution.campaign.as_deref()),
            sessions::channel.eq(session.attribution.channel.as_deref()),
            sessions::landing_page.eq(session.landing_page.as_str()),
        ))
        .execute(connection)?;
    Ok(())
}

fn widen(connection: &mut SqliteConnection, widened: &WidenedSession) -> Outcome<()> {
    let session = sessions::table
        .find(widened.id.0.as_bytes().as_slice())
        .filter(sessions::project_id.eq(widened.project_id.0.as_bytes().as_slice()));
    let found = diesel::update(session)
        .set(sessions::started_at.eq(widened.started_at.micros()))
        .execute(connection)?;
    stale_unless(found > 0)
}

pub(crate) fn insert_touch(connection: &mut SqliteConnection, new: &NewTouch) -> Outcome<()> {
    let touch = &new.touch;
    let event = touch.event_id.uuid();
    let attribution = touch.attribution();
    diesel::insert_into(touchpoints::table)
        .values((
            touchpoints::visitor_id.eq(new.visitor_id.0.as_bytes().as_slice()),
            touchpoints::at.eq(touch.at.micros()),
            touchpoints::event_id.eq(event.as_bytes().as_slice()),
            touchpoints::pixel_id.eq(touch.pixel_id.as_str()),
            touchpoints::project_id.eq(new.project_id.0.as_bytes().as_slice()),
            touchpoints::session_id.eq(touch.session_id.0.as_bytes().as_slice()),
            touchpoints::kind.eq(touch.kind.as_str()),
            touchpoints::source.eq(attribution.source),
            touchpoints::medium.eq(attribution.medium),
            touchpoints::campaign.eq(attribution.campaign),
            touchpoints::channel.eq(attribution.channel),
            touchpoints::touch.eq(json_text(touch)?),
            touchpoints::rules_version.eq(i64::from(touch.rules_version)),
        ))
        .execute(connection)?;
    Ok(())
}

fn insert_event(connection: &mut SqliteConnection, event: &StoredEvent) -> Outcome<()> {
    diesel::insert_into(events::table).values(EventRow::of(event)?).execute(connection)?;
    Ok(())
}

fn insert_lead(connection: &mut SqliteConnection, lead: &Lead) -> Outcome<()> {
    let event = lead.event_id.uuid();
    diesel::insert_into(leads::table)
        .values((
            leads::lead_id.eq(lead.id.0.as_bytes().as_slice()),
            leads::project_id.eq(lead.project_id.0.as_bytes().as_slice()),
            leads::pixel_id.eq(lead.pixel_id.as_str()),
            leads::event_id.eq(event.as_bytes().as_slice()),
            leads::visitor_id.eq(lead.visitor_id.0.as_bytes().as_slice()),
            leads::session_id.eq(lead.session_id.0.as_bytes().as_slice()),
            leads::job_id.eq(lead.job_id.as_ref().map(|id| id.0.as_bytes().as_slice())),
            leads::email.eq(lead.email.as_str()),
            leads::email_hash.eq(lead.email.hash().0.as_slice()),
            leads::first_name.eq(lead.first_name.as_deref()),
            leads::last_name.eq(lead.last_name.as_deref()),
            leads::occurred_at.eq(lead.occurred_at.micros()),
            leads::received_at.eq(lead.received_at.micros()),
            leads::touches.eq(json_text(&lead.touches)?),
            leads::session_touch.eq(lead.session_touch.as_ref().map(json_text).transpose()?),
            leads::rules_version.eq(i64::from(RULES_VERSION)),
        ))
        .execute(connection)?;
    Ok(())
}

fn insert_submission(connection: &mut SqliteConnection, submission: &NewSubmission) -> Outcome<()> {
    diesel::insert_into(submissions::table)
        .values((
            submissions::submission_key.eq(submission.key.0.as_slice()),
            submissions::count.eq(submission.count),
            submissions::project_id.eq(submission.project_id.0.as_bytes().as_slice()),
            submissions::lead_id.eq(submission.lead_id.0.as_bytes().as_slice()),
            submissions::received_at.eq(submission.received_at.micros()),
        ))
        .execute(connection)?;
    Ok(())
}

fn insert_identity(connection: &mut SqliteConnection, identity: &Identity) -> Outcome<()> {
    diesel::insert_into(identities::table)
        .values((
            identities::project_id.eq(identity.project_id.0.as_bytes().as_slice()),
            identities::email_hash.eq(identity.email_hash.0.as_slice()),
            identities::visitor_id.eq(identity.visitor_id.0.as_bytes().as_slice()),
            identities::at.eq(identity.at.micros()),
        ))
        .on_conflict_do_nothing()
        .execute(connection)?;
    Ok(())
}

fn insert_job(connection: &mut SqliteConnection, job: &NewSyncJob) -> Outcome<()> {
    diesel::insert_into(sync_jobs::table)
        .values((
            sync_jobs::job_id.eq(job.id.0.as_bytes().as_slice()),
            sync_jobs::project_id.eq(job.project_id.0.as_bytes().as_slice()),
            sync_jobs::account.eq(job.account.as_str()),
            sync_jobs::lead_id.eq(job.lead_id.0.as_bytes().as_slice()),
            sync_jobs::email_hash.eq(job.email_hash.0.as_slice()),
            sync_jobs::sequence.eq(job.sequence),
            sync_jobs::created_at.eq(job.created_at.micros()),
            sync_jobs::due_at.eq(job.due_at.micros()),
            sync_jobs::status.eq(JobStatus::Pending.as_str()),
            sync_jobs::looks.eq(0),
            sync_jobs::failures.eq(0),
            sync_jobs::persons.eq("[]"),
            sync_jobs::lease_number.eq(0),
        ))
        .execute(connection)?;
    Ok(())
}
