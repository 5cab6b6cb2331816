//! The CRM port on Pipedrive's API v2.
//!
//! It asks `persons/search`, `persons`, `persons/{id}` and `personFields`, and writes by `PATCH persons/{id}` with
//! nothing but `custom_fields` in the body: it cannot create a person, nor change a name or an e-mail. The token
//! travels in a header and is never shown. Hits of the search index are compared again here, since it is known to
//! bring near matches, and where it brings nobody the list of persons changed lately is asked, since the index lags.
//!
//! Source of what is said about Pipedrive: its API reference, changelog and OpenAPI document of 2026-08-18.
//!
//! ```
//! use std::sync::Arc;
//!
//! use leadtrail_crm_pipedrive::{BaseUrl, PipedriveCrm, PipedriveSettings};
//! use leadtrail_domain::ports::Crm;
//! use leadtrail_outbound::{Outbound, OutboundSettings};
//!
//! let base_url: BaseUrl = "https://example.pipedrive.com/api/v2".parse()?;
//! let settings = PipedriveSettings::new(base_url, "not-a-real-token".to_owned().into());
//! let crm = PipedriveCrm::new(settings, Arc::new(Outbound::new(&OutboundSettings::default())));
//! assert!(crm.capabilities().finds_by_name);
//! # Ok::<(), leadtrail_crm_pipedrive::BaseUrlError>(())
//! ```

mod answer;
mod burst;
mod calls;
mod fields;
mod pipedrive;
mod settings;
mod wire;

pub use self::pipedrive::PipedriveCrm;
pub use self::settings::{BaseUrl, BaseUrlError, PipedriveSettings};
