use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};
use leadtrail_db_pool::PoolError;
use leadtrail_domain::ports::StoreError;

/// The name by which `leadtrail_require` of the first migration is recognised.
const STALE: &str = "leadtrail_stale";

/// Why a closure on a connection did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The database said so.
    Database(Error),
    /// We did; the transaction is rolled back.
    Store(StoreError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    /// Whether the connection it happened on is of no further use.
    pub(crate) fn lost_connection(&self) -> bool {
        match self {
            Self::Database(Error::DatabaseError(kind, information)) => match kind {
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                // After a failover the old primary answers as a standby.
                | DatabaseErrorKind::ReadOnlyTransaction => true,
                DatabaseErrorKind::Unknown => is_outdated_plan(information.as_ref()),
                DatabaseErrorKind::UniqueViolation
                | DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::SerializationFailure
                | DatabaseErrorKind::RestrictViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::CheckViolation
                | DatabaseErrorKind::ExclusionViolation
                | _ => false,
            },
            Self::Database(Error::BrokenTransactionManager | Error::RollbackErrorOnCommit { .. }) => true,
            Self::Database(_) | Self::Store(_) => false,
        }
    }

    /// Whether a unique key was violated.
    pub(crate) fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)))
    }
}

/// A migration changed a table under a prepared statement; a new connection prepares it anew.
fn is_outdated_plan(information: &(dyn DatabaseErrorInformation + Send + Sync)) -> bool {
    information.message() == "cached plan must not change result type"
}

impl From<Failure> for StoreError {
    /// A violated unique key is `Stale`: what was decided was decided from an older state. Callers for whom it is not
    /// ask [`Failure::is_unique_violation`] first.
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(error) => error,
            Failure::Database(Error::DatabaseError(kind, information)) => match kind {
                DatabaseErrorKind::UniqueViolation | DatabaseErrorKind::SerializationFailure => Self::Stale,
                DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::CheckViolation
                | DatabaseErrorKind::RestrictViolation
                | DatabaseErrorKind::ExclusionViolation => {
                    Self::Rejected(Box::new(Error::DatabaseError(kind, information)))
                }
                // Diesel does not tell the SQLSTATE. Ours is known by its constraint's name; a deadlock by its message
                // where the server speaks English, and is merely tried again where it does not.
                DatabaseErrorKind::Unknown
                    if information.constraint_name() == Some(STALE)
                        || information.message() == "deadlock detected" =>
                {
                    Self::Stale
                }
                DatabaseErrorKind::Unknown
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ReadOnlyTransaction
                | DatabaseErrorKind::ClosedConnection
                | _ => Self::Transient(Box::new(Error::DatabaseError(kind, information))),
            },
            Failure::Database(error @ Error::SerializationError(_)) => Self::rejected(error),
            Failure::Database(error) => Self::transient(error),
        }
    }
}

/// What the pool said.
pub(crate) fn pool_error(error: PoolError) -> StoreError {
    StoreError::transient(error)
}
