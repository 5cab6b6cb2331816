use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{EventId, LeadId, PixelId, ProjectId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Journey, Journeys, StoreError};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::Touch;
use uuid::Uuid;

use crate::PostgresStore;
use crate::column::{At, JsonText};
use crate::error::Failure;
use crate::lead_row::LeadRow;
use crate::schema::{identities, leads, touchpoints, tracking_events, visitors};
use crate::visits::event_row::EventRow;

fn journey(
    connection: &mut PgConnection,
    project: ProjectId,
    lead: LeadId,
    limit: u32,
) -> Result<Journey, Failure> {
    let lead: Option<(Uuid, Vec<u8>)> = leads::table
        .filter(leads::lead_id.eq(lead.0).and(leads::project_id.eq(project.0)))
        .select((leads::visitor_id, leads::email_hash))
        .first(connection)
        .optional()?;
    let Some((visitor, email_hash)) = lead else { return Ok(Journey::default()) };
    let mut browsers: Vec<Uuid> = identities::table
        .filter(identities::project_id.eq(project.0))
        .filter(identities::email_hash.eq(email_hash))
        .select(identities::visitor_id)
        .load(connection)?;
    browsers.push(visitor);
    let mut touches: Vec<(Uuid, JsonText)> = touchpoints::table
        .filter(touchpoints::visitor_id.eq_any(&browsers))
        .order((touchpoints::at.desc(), touchpoints::event_id.desc(), touchpoints::pixel_id.desc()))
        .limit(i64::from(limit))
        .select((touchpoints::event_id, touchpoints::touch))
        .load(connection)?;
    touches.reverse();
    let mut events: Vec<(EventRow, Option<String>)> = tracking_events::table
        .inner_join(visitors::table)
        .filter(tracking_events::visitor_id.eq_any(&browsers))
        .order((
            tracking_events::occurred_at.desc(),
            tracking_events::event_id.desc(),
            tracking_events::pixel_id.desc(),
        ))
        .limit(i64::from(limit))
        .select((EventRow::as_select(), visitors::cookie))
        .load(connection)?;
    events.reverse();
    let touch = |(event, touch): (Uuid, JsonText)| touch.parse::<Touch>("touchpoints", "touch", event);
    Ok(Journey {
        touches: touches.into_iter().map(touch).collect::<Result<_, _>>()?,
        events: events
            .into_iter()
            .map(|(row, cookie)| row.stored(cookie))
            .collect::<Result<Vec<StoredEvent>, _>>()?,
    })
}

#[async_trait]
impl Journeys for PostgresStore {
    async fn leads_of(
        &self,
        project: ProjectId,
        email: &EmailHash,
        limit: u32,
    ) -> Result<Vec<Lead>, StoreError> {
        let email = *email;
        self.ask(move |connection| {
            let rows = leads::table
                .filter(leads::project_id.eq(project.0))
                .filter(leads::email_hash.eq(email.0.as_slice()))
                .order((leads::received_at.desc(), leads::lead_id.desc()))
                .limit(i64::from(limit))
                .select(LeadRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(LeadRow::lead).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn leads_by_event(&self, project: ProjectId, event: EventId) -> Result<Vec<Lead>, StoreError> {
        self.ask(move |connection| {
            let ids: Vec<Option<Uuid>> = tracking_events::table
                .filter(tracking_events::event_id.eq(event.uuid()))
                .filter(tracking_events::partition_at.eq(At(event.partition_at())))
                .filter(tracking_events::project_id.eq(project.0))
                .select(tracking_events::lead_id)
                .load(connection)?;
            let rows = leads::table
                .filter(leads::lead_id.eq_any(ids.into_iter().flatten().collect::<Vec<_>>()))
                .order(leads::lead_id)
                .select(LeadRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(LeadRow::lead).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn journey(&self, project: ProjectId, lead: LeadId, limit: u32) -> Result<Journey, StoreError> {
        self.ask(move |connection| {
            connection
                .build_transaction()
                .read_only()
                .repeatable_read()
                .run(|connection| journey(connection, project, lead, limit))
        })
        .await
    }

    async fn last_event_at(
        &self,
        project: ProjectId,
        pixel: &PixelId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let pixel = pixel.clone();
        self.ask(move |connection| {
            let latest: Option<At> = tracking_events::table
                .filter(tracking_events::pixel_id.eq(pixel.as_str()))
                .filter(tracking_events::project_id.eq(project.0))
                .order(tracking_events::occurred_at.desc())
                .select(tracking_events::occurred_at)
                .first(connection)
                .optional()?;
            Ok(latest.map(|At(at)| at))
        })
        .await
    }
}
