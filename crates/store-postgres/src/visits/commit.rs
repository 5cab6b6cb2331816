//! The commit: one statement, one round trip, one transaction.

use std::collections::BTreeSet;

use diesel::prelude::*;
use diesel::sql_types::Bool;
use leadtrail_domain::id::{ProjectId, SyncJobId, VisitorCookie};
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::touch::RULES_VERSION;
use leadtrail_domain::visit::Changes;

use super::event_row::{self, event_columns, event_placeholders};
use crate::PostgresStore;
use crate::column::Columns;
use crate::statement::{Statement, Text};

// `IS NOT DISTINCT FROM` keeps the planner from the index on (project_id, cookie), which would walk a whole project: see
// the load.
//
// Rows that are assumed to be as they were are locked in the order of their keys before anything depends on them. A
// concurrent commit that changed one makes the condition fail on the row as it is now, not as the snapshot has it. The
// later event that `no_event_after` asks about cannot be found so: a commit that adds one changes no row of ours. It
// locks its visitor too, though, so that whoever comes second sees the first's events in `leadtrail_event_after`,
// which looks after the locks were granted.
macro_rules! visits_sql {
    () => {
        concat!(
            "WITH assumed AS MATERIALIZED (
                SELECT v.visitor_id, a.advances, a.no_event_after
                FROM UNNEST({}, {}, {}, {}, {}) AS a (visitor_id, project_id, version, advances, no_event_after)
                JOIN visitors v ON v.visitor_id = a.visitor_id
                WHERE v.project_id IS NOT DISTINCT FROM a.project_id AND v.version = a.version
                ORDER BY v.visitor_id
                FOR NO KEY UPDATE OF v
            ), advanced AS (
                UPDATE visitors v SET version = v.version + 1
                FROM assumed a WHERE v.visitor_id = a.visitor_id AND a.advances
            ), widened AS (
                UPDATE sessions s SET started_at = w.started_at
                FROM UNNEST({}, {}, {}) AS w (session_id, project_id, started_at)
                WHERE s.session_id = w.session_id AND s.project_id = w.project_id
                RETURNING s.session_id
            ), new_visitors AS (
                INSERT INTO visitors (visitor_id, project_id, cookie, version, first_seen_at)
                SELECT * FROM UNNEST({}, {}, {}, {}, {})
            ), new_sessions AS (
                INSERT INTO sessions (session_id, project_id, visitor_id, pixel_id, opening_event_id, started_at,
                    source, medium, campaign, channel, landing_page)
                SELECT * FROM UNNEST({}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
            ), new_touchpoints AS (
                INSERT INTO touchpoints (visitor_id, at, event_id, pixel_id, project_id, session_id, kind,
                    source, medium, campaign, channel, touch, rules_version)
                SELECT * FROM UNNEST({}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
            ), new_events AS (
                INSERT INTO tracking_events (",
            event_columns!(),
            ") SELECT * FROM UNNEST(",
            event_placeholders!(),
            "))"
        )
    };
}

macro_rules! require_sql {
    ($further:literal) => {
        concat!(
            " SELECT leadtrail_require(
                (SELECT count(*) FROM assumed) = {}
                AND (SELECT count(*) FROM widened) = {}",
            $further,
            " AND (
                    SELECT leadtrail_event_after(array_agg(visitor_id), array_agg(no_event_after))
                    FROM assumed WHERE no_event_after IS NOT NULL
                ) IS NOT TRUE)"
        )
    };
}

/// Page views and the like: most commits.
struct CommitVisits;

impl Text for CommitVisits {
    const SQL: &'static str = concat!(visits_sql!(), require_sql!(""));
    type Row = Bool;
}

/// The same with conversions, leads, and what they bring.
struct CommitOutcomes;

impl Text for CommitOutcomes {
    const SQL: &'static str = concat!(
        visits_sql!(),
        ", joined AS MATERIALIZED (
            SELECT j.job_id
            FROM UNNEST({}, {}) AS w (job_id, project_id)
            JOIN sync_jobs j ON j.job_id = w.job_id
            WHERE j.project_id = w.project_id AND j.status = 'pending' AND j.wanted IS NULL
            ORDER BY j.job_id
            FOR NO KEY UPDATE OF j
        ), new_conversions AS (
            INSERT INTO conversions (project_id, conversion_id, name, pixel_id, event_id, visitor_id, session_id,
                occurred_at, value, touches, rules_version)
            SELECT * FROM UNNEST({}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
        ), new_leads AS (
            INSERT INTO leads (lead_id, project_id, pixel_id, event_id, visitor_id, session_id, job_id, email, email_hash,
                first_name, last_name, occurred_at, received_at, touches, session_touch, rules_version)
            SELECT * FROM UNNEST({}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})
        ), new_submissions AS (
            INSERT INTO submissions (submission_key, count, project_id, lead_id, received_at)
            SELECT * FROM UNNEST({}, {}, {}, {}, {})
        ), new_identities AS (
            INSERT INTO identities (project_id, email_hash, visitor_id, at)
            SELECT * FROM UNNEST({}, {}, {}, {})
            ON CONFLICT DO NOTHING
        ), new_jobs AS (
            INSERT INTO sync_jobs (job_id, project_id, account, lead_id, email_hash, sequence, created_at, due_at)
            SELECT * FROM UNNEST({}, {}, {}, {}, {}, {}, {}, {})
        )",
        require_sql!(" AND (SELECT count(*) FROM joined) = {}")
    );
    type Row = Bool;
}

pub(super) async fn commit(store: &PostgresStore, changes: &Changes) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut columns = Columns::default();
    push_visits(&mut columns, changes);
    let has_outcomes = !(changes.conversions.is_empty()
        && changes.leads.is_empty()
        && changes.submissions.is_empty()
        && changes.identities.is_empty()
        && changes.jobs.is_empty()
        && changes.joined.is_empty());
    if has_outcomes {
        let joined: BTreeSet<_> = changes.joined.iter().map(|join| (join.id, join.project_id)).collect();
        push_outcomes(&mut columns, changes, &joined);
        push_counts(&mut columns, changes);
        columns.count(joined.len());
        execute::<CommitOutcomes>(store, columns).await
    } else {
        push_counts(&mut columns, changes);
        execute::<CommitVisits>(store, columns).await
    }
}

async fn execute<T: Text>(store: &PostgresStore, columns: Columns) -> Result<(), StoreError> {
    let statement = Statement::<T>::new(columns.finish()?);
    store
        .write(move |connection| {
            statement.execute(connection)?;
            Ok(())
        })
        .await
}

fn push_visits(columns: &mut Columns, changes: &Changes) {
    let assumed = &changes.assumed;
    columns.uuids(assumed.iter().map(|a| a.id.0));
    columns.uuids(assumed.iter().map(|a| a.project_id.0));
    columns.big_ints(assumed.iter().map(|a| a.version));
    columns.bools(assumed.iter().map(|a| a.advances));
    columns.optional_instants(assumed.iter().map(|a| a.no_event_after));

    let widened = &changes.widened;
    columns.uuids(widened.iter().map(|w| w.id.0));
    columns.uuids(widened.iter().map(|w| w.project_id.0));
    columns.instants(widened.iter().map(|w| w.started_at));

    let visitors = &changes.visitors;
    columns.uuids(visitors.iter().map(|v| v.id.0));
    columns.uuids(visitors.iter().map(|v| v.project_id.0));
    columns.optional_texts(visitors.iter().map(|v| v.name.cookie().map(VisitorCookie::as_str)));
    columns.big_ints(visitors.iter().map(|v| v.version));
    columns.instants(visitors.iter().map(|v| v.first_seen_at));

    let sessions = &changes.sessions;
    columns.uuids(sessions.iter().map(|s| s.id.0));
    columns.uuids(sessions.iter().map(|s| s.project_id.0));
    columns.uuids(sessions.iter().map(|s| s.visitor_id.0));
    columns.texts(sessions.iter().map(|s| s.pixel_id.as_str()));
    columns.uuids(sessions.iter().map(|s| s.opening_event_id.uuid()));
    columns.instants(sessions.iter().map(|s| s.started_at));
    columns.optional_texts(sessions.iter().map(|s| s.attribution.source.as_deref()));
    columns.optional_texts(sessions.iter().map(|s| s.attribution.medium.as_deref()));
    columns.optional_texts(sessions.iter().map(|s| s.attribution.campaign.as_deref()));
    columns.optional_texts(sessions.iter().map(|s| s.attribution.channel.as_deref()));
    columns.texts(sessions.iter().map(|s| s.landing_page.as_str()));

    let touches = &changes.touches;
    let attributions: Vec<_> = touches.iter().map(|new| new.touch.attribution()).collect();
    columns.uuids(touches.iter().map(|new| new.visitor_id.0));
    columns.instants(touches.iter().map(|new| new.touch.at));
    columns.uuids(touches.iter().map(|new| new.touch.event_id.uuid()));
    columns.texts(touches.iter().map(|new| new.touch.pixel_id.as_str()));
    columns.uuids(touches.iter().map(|new| new.project_id.0));
    columns.uuids(touches.iter().map(|new| new.touch.session_id.0));
    columns.texts(touches.iter().map(|new| new.touch.kind.as_str()));
    columns.optional_texts(attributions.iter().map(|attribution| attribution.source.as_deref()));
    columns.optional_texts(attributions.iter().map(|attribution| attribution.medium.as_deref()));
    columns.optional_texts(attributions.iter().map(|attribution| attribution.campaign.as_deref()));
    columns.optional_texts(attributions.iter().map(|attribution| attribution.channel.as_deref()));
    columns.optional_json(touches.iter().map(|new| Some(&*new.touch)));
    columns.integers(touches.iter().map(|new| i32::from(new.touch.rules_version)));

    event_row::push(columns, &changes.events);
}

fn push_outcomes(columns: &mut Columns, changes: &Changes, joined: &BTreeSet<(SyncJobId, ProjectId)>) {
    columns.uuids(joined.iter().map(|(job, _)| job.0));
    columns.uuids(joined.iter().map(|(_, project)| project.0));

    let conversions = &changes.conversions;
    columns.uuids(conversions.iter().map(|conversion| conversion.project_id.0));
    columns.uuids(conversions.iter().map(|conversion| conversion.id.0));
    columns.texts(conversions.iter().map(|conversion| conversion.name.as_str()));
    columns.texts(conversions.iter().map(|conversion| conversion.pixel_id.as_str()));
    columns.uuids(conversions.iter().map(|conversion| conversion.event_id.uuid()));
    columns.uuids(conversions.iter().map(|conversion| conversion.visitor_id.0));
    columns.uuids(conversions.iter().map(|conversion| conversion.session_id.0));
    columns.instants(conversions.iter().map(|conversion| conversion.occurred_at));
    columns.optional_doubles(conversions.iter().map(|conversion| conversion.value));
    columns.optional_json(conversions.iter().map(|conversion| Some(&conversion.touches)));
    columns.integers(conversions.iter().map(|_| i32::from(RULES_VERSION)));

    let leads = &changes.leads;
    let hashes: Vec<_> = leads.iter().map(|lead| lead.email.hash().0).collect();
    columns.uuids(leads.iter().map(|lead| lead.id.0));
    columns.uuids(leads.iter().map(|lead| lead.project_id.0));
    columns.texts(leads.iter().map(|lead| lead.pixel_id.as_str()));
    columns.uuids(leads.iter().map(|lead| lead.event_id.uuid()));
    columns.uuids(leads.iter().map(|lead| lead.visitor_id.0));
    columns.uuids(leads.iter().map(|lead| lead.session_id.0));
    columns.optional_uuids(leads.iter().map(|lead| lead.job_id.map(|id| id.0)));
    columns.texts(leads.iter().map(|lead| lead.email.as_str()));
    columns.hashes(hashes.iter());
    columns.optional_texts(leads.iter().map(|lead| lead.first_name.as_deref()));
    columns.optional_texts(leads.iter().map(|lead| lead.last_name.as_deref()));
    columns.instants(leads.iter().map(|lead| lead.occurred_at));
    columns.instants(leads.iter().map(|lead| lead.received_at));
    columns.optional_json(leads.iter().map(|lead| Some(&lead.touches)));
    columns.optional_json(leads.iter().map(|lead| lead.session_touch.as_deref()));
    columns.integers(leads.iter().map(|_| i32::from(RULES_VERSION)));

    let submissions = &changes.submissions;
    columns.hashes(submissions.iter().map(|s| &s.key.0));
    columns.big_ints(submissions.iter().map(|s| s.count));
    columns.uuids(submissions.iter().map(|s| s.project_id.0));
    columns.uuids(submissions.iter().map(|s| s.lead_id.0));
    columns.instants(submissions.iter().map(|s| s.received_at));

    let identities = &changes.identities;
    columns.uuids(identities.iter().map(|i| i.project_id.0));
    columns.hashes(identities.iter().map(|i| &i.email_hash.0));
    columns.uuids(identities.iter().map(|i| i.visitor_id.0));
    columns.instants(identities.iter().map(|i| i.at));

    let jobs = &changes.jobs;
    columns.uuids(jobs.iter().map(|job| job.id.0));
    columns.uuids(jobs.iter().map(|job| job.project_id.0));
    columns.texts(jobs.iter().map(|job| job.account.as_str()));
    columns.uuids(jobs.iter().map(|job| job.lead_id.0));
    columns.hashes(jobs.iter().map(|job| &job.email_hash.0));
    columns.big_ints(jobs.iter().map(|job| job.sequence));
    columns.instants(jobs.iter().map(|job| job.created_at));
    columns.instants(jobs.iter().map(|job| job.due_at));
}

fn push_counts(columns: &mut Columns, changes: &Changes) {
    columns.count(changes.assumed.len());
    columns.count(changes.widened.len());
}
