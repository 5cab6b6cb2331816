use async_trait::async_trait;

use super::StoreError;
use crate::time::Timestamp;

/// What a store needs beside its use.
#[async_trait]
pub trait Maintenance: Send + Sync {
    /// Touches the store.
    ///
    /// # Errors
    /// `Transient` when it does not answer.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Whether an acknowledged event survives a crash of the machine, by the store's own word.
    ///
    /// # Errors
    /// `Transient` when it does not answer.
    async fn durability(&self) -> Result<Durability, StoreError>;

    /// Prepares for the time to come (partitions ahead of `now`) and tidies up. Called at start and every few minutes.
    ///
    /// # Errors
    /// `Transient` when the store is out of reach.
    async fn upkeep(&self, now: Timestamp) -> Result<(), StoreError>;
}

/// Whether an acknowledged event survives a crash of the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Durability {
    /// It does.
    Full,
    /// It may not, for these reasons (setting and value).
    Relaxed(Vec<String>),
    /// It never does: nothing is kept on disk.
    None,
}
