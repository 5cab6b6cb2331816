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

    async fn update_project(&self, project: &Project) -> Result<bool, StoreError> {
        let mut tables = self.tables()?;
        if tables.projects.values().any(|other| other.id != project.id && other.slug == project.slug) {
            return Err(StoreError::Taken(format!("the slug {}", project.slug)));
        }
        let Some(stored) = tables.projects.get_mut(&project.id) else { return Ok(false) };
        *stored = Project { created_at: stored.created_at, ..project.clone() };
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

    async fn update_pixel(&self, pixel: &Pixel) -> Result<bool, StoreError> {
        let mut tables = self.tables()?;
        match tables.pixels.get_mut(&pixel.id) {
            Some(stored) if stored.project_id == pixel.project_id => {
                *stored = Pixel { created_at: stored.created_at, ..pixel.clone() };
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }

    async fn pixel_context(&self, id: &PixelId) -> Result<Option<PixelContext>, StoreError> {
        let tables = self.tables()?;
        let Some(pixel) = tables.pixels.get(id) else { return Ok(None) };
        let project = tables.projects.get(&pixel.project_id);
        Ok(project.map(|project| PixelContext { pixel: pixel.clone(), project: project.clone() }))
    }
}
