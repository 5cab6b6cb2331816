use async_trait::async_trait;
use diesel::prelude::*;
use leadtrail_domain::id::{PixelId, ProjectId, Slug};
use leadtrail_domain::ports::{Created, Page, Projects, StoreError};
use leadtrail_domain::project::{Pixel, PixelContext, Project};
use leadtrail_domain::time::Timestamp;

use crate::SqliteStore;
use crate::failure::{Failure, Outcome, is_unique_violation, json_text};
use crate::row::Row;
use crate::schema::{pixels, projects};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = projects, treat_none_as_default_value = false)]
struct ProjectRow {
    project_id: Vec<u8>,
    slug: String,
    name: String,
    settings: String,
    created_at: i64,
    archived_at: Option<i64>,
}

impl ProjectRow {
    fn of(project: &Project) -> Result<Self, StoreError> {
        Ok(Self {
            project_id: project.id.0.as_bytes().to_vec(),
            slug: project.slug.as_str().to_owned(),
            name: project.name.clone(),
            settings: json_text(&project.settings)?,
            created_at: project.created_at.micros(),
            archived_at: project.archived_at.map(Timestamp::micros),
        })
    }

    fn read(self) -> Result<Project, StoreError> {
        let row = Row::of("projects", &self.project_id);
        Ok(Project {
            id: ProjectId(row.uuid("project_id", &self.project_id)?),
            slug: row.parse("slug", &self.slug)?,
            settings: row.json("settings", &self.settings)?,
            name: self.name,
            created_at: Timestamp::from_micros(self.created_at),
            archived_at: self.archived_at.map(Timestamp::from_micros),
        })
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = pixels, treat_none_as_default_value = false)]
struct PixelRow {
    pixel_id: String,
    project_id: Vec<u8>,
    name: String,
    settings: String,
    created_at: i64,
    archived_at: Option<i64>,
}

impl PixelRow {
    fn of(pixel: &Pixel) -> Result<Self, StoreError> {
        Ok(Self {
            pixel_id: pixel.id.as_str().to_owned(),
            project_id: pixel.project_id.0.as_bytes().to_vec(),
            name: pixel.name.clone(),
            settings: json_text(&pixel.settings)?,
            created_at: pixel.created_at.micros(),
            archived_at: pixel.archived_at.map(Timestamp::micros),
        })
    }

    fn read(self) -> Result<Pixel, StoreError> {
        let row = Row::named("pixels", &self.pixel_id);
        Ok(Pixel {
            id: row.parse("pixel_id", &self.pixel_id)?,
            project_id: ProjectId(row.uuid("project_id", &self.project_id)?),
            settings: row.json("settings", &self.settings)?,
            name: self.name,
            created_at: Timestamp::from_micros(self.created_at),
            archived_at: self.archived_at.map(Timestamp::from_micros),
        })
    }
}

fn project_of_slug(connection: &mut SqliteConnection, slug: &str) -> Outcome<Option<Project>> {
    let row = projects::table
        .filter(projects::slug.eq(slug))
        .select(ProjectRow::as_select())
        .first(connection)
        .optional()?;
    Ok(row.map(ProjectRow::read).transpose()?)
}

#[async_trait]
impl Projects for SqliteStore {
    async fn create_project(&self, project: &Project) -> Result<Created<Project>, StoreError> {
        let project = project.clone();
        self.write(move |connection| {
            if let Some(existing) = project_of_slug(connection, project.slug.as_str())? {
                return Ok(Created::Existing(existing));
            }
            diesel::insert_into(projects::table).values(ProjectRow::of(&project)?).execute(connection)?;
            Ok(Created::New(project))
        })
        .await
    }

    async fn project(&self, id: ProjectId) -> Result<Option<Project>, StoreError> {
        self.read(move |connection| {
            let row = projects::table
                .find(id.0.as_bytes().as_slice())
                .select(ProjectRow::as_select())
                .first(connection)
                .optional()?;
            Ok(row.map(ProjectRow::read).transpose()?)
        })
        .await
    }

    async fn project_by_slug(&self, slug: &Slug) -> Result<Option<Project>, StoreError> {
        let slug = slug.clone();
        self.read(move |connection| project_of_slug(connection, slug.as_str())).await
    }

    async fn projects(&self, page: &Page<ProjectId>) -> Result<Vec<Project>, StoreError> {
        let after = page.after.map(|id| id.0.as_bytes().to_vec()).unwrap_or_default();
        let limit = i64::from(page.limit);
        self.read(move |connection| {
            let rows = projects::table
                .filter(projects::project_id.gt(after))
                .order(projects::project_id)
                .limit(limit)
                .select(ProjectRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(ProjectRow::read).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn update_project(&self, was: &Project, becomes: &Project) -> Result<bool, StoreError> {
        let (was, row) = (was.clone(), ProjectRow::of(becomes)?);
        self.write(move |connection| {
            let its_own = projects::table.find(was.id.0.as_bytes().as_slice());
            let stored = its_own.select(ProjectRow::as_select()).first(connection).optional()?;
            let Some(stored) = stored.map(ProjectRow::read).transpose()? else { return Ok(false) };
            if stored != was {
                return Err(Failure::Store(StoreError::Stale));
            }
            let slug = row.slug.clone();
            let updated = diesel::update(its_own)
                .set((
                    projects::slug.eq(row.slug),
                    projects::name.eq(row.name),
                    projects::settings.eq(row.settings),
                    projects::archived_at.eq(row.archived_at),
                ))
                .execute(connection);
            match updated {
                Err(error) if is_unique_violation(&error) => Err(Failure::Store(StoreError::Taken(slug))),
                other => Ok(other? > 0),
            }
        })
        .await
    }

    async fn create_pixel(&self, pixel: &Pixel) -> Result<Created<Pixel>, StoreError> {
        let pixel = pixel.clone();
        self.write(move |connection| {
            let existing = pixels::table
                .find(pixel.id.as_str())
                .select(PixelRow::as_select())
                .first(connection)
                .optional()?;
            match existing.map(PixelRow::read).transpose()? {
                Some(existing) if existing.project_id == pixel.project_id => Ok(Created::Existing(existing)),
                Some(_) => Err(Failure::Store(StoreError::Taken(pixel.id.as_str().to_owned()))),
                None => {
                    diesel::insert_into(pixels::table).values(PixelRow::of(&pixel)?).execute(connection)?;
                    Ok(Created::New(pixel))
                }
            }
        })
        .await
    }

    async fn pixel(&self, project: ProjectId, id: &PixelId) -> Result<Option<Pixel>, StoreError> {
        let id = id.clone();
        self.read(move |connection| {
            let row = pixels::table
                .find(id.as_str())
                .filter(pixels::project_id.eq(project.0.as_bytes().as_slice()))
                .select(PixelRow::as_select())
                .first(connection)
                .optional()?;
            Ok(row.map(PixelRow::read).transpose()?)
        })
        .await
    }

    async fn pixels(&self, project: ProjectId, page: &Page<PixelId>) -> Result<Vec<Pixel>, StoreError> {
        let after = page.after.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default();
        let limit = i64::from(page.limit);
        self.read(move |connection| {
            let rows = pixels::table
                .filter(
                    pixels::project_id.eq(project.0.as_bytes().as_slice()).and(pixels::pixel_id.gt(after)),
                )
                .order(pixels::pixel_id)
                .limit(limit)
                .select(PixelRow::as_select())
                .load(connection)?;
            Ok(rows.into_iter().map(PixelRow::read).collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn update_pixel(&self, was: &Pixel, becomes: &Pixel) -> Result<bool, StoreError> {
        let (was, row) = (was.clone(), PixelRow::of(becomes)?);
        self.write(move |connection| {
            let its_own = pixels::table
                .find(was.id.as_str())
                .filter(pixels::project_id.eq(was.project_id.0.as_bytes().as_slice()));
            let stored = its_own.select(PixelRow::as_select()).first(connection).optional()?;
            let Some(stored) = stored.map(PixelRow::read).transpose()? else { return Ok(false) };
            if stored != was {
                return Err(Failure::Store(StoreError::Stale));
            }
            let updated = diesel::update(its_own)
                .set((
                    pixels::name.eq(row.name),
                    pixels::settings.eq(row.settings),
                    pixels::archived_at.eq(row.archived_at),
                ))
                .execute(connection)?;
            Ok(updated > 0)
        })
        .await
    }

    async fn pixel_context(&self, id: &PixelId) -> Result<Option<PixelContext>, StoreError> {
        let id = id.clone();
        self.read(move |connection| {
            let rows = pixels::table
                .inner_join(projects::table.on(projects::project_id.eq(pixels::project_id)))
                .filter(pixels::pixel_id.eq(id.as_str()))
                .select((PixelRow::as_select(), ProjectRow::as_select()))
                .first(connection)
                .optional()?;
            let Some((pixel, project)) = rows else { return Ok(None) };
            Ok(Some(PixelContext { pixel: pixel.read()?, project: project.read()? }))
        })
        .await
    }
}
