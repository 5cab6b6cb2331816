//! Errors of the tracking routes, in the shape that trackers know. The one place they are made.

use std::error::Error;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use leadtrail_app::ingest::IngestError;
use leadtrail_app::measures::Outcome;
use leadtrail_domain::event::{FieldProblem, Rejected};
use leadtrail_domain::ports::StoreError;
use leadtrail_domain::text;
use serde::Serialize;

use crate::body::Unreadable;

/// When to try again where nothing better is known.
pub(crate) const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(2);
/// How much of a parser's complaint is passed on.
const COMPLAINT_CHARS_MAX: usize = 200;

/// Why an event, or a whole request, is not taken.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: &'static str,
    /// What it counts as.
    outcome: Outcome,
    details: Vec<FieldProblem>,
    /// When the same may succeed; absent: never.
    retry_after: Option<Duration>,
}

/// A refusal on the wire, of a request or of one of a batch.
#[derive(Serialize)]
pub(crate) struct RefusalBody<'a> {
    success: bool,
    error: &'static str,
    details: Vec<Detail<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Detail<'a> {
    field: &'static str,
    problem: &'a str,
}

impl Refusal {
    fn new(status: StatusCode, error: &'static str, outcome: Outcome, details: Vec<FieldProblem>) -> Self {
        Self { status, error, outcome, details, retry_after: None }
    }

    fn later(error: &'static str, outcome: Outcome, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, error, outcome, Vec::new())
        }
    }

    /// The client sends more often than it may.
    pub(crate) fn limited(retry_after: Duration) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            ..Self::later("too many requests", Outcome::Limited, retry_after)
        }
    }

    /// These fields make it no event.
    pub(crate) fn invalid(details: Vec<FieldProblem>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "not a valid event", Outcome::Invalid, details)
    }

    /// Whatever else is wrong with it, there is no active pixel of its name.
    pub(crate) fn unknown_pixel(details: Vec<FieldProblem>) -> Self {
        Self { outcome: Outcome::UnknownPixel, ..Self::invalid(details) }
    }

    /// The body, or an item of it, is not what `problem` says it should be.
    pub(crate) fn malformed(field: &'static str, problem: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed request",
            Outcome::Malformed,
            vec![detail(field, problem)],
        )
    }

    /// The parser's complaint.
    pub(crate) fn not_json(error: &serde_json::Error) -> Self {
        let complaint = text::clean(&error.to_string(), COMPLAINT_CHARS_MAX).unwrap_or_default();
        let problem = match error.classify() {
            serde_json::error::Category::Data => format!("is not an event: {complaint}"),
            serde_json::error::Category::Syntax
            | serde_json::error::Category::Eof
            | serde_json::error::Category::Io => format!("is not JSON: {complaint}"),
        };
        Self::malformed("body", problem)
    }

    /// The pixel is used on a site that is not one of its own.
    pub(crate) fn foreign(field: &'static str) -> Self {
        let problem = "is not one of the sites this pixel is for";
        Self::new(
            StatusCode::FORBIDDEN,
            "site not allowed",
            Outcome::ForeignSite,
            vec![detail(field, problem)],
        )
    }

    /// The body, or an item of it, is larger than `bytes_max`.
    pub(crate) fn too_large(field: &'static str, bytes_max: usize) -> Self {
        let problem = format!("is larger than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too large", Outcome::TooLarge, vec![detail(field, problem)])
    }

    /// The body is in a form that is not read.
    fn media_type(field: &'static str, problem: &'static str) -> Self {
        let details = vec![detail(field, problem)];
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported media type", Outcome::Malformed, details)
    }

    /// The body did not come in time.
    fn too_slow() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not arrive in time",
            Outcome::TooSlow,
            Vec::new(),
        )
    }

    /// There is no room for another large body.
    fn busy() -> Self {
        Self::later("too busy", Outcome::Busy, RETRY_AFTER_DEFAULT)
    }

    /// What the event it refuses counts as.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome
    }

    pub(crate) fn is_temporary(&self) -> bool {
        self.retry_after.is_some()
    }

    pub(crate) fn body(&self) -> RefusalBody<'_> {
        RefusalBody {
            success: false,
            error: self.error,
            details: self
                .details
                .iter()
                .map(|one| Detail { field: one.field, problem: &one.problem })
                .collect(),
            retry_after: self.retry_after.map(whole_seconds),
        }
    }

    /// Says in the log which kind it is, and nothing of what was sent.
    pub(crate) fn log(&self) {
        tracing::debug!(
            http.status = self.status.as_u16(),
            refusal = self.error,
            reason = self.outcome.reason(),
            "refused"
        );
    }

    pub(crate) fn response(&self) -> HttpResponse {
        self.log();
        let mut response = HttpResponse::build(self.status);
        if let Some(after) = self.retry_after {
            response.insert_header((RETRY_AFTER, whole_seconds(after)));
        }
        response.json(self.body())
    }
}

fn detail(field: &'static str, problem: impl Into<String>) -> FieldProblem {
    FieldProblem { field, problem: problem.into() }
}

/// Rounded up, one at least, so that nobody comes back too early.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1_000).max(1).try_into().unwrap_or(u64::MAX)
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        Self::invalid(rejected.problems)
    }
}

impl From<IngestError> for Refusal {
    fn from(error: IngestError) -> Self {
        let outcome = Outcome::from(&error);
        match error {
            IngestError::Shed { retry_after } | IngestError::Busy { retry_after } => {
                Self::later("too busy", outcome, retry_after)
            }
            IngestError::Unavailable { retry_after } => {
                Self::later("temporarily unavailable", outcome, retry_after)
            }
            IngestError::ShuttingDown => Self::later("shutting down", outcome, RETRY_AFTER_DEFAULT),
            IngestError::Rejected => Self { outcome, ..Self::invalid(Vec::new()) },
        }
    }
}

impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Form(field, problem) => Self::media_type(field, problem),
            Unreadable::TooLarge(bytes_max) => Self::too_large("body", bytes_max),
            Unreadable::Broken => Self::malformed("body", "broke off"),
            Unreadable::TooSlow => Self::too_slow(),
            Unreadable::NoRoom => Self::busy(),
        }
    }
}

impl From<StoreError> for Refusal {
    /// Whatever it is, it is not the sender's doing: the same event may be taken once the store is well.
    fn from(error: StoreError) -> Self {
        let cause: &dyn Error = &error;
        tracing::error!(error = cause, "the pixel could not be looked up");
        Self::later("temporarily unavailable", Outcome::Unavailable, RETRY_AFTER_DEFAULT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_back_too_early() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (90_000, 90)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
    }
}
