use async_trait::async_trait;
use leadtrail_domain::email::EmailHash;
use leadtrail_domain::event::StoredEvent;
use leadtrail_domain::id::{LeadId, ProjectId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::{Histories, Page, StoreError};
use leadtrail_domain::reattribute::{History, Revision, StoredSession};
use leadtrail_domain::visit::NewTouch;

use crate::journeys::place;
use crate::{MemoryStore, take};

#[async_trait]
impl Histories for MemoryStore {
    async fn visitors(
        &self,
        project: ProjectId,
        page: &Page<VisitorId>,
    ) -> Result<Vec<VisitorId>, StoreError> {
        let tables = self.tables()?;
        let of_project = tables.visitors.values().filter(|row| row.visitor.project_id == project);
        let ids =
            of_project.map(|row| row.visitor.id).filter(|id| page.after.is_none_or(|after| *id > after));
        Ok(take(ids, page.limit))
    }

    async fn history(
        &self,
        project: ProjectId,
        visitor: VisitorId,
        events_max: u32,
    ) -> Result<Option<History>, StoreError> {
        let tables = self.tables()?;
        let row = tables.visitors.get(&visitor).filter(|row| row.visitor.project_id == project);
        let Some(row) = row else { return Ok(None) };
        let mut events: Vec<&StoredEvent> =
            tables.events.values().filter(|stored| stored.visitor_id == visitor).collect();
        events.sort_by(|one, other| place(one).cmp(&place(other)));
        let mut touches: Vec<_> = row.touches.iter().map(|new| new.touch.clone()).collect();
        touches.sort_by(|one, other| one.key().cmp(&other.key()));
        let session = |id: &_| {
            let session = &tables.sessions.get(id)?.session;
            let stored = StoredSession {
                pixel_id: session.pixel_id.clone(),
                opening_event_id: session.opening_event_id,
                attribution: session.attribution.clone(),
            };
            Some((session.id, stored))
        };
        Ok(Some(History {
            visitor_id: visitor,
            version: row.visitor.version,
            events: take(events.into_iter().cloned(), events_max),
            sessions: row.sessions.iter().filter_map(session).collect(),
            touches,
            conversions: (tables.conversions.values().filter(|one| one.visitor_id == visitor).cloned())
                .collect(),
        }))
    }

    async fn revise(&self, project: ProjectId, revision: &Revision) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        let row = tables.visitors.get_mut(&revision.visitor_id);
        let row =
            row.filter(|row| row.visitor.project_id == project && row.visitor.version == revision.version);
        let row = row.ok_or(StoreError::Stale)?;
        row.visitor.version += 1;
        let touch = |touch: &_| NewTouch {
            project_id: project,
            visitor_id: revision.visitor_id,
            touch: std::sync::Arc::clone(touch),
        };
        row.touches = revision.touches.iter().map(touch).collect();
        tables.conversions.retain(|_, conversion| conversion.visitor_id != revision.visitor_id);
        tables.conversions.extend(revision.conversions.iter().map(|one| (one.id, one.clone())));
        for (id, attribution) in &revision.sessions {
            let session = tables.sessions.get_mut(id).map(|row| &mut row.session);
            if let Some(session) = session.filter(|session| session.visitor_id == revision.visitor_id) {
                session.attribution = attribution.clone();
            }
        }
        Ok(())
    }

    async fn leads(&self, project: ProjectId, page: &Page<LeadId>) -> Result<Vec<Lead>, StoreError> {
        let tables = self.tables()?;
        let of_project = tables.leads.values().filter(|lead| lead.project_id == project);
        let leads = of_project.filter(|lead| page.after.is_none_or(|after| lead.id > after));
        Ok(take(leads.cloned(), page.limit))
    }

    async fn visitors_of(
        &self,
        project: ProjectId,
        email: &EmailHash,
        limit: u32,
    ) -> Result<Vec<VisitorId>, StoreError> {
        let tables = self.tables()?;
        let visitors = tables.identities.get(&(project, *email));
        Ok(take(visitors.into_iter().flat_map(|visitors| visitors.keys()).copied(), limit))
    }

    async fn revise_lead(&self, project: ProjectId, lead: &Lead) -> Result<(), StoreError> {
        let mut tables = self.tables()?;
        if let Some(stored) = tables.leads.get_mut(&lead.id).filter(|stored| stored.project_id == project) {
            stored.touches = lead.touches.clone();
            stored.session_touch.clone_from(&lead.session_touch);
        }
        Ok(())
    }
}
