use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{PixelId, ProjectId};
use leadtrail_domain::ports::{EventOrder, EventPage, Events, StoreError};

use crate::PostgresStore;
use crate::column::At;
use crate::schema::{tracking_events, visitors};
use crate::visits::event_row::EventRow;

#[async_trait]
impl Events for PostgresStore {
    async fn of_pixel(
        &self,
        project: ProjectId,
        pixel: &PixelId,
        page: &EventPage,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let (pixel, page) = (pixel.clone(), page.clone());
        self.ask(move |connection| {
            let (first, last) = page.instants().into_inner();
            let (occurred_at, event_id) = (tracking_events::occurred_at, tracking_events::event_id);
            let mut query = tracking_events::table
                .inner_join(visitors::table)
                .filter(tracking_events::pixel_id.eq(pixel.as_str()))
                .filter(tracking_events::project_id.eq(project.0))
                .filter(occurred_at.ge(At(first)).and(occurred_at.le(At(last))))
                .limit(i64::from(page.limit))
                .select((EventRow::as_select(), visitors::cookie))
                .into_boxed();
            query = match page.order {
                EventOrder::OldestFirst => query.order((occurred_at, event_id)),
                EventOrder::NewestFirst => query.order((occurred_at.desc(), event_id.desc())),
            };
            if let Some((at, id)) = page.after {
                let (at, id) = (At(at), id.uuid());
                query = match page.order {
                    EventOrder::OldestFirst => query.filter(occurred_at.gt(at).or(event_id.gt(id))),
                    EventOrder::NewestFirst => query.filter(occurred_at.lt(at).or(event_id.lt(id))),
                };
            }
            let rows: Vec<(EventRow, Option<String>)> = query.load(connection)?;
            Ok(rows.into_iter().map(|(row, cookie)| row.stored(cookie)).collect::<Result<_, _>>()?)
        })
        .await
    }
}
