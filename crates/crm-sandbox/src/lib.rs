//! A CRM to try Leadtrail with: persons in memory, or in a JSON file that several processes share.
//!
//! It is the reference model of the CRM port's suite, the fake of the sync loop's tests, and what `leadtrail demo`
//! talks to. Every field of ours exists in its account under its own name. It behaves like a CRM: searches may bring
//! near matches, texts have limits, persons vanish, and faults are switched on and off: for one handle and its clones
//! by [`SandboxCrm::fail`] and its like, for the account and so for every process by [`SandboxCrm::set_faults`].
//!
//! Through the port no person is ever created; [`SandboxCrm::add_person`] is the CRM's own act.
//!
//! ```
//! use leadtrail_crm_sandbox::{NewPerson, SandboxCrm};
//! use leadtrail_domain::time::Timestamp;
//!
//! let crm = SandboxCrm::in_memory();
//! let id = crm.add_person(NewPerson {
//!     first_name: "Jane".to_owned(),
//!     last_name: "Doe".to_owned(),
//!     emails: vec!["jane@example.com".to_owned()],
//!     added_at: Timestamp::EPOCH,
//! })?;
//! assert_eq!(crm.person_by_email("Jane@Example.com")?.map(|person| person.id), Some(id));
//! # Ok::<(), leadtrail_crm_sandbox::SandboxError>(())
//! ```

mod account;
mod account_file;
mod faults;
mod sandbox;
mod script;

pub use self::account::{NewPerson, Person};
pub use self::account_file::SandboxError;
pub use self::faults::{Faults, Outage};
pub use self::sandbox::SandboxCrm;
pub use self::script::{Call, Writes};
