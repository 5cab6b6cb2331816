use std::collections::BTreeSet;

use async_trait::async_trait;
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{EventId, LeadId, PixelId, ProjectId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Journey, JourneyBounds, JourneyTouch, Journeys, LeftOut, StoreError};
use leadtrail_domain::time::Timestamp;

use crate::{MemoryStore, take};

/// Where an event stands among those of several visitors.
pub(crate) fn place(stored: &StoredEvent) -> (Timestamp, EventId, &PixelId) {
    (stored.event.occurred_at, stored.event.id, &stored.event.pixel_id)
}

/// Of a list in order, first the latest up to the lead and then the earliest after it, as many as the bound allows.
fn around<T>(list: &[T], max: u32, is_up_to: impl Fn(&T) -> bool) -> &[T] {
    let from = list.partition_point(is_up_to).saturating_sub(count(max));
    let list = &list[from..];
    &list[..list.len().min(count(max))]
}

fn count(max: u32) -> usize {
    usize::try_from(max).unwrap_or(usize::MAX)
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

    async fn journey(
        &self,
        project: ProjectId,
        lead: LeadId,
        bounds: &JourneyBounds,
    ) -> Result<Journey, StoreError> {
        let tables = self.tables()?;
        let Some(lead) = tables.leads.get(&lead).filter(|lead| lead.project_id == project) else {
            return Ok(Journey::default());
        };
        let person = (project, lead.email.hash());
        let mut others: Vec<(Timestamp, VisitorId)> = (tables.identities.get(&person).into_iter().flatten())
            .filter(|(id, _)| **id != lead.visitor_id)
            .map(|(id, at)| (*at, *id))
            .collect();
        others.sort_unstable();
        let all = others.len();
        let others = take(others.into_iter(), bounds.browsers);
        let browsers: BTreeSet<VisitorId> =
            others.iter().map(|(_, id)| *id).chain([lead.visitor_id]).collect();

        let mut touches: Vec<JourneyTouch> = (browsers.iter().filter_map(|id| tables.visitors.get(id)))
            .flat_map(|row| &row.touches)
            .map(|new| JourneyTouch { visitor_id: new.visitor_id, touch: new.touch.as_ref().clone() })
            .collect();
        touches.sort_by(|one, other| one.touch.key().cmp(&other.touch.key()));
        let mut events: Vec<&StoredEvent> =
            tables.events.values().filter(|stored| browsers.contains(&stored.visitor_id)).collect();
        events.sort_by(|one, other| place(one).cmp(&place(other)));
        let gave = |id: &VisitorId| {
            let of_browser = events.iter().filter(|stored| stored.visitor_id == *id);
            let mut gave = of_browser.filter(|stored| {
                stored.event.form.as_ref().is_some_and(|form| form.email.as_ref() == Some(&lead.email))
            });
            gave.next().map(|stored| (stored.event.occurred_at, stored.event.id))
        };
        let until = (lead.occurred_at, lead.event_id);
        let left_out = LeftOut {
            browsers: all > others.len(),
            touches: touches.len() > count(bounds.touches),
            events: events.len() > count(bounds.events),
        };
        Ok(Journey {
            browsers: browsers.iter().map(|id| (*id, gave(id))).collect(),
            touches: around(&touches, bounds.touches, |one| one.touch.order() <= until).to_vec(),
            events: around(&events, bounds.events, |one| (one.event.occurred_at, one.event.id) <= until)
                .iter()
                .map(|stored| (*stored).clone())
                .collect(),
            left_out,
        })
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
