use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{PixelId, ProjectId};
use leadtrail_domain::ports::{EventOrder, EventPage, Events, StoreError};

use crate::SqliteStore;
use crate::schema::{tracking_events as events, visitors};
use crate::visits::EventRow;

#[async_trait]
impl Events for SqliteStore {
    async fn of_pixel(
        &self,
        project: ProjectId,
        pixel: &PixelId,
        page: &EventPage,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let (pixel, page) = (pixel.clone(), page.clone());
        self.read(move |connection| {
            let (first, last) = page.instants().into_inner();
            let mut query = events::table
                .left_join(visitors::table.on(visitors::visitor_id.eq(events::visitor_id)))
                .filter(events::pixel_id.eq(pixel.as_str()))
                .filter(events::project_id.eq(project.0.as_bytes().as_slice()))
                .filter(events::occurred_at.ge(first.micros()).and(events::occurred_at.le(last.micros())))
                .limit(i64::from(page.limit))
                .select((EventRow::as_select(), visitors::cookie.nullable()))
                .into_boxed();
            query = match page.order {
                EventOrder::OldestFirst => query.order((events::occurred_at, events::event_id)),
                EventOrder::NewestFirst => query.order((events::occurred_at.desc(), events::event_id.desc())),
            };
            if let Some((at, id)) = page.after {
                let (at, id) = (at.micros(), id.uuid().as_bytes().to_vec());
                query = match page.order {
                    EventOrder::OldestFirst => {
                        query.filter(events::occurred_at.gt(at).or(events::event_id.gt(id)))
                    }
                    EventOrder::NewestFirst => {
                        query.filter(events::occurred_at.lt(at).or(events::event_id.lt(id)))
                    }
                };
            }
            let rows: Vec<(EventRow<'static>, Option<String>)> = query.load(connection)?;
            Ok(rows.into_iter().map(|(row, cookie)| row.read(cookie.as_deref())).collect::<Result<_, _>>()?)
        })
        .await
    }
}
