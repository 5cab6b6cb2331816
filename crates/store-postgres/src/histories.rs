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
use uuid::Uuid;

use crate::PostgresStore;
use crate::column::{At, JsonText, parsed};
use crate::conversions::{conversions_of, replace_conversions_of};
use crate::error::Failure;
use crate::lead_row::LeadRow;
use crate::schema::{identities, leads, sessions, touchpoints, tracking_events, visitors};
use crate::visits::event_row::EventRow;

/// A row has 13 values, and a statement takes 65,535.
const TOUCHES_PER_STATEMENT: usize = 1_000;

fn history(
    connection: &mut PgConnection,
    project: ProjectId,
    visitor: VisitorId,
    events_max: u32,
) -> Result<Option<History>, Failure> {
    let row: Option<(i64, Option<String>)> = visitors::table
        .find(visitor.0)
        .filter(visitors::project_id.eq(project.0))
        .select((visitors::version, visitors::cookie))
        .first(connection)
        .optional()?;
    let Some((version, cookie)) = row else { return Ok(None) };
    let rows: Vec<EventRow> = tracking_events::table
        .filter(tracking_events::visitor_id.eq(visitor.0))
        .order((tracking_events::occurred_at, tracking_events::event_id, tracking_events::pixel_id))
        .limit(i64::from(events_max))
        .select(EventRow::as_select())
        .load(connection)?;
    let touches: Vec<(Uuid, JsonText)> = touchpoints::table
        .filter(touchpoints::visitor_id.eq(visitor.0))
        .order((touchpoints::at, touchpoints::event_id, touchpoints::pixel_id))
        .select((touchpoints::event_id, touchpoints::touch))
        .load(connection)?;
    let touch =
        |(event, touch): (Uuid, JsonText)| touch.parse::<Touch>("touchpoints", "touch", event).map(Arc::new);
    Ok(Some(History {
        visitor_id: visitor,
        version,
        events: rows.into_iter().map(|row| row.stored(cookie.clone())).collect::<Result<_, _>>()?,
        sessions: sessions_of(connection, visitor)?,
        touches: touches.into_iter().map(touch).collect::<Result<_, _>>()?,
        conversions: conversions_of(connection, visitor)?,
    }))
}

fn sessions_of(
    connection: &mut PgConnection,
    visitor: VisitorId,
) -> Result<BTreeMap<SessionId, StoredSession>, Failure> {
    type Columns = (Uuid, String, Uuid, Option<String>, Option<String>, Option<String>, Option<String>);
    let rows: Vec<Columns> = sessions::table
        .filter(sessions::visitor_id.eq(visitor.0))
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
        let stored = StoredSession {
            pixel_id: parsed(&pixel, "sessions", "pixel_id", id)?,
            opening_event_id: EventId::from_uuid(event),
            attribution: Attribution { source, medium, campaign, channel },
        };
        Ok((SessionId(id), stored))
    };
    Ok(rows.into_iter().map(session).collect::<Result<_, StoreError>>()?)
}

fn revise(connection: &mut PgConnection, project: ProjectId, revision: &Revision) -> Result<(), Failure> {
    let id = revision.visitor_id.0;
    let as_read = visitors::table
        .find(id)
        .filter(visitors::project_id.eq(project.0))
        .filter(visitors::version.eq(revision.version));
    let found =
        diesel::update(as_read).set(visitors::version.eq(revision.version + 1)).execute(connection)?;
    if found == 0 {
        return Err(StoreError::Stale.into());
    }
    diesel::delete(touchpoints::table.filter(touchpoints::visitor_id.eq(id))).execute(connection)?;
    for touches in revision.touches.chunks(TOUCHES_PER_STATEMENT) {
        let mut rows = Vec::with_capacity(touches.len());
        for touch in touches {
            let Attribution { source, medium, campaign, channel } = touch.attribution();
            rows.push((
                touchpoints::visitor_id.eq(id),
                touchpoints::at.eq(At(touch.at)),
                touchpoints::event_id.eq(touch.event_id.uuid()),
                touchpoints::pixel_id.eq(touch.pixel_id.as_str()),
                touchpoints::project_id.eq(project.0),
                touchpoints::session_id.eq(touch.session_id.0),
                touchpoints::kind.eq(touch.kind.as_str()),
                touchpoints::source.eq(source),
                touchpoints::medium.eq(medium),
                touchpoints::campaign.eq(campaign),
                touchpoints::channel.eq(channel),
                touchpoints::touch.eq(JsonText::of(touch.as_ref())?),
                touchpoints::rules_version.eq(i32::from(touch.rules_version)),
            ));
        }
        diesel::insert_into(touchpoints::table).values(rows).execute(connection)?;
    }
    replace_conversions_of(connection, revision.visitor_id, &revision.conversions)?;
    for (session, Attribution { source, medium, campaign, channel }) in &revision.sessions {
        let own = sessions::table.find(session.0).filter(sessions::visitor_id.eq(id));
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
impl Histories for PostgresStore {
    async fn visitors(
        &self,
        project: ProjectId,
        page: &Page<VisitorId>,
    ) -> Result<Vec<VisitorId>, StoreError> {
        let after = page.after.map_or(Uuid::nil(), |id| id.0);
        let limit = i64::from(page.limit);
        self.ask(move |connection| {
            let ids: Vec<Uuid> = visitors::table
                .filter(visitors::visitor_id.gt(after))
                .filter(visitors::project_id.eq(project.0))
                .order(visitors::visitor_id)
                .limit(limit)
                .select(visitors::visitor_id)
                .load(connection)?;
            Ok(ids.into_iter().map(VisitorId).collect())
        })
        .await
    }

    async fn history(
        &self,
        project: ProjectId,
        visitor: VisitorId,
        events_max: u32,
    ) -> Result<Option<History>, StoreError> {
        self.ask(move |connection| {
            connection
                .build_transaction()
                .read_only()
                .repeatable_read()
                .run(|connection| history(connection, project, visitor, events_max))
        })
        .await
    }

    async fn revise(&self, project: ProjectId, revision: &Revision) -> Result<(), StoreError> {
        let revision = revision.clone();
        self.change(move |connection| {
            connection.transaction(|connection| revise(connection, project, &revision))
        })
        .await
    }

    async fn leads(&self, project: ProjectId, page: &Page<LeadId>) -> Result<Vec<Lead>, StoreError> {
        let after = page.after.map_or(Uuid::nil(), |id| id.0);
        let limit = i64::from(page.limit);
        self.ask(move |connection| {
            let rows = leads::table
                .filter(leads::lead_id.gt(after))
                .filter(leads::project_id.eq(project.0))
                .order(leads::lead_id)
                .limit(limit)
                .select(LeadRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(LeadRow::lead).collect::<Result<_, _>>()?)
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
        self.ask(move |connection| {
            let ids: Vec<Uuid> = identities::table
                .filter(identities::project_id.eq(project.0))
                .filter(identities::email_hash.eq(email.0.as_slice()))
                .order(identities::visitor_id)
                .limit(i64::from(limit))
                .select(identities::visitor_id)
                .load(connection)?;
            Ok(ids.into_iter().map(VisitorId).collect())
        })
        .await
    }

    async fn revise_lead(&self, project: ProjectId, lead: &Lead) -> Result<(), StoreError> {
        let (id, touches) = (lead.id, JsonText::of(&lead.touches)?);
        let session_touch = lead.session_touch.as_deref().map(JsonText::of).transpose()?;
        self.change(move |connection| {
            let own = leads::table.filter(leads::lead_id.eq(id.0).and(leads::project_id.eq(project.0)));
            diesel::update(own)
                .set((
                    leads::touches.eq(touches),
                    leads::session_touch.eq(session_touch),
                    leads::rules_version.eq(i32::from(RULES_VERSION)),
                ))
                .execute(connection)?;
            Ok(())
        })
        .await
    }
}
