use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::conversion::Conversion;
use leadtrail_domain::id::{ConversionId, EventId, ProjectId, SessionId, VisitorId};
use leadtrail_domain::ports::{ConversionFilter, Conversions, StoreError};
use leadtrail_domain::time::Timestamp;
use leadtrail_domain::touch::RULES_VERSION;

use crate::SqliteStore;
use crate::failure::{Outcome, json_text};
use crate::row::Row;
use crate::schema::conversions;

#[derive(Queryable, Selectable)]
#[diesel(table_name = conversions)]
struct ConversionRow {
    project_id: Vec<u8>,
    conversion_id: Vec<u8>,
    name: String,
    pixel_id: String,
    event_id: Vec<u8>,
    visitor_id: Vec<u8>,
    session_id: Vec<u8>,
    occurred_at: i64,
    value: Option<f64>,
    touches: String,
}

impl ConversionRow {
    fn read(self) -> Result<Conversion, StoreError> {
        let row = Row::of("conversions", &self.conversion_id);
        Ok(Conversion {
            id: ConversionId(row.uuid("conversion_id", &self.conversion_id)?),
            project_id: ProjectId(row.uuid("project_id", &self.project_id)?),
            name: row.parse("name", &self.name)?,
            pixel_id: row.parse("pixel_id", &self.pixel_id)?,
            event_id: EventId::from_uuid(row.uuid("event_id", &self.event_id)?),
            visitor_id: VisitorId(row.uuid("visitor_id", &self.visitor_id)?),
            session_id: SessionId(row.uuid("session_id", &self.session_id)?),
            occurred_at: Timestamp::from_micros(self.occurred_at),
            value: self.value,
            touches: row.json("touches", &self.touches)?,
        })
    }
}

pub(crate) fn insert_conversion(connection: &mut SqliteConnection, conversion: &Conversion) -> Outcome<()> {
    diesel::insert_into(conversions::table)
        .values((
            conversions::project_id.eq(conversion.project_id.0.as_bytes().as_slice()),
            conversions::conversion_id.eq(conversion.id.0.as_bytes().as_slice()),
            conversions::name.eq(conversion.name.as_str()),
            conversions::pixel_id.eq(conversion.pixel_id.as_str()),
            conversions::event_id.eq(conversion.event_id.uuid().as_bytes().as_slice()),
            conversions::visitor_id.eq(conversion.visitor_id.0.as_bytes().as_slice()),
            conversions::session_id.eq(conversion.session_id.0.as_bytes().as_slice()),
            conversions::occurred_at.eq(conversion.occurred_at.micros()),
            conversions::value.eq(conversion.value),
            conversions::touches.eq(json_text(&conversion.touches)?),
            conversions::rules_version.eq(i64::from(RULES_VERSION)),
        ))
        .execute(connection)?;
    Ok(())
}

/// A visitor's conversions, by id.
pub(crate) fn conversions_of(connection: &mut SqliteConnection, visitor: &[u8]) -> Outcome<Vec<Conversion>> {
    let rows = conversions::table
        .filter(conversions::visitor_id.eq(visitor))
        .order(conversions::conversion_id)
        .select(ConversionRow::as_select())
        .load(connection)?;
    Ok(rows.into_iter().map(ConversionRow::read).collect::<Result<_, _>>()?)
}

pub(crate) fn delete_conversions_of(connection: &mut SqliteConnection, visitor: &[u8]) -> Outcome<()> {
    diesel::delete(conversions::table.filter(conversions::visitor_id.eq(visitor))).execute(connection)?;
    Ok(())
}

#[async_trait]
impl Conversions for SqliteStore {
    async fn conversions(
        &self,
        project: ProjectId,
        filter: &ConversionFilter,
        limit: u32,
    ) -> Result<Vec<Conversion>, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| {
            let mut meant = conversions::table
                .filter(conversions::project_id.eq(project.0.as_bytes().as_slice()))
                .order(conversions::conversion_id.desc())
                .limit(i64::from(limit))
                .select(ConversionRow::as_select())
                .into_boxed();
            if let Some(name) = &filter.name {
                meant = meant.filter(conversions::name.eq(name.as_str()));
            }
            if let Some(since) = filter.since {
                meant = meant.filter(conversions::occurred_at.ge(since.micros()));
            }
            if let Some(until) = filter.until {
                meant = meant.filter(conversions::occurred_at.lt(until.micros()));
            }
            if let Some(before) = filter.before {
                meant = meant.filter(conversions::conversion_id.lt(before.0.as_bytes().to_vec()));
            }
            Ok(meant.load(connection)?.into_iter().map(ConversionRow::read).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn conversions_by_event(
        &self,
        project: ProjectId,
        event: EventId,
    ) -> Result<Vec<Conversion>, StoreError> {
        self.read(move |connection| {
            let rows = conversions::table
                .filter(conversions::event_id.eq(event.uuid().as_bytes().as_slice()))
                .filter(conversions::project_id.eq(project.0.as_bytes().as_slice()))
                .order(conversions::conversion_id)
                .select(ConversionRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(ConversionRow::read).collect::<Result<_, _>>()?)
        })
        .await
    }
}
