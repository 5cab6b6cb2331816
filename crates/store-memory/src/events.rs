use async_trait::async_trait;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{PixelId, ProjectId};
use leadtrail_domain::ports::{EventOrder, EventPage, EventPlace, Events, StoreError};

use crate::{MemoryStore, take};

fn place(stored: &StoredEvent) -> EventPlace {
    (stored.event.occurred_at, stored.event.id)
}

#[async_trait]
impl Events for MemoryStore {
    async fn of_pixel(
        &self,
        project: ProjectId,
        pixel: &PixelId,
        page: &EventPage,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let tables = self.tables()?;
        let of_pixel = tables
            .events
            .values()
            .filter(|stored| stored.event.project_id == project && stored.event.pixel_id == *pixel)
            .filter(|stored| (page.since..page.until).contains(&stored.event.occurred_at));
        let mut events: Vec<&StoredEvent> = match page.order {
            EventOrder::OldestFirst => {
                of_pixel.filter(|stored| page.after.is_none_or(|after| place(stored) > after)).collect()
            }
            EventOrder::NewestFirst => {
                of_pixel.filter(|stored| page.after.is_none_or(|after| place(stored) < after)).collect()
            }
        };
        events.sort_by_key(|stored| place(stored));
        if page.order == EventOrder::NewestFirst {
            events.reverse();
        }
        Ok(take(events.into_iter().cloned(), page.limit))
    }
}
