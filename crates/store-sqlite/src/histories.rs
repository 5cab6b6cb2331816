use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::id::{EventId, LeadId, ProjectId, SessionId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Histories, Page, StoreError};
use leadtrail_domain::reattribute::{History, Revision, StoredSession};
use leadtrail_domain::touch::{Attribution, RULES_VERSION, Touch};
use leadtrail_domain::visit::NewTouch;

use crate::SqliteStore;
use crate::conversions::{conversions_of, delete_conversions_of, insert_conversion};
use crate::failure::{Failure, Outcome, json_text};
use crate::lead_row::LeadRow;
use crate::row::Row;
use crate::schema::{identities, leads, sessions, touchpoints, tracking_events as events, visitors};
use crate::visits::{EventRow, insert_touch};

fn history(
    connection: &mut SqliteConnection,
    project: ProjectId,
    visitor: VisitorId,
    events_max: u32,
) -> Outcome<Option<History>> {
    let id = visitor.0.as_bytes().as_slice();
    let row: Option<(i64, Option<String>)> = visitors::table
        .find(id)
        .filter(visitors::project_id.eq(project.0.as_bytes().as_slice()))
        .select((visitors::version, visitors::cookie))
        .first(connection)
        .optional()?;
    let Some((version, cookie)) = row else { return Ok(None) };
    let rows: Vec<EventRow<'static>> = events::table
        .filter(events::visitor_id.eq(id))
        .order((events::occurred_at, events::event_id, events::pixel_id))
        .limit(i64::from(events_max))
        .select(EventRow::as_select())
        .load(connection)?;
    let touches: Vec<(Vec<u8>, String)> = touchpoints::table
        .filter(touchpoints::visitor_id.eq(id))
        .order((touchpoints::at, touchpoints::event_id, touchpoints::pixel_id))
        .select((touchpoints::event_id, touchpoints::touch))
        .load(connection)?;
    let touch = |(event, touch): &(Vec<u8>, String)| {
        Row::of("touchpoints", event).json::<Touch>("touch", touch).map(Arc::new)
    };
    Ok(Some(History {
        visitor_id: visitor,
        version,
        events: rows.into_iter().map(|row| row.read(cookie.as_deref())).collect::<Result<_, _>>()?,
        sessions: sessions_of(connection, id)?,
        touches: touches.iter().map(touch).collect::<Result<_, _>>()?,
        conversions: conversions_of(connection, id)?,
    }))
}

fn sessions_of(
    connection: &mut SqliteConnection,
    visitor: &[u8],
) -> Outcome<BTreeMap<SessionId, StoredSession>> {
    type Columns = (Vec<u8>, String, Vec<u8>, Option<String>, Option<String>, Option<String>, Option<String>);
    let rows: Vec<Columns> = sessions::table
        .filter(sessions::visitor_id.eq(visitor))
        .select((
            sessions::session_id,
            sessions::pixel_id,
            sessions::opening_event_id,
            sessions::source,
            sessions::medium,
            sessions::campaign,
            sessions::channel,
        ))
        .load(connection)?;
    let session = |(id, pixel, event, source, medium, campaign, channel): Columns| {
        let row = Row::of("sessions", &id);
        let stored = StoredSession {
            pixel_id: row.parse("pixel_id", &pixel)?,
            opening_event_id: EventId::from_uuid(row.uuid("opening_event_id", &event)?),
            attribution: Attribution { source, medium, campaign, channel },
        };
        Ok((SessionId(row.uuid("session_id", &id)?), stored))
    };
    Ok(rows.into_iter().map(session).collect::<Result<_, StoreError>>()?)
}

fn revise(connection: &mut SqliteConnection, project: ProjectId, revision: &Revision) -> Outcome<()> {
    let id = revision.visitor_id.0.as_bytes().as_slice();
    let as_read = visitors::table
        .find(id)
        .filter(visitors::project_id.eq(project.0.as_bytes().as_slice()))
        .filter(visitors::version.eq(revision.version));
    let found =
        diesel::update(as_read).set(visitors::version.eq(revision.version + 1)).execute(connection)?;
    if found == 0 {
        return Err(Failure::Store(StoreError::Stale));
    }
    diesel::delete(touchpoints::table.filter(touchpoints::visitor_id.eq(id))).execute(connection)?;
    for touch in &revision.touches {
        let new = NewTouch { project_id: project, visitor_id: revision.visitor_id, touch: Arc::clone(touch) };
        insert_touch(connection, &new)?;
    }
    delete_conversions_of(connection, id)?;
    revision.conversions.iter().try_for_each(|conversion| insert_conversion(connection, conversion))?;
    for (session, Attribution { source, medium, campaign, channel }) in &revision.sessions {
        let own = sessions::table.find(session.0.as_bytes().as_slice()).filter(sessions::visitor_id.eq(id));
        diesel::update(own)
            .set((
                sessions::source.eq(source),
                sessions::medium.eq(medium),
                sessions::campaign.eq(campaign),
                sessions::channel.eq(channel),
            ))
            .execute(connection)?;
    }
    Ok(())
}

#[async_trait]
impl Histories for SqliteStore {
    async fn visitors(
        &self,
        project: ProjectId,
        page: &Page<VisitorId>,
    ) -> Result<Vec<VisitorId>, StoreError> {
        let Page { after, limit } = page.clone();
        self.read(move |connection| {
            let after = after.map(|id| id.0.as_bytes().to_vec()).unwrap_or_default();
            let ids: Vec<Vec<u8>> = visitors::table
                .filter(visitors::visitor_id.gt(after))
                .filter(visitors::project_id.eq(project.0.as_bytes().as_slice()))
                .order(visitors::visitor_id)
                .limit(i64::from(limit))
                .select(visitors::visitor_id)
                .load(connection)?;
            Ok(ids.iter().map(|id| visitor_id("visitors", id)).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn history(
        &self,
        project: ProjectId,
        visitor: VisitorId,
        events_max: u32,
    ) -> Result<Option<History>, StoreError> {
        self.read(move |connection| history(connection, project, visitor, events_max)).await
    }

    async fn revise(&self, project: ProjectId, revision: &Revision) -> Result<(), StoreError> {
        let revision = revision.clone();
        self.write(move |connection| revise(connection, project, &revision)).await
    }

    async fn leads(&self, project: ProjectId, page: &Page<LeadId>) -> Result<Vec<Lead>, StoreError> {
        let Page { after, limit } = page.clone();
        self.read(move |connection| {
            let after = after.map(|id| id.0.as_bytes().to_vec()).unwrap_or_default();
            let rows = leads::table
                .filter(leads::lead_id.gt(after))
                .filter(leads::project_id.eq(project.0.as_bytes().as_slice()))
                .order(leads::lead_id)
                .limit(i64::from(limit))
                .select(LeadRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(LeadRow::read).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn visitors_of(
        &self,
        project: ProjectId,
        email: &EmailHash,
        limit: u32,
    ) -> Result<Vec<VisitorId>, StoreError> {
        let email = *email;
        self.read(move |connection| {
            let ids: Vec<Vec<u8>> = identities::table
                .filter(identities::project_id.eq(project.0.as_bytes().as_slice()))
                .filter(identities::email_hash.eq(email.0.as_slice()))
                .order(identities::visitor_id)
                .limit(i64::from(limit))
                .select(identities::visitor_id)
                .load(connection)?;
            Ok(ids.iter().map(|id| visitor_id("identities", id)).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn revise_lead(&self, project: ProjectId, lead: &Lead) -> Result<(), StoreError> {
        let (id, touches) = (lead.id, json_text(&lead.touches)?);
        let session_touch = lead.session_touch.as_deref().map(json_text).transpose()?;
        self.write(move |connection| {
            let own = leads::table
                .find(id.0.as_bytes().as_slice())
                .filter(leads::project_id.eq(project.0.as_bytes().as_slice()));
            diesel::update(own)
                .set((
                    leads::touches.eq(touches),
                    leads::session_touch.eq(session_touch),
                    leads::rules_version.eq(i64::from(RULES_VERSION)),
                ))
                .execute(connection)?;
            Ok(())
        })
        .await
    }
}

fn visitor_id(table: &'static str, id: &[u8]) -> Result<VisitorId, StoreError> {
    Ok(VisitorId(Row::of(table, id).uuid("visitor_id", id)?))
}
