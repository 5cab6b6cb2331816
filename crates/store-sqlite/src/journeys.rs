use std::cmp::Ordering;

use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::event::{Form, StoredEvent};
use leadtrail_domain::id::{EventId, LeadId, PixelId, ProjectId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Journey, JourneyBounds, JourneyTouch, Journeys, StoreError};
use leadtrail_domain::time::Timestamp;

use crate::SqliteStore;
use crate::failure::Outcome;
use crate::lead_row::LeadRow;
use crate::row::Row;
use crate::schema::{identities, leads, touchpoints, tracking_events as events, visitors};
use crate::visits::EventRow;

/// A lead, as far as its journey needs it.
struct Asked {
    visitor: Vec<u8>,
    email: String,
    email_hash: Vec<u8>,
    /// Its place among touches and events.
    until: (i64, Vec<u8>),
}

/// Where something stands from a lead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// At the lead or before, newest first.
    UpTo,
    /// After it, oldest first.
    After,
}

fn journey(
    connection: &mut SqliteConnection,
    project: ProjectId,
    lead: LeadId,
    bounds: &JourneyBounds,
) -> Outcome<Journey> {
    type Columns = (Vec<u8>, String, Vec<u8>, i64, Vec<u8>);
    let project = project.0.as_bytes().as_slice();
    let lead: Option<Columns> = leads::table
        .find(lead.0.as_bytes().as_slice())
        .filter(leads::project_id.eq(project))
        .select((leads::visitor_id, leads::email, leads::email_hash, leads::occurred_at, leads::event_id))
        .first(connection)
        .optional()?;
    let Some((visitor, email, email_hash, at, event)) = lead else { return Ok(Journey::default()) };
    let asked = Asked { visitor, email, email_hash, until: (at, event) };
    let mut journey = Journey::default();
    let browsers;
    (browsers, journey.left_out.browsers) = browsers_of(connection, project, &asked, bounds.browsers)?;
    for browser in &browsers {
        let id = VisitorId(Row::of("identities", browser).uuid("visitor_id", browser)?);
        journey.browsers.insert(id, gave(connection, browser, &asked.email)?);
    }
    (journey.touches, journey.left_out.touches) = around(
        &browsers,
        bounds.touches,
        |browser, side, limit| touches(connection, browser, &asked, side, limit),
        |one, other| one.touch.key().cmp(&other.touch.key()),
    )?;
    (journey.events, journey.left_out.events) = around(
        &browsers,
        bounds.events,
        |browser, side, limit| events_of(connection, browser, &asked, side, limit),
        |one, other| place(one).cmp(&place(other)),
    )?;
    Ok(journey)
}

/// Where an event stands among those of several visitors.
fn place(stored: &StoredEvent) -> (Timestamp, EventId, &PixelId) {
    (stored.event.occurred_at, stored.event.id, &stored.event.pixel_id)
}

/// The lead's browser and those that gave the e-mail, and whether there are more.
fn browsers_of(
    connection: &mut SqliteConnection,
    project: &[u8],
    asked: &Asked,
    max: u32,
) -> Outcome<(Vec<Vec<u8>>, bool)> {
    let mut browsers: Vec<Vec<u8>> = identities::table
        .filter(identities::project_id.eq(project).and(identities::email_hash.eq(&asked.email_hash)))
        .filter(identities::visitor_id.ne(&asked.visitor))
        .order((identities::at, identities::visitor_id))
        .limit(i64::from(max) + 1)
        .select(identities::visitor_id)
        .load(connection)?;
    let left_out = browsers.len() > count(max);
    browsers.truncate(count(max));
    browsers.push(asked.visitor.clone());
    Ok((browsers, left_out))
}

/// The earliest event of a visitor that has the e-mail. Read along the index until it comes.
fn gave(
    connection: &mut SqliteConnection,
    visitor: &[u8],
    email: &str,
) -> Outcome<Option<(Timestamp, EventId)>> {
    let forms = events::table
        .filter(events::visitor_id.eq(visitor).and(events::form_data.is_not_null()))
        .order((events::occurred_at, events::event_id))
        .select((events::event_id, events::occurred_at, events::form_data.assume_not_null()))
        .load_iter::<(Vec<u8>, i64, String), _>(connection)?;
    for form in forms {
        let (event, at, form) = form?;
        let row = Row::of("tracking_events", &event);
        let form: Form = row.json("form_data", &form)?;
        if form.email.is_some_and(|given| given.as_str() == email) {
            let event = EventId::from_uuid(row.uuid("event_id", &event)?);
            return Ok(Some((Timestamp::from_micros(at), event)));
        }
    }
    Ok(None)
}

/// What all browsers did, in its order: first the latest up to the lead and then the earliest after it, as many as the
/// bound allows, and whether there is more. One browser after the other, never more of them at once than shall be
/// answered and one browser's beside.
fn around<T>(
    browsers: &[Vec<u8>],
    max: u32,
    mut read: impl FnMut(&[u8], Side, i64) -> Outcome<Vec<T>>,
    order: impl Fn(&T, &T) -> Ordering,
) -> Outcome<(Vec<T>, bool)> {
    // One more, to know whether there is more.
    let mut nearest = |side, limit: usize| {
        let mut all = Vec::new();
        for browser in browsers {
            all.append(&mut read(browser, side, i64::try_from(limit).unwrap_or(i64::MAX))?);
            all.sort_by(|one, other| if side == Side::UpTo { order(other, one) } else { order(one, other) });
            all.truncate(limit);
        }
        Outcome::Ok(all)
    };
    let mut all = nearest(Side::UpTo, count(max) + 1)?;
    let mut after = nearest(Side::After, count(max) + 1 - all.len())?;
    let left_out = all.len() + after.len() > count(max);
    all.truncate(count(max));
    after.truncate(count(max) - all.len());
    all.reverse();
    all.append(&mut after);
    Ok((all, left_out))
}

fn count(max: u32) -> usize {
    usize::try_from(max).unwrap_or(usize::MAX - 1)
}

fn touches(
    connection: &mut SqliteConnection,
    visitor: &[u8],
    asked: &Asked,
    side: Side,
    limit: i64,
) -> Outcome<Vec<JourneyTouch>> {
    use touchpoints::{at, event_id, pixel_id};
    let (until, event) = &asked.until;
    let of_visitor = touchpoints::table
        .filter(touchpoints::visitor_id.eq(visitor))
        .limit(limit)
        .select((event_id, touchpoints::touch))
        .into_boxed();
    let nearest = match side {
        Side::UpTo => of_visitor.filter(at.le(until).and(at.lt(until).or(event_id.le(event)))).order((
            at.desc(),
            event_id.desc(),
            pixel_id.desc(),
        )),
        Side::After => of_visitor
            .filter(at.ge(until).and(at.gt(until).or(event_id.gt(event))))
            .order((at, event_id, pixel_id)),
    };
    let rows: Vec<(Vec<u8>, String)> = nearest.load(connection)?;
    let visitor_id = VisitorId(Row::of("touchpoints", visitor).uuid("visitor_id", visitor)?);
    let touch = |(event, touch): &(Vec<u8>, String)| {
        let touch = Row::of("touchpoints", event).json("touch", touch)?;
        Ok(JourneyTouch { visitor_id, touch })
    };
    Ok(rows.iter().map(touch).collect::<Result<_, StoreError>>()?)
}

fn events_of(
    connection: &mut SqliteConnection,
    visitor: &[u8],
    asked: &Asked,
    side: Side,
    limit: i64,
) -> Outcome<Vec<StoredEvent>> {
    use events::{event_id, occurred_at as at, pixel_id};
    let (until, event) = &asked.until;
    let of_visitor = events::table
        .left_join(visitors::table.on(visitors::visitor_id.eq(events::visitor_id)))
        .filter(events::visitor_id.eq(visitor))
        .limit(limit)
        .select((EventRow::as_select(), visitors::cookie.nullable()))
        .into_boxed();
    let nearest = match side {
        Side::UpTo => of_visitor.filter(at.le(until).and(at.lt(until).or(event_id.le(event)))).order((
            at.desc(),
            event_id.desc(),
            pixel_id.desc(),
        )),
        Side::After => of_visitor
            .filter(at.ge(until).and(at.gt(until).or(event_id.gt(event))))
            .order((at, event_id, pixel_id)),
    };
    let rows: Vec<(EventRow<'static>, Option<String>)> = nearest.load(connection)?;
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

    async fn journey(
        &self,
        project: ProjectId,
        lead: LeadId,
        bounds: &JourneyBounds,
    ) -> Result<Journey, StoreError> {
        let bounds = *bounds;
        self.read(move |connection| journey(connection, project, lead, &bounds)).await
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
