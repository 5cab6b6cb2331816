use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;

use crate::crm::{
    Budget, Candidate, Capabilities, CrmField, FieldKey, FieldValue, NewCrmField, Patch, PersonId,
    PersonQuery, Receipt,
};

/// A CRM: persons that are found and told. There is no way to create a person.
///
/// Adapters translate; matching, policies, retries and times are decided by the domain.
#[async_trait]
pub trait Crm: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// The custom fields of persons, as of the last few minutes.
    ///
    /// # Errors
    /// As [`CrmError`] says.
    async fn list_fields(&self) -> Result<Vec<CrmField>, CrmError>;

    /// Makes a field of persons. Names need not be unique in a CRM: whoever asks has looked.
    ///
    /// # Errors
    /// As [`CrmError`] says; `Permanent` where the token may not, or the plan has no more fields.
    async fn create_field(&self, field: &NewCrmField) -> Result<CrmField, CrmError>;

    /// What is left of the day's budget, as its latest answer said; `None` where no answer has said it yet, or the CRM
    /// has none. Asks nothing.
    fn budget(&self) -> Option<Budget>;

    /// Who might be meant. Empty: nobody; several: the domain decides. An adapter MUST NOT fall back to a broader
    /// search.
    ///
    /// # Errors
    /// As [`CrmError`] says. Finding nobody is no error.
    async fn find(&self, by: &PersonQuery) -> Result<Vec<Candidate>, CrmError>;

    /// What a person has in the given fields; a field that is empty is absent.
    ///
    /// # Errors
    /// As [`CrmError`] says; `NotFound` when the person is gone.
    async fn read(
        &self,
        person: &PersonId,
        fields: &BTreeSet<FieldKey>,
    ) -> Result<BTreeMap<FieldKey, FieldValue>, CrmError>;

    /// Writes the given fields of a person and nothing else. The same call again has no further effect.
    ///
    /// # Errors
    /// As [`CrmError`] says; `NotFound` when the person is gone.
    async fn update(&self, person: &PersonId, patch: &Patch) -> Result<Receipt, CrmError>;
}

/// Why a CRM did not do what it was asked. Messages hold neither secrets nor personal data.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CrmError {
    /// Out of reach, too slow or broken for the moment. Whether a write was made is unknown.
    #[error("the CRM is unavailable: {0}")]
    Transient(String),
    /// Asked too often.
    #[error("the CRM limits requests ({scope:?}) for {} s", retry_after.as_secs())]
    RateLimited {
        /// For how long to keep away.
        retry_after: Duration,
        /// Which limit.
        scope: RateScope,
    },
    /// The token is not accepted, or the account is closed.
    #[error("the CRM refuses the credentials: {0}")]
    Auth(String),
    /// The person is gone.
    #[error("the CRM does not know the person")]
    NotFound,
    /// The request itself is refused, and will be again.
    #[error("the CRM refuses the request ({code})")]
    Permanent {
        /// The CRM's code or status.
        code: String,
        /// The fields it names.
        fields: BTreeSet<FieldKey>,
    },
}

/// Which limit of a CRM was met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RateScope {
    /// Requests in a few seconds.
    Burst,
    /// The day's budget.
    Daily,
    /// Blocked for ignoring limits.
    Blocked,
}
