use async_trait::async_trait;

use super::StoreError;
use crate::id::{PixelId, ProjectId, Slug};
use crate::project::{Pixel, PixelContext, Project};

/// Projects and their pixels.
#[async_trait]
pub trait Projects: Send + Sync {
    /// Creates a project, or answers the one that already has its slug.
    ///
    /// # Errors
    /// `Transient` when the store is out of reach.
    async fn create_project(&self, project: &Project) -> Result<Created<Project>, StoreError>;

    /// One project.
    ///
    /// # Errors
    /// `Transient`; `Corrupt` for an unreadable row.
    async fn project(&self, id: ProjectId) -> Result<Option<Project>, StoreError>;

    /// The project of a slug.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn project_by_slug(&self, slug: &Slug) -> Result<Option<Project>, StoreError>;

    /// Projects by id, archived ones too.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn projects(&self, page: &Page<ProjectId>) -> Result<Vec<Project>, StoreError>;

    /// Gives the project `was` name, slug, settings and archive mark of `becomes`, if it still is as `was` says: in
    /// one step, whoever else tries at the same moment. `false` where there is none with that id.
    ///
    /// # Errors
    /// `Stale` when it is otherwise by now; `Taken` when another project has the slug; `Transient`; `Corrupt`.
    async fn update_project(&self, was: &Project, becomes: &Project) -> Result<bool, StoreError>;

    /// Creates a pixel, or answers the one of the same project that already has its id.
    ///
    /// # Errors
    /// `Taken` when another project's pixel has the id; `Rejected` when there is no such project; `Transient`.
    async fn create_pixel(&self, pixel: &Pixel) -> Result<Created<Pixel>, StoreError>;

    /// One pixel.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn pixel(&self, project: ProjectId, id: &PixelId) -> Result<Option<Pixel>, StoreError>;

    /// A project's pixels by id, archived ones too.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn pixels(&self, project: ProjectId, page: &Page<PixelId>) -> Result<Vec<Pixel>, StoreError>;

    /// Gives the pixel `was` name, settings and archive mark of `becomes`, if it still is as `was` says: in one step,
    /// whoever else tries at the same moment. `false` where there is none with that id in the project of `was`.
    ///
    /// # Errors
    /// `Stale` when it is otherwise by now; `Transient`; `Corrupt`.
    async fn update_pixel(&self, was: &Pixel, becomes: &Pixel) -> Result<bool, StoreError>;

    /// What an event sent to a pixel is judged by. The one look-up that starts from a public id and so names no
    /// project: it answers which.
    ///
    /// # Errors
    /// `Transient`; `Corrupt`.
    async fn pixel_context(&self, id: &PixelId) -> Result<Option<PixelContext>, StoreError>;
}

/// What a creation found.
#[derive(Clone, PartialEq, Debug)]
pub enum Created<T> {
    /// It was not there and was made.
    New(T),
    /// It was there; this is it, unchanged.
    Existing(T),
}

impl<T> Created<T> {
    /// The thing, made or found.
    pub fn into_inner(self) -> T {
        match self {
            Self::New(thing) | Self::Existing(thing) => thing,
        }
    }
}

/// A part of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<Id> {
    /// What comes after this one.
    pub after: Option<Id>,
    /// So many at most.
    pub limit: u32,
}

impl<Id> Page<Id> {
    /// The list's beginning.
    pub fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }
}
