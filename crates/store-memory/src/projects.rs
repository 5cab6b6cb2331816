use async_trait::async_trait;
use leadtrail_domain::id::{PixelId, ProjectId, Slug};
use leadtrail_domain::ports::{Created, Page, Projects, StoreError};
use leadtrail_domain::project::{Pixel, PixelContext, Project};

use crate::{MemoryStore, take};

#[async_trait]
impl Projects for MemoryStore {
    async fn create_project(&self, project: &Project) -> Result<Created<Project>, StoreError> {
        let mut tables = self.tables()?;
        if let Some(existing) = tables.projects.values().find(|stored| stored.slug == project.slug) {
            return Ok(Created::Existing(existing.clone()));
        }
        if tables.projects.contains_key(&project.id) {
            return Err(StoreError::Taken("the project's id".to_owned()));
        }
        tables.projects.insert(project.id, project.clone());
        Ok(Created::New(project.clone()))
    }

    async fn project(&self, id: ProjectId) -> Result<Option<Project>, StoreError> {
        Ok(self.tables()?.projects.get(&id).cloned())
    }

    async fn project_by_slug(&self, slug: &Slug) -> Result<Option<Project>, StoreError> {
        Ok(self.tables()?.projects.values().find(|project| project.slug == *slug).cloned())
    }

    async fn projects(&self, page: &Page<ProjectId>) -> Result<Vec<Project>, StoreError> {
        let tables = self.tables()?;
        let projects =
            tables.projects.values().filter(|project| page.after.is_none_or(|after| project.id > after));
        Ok(take(projects.cloned(), page.limit))
    }

    async fn update_project(&self, was: &Project, becomes: &Project) -> Result<bool, StoreError> {
        let mut tables = self.tables()?;
        match tables.projects.get(&was.id) {
            None => return Ok(false),
            Some(stored) if stored != was => return Err(StoreError::Stale),
            Some(_as_it_was) => {}
        }
        if tables.projects.values().any(|other| other.id != was.id && other.slug == becomes.slug) {
            return Err(StoreError::Taken(format!("the slug {}", becomes.slug)));
        }
        let changed = Project { id: was.id, created_at: was.created_at, ..becomes.clone() };
        tables.projects.insert(was.id, changed);
        Ok(true)
    }

    async fn create_pixel(&self, pixel: &Pixel) -> Result<Created<Pixel>, StoreError> {
        let mut tables = self.tables()?;
        match tables.pixels.get(&pixel.id) {
            Some(existing) if existing.project_id == pixel.project_id => {
                Ok(Created::Existing(existing.clone()))
            }
            Some(_of_another_project) => Err(StoreError::Taken(format!("the pixel id {}", pixel.id))),
            None if !tables.projects.contains_key(&pixel.project_id) => {
                Err(StoreError::rejected("the pixel's project does not exist"))
            }
            None => {
                tables.pixels.insert(pixel.id.clone(), pixel.clone());
                Ok(Created::New(pixel.clone()))
            }
        }
    }

    async fn pixel(&self, project: ProjectId, id: &PixelId) -> Result<Option<Pixel>, StoreError> {
        Ok(self.tables()?.pixels.get(id).filter(|pixel| pixel.project_id == project).cloned())
    }

    async fn pixels(&self, project: ProjectId, page: &Page<PixelId>) -> Result<Vec<Pixel>, StoreError> {
        let tables = self.tables()?;
        let pixels = tables
            .pixels
            .values()
            .filter(|pixel| pixel.project_id == project)
            .filter(|pixel| page.after.as_ref().is_none_or(|after| pixel.id > *after));
        Ok(take(pixels.cloned(), page.limit))
    }

    async fn update_pixel(&self, was: &Pixel, becomes: &Pixel) -> Result<bool, StoreError> {
        let mut tables = self.tables()?;
        match tables.pixels.get_mut(&was.id).filter(|stored| stored.project_id == was.project_id) {
            None => Ok(false),
            Some(stored) if stored != was => Err(StoreError::Stale),
            Some(stored) => {
                *stored = Pixel {
                    name: becomes.name.clone(),
                    settings: becomes.settings.clone(),
                    archived_at: becomes.archived_at,
                    ..was.clone()
                };
                Ok(true)
            }
        }
    }

    async fn pixel_context(&self, id: &PixelId) -> Result<Option<PixelContext>, StoreError> {
        let tables = self.tables()?;
        let Some(pixel) = tables.pixels.get(id) else { return Ok(None) };
        let project = tables.projects.get(&pixel.project_id);
        Ok(project.map(|project| PixelContext { pixel: pixel.clone(), project: project.clone() }))
    }
}
