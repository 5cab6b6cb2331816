use std::sync::Arc;

use diesel::prelude::*;
use leadtrail_domain::id::{EventId, LeadId, ProjectId, SessionId, SyncJobId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::touch::Touch;
use uuid::Uuid;

use crate::column::{At, JsonText, parsed};
use crate::schema::leads;

#[derive(Queryable, Selectable)]
#[diesel(table_name = leads)]
pub(crate) struct LeadRow {
    lead_id: Uuid,
    project_id: Uuid,
    pixel_id: String,
    event_id: Uuid,
    visitor_id: Uuid,
    session_id: Uuid,
    job_id: Option<Uuid>,
    email: String,
    first_name: Option<String>,
    last_name: Option<String>,
    occurred_at: At,
    received_at: At,
    touches: JsonText,
    session_touch: Option<JsonText>,
}

impl LeadRow {
    pub(crate) fn lead(self) -> Result<Lead, StoreError> {
        let id = self.lead_id;
        let session_touch =
            self.session_touch.map(|touch| touch.parse::<Touch>("leads", "session_touch", id));
        Ok(Lead {
            id: LeadId(id),
            project_id: ProjectId(self.project_id),
            pixel_id: parsed(&self.pixel_id, "leads", "pixel_id", id)?,
            event_id: EventId::from_uuid(self.event_id),
            visitor_id: VisitorId(self.visitor_id),
            session_id: SessionId(self.session_id),
            job_id: self.job_id.map(SyncJobId),
            email: parsed(&self.email, "leads", "email", id)?,
            first_name: self.first_name,
            last_name: self.last_name,
            occurred_at: self.occurred_at.0,
            received_at: self.received_at.0,
            touches: self.touches.parse("leads", "touches", id)?,
            session_touch: session_touch.transpose()?.map(Arc::new),
        })
    }
}
