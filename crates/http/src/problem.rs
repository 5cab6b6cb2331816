//! Errors of everything but the tracking routes, as RFC 9457 describes them. The one place they are made.

use std::borrow::Cow;
use std::error::Error;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse};
use leadtrail_app::input::{FieldProblem, Invalid};
use leadtrail_app::projects::ManageError;
use leadtrail_domain::ports::StoreError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use crate::body::Unreadable;
use crate::envelope;
use crate::limits::Standing;
use crate::refusal::{RETRY_AFTER_DEFAULT, whole_seconds};

/// What went wrong, by what a client can do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    /// The request is not one: this is why.
    Malformed(Cow<'static, str>),
    /// No key is presented, or none that opens anything. Which of these is not told.
    Unauthenticated,
    /// The key does not open this: this is why.
    Forbidden(&'static str),
    /// There is nothing at this path, or nothing that this key may see. Which of these is not told.
    NotFound,
    /// There is something, but not by this method; these are the ones it takes.
    MethodNotAllowed(String),
    /// The body did not come in time.
    TooSlow,
    /// What this field names belongs to something else.
    Taken(&'static str),
    /// It cannot be done to what is named, as that stands: this is why.
    Conflict(String),
    /// The body has more than so many bytes.
    TooLarge(usize),
    /// The body is in a form that is not read.
    MediaType(&'static str, &'static str),
    /// These fields are not valid.
    Invalid(Vec<FieldProblem>),
    /// The client asks more often than it may.
    TooManyRequests(Standing),
    /// It cannot be done now.
    Unavailable,
}

/// What went wrong, as RFC 9457 describes problems.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemBody<'a> {
    /// Which kind of problem it is; one of a closed set.
    #[schemars(schema_with = "kinds")]
    r#type: &'static str,
    /// The kind, for people.
    title: &'static str,
    /// The answer's status.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// What is wrong, for people.
    detail: &'a str,
    /// Names the request in logs.
    request_id: &'a str,
    /// Every field to mend, where fields are the problem.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldProblem],
}

fn kinds(_generator: &mut SchemaGenerator) -> Schema {
    let all = [
        Problem::Malformed(Cow::Borrowed("")),
        Problem::Unauthenticated,
        Problem::Forbidden(""),
        Problem::NotFound,
        Problem::MethodNotAllowed(String::new()),
        Problem::TooSlow,
        Problem::Taken(""),
        Problem::Conflict(String::new()),
        Problem::TooLarge(0),
        Problem::MediaType("", ""),
        Problem::Invalid(Vec::new()),
        Problem::TooManyRequests(Standing::default()),
        Problem::Unavailable,
    ];
    json_schema!({"type": "string", "enum": all.map(|problem| problem.kind().0)})
}

impl Problem {
    fn kind(&self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::Malformed(_) => {
                ("urn:leadtrail:problem:malformed", "Malformed request", StatusCode::BAD_REQUEST)
            }
            Self::Unauthenticated => {
                ("urn:leadtrail:problem:unauthenticated", "Unauthenticated", StatusCode::UNAUTHORIZED)
            }
            Self::Forbidden(_) => ("urn:leadtrail:problem:forbidden", "Forbidden", StatusCode::FORBIDDEN),
            Self::NotFound => ("urn:leadtrail:problem:not-found", "Not found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed(_) => (
                "urn:leadtrail:problem:method-not-allowed",
                "Method not allowed",
                StatusCode::METHOD_NOT_ALLOWED,
            ),
            Self::TooSlow => ("urn:leadtrail:problem:too-slow", "Too slow", StatusCode::REQUEST_TIMEOUT),
            Self::Taken(_) => ("urn:leadtrail:problem:taken", "Already taken", StatusCode::CONFLICT),
            Self::Conflict(_) => ("urn:leadtrail:problem:conflict", "Conflict", StatusCode::CONFLICT),
            Self::TooLarge(_) => {
                ("urn:leadtrail:problem:too-large", "Too large", StatusCode::PAYLOAD_TOO_LARGE)
            }
            Self::MediaType(..) => (
                "urn:leadtrail:problem:unsupported-media-type",
                "Unsupported media type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ),
            Self::Invalid(_) => {
                ("urn:leadtrail:problem:invalid", "Invalid input", StatusCode::UNPROCESSABLE_ENTITY)
            }
            Self::TooManyRequests(_) => (
                "urn:leadtrail:problem:too-many-requests",
                "Too many requests",
                StatusCode::TOO_MANY_REQUESTS,
            ),
            Self::Unavailable => (
                "urn:leadtrail:problem:unavailable",
                "Temporarily unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
            ),
        }
    }

    fn detail(&self) -> Cow<'_, str> {
        match self {
            Self::Malformed(why) => Cow::Borrowed(why),
            Self::Unauthenticated => {
                Cow::Borrowed("present a valid API key as `Authorization: Bearer` or `X-API-Key`")
            }
            Self::Forbidden(why) => Cow::Borrowed(why),
            Self::NotFound => Cow::Borrowed("there is nothing at this path"),
            Self::MethodNotAllowed(allowed) => Cow::Owned(format!("this path takes {allowed}")),
            Self::TooSlow => Cow::Borrowed("the body did not arrive in time"),
            Self::Taken(field) => Cow::Owned(format!("this {field} is already taken")),
            Self::Conflict(why) => Cow::Borrowed(why),
            Self::TooLarge(bytes_max) => Cow::Owned(format!("the body is larger than {bytes_max} bytes")),
            Self::MediaType(field, problem) => Cow::Owned(format!("{field}: {problem}")),
            Self::Invalid(_) => Cow::Borrowed("nothing was changed; `errors` names every field to mend"),
            Self::TooManyRequests(_) => Cow::Borrowed("`Retry-After` says when the next request is taken"),
            Self::Unavailable => Cow::Borrowed("try again in a moment"),
        }
    }

    /// The response that says so.
    pub(crate) fn response(&self, request: &HttpRequest) -> HttpResponse {
        let (kind, title, status) = self.kind();
        let mut response = HttpResponse::build(status);
        response
            .insert_header((CONTENT_TYPE, "application/problem+json"))
            .insert_header((CACHE_CONTROL, "no-store"));
        let mut errors = Cow::Borrowed(&[][..]);
        match self {
            Self::MethodNotAllowed(allowed) => {
                response.insert_header((ALLOW, allowed.as_str()));
            }
            Self::Unauthenticated => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer"));
            }
            Self::Unavailable => {
                response.insert_header((RETRY_AFTER, whole_seconds(RETRY_AFTER_DEFAULT)));
            }
            Self::TooManyRequests(standing) => {
                let retry_after = standing.retry_after.unwrap_or(RETRY_AFTER_DEFAULT);
                response.insert_header((RETRY_AFTER, whole_seconds(retry_after)));
            }
            Self::Invalid(problems) => errors = Cow::Borrowed(problems),
            Self::Taken(field) => errors = Cow::Owned(vec![FieldProblem::new(field, "is already taken")]),
            Self::Malformed(_)
            | Self::Forbidden(_)
            | Self::NotFound
            | Self::Conflict(_)
            | Self::TooSlow
            | Self::TooLarge(_)
            | Self::MediaType(..) => {}
        }
        let request_id = envelope::request_id(request);
        let document = ProblemBody {
            r#type: kind,
            title,
            status: status.as_u16(),
            detail: &self.detail(),
            request_id: &request_id,
            errors: &errors,
        };
        let mut response =
            response.body(serde_json::to_string(&document).expect("texts and numbers always serialise"));
        if let Self::TooManyRequests(standing) = self {
            standing.put_into(response.headers_mut());
        }
        response
    }
}

impl From<Unreadable> for Problem {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Form(field, problem) => Self::MediaType(field, problem),
            Unreadable::TooLarge(bytes_max) => Self::TooLarge(bytes_max),
            Unreadable::Broken => Self::Malformed(Cow::Borrowed("the body broke off")),
            Unreadable::TooSlow => Self::TooSlow,
            Unreadable::NoRoom => Self::Unavailable,
        }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid.problems)
    }
}

impl From<ManageError> for Problem {
    fn from(error: ManageError) -> Self {
        match error {
            ManageError::Invalid(invalid) => invalid.into(),
            ManageError::Taken(field) => Self::Taken(field),
            ManageError::Gone => Self::NotFound,
            ManageError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    /// Whatever it is, it is not the sender's doing: the same request may succeed once the store is well.
    fn from(error: StoreError) -> Self {
        let cause: &dyn Error = &error;
        tracing::error!(error = cause, "the store did not do what was asked");
        Self::Unavailable
    }
}
