use async_trait::async_trait;
use leadtrail_domain::conversion::Conversion;
use leadtrail_domain::id::{EventId, ProjectId};
use leadtrail_domain::ports::{ConversionFilter, Conversions, StoreError};

use crate::{MemoryStore, take};

#[async_trait]
impl Conversions for MemoryStore {
    async fn conversions(
        &self,
        project: ProjectId,
        filter: &ConversionFilter,
        limit: u32,
    ) -> Result<Vec<Conversion>, StoreError> {
        let tables = self.tables()?;
        let meant = (tables.conversions.values().rev())
            .filter(|one| one.project_id == project && is_meant(one, filter));
        Ok(take(meant.cloned(), limit))
    }

    async fn conversions_by_event(
        &self,
        project: ProjectId,
        event: EventId,
    ) -> Result<Vec<Conversion>, StoreError> {
        let tables = self.tables()?;
        let of_event =
            tables.conversions.values().filter(|one| one.project_id == project && one.event_id == event);
        Ok(of_event.cloned().collect())
    }
}

fn is_meant(conversion: &Conversion, filter: &ConversionFilter) -> bool {
    filter.name.as_ref().is_none_or(|name| conversion.name == *name)
        && filter.since.is_none_or(|since| conversion.occurred_at >= since)
        && filter.until.is_none_or(|until| conversion.occurred_at < until)
        && filter.before.is_none_or(|before| conversion.id < before)
}
