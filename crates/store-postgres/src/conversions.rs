use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::conversion::Conversion;
use leadtrail_domain::id::{ConversionId, EventId, ProjectId, SessionId, VisitorId};
use leadtrail_domain::ports::{ConversionFilter, Conversions, StoreError};
use leadtrail_domain::touch::RULES_VERSION;
use uuid::Uuid;

use crate::PostgresStore;
use crate::column::{At, JsonText, parsed};
use crate::error::Failure;
use crate::schema::conversions;

/// A row has 11 values, and a statement takes 65,535.
const CONVERSIONS_PER_STATEMENT: usize = 1_000;

#[derive(Queryable, Selectable)]
#[diesel(table_name = conversions)]
struct ConversionRow {
    project_id: Uuid,
    conversion_id: Uuid,
    name: String,
    pixel_id: String,
    event_id: Uuid,
    visitor_id: Uuid,
    session_id: Uuid,
    occurred_at: At,
    value: Option<f64>,
    touches: JsonText,
}

impl ConversionRow {
    fn conversion(self) -> Result<Conversion, StoreError> {
        let id = self.conversion_id;
        Ok(Conversion {
            id: ConversionId(id),
            project_id: ProjectId(self.project_id),
            name: parsed(&self.name, "conversions", "name", id)?,
            pixel_id: parsed(&self.pixel_id, "conversions", "pixel_id", id)?,
            event_id: EventId::from_uuid(self.event_id),
            visitor_id: VisitorId(self.visitor_id),
            session_id: SessionId(self.session_id),
            occurred_at: self.occurred_at.0,
            value: self.value,
            touches: self.touches.parse("conversions", "touches", id)?,
        })
    }
}

/// A visitor's conversions, by id.
pub(crate) fn conversions_of(
    connection: &mut PgConnection,
    visitor: VisitorId,
) -> Result<Vec<Conversion>, Failure> {
    let rows = conversions::table
        .filter(conversions::visitor_id.eq(visitor.0))
        .order(conversions::conversion_id)
        .select(ConversionRow::as_select())
        .load(connection)?;
    Ok(rows.into_iter().map(ConversionRow::conversion).collect::<Result<_, _>>()?)
}

/// Gives a visitor these conversions in place of those it has.
pub(crate) fn replace_conversions_of(
    connection: &mut PgConnection,
    visitor: VisitorId,
    by: &[Conversion],
) -> Result<(), Failure> {
    diesel::delete(conversions::table.filter(conversions::visitor_id.eq(visitor.0))).execute(connection)?;
    for some in by.chunks(CONVERSIONS_PER_STATEMENT) {
        let mut rows = Vec::with_capacity(some.len());
        for conversion in some {
            rows.push((
                conversions::project_id.eq(conversion.project_id.0),
                conversions::conversion_id.eq(conversion.id.0),
                conversions::name.eq(conversion.name.as_str()),
                conversions::pixel_id.eq(conversion.pixel_id.as_str()),
                conversions::event_id.eq(conversion.event_id.uuid()),
                conversions::visitor_id.eq(conversion.visitor_id.0),
                conversions::session_id.eq(conversion.session_id.0),
                conversions::occurred_at.eq(At(conversion.occurred_at)),
                conversions::value.eq(conversion.value),
                conversions::touches.eq(JsonText::of(&conversion.touches)?),
                conversions::rules_version.eq(i32::from(RULES_VERSION)),
            ));
        }
        diesel::insert_into(conversions::table).values(rows).execute(connection)?;
    }
    Ok(())
}

#[async_trait]
impl Conversions for PostgresStore {
    async fn conversions(
        &self,
        project: ProjectId,
        filter: &ConversionFilter,
        limit: u32,
    ) -> Result<Vec<Conversion>, StoreError> {
        let filter = filter.clone();
        self.ask(move |connection| {
            let mut meant = conversions::table
                .filter(conversions::project_id.eq(project.0))
                .order(conversions::conversion_id.desc())
                .limit(i64::from(limit))
                .select(ConversionRow::as_select())
                .into_boxed();
            if let Some(name) = &filter.name {
                meant = meant.filter(conversions::name.eq(name.as_str()));
            }
            if let Some(since) = filter.since {
                meant = meant.filter(conversions::occurred_at.ge(At(since)));
            }
            if let Some(until) = filter.until {
                meant = meant.filter(conversions::occurred_at.lt(At(until)));
            }
            if let Some(before) = filter.before {
                meant = meant.filter(conversions::conversion_id.lt(before.0));
            }
            let rows = meant.load(connection)?;
            Ok(rows.into_iter().map(ConversionRow::conversion).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn conversions_by_event(
        &self,
        project: ProjectId,
        event: EventId,
    ) -> Result<Vec<Conversion>, StoreError> {
        self.ask(move |connection| {
            let rows = conversions::table
                .filter(conversions::event_id.eq(event.uuid()))
                .filter(conversions::project_id.eq(project.0))
                .order(conversions::conversion_id)
                .select(ConversionRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(ConversionRow::conversion).collect::<Result<_, _>>()?)
        })
        .await
    }
}
