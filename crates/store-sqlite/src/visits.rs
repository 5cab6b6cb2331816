mod commit;
mod event_row;
mod load;

use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{EventId, PixelId, ProjectId};
use leadtrail_domain::ports::{StoreError, Visits};
use leadtrail_domain::visit::{Changes, Known, VisitQuery};

pub(crate) use self::commit::insert_touch;
pub(crate) use self::event_row::EventRow;
pub(crate) use self::load::last_event_of_session;
use crate::SqliteStore;
use crate::failure::Outcome;
use crate::schema::{tracking_events as events, visitors};

/// One event of a project.
pub(crate) fn event(
    connection: &mut SqliteConnection,
    project: ProjectId,
    pixel: &PixelId,
    id: EventId,
) -> Outcome<Option<StoredEvent>> {
    let row: Option<(EventRow<'static>, Option<String>)> = events::table
        .left_join(visitors::table.on(visitors::visitor_id.eq(events::visitor_id)))
        .filter(events::event_id.eq(id.uuid().as_bytes().as_slice()))
        .filter(events::pixel_id.eq(pixel.as_str()))
        .filter(events::project_id.eq(project.0.as_bytes().as_slice()))
        .select((EventRow::as_select(), visitors::cookie.nullable()))
        .first(connection)
        .optional()?;
    Ok(row.map(|(row, cookie)| row.read(cookie.as_deref())).transpose()?)
}

#[async_trait]
impl Visits for SqliteStore {
    async fn load(&self, query: &VisitQuery) -> Result<Known, StoreError> {
        let query = query.clone();
        self.read_as_writer(move |connection| load::load(connection, &query)).await
    }

    async fn commit(&self, changes: &Changes) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let changes = changes.clone();
        let events = changes.events.len();
        self.write(move |connection| commit::commit(connection, &changes)).await?;
        self.committed(events);
        Ok(())
    }

    async fn event(
        &self,
        project: ProjectId,
        pixel: &PixelId,
        event_id: EventId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        let pixel = pixel.clone();
        self.read(move |connection| event(connection, project, &pixel, event_id)).await
    }

    async fn events(
        &self,
        project: ProjectId,
        after: Option<(EventId, PixelId)>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(move |connection| {
            let (event, pixel) = after.as_ref().map_or((Vec::new(), ""), |(event, pixel)| {
                (event.uuid().as_bytes().to_vec(), pixel.as_str())
            });
            // The first condition bounds the search in the index, the second finds the place among equal ids.
            let rows: Vec<(EventRow<'static>, Option<String>)> = events::table
                .left_join(visitors::table.on(visitors::visitor_id.eq(events::visitor_id)))
                .filter(events::event_id.ge(&event))
                .filter(events::event_id.gt(&event).or(events::pixel_id.gt(pixel)))
                .filter(events::project_id.eq(project.0.as_bytes().as_slice()))
                .order((events::event_id, events::pixel_id))
                .limit(i64::from(limit))
                .select((EventRow::as_select(), visitors::cookie.nullable()))
                .load(connection)?;
            Ok(rows.into_iter().map(|(row, cookie)| row.read(cookie.as_deref())).collect::<Result<_, _>>()?)
        })
        .await
    }
}
