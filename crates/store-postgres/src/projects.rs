use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::id::{PixelId, ProjectId, Slug};
use leadtrail_domain::ports::{Created, Page, Projects, StoreError};
use leadtrail_domain::project::{Pixel, PixelContext, Project};
use uuid::Uuid;

use crate::PostgresStore;
use crate::column::{At, JsonText, parsed};
use crate::error::Failure;
use crate::schema::{pixels, projects};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = projects)]
struct ProjectRow {
    project_id: Uuid,
    slug: String,
    name: String,
    settings: JsonText,
    created_at: At,
    archived_at: Option<At>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = pixels)]
struct PixelRow {
    pixel_id: String,
    project_id: Uuid,
    name: String,
    settings: JsonText,
    created_at: At,
    archived_at: Option<At>,
}

impl ProjectRow {
    fn of(project: &Project) -> Result<Self, StoreError> {
        Ok(Self {
            project_id: project.id.0,
            slug: project.slug.to_string(),
            name: project.name.clone(),
            settings: JsonText::of(&project.settings)?,
            created_at: At(project.created_at),
            archived_at: project.archived_at.map(At),
        })
    }

    fn project(self) -> Result<Project, StoreError> {
        let id = self.project_id;
        Ok(Project {
            id: ProjectId(id),
            slug: parsed(&self.slug, "projects", "slug", id)?,
            name: self.name,
            settings: self.settings.parse("projects", "settings", id)?,
            created_at: self.created_at.0,
            archived_at: self.archived_at.map(|at| at.0),
        })
    }
}

impl PixelRow {
    fn of(pixel: &Pixel) -> Result<Self, StoreError> {
        Ok(Self {
            pixel_id: pixel.id.to_string(),
            project_id: pixel.project_id.0,
            name: pixel.name.clone(),
            settings: JsonText::of(&pixel.settings)?,
            created_at: At(pixel.created_at),
            archived_at: pixel.archived_at.map(At),
        })
    }

    fn pixel(self) -> Result<Pixel, StoreError> {
        let id = parsed(&self.pixel_id, "pixels", "pixel_id", &self.pixel_id)?;
        Ok(Pixel {
            settings: self.settings.parse("pixels", "settings", &id)?,
            id,
            project_id: ProjectId(self.project_id),
            name: self.name,
            created_at: self.created_at.0,
            archived_at: self.archived_at.map(|at| at.0),
        })
    }
}

fn taken(name: &impl ToString) -> Failure {
    StoreError::Taken(name.to_string()).into()
}

#[async_trait]
impl Projects for PostgresStore {
    async fn create_project(&self, project: &Project) -> Result<Created<Project>, StoreError> {
        let (project, row) = (project.clone(), ProjectRow::of(project)?);
        self.change(move |connection| {
            let inserted = diesel::insert_into(projects::table)
                .values(&row)
                .on_conflict(projects::slug)
                .do_nothing()
                .execute(connection)
                .map_err(Failure::from)
                .map_err(
                    |failure| if failure.is_unique_violation() { taken(&row.project_id) } else { failure },
                )?;
            if inserted == 1 {
                return Ok(Created::New(project));
            }
            let found = projects::table
                .filter(projects::slug.eq(&row.slug))
                .select(ProjectRow::as_select())
                .first(connection)
                .optional()?;
            // Gone again between the two statements: whoever asks once more creates it.
            Ok(Created::Existing(found.ok_or(StoreError::Stale)?.project()?))
        })
        .await
    }

    async fn project(&self, id: ProjectId) -> Result<Option<Project>, StoreError> {
        self.ask(move |connection| {
            let row =
                projects::table.find(id.0).select(ProjectRow::as_select()).first(connection).optional()?;
            Ok(row.map(ProjectRow::project).transpose()?)
        })
        .await
    }

    async fn project_by_slug(&self, slug: &Slug) -> Result<Option<Project>, StoreError> {
        let slug = slug.clone();
        self.ask(move |connection| {
            let row = projects::table
                .filter(projects::slug.eq(slug.as_str()))
                .select(ProjectRow::as_select())
                .first(connection)
                .optional()?;
            Ok(row.map(ProjectRow::project).transpose()?)
        })
        .await
    }

    async fn projects(&self, page: &Page<ProjectId>) -> Result<Vec<Project>, StoreError> {
        let Page { after, limit } = page.clone();
        self.ask(move |connection| {
            let after = after.map_or(Uuid::nil(), |id| id.0);
            let rows = projects::table
                .filter(projects::project_id.gt(after))
                .order(projects::project_id)
                .limit(i64::from(limit))
                .select(ProjectRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(ProjectRow::project).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn update_project(&self, was: &Project, becomes: &Project) -> Result<bool, StoreError> {
        let (was, row) = (was.clone(), ProjectRow::of(becomes)?);
        self.change(move |connection| {
            connection.transaction(|connection| {
                // Who comes second waits for the row, and then reads it as the first has left it.
                let stored = projects::table
                    .find(was.id.0)
                    .select(ProjectRow::as_select())
                    .for_no_key_update()
                    .first(connection)
                    .optional()?;
                let Some(stored) = stored.map(ProjectRow::project).transpose()? else { return Ok(false) };
                if stored != was {
                    return Err(StoreError::Stale.into());
                }
                let updated = diesel::update(projects::table.find(was.id.0))
                    .set((
                        projects::slug.eq(&row.slug),
                        projects::name.eq(&row.name),
                        projects::settings.eq(&row.settings),
                        projects::archived_at.eq(row.archived_at),
                    ))
                    .execute(connection)
                    .map_err(Failure::from)
                    .map_err(
                        |failure| if failure.is_unique_violation() { taken(&row.slug) } else { failure },
                    )?;
                Ok(updated == 1)
            })
        })
        .await
    }

    async fn create_pixel(&self, pixel: &Pixel) -> Result<Created<Pixel>, StoreError> {
        let (pixel, row) = (pixel.clone(), PixelRow::of(pixel)?);
        self.change(move |connection| {
            let inserted = diesel::insert_into(pixels::table)
                .values(&row)
                .on_conflict(pixels::pixel_id)
                .do_nothing()
                .execute(connection)?;
            if inserted == 1 {
                return Ok(Created::New(pixel));
            }
            let found = pixels::table
                .find(&row.pixel_id)
                .select(PixelRow::as_select())
                .first(connection)
                .optional()?;
            let found = found.ok_or(StoreError::Stale)?.pixel()?;
            if found.project_id == pixel.project_id {
                Ok(Created::Existing(found))
            } else {
                Err(taken(&pixel.id))
            }
        })
        .await
    }

    async fn pixel(&self, project: ProjectId, id: &PixelId) -> Result<Option<Pixel>, StoreError> {
        let id = id.clone();
        self.ask(move |connection| {
            let row = pixels::table
                .filter(pixels::pixel_id.eq(id.as_str()).and(pixels::project_id.eq(project.0)))
                .select(PixelRow::as_select())
                .first(connection)
                .optional()?;
            Ok(row.map(PixelRow::pixel).transpose()?)
        })
        .await
    }

    async fn pixels(&self, project: ProjectId, page: &Page<PixelId>) -> Result<Vec<Pixel>, StoreError> {
        let Page { after, limit } = page.clone();
        self.ask(move |connection| {
            let after = after.as_ref().map_or("", PixelId::as_str);
            let rows = pixels::table
                .filter(pixels::project_id.eq(project.0).and(pixels::pixel_id.gt(after)))
                .order(pixels::pixel_id)
                .limit(i64::from(limit))
                .select(PixelRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(PixelRow::pixel).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn update_pixel(&self, was: &Pixel, becomes: &Pixel) -> Result<bool, StoreError> {
        let (was, row) = (was.clone(), PixelRow::of(becomes)?);
        self.change(move |connection| {
            connection.transaction(|connection| {
                let meant = pixels::table
                    .filter(pixels::pixel_id.eq(was.id.as_str()))
                    .filter(pixels::project_id.eq(was.project_id.0));
                let stored =
                    meant.select(PixelRow::as_select()).for_no_key_update().first(connection).optional()?;
                let Some(stored) = stored.map(PixelRow::pixel).transpose()? else { return Ok(false) };
                if stored != was {
                    return Err(StoreError::Stale.into());
                }
                let updated = diesel::update(meant)
                    .set((
                        pixels::name.eq(&row.name),
                        pixels::settings.eq(&row.settings),
                        pixels::archived_at.eq(row.archived_at),
                    ))
                    .execute(connection)?;
                Ok(updated == 1)
            })
        })
        .await
    }

    async fn pixel_context(&self, id: &PixelId) -> Result<Option<PixelContext>, StoreError> {
        let id = id.clone();
        self.ask(move |connection| {
            let found = pixels::table
                .inner_join(projects::table)
                .filter(pixels::pixel_id.eq(id.as_str()))
                .select((PixelRow::as_select(), ProjectRow::as_select()))
                .first(connection)
                .optional()?;
            let Some((pixel, project)) = found else { return Ok(None) };
            Ok(Some(PixelContext { pixel: pixel.pixel()?, project: project.project()? }))
        })
        .await
    }
}
