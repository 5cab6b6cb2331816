//! The CRM port on Pipedrive's API v2.
//!
//! It asks `persons/search`, `persons`, `persons/{id}` and `personFields`, and writes by `PATCH persons/{id}` with
//! nothing but `custom_fields` in the body: it cannot create a person, nor change a name or an e-mail. On a human's
//! demand it makes a field by `POST personFields`, which it never sends twice. The token
//! travels in a header and is never shown. Hits of the search index are compared again here, since it is known to
//! bring near matches, and where it brings nobody the list of persons changed lately is asked, since the index lags.
//!
//! # What Pipedrive does, and what becomes of it
//!
//! The last column is what the domain makes of the look-up first and of the update then; `waits` has no limit of
//! attempts. Requests that may succeed at once are sent up to twice more before that. The tests read this table, put
//! the stand-in for Pipedrive into each state and compare.
//!
//! | Pipedrive | a look-up by e-mail | an update | the job |
//! |---|---|---|---|
//! | answers as it should | 1 person | written | synced |
//! | has an index that lags behind | 1 person | written | synced |
//! | knows nobody with the e-mail | nobody | – | looked for again |
//! | has a near match in its index | nobody | – | looked for again |
//! | has two persons with the e-mail | 2 persons | – | ambiguous |
//! | has deleted the person | nobody | – | looked for again |
//! | says null where its document does not | 1 person | written | synced |
//! | answers with fields nobody knows | 1 person | written | synced |
//! | refuses one field by name, 400 | 1 person | written but for 1 | synced |
//! | refuses without a name, 400 | `Permanent (400)` | `Permanent (400)` | error |
//! | says 401 | `Auth` | `Auth` | waits |
//! | says 402 | `Auth` | `Auth` | waits |
//! | says 403 in JSON | `Permanent (ERR_FORBIDDEN)` | `Permanent (ERR_FORBIDDEN)` | error |
//! | says 403 in HTML | `RateLimited (Blocked, 1800 s)` | `RateLimited (Blocked, 1800 s)` | waits |
//! | says 404 to the update | 1 person | `NotFound` | waits, five times at most |
//! | says 404 to everything | `Transient` | `NotFound` | waits |
//! | says 405 | `Permanent (405)` | `Permanent (405)` | error |
//! | says 408 | `Transient` | `Transient` | waits |
//! | says 410 to the update | 1 person | `NotFound` | waits, five times at most |
//! | says 415 | `Permanent (415)` | `Permanent (415)` | error |
//! | says 422 | `Permanent (422)` | `Permanent (422)` | error |
//! | says 423 | `Transient` | `Transient` | waits |
//! | says 429 | `RateLimited (Burst, 2 s)` | `RateLimited (Burst, 2 s)` | waits |
//! | says 429 for 10 s | `RateLimited (Burst, 10 s)` | `RateLimited (Burst, 10 s)` | waits |
//! | says 429 for 3939 s | `RateLimited (Daily, 3939 s)` | `RateLimited (Daily, 3939 s)` | waits |
//! | says 429 for the day | `RateLimited (Daily, 3600 s)` | `RateLimited (Daily, 3600 s)` | waits |
//! | says 429 with nothing left of the day | `RateLimited (Daily, 3600 s)` | `RateLimited (Daily, 3600 s)` | waits |
//! | was asked ten times in two seconds | `RateLimited (Burst, 2 s)` | written | waits |
//! | says 500 | `Transient` | `Transient` | waits |
//! | says 500 once | 1 person | written | synced |
//! | says 501 | `Permanent (501)` | `Permanent (501)` | error |
//! | says 503 in HTML | `Transient` | `Transient` | waits |
//! | redirects to elsewhere | `Transient` | `Transient` | waits |
//! | says 200 in HTML | `Transient` | `Transient` | waits |
//! | says 200 with broken JSON | `Transient` | `Transient` | waits |
//! | says 200 with `success` false | `Transient` | `Transient` | waits |
//! | says 200 with other data | `Transient` | `Transient` | waits |
//! | cannot be connected to | `Transient` | `Transient` | waits |
//! | is silent for 20 s | `Transient` | `Transient` | waits |
//! | stops within the body | `Transient` | `Transient` | waits |
//! | breaks off within the body | `Transient` | `Transient` | waits |
//! | sends 2 MiB | `Transient` | `Transient` | waits |
//! | sends without end | `Transient` | `Transient` | waits |
//!
//! Where Pipedrive was about to be asked more than 10 searches or 20 requests in two seconds (more where its answers
//! allow it), a request waits its turn for up to half of the call's time, and is otherwise not sent. Each process
//! counts for itself. The day's budget is what the headers `x-daily-ratelimit-token-remaining` and `-limit` of the
//! latest answer that has them say, in tokens.
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
