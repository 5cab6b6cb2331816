use diesel::result::{DatabaseErrorKind, Error as DatabaseError};
use leadtrail_db_pool::PoolError;
use leadtrail_domain::ports::StoreError;
use serde::Serialize;

/// Why the work of a transaction ends without a commit.
#[derive(Debug)]
pub(crate) enum Failure {
    Database(DatabaseError),
    Store(StoreError),
}

/// What the work of a transaction comes to.
pub(crate) type Outcome<T> = Result<T, Failure>;

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for StoreError {
    /// SQLite says `SQLITE_BUSY`, `SQLITE_IOERR`, `SQLITE_FULL` and the like without a kind of diesel's: all of them
    /// may pass. What breaks a constraint, or cannot even be written down, stays wrong.
    fn from(failure: Failure) -> Self {
        let error = match failure {
            Failure::Store(error) => return error,
            Failure::Database(error) => error,
        };
        let lasting = matches!(
            &error,
            DatabaseError::DatabaseError(
                DatabaseErrorKind::UniqueViolation
                    | DatabaseErrorKind::ForeignKeyViolation
                    | DatabaseErrorKind::NotNullViolation
                    | DatabaseErrorKind::CheckViolation,
                _
            ) | DatabaseError::InvalidCString(_)
                | DatabaseError::QueryBuilderError(_)
                | DatabaseError::SerializationError(_)
                | DatabaseError::DeserializationError(_)
        );
        if lasting { Self::rejected(error) } else { Self::transient(error) }
    }
}

/// A closure that panics does so again; everything else about a pool may pass.
pub(crate) fn pool_failure(error: PoolError) -> StoreError {
    if matches!(error, PoolError::Panicked(_)) {
        StoreError::rejected(error)
    } else {
        StoreError::transient(error)
    }
}

/// Whether a failure is a unique key that is already there.
pub(crate) fn is_unique_violation(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::DatabaseError(DatabaseErrorKind::UniqueViolation, _))
}

/// A value as JSON text.
pub(crate) fn json_text<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::rejected)
}

/// A value as JSON text, NULL where there is nothing to say.
pub(crate) fn json_unless<T: Serialize + ?Sized>(
    empty: bool,
    value: &T,
) -> Result<Option<String>, StoreError> {
    if empty { Ok(None) } else { json_text(value).map(Some) }
}
