mod commit;
pub(crate) mod event_row;
mod load;

use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{EventId, PixelId, ProjectId};
use leadtrail_domain::ports::{StoreError, Visits};
use leadtrail_domain::visit::{Changes, Known, VisitQuery};
use uuid::Uuid;

use self::event_row::EventRow;
use crate::PostgresStore;
use crate::column::At;
use crate::schema::{tracking_events, visitors};

#[async_trait]
impl Visits for PostgresStore {
    async fn load(&self, query: &VisitQuery) -> Result<Known, StoreError> {
        load::load(self, query).await
    }

    async fn commit(&self, changes: &Changes) -> Result<(), StoreError> {
        commit::commit(self, changes).await
    }

    async fn event(
        &self,
        project: ProjectId,
        pixel: &PixelId,
        event: EventId,
    ) -> Result<Option<StoredEvent>, StoreError> {
        let pixel = pixel.clone();
        self.ask(move |connection| {
            let found = tracking_events::table
                .inner_join(visitors::table)
                .filter(tracking_events::event_id.eq(event.uuid()))
                .filter(tracking_events::pixel_id.eq(pixel.as_str()))
                .filter(tracking_events::partition_at.eq(At(event.partition_at())))
                .filter(tracking_events::project_id.eq(project.0))
                .select((EventRow::as_select(), visitors::cookie))
                .first::<(EventRow, Option<String>)>(connection)
                .optional()?;
            Ok(found.map(|(row, cookie)| row.stored(cookie)).transpose()?)
        })
        .await
    }

    async fn events(
        &self,
        project: ProjectId,
        after: Option<(EventId, PixelId)>,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.ask(move |connection| {
            let (event, pixel) =
                after.as_ref().map_or((Uuid::nil(), ""), |(id, pixel)| (id.uuid(), pixel.as_str()));
            // The first condition is where the index begins, the second what it means.
            let rows = tracking_events::table
                .inner_join(visitors::table)
                .filter(tracking_events::event_id.ge(event))
                .filter(tracking_events::event_id.ne(event).or(tracking_events::pixel_id.gt(pixel)))
                .filter(tracking_events::project_id.eq(project.0))
                .order((tracking_events::event_id, tracking_events::pixel_id))
                .limit(i64::from(limit))
                .select((EventRow::as_select(), visitors::cookie))
                .load::<(EventRow, Option<String>)>(connection)?;
            Ok(rows.into_iter().map(|(row, cookie)| row.stored(cookie)).collect::<Result<_, _>>()?)
        })
        .await
    }
}
