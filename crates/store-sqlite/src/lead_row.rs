use diesel::prelude::*;
use leadtrail_domain::id::{EventId, LeadId, ProjectId, SessionId, SyncJobId, VisitorId};
use leadtrail_domain::lead::Lead;
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::time::Timestamp;

use crate::row::Row;
use crate::schema::leads;

#[derive(Queryable, Selectable)]
#[diesel(table_name = leads)]
pub(crate) struct LeadRow {
    lead_id: Vec<u8>,
    project_id: Vec<u8>,
    pixel_id: String,
    event_id: Vec<u8>,
    visitor_id: Vec<u8>,
    session_id: Vec<u8>,
    job_id: Option<Vec<u8>>,
    email: String,
    first_name: Option<String>,
    last_name: Option<String>,
    occurred_at: i64,
    received_at: i64,
    touches: String,
    session_touch: Option<String>,
}

impl LeadRow {
    pub(crate) fn read(self) -> Result<Lead, StoreError> {
        let row = Row::of("leads", &self.lead_id);
        Ok(Lead {
            id: LeadId(row.uuid("lead_id", &self.lead_id)?),
            project_id: ProjectId(row.uuid("project_id", &self.project_id)?),
            pixel_id: row.parse("pixel_id", &self.pixel_id)?,
            event_id: EventId::from_uuid(row.uuid("event_id", &self.event_id)?),
            visitor_id: VisitorId(row.uuid("visitor_id", &self.visitor_id)?),
            session_id: SessionId(row.uuid("session_id", &self.session_id)?),
            job_id: self.job_id.as_deref().map(|id| row.uuid("job_id", id)).transpose()?.map(SyncJobId),
            email: row.parse("email", &self.email)?,
            first_name: self.first_name,
            last_name: self.last_name,
            occurred_at: Timestamp::from_micros(self.occurred_at),
            received_at: Timestamp::from_micros(self.received_at),
            touches: row.json("touches", &self.touches)?,
            session_touch: row.json_or_none("session_touch", self.session_touch.as_deref())?,
        })
    }
}
