//! Errors as the log takes them: with the chain of their causes.

use std::error::Error;

/// An error in the form a log field takes.
pub(crate) fn cause<'e>(error: &'e (impl Error + 'static)) -> &'e (dyn Error + 'static) {
    error
}
