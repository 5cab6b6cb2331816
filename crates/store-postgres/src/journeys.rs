use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{EventId, LeadId, PixelId, ProjectId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Journey, JourneyBounds, JourneyTouch, Journeys, StoreError};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::Touch;
use uuid::Uuid;

use crate::PostgresStore;
use crate::column::{At, JsonText};
use crate::error::Failure;
use crate::lead_row::LeadRow;
use crate::schema::{identities, leads, touchpoints, tracking_events, visitors};
use crate::visits::event_row::EventRow;

/// A lead, as far as its journey needs it.
struct Asked {
    visitor: Uuid,
    email: String,
    email_hash: Vec<u8>,
    /// Its place among touches and events.
    until: (At, Uuid),
}

fn journey(
    connection: &mut PgConnection,
    project: ProjectId,
    lead: LeadId,
    bounds: &JourneyBounds,
) -> Result<Journey, Failure> {
    let lead: Option<(Uuid, String, Vec<u8>, At, Uuid)> = leads::table
        .filter(leads::lead_id.eq(lead.0).and(leads::project_id.eq(project.0)))
        .select((leads::visitor_id, leads::email, leads::email_hash, leads::occurred_at, leads::event_id))
        .first(connection)
        .optional()?;
    let Some((visitor, email, email_hash, at, event)) = lead else { return Ok(Journey::default()) };
    let asked = Asked { visitor, email, email_hash, until: (at, event) };
    let mut journey = Journey::default();
    let browsers;
    (browsers, journey.left_out.browsers) = browsers_of(connection, project, &asked, bounds.browsers)?;
    for browser in &browsers {
        journey.browsers.insert(VisitorId(*browser), gave(connection, *browser, &asked.email)?);
    }
    (journey.touches, journey.left_out.touches) = touches(connection, &browsers, &asked, bounds.touches)?;
    (journey.events, journey.left_out.events) = events(connection, &browsers, &asked, bounds.events)?;
    Ok(journey)
}

/// The lead's browser and those that gave the e-mail, and whether there are more.
fn browsers_of(
    connection: &mut PgConnection,
    project: ProjectId,
    asked: &Asked,
    max: u32,
) -> Result<(Vec<Uuid>, bool), Failure> {
    let mut browsers: Vec<Uuid> = identities::table
        .filter(identities::project_id.eq(project.0))
        .filter(identities::email_hash.eq(&asked.email_hash))
        .filter(identities::visitor_id.ne(asked.visitor))
        .order((identities::at, identities::visitor_id))
        .limit(i64::from(max) + 1)
        .select(identities::visitor_id)
        .load(connection)?;
    let left_out = browsers.len() > count(max);
    browsers.truncate(count(max));
    browsers.push(asked.visitor);
    Ok((browsers, left_out))
}

/// The earliest event of a visitor that has the e-mail. Read along the index until it comes.
fn gave(
    connection: &mut PgConnection,
    visitor: Uuid,
    email: &str,
) -> Result<Option<(Timestamp, EventId)>, Failure> {
    use tracking_events::{event_id, form_data, occurred_at, visitor_id};
    let earliest: Option<(At, Uuid)> = tracking_events::table
        .filter(visitor_id.eq(visitor))
        .filter(form_data.retrieve_as_text("email").eq(email))
        .order((occurred_at, event_id))
        .select((occurred_at, event_id))
        .first(connection)
        .optional()?;
    Ok(earliest.map(|(At(at), event)| (at, EventId::from_uuid(event))))
}

/// What is nearest to the lead in its order: the latest of `up_to`, which is newest first, and then the earliest of
/// `after`, as many as the bound allows, and whether there is more.
fn around<T>(mut up_to: Vec<T>, mut after: Vec<T>, max: u32) -> (Vec<T>, bool) {
    let left_out = up_to.len() + after.len() > count(max);
    up_to.truncate(count(max));
    after.truncate(count(max) - up_to.len());
    up_to.reverse();
    up_to.append(&mut after);
    (up_to, left_out)
}

fn count(max: u32) -> usize {
    usize::try_from(max).unwrap_or(usize::MAX)
}

fn touches(
    connection: &mut PgConnection,
    browsers: &[Uuid],
    asked: &Asked,
    max: u32,
) -> Result<(Vec<JourneyTouch>, bool), Failure> {
    use touchpoints::{at, event_id, pixel_id, visitor_id};
    let (until, event) = asked.until;
    let of_person = || {
        touchpoints::table.filter(visitor_id.eq_any(browsers)).select((
            visitor_id,
            event_id,
            touchpoints::touch,
        ))
    };
    // One more, to know whether there is more.
    let up_to: Vec<(Uuid, Uuid, JsonText)> = of_person()
        .filter(at.le(until).and(at.lt(until).or(event_id.le(event))))
        .order((at.desc(), event_id.desc(), pixel_id.desc()))
        .limit(i64::from(max) + 1)
        .load(connection)?;
    let room = i64::from(max) + 1 - i64::try_from(up_to.len()).unwrap_or(i64::MAX);
    let after: Vec<(Uuid, Uuid, JsonText)> = of_person()
        .filter(at.ge(until).and(at.gt(until).or(event_id.gt(event))))
        .order((at, event_id, pixel_id))
        .limit(room)
        .load(connection)?;
    let (touches, left_out) = around(up_to, after, max);
    let touch = |(visitor, event, touch): (Uuid, Uuid, JsonText)| {
        let touch = touch.parse::<Touch>("touchpoints", "touch", event)?;
        Ok(JourneyTouch { visitor_id: VisitorId(visitor), touch })
    };
    Ok((touches.into_iter().map(touch).collect::<Result<_, StoreError>>()?, left_out))
}

fn events(
    connection: &mut PgConnection,
    browsers: &[Uuid],
    asked: &Asked,
    max: u32,
) -> Result<(Vec<StoredEvent>, bool), Failure> {
    use tracking_events::{event_id, occurred_at as at, pixel_id, visitor_id};
    let (until, event) = asked.until;
    let of_person = || {
        tracking_events::table
            .inner_join(visitors::table)
            .filter(visitor_id.eq_any(browsers))
            .select((EventRow::as_select(), visitors::cookie))
    };
    let up_to: Vec<(EventRow, Option<String>)> = of_person()
        .filter(at.le(until).and(at.lt(until).or(event_id.le(event))))
        .order((at.desc(), event_id.desc(), pixel_id.desc()))
        .limit(i64::from(max) + 1)
        .load(connection)?;
    let room = i64::from(max) + 1 - i64::try_from(up_to.len()).unwrap_or(i64::MAX);
    let after: Vec<(EventRow, Option<String>)> = of_person()
        .filter(at.ge(until).and(at.gt(until).or(event_id.gt(event))))
        .order((at, event_id, pixel_id))
        .limit(room)
        .load(connection)?;
    let (events, left_out) = around(up_to, after, max);
    let stored = events.into_iter().map(|(row, cookie)| row.stored(cookie));
    Ok((stored.collect::<Result<_, _>>()?, left_out))
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

    async fn journey(
        &self,
        project: ProjectId,
        lead: LeadId,
        bounds: &JourneyBounds,
    ) -> Result<Journey, StoreError> {
        let bounds = *bounds;
        self.ask(move |connection| {
            connection
                .build_transaction()
                .read_only()
                .repeatable_read()
                .run(|connection| journey(connection, project, lead, &bounds))
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
