use std::collections::BTreeSet;

use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{EventId, LeadId, PixelId, ProjectId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Journey, Journeys, StoreError};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::Touch;

use crate::SqliteStore;
use crate::failure::Outcome;
use crate::lead_row::LeadRow;
use crate::row::Row;
use crate::schema::{identities, leads, touchpoints, tracking_events as events, visitors};
use crate::visits::EventRow;

fn journey(
    connection: &mut SqliteConnection,
    project: ProjectId,
    lead: LeadId,
    limit: u32,
) -> Outcome<Journey> {
    let project = project.0.as_bytes().as_slice();
    let lead: Option<(Vec<u8>, Vec<u8>)> = leads::table
        .find(lead.0.as_bytes().as_slice())
        .filter(leads::project_id.eq(project))
        .select((leads::visitor_id, leads::email_hash))
        .first(connection)
        .optional()?;
    let Some((visitor, email_hash)) = lead else { return Ok(Journey::default()) };
    let known: Vec<Vec<u8>> = identities::table
        .filter(identities::project_id.eq(project).and(identities::email_hash.eq(email_hash)))
        .select(identities::visitor_id)
        .load(connection)?;
    let mut journey = Journey::default();
    // One browser after the other, never more of them at once than shall be answered and one browser's beside.
    for visitor in known.into_iter().chain([visitor]).collect::<BTreeSet<_>>() {
        journey.touches.append(&mut touches(connection, &visitor, limit)?);
        journey.touches.sort_by(|one, other| other.key().cmp(&one.key()));
        journey.touches.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        journey.events.append(&mut events_of(connection, &visitor, limit)?);
        journey.events.sort_by(|one, other| place(other).cmp(&place(one)));
        journey.events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    journey.touches.reverse();
    journey.events.reverse();
    Ok(journey)
}

/// Where an event stands among those of several visitors.
fn place(stored: &StoredEvent) -> (Timestamp, EventId, &PixelId) {
    (stored.event.occurred_at, stored.event.id, &stored.event.pixel_id)
}

/// The latest touches of a visitor, newest first.
fn touches(connection: &mut SqliteConnection, visitor: &[u8], limit: u32) -> Outcome<Vec<Touch>> {
    let rows: Vec<(Vec<u8>, String)> = touchpoints::table
        .filter(touchpoints::visitor_id.eq(visitor))
        .order((touchpoints::at.desc(), touchpoints::event_id.desc(), touchpoints::pixel_id.desc()))
        .limit(i64::from(limit))
        .select((touchpoints::event_id, touchpoints::touch))
        .load(connection)?;
    let touch = |(event, touch): &(Vec<u8>, String)| Row::of("touchpoints", event).json("touch", touch);
    Ok(rows.iter().map(touch).collect::<Result<_, _>>()?)
}

/// The latest events of a visitor, newest first.
fn events_of(connection: &mut SqliteConnection, visitor: &[u8], limit: u32) -> Outcome<Vec<StoredEvent>> {
    let rows: Vec<(EventRow<'static>, Option<String>)> = events::table
        .left_join(visitors::table.on(visitors::visitor_id.eq(events::visitor_id)))
        .filter(events::visitor_id.eq(visitor))
        .order((events::occurred_at.desc(), events::event_id.desc(), events::pixel_id.desc()))
        .limit(i64::from(limit))
        .select((EventRow::as_select(), visitors::cookie.nullable()))
        .load(connection)?;
    Ok(rows.into_iter().map(|(row, cookie)| row.read(cookie.as_deref())).collect::<Result<_, _>>()?)
}

#[async_trait]
impl Journeys for SqliteStore {
    async fn leads_of(
        &self,
        project: ProjectId,
        email: &EmailHash,
        limit: u32,
    ) -> Result<Vec<Lead>, StoreError> {
        let email = *email;
        self.read(move |connection| {
            let rows = leads::table
                .filter(leads::project_id.eq(project.0.as_bytes().as_slice()))
                .filter(leads::email_hash.eq(email.0.as_slice()))
                .order((leads::received_at.desc(), leads::lead_id.desc()))
                .limit(i64::from(limit))
                .select(LeadRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(LeadRow::read).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn leads_by_event(&self, project: ProjectId, event: EventId) -> Result<Vec<Lead>, StoreError> {
        self.read(move |connection| {
            let rows = leads::table
                .inner_join(events::table.on(events::lead_id.eq(leads::lead_id.nullable())))
                .filter(events::event_id.eq(event.uuid().as_bytes().as_slice()))
                .filter(events::project_id.eq(project.0.as_bytes().as_slice()))
                .order(leads::lead_id)
                .select(LeadRow::as_select())
                .distinct()
                .load(connection)?;
            Ok(rows.into_iter().map(LeadRow::read).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn journey(&self, project: ProjectId, lead: LeadId, limit: u32) -> Result<Journey, StoreError> {
        self.read(move |connection| journey(connection, project, lead, limit)).await
    }

    async fn last_event_at(
        &self,
        project: ProjectId,
        pixel: &PixelId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let pixel = pixel.clone();
        self.read(move |connection| {
            let latest: Option<i64> = events::table
                .filter(events::pixel_id.eq(pixel.as_str()))
                .filter(events::project_id.eq(project.0.as_bytes().as_slice()))
                .order(events::occurred_at.desc())
                .select(events::occurred_at)
                .first(connection)
                .optional()?;
            Ok(latest.map(Timestamp::from_micros))
        })
        .await
    }
}
