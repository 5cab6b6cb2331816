/// Why a store did not do what it was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is out of reach or busy: the same call may succeed later.
    #[error("the store is unavailable")]
    Transient(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What the decision was taken from has changed: load again and decide anew.
    #[error("the state has changed meanwhile")]
    Stale,
    /// The store will never take this: asking again is of no use.
    #[error("the store rejects this")]
    Rejected(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The name is already taken by something else.
    #[error("{0} is already taken")]
    Taken(String),
    /// A stored row cannot be read as what it should be.
    #[error("corrupt row in {table}.{column}, id {id}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row.
        id: String,
    },
    /// The job is somebody else's by now, or ended: what was done counts as not done.
    #[error("the lease on the job is lost")]
    LeaseLost,
}

impl StoreError {
    /// A [`Transient`](Self::Transient) with its cause.
    pub fn transient(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Transient(source.into())
    }

    /// A [`Rejected`](Self::Rejected) with its cause.
    pub fn rejected(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Rejected(source.into())
    }
}
