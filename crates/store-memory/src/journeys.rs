use std::collections::BTreeSet;

use async_trait::async_trait;
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{EventId, LeadId, PixelId, ProjectId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Journey, Journeys, StoreError};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::Touch;

use crate::{MemoryStore, take};

/// Where an event stands among those of several visitors.
pub(crate) fn place(stored: &StoredEvent) -> (Timestamp, EventId, &PixelId) {
    (stored.event.occurred_at, stored.event.id, &stored.event.pixel_id)
}

#[async_trait]
impl Journeys for MemoryStore {
    async fn leads_of(
        &self,
        project: ProjectId,
        email: &EmailHash,
        limit: u32,
    ) -> Result<Vec<Lead>, StoreError> {
        let tables = self.tables()?;
        let of_person =
            tables.leads.values().filter(|lead| lead.project_id == project && lead.email.hash() == *email);
        let mut leads: Vec<Lead> = of_person.cloned().collect();
        leads.sort_by_key(|lead| std::cmp::Reverse((lead.received_at, lead.id)));
        Ok(take(leads.into_iter(), limit))
    }

    async fn leads_by_event(&self, project: ProjectId, event: EventId) -> Result<Vec<Lead>, StoreError> {
        let tables = self.tables()?;
        let events = tables.events.values().filter(|stored| stored.event.id == event);
        let ids: BTreeSet<LeadId> = events
            .filter(|stored| stored.event.project_id == project)
            .filter_map(|stored| stored.lead_id)
            .collect();
        Ok(ids.iter().filter_map(|id| tables.leads.get(id)).cloned().collect())
    }

    async fn journey(&self, project: ProjectId, lead: LeadId, limit: u32) -> Result<Journey, StoreError> {
        let tables = self.tables()?;
        let Some(lead) = tables.leads.get(&lead).filter(|lead| lead.project_id == project) else {
            return Ok(Journey::default());
        };
        let person = (project, lead.email.hash());
        let known = tables.identities.get(&person).into_iter().flat_map(|visitors| visitors.keys());
        let visitors: BTreeSet<VisitorId> = known.copied().chain([lead.visitor_id]).collect();
        let rows = visitors.iter().filter_map(|id| tables.visitors.get(id));
        let mut touches: Vec<Touch> =
            rows.flat_map(|row| &row.touches).map(|new| new.touch.as_ref().clone()).collect();
        touches.sort_by(|one, other| other.key().cmp(&one.key()));
        let mut events: Vec<StoredEvent> =
            tables.events.values().filter(|stored| visitors.contains(&stored.visitor_id)).cloned().collect();
        events.sort_by(|one, other| place(other).cmp(&place(one)));
        let mut touches = take(touches.into_iter(), limit);
        let mut events = take(events.into_iter(), limit);
        touches.reverse();
        events.reverse();
        Ok(Journey { touches, events })
    }

    async fn last_event_at(
        &self,
        project: ProjectId,
        pixel: &PixelId,
    ) -> Result<Option<Timestamp>, StoreError> {
        let tables = self.tables()?;
        let events = tables.events.values().map(|stored| &stored.event);
        let of_pixel = events.filter(|event| event.project_id == project && event.pixel_id == *pixel);
        Ok(of_pixel.map(|event| event.occurred_at).max())
    }
}
