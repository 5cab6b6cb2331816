//! The OpenAPI description of the table of routes. What is said of one route stands beside its handler, as an
//! [`Operation`]; what follows from its class is said once, here.

mod schemas;

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use leadtrail_domain::key::Scope;
use serde_json::{Map, Value, json};

pub(crate) use self::schemas::{SchemaOf, Schemas, listed, read, written};
use crate::access::{Class, FROM_AFAR, Needs, Reach};
use crate::limits::Group;
use crate::problem::ProblemBody;

/// What is said of a route beside its method, its path and its class.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    /// Its name in programs, unique and stable.
    pub(crate) id: &'static str,
    pub(crate) tag: Tag,
    /// What it does, in a few words.
    pub(crate) summary: &'static str,
    /// What else a caller should know; may be empty.
    pub(crate) detail: &'static str,
    /// What the braces of the path hold; absent where there are none.
    pub(crate) path: Option<Parameter>,
    pub(crate) query: &'static [Parameter],
    pub(crate) body: Option<Body>,
    /// The answers that do not follow from the class.
    pub(crate) answers: &'static [Answer],
}

/// A chapter of the description.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tag {
    Collecting,
    Projects,
    Pixels,
    Keys,
    Attribution,
    Sync,
    Health,
    Pages,
}

/// A parameter of a path or query.
#[derive(Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) schema: SchemaOf,
}

/// The body of a request.
#[derive(Clone, Copy)]
pub(crate) struct Body {
    pub(crate) media_types: &'static [&'static str],
    pub(crate) schema: SchemaOf,
}

/// One answer of a route.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) about: &'static str,
    pub(crate) content: Content,
    /// Headers that it always has.
    pub(crate) headers: &'static [Header],
}

/// What an answer's body is.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Nothing,
    Json(SchemaOf),
    Problem,
    /// Text or bytes of one of these media types.
    Raw(&'static [&'static str]),
}

/// A header of an answer.
#[derive(Clone, Copy)]
pub(crate) enum Header {
    Location,
    RetryAfter,
    WwwAuthenticate,
    ETag,
    Dropped,
    RateLimitLimit,
    RateLimitRemaining,
    RateLimitReset,
}

/// What an answer beyond a limit always has.
pub(crate) const LIMITED: &[Header] =
    &[Header::RetryAfter, Header::RateLimitLimit, Header::RateLimitRemaining, Header::RateLimitReset];

/// A path's `id` that is a project's id or slug.
pub(crate) const PROJECT: Parameter = Parameter {
    name: "id",
    about: "The project's id or slug.",
    schema: |_schemas| json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}),
};

/// A route's row without its handler.
pub(crate) struct Described {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) class: Class,
    pub(crate) group: Option<Group>,
    pub(crate) operation: &'static Operation,
}

impl Tag {
    const ALL: [Self; 8] = [
        Self::Collecting,
        Self::Projects,
        Self::Pixels,
        Self::Keys,
        Self::Attribution,
        Self::Sync,
        Self::Health,
        Self::Pages,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Collecting => "Collecting",
            Self::Projects => "Projects",
            Self::Pixels => "Pixels",
            Self::Keys => "Keys",
            Self::Attribution => "Attribution",
            Self::Sync => "Sync",
            Self::Health => "Health",
            Self::Pages => "Pages",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Collecting => {
                "What the pixel sends from visitors' browsers, and servers with a key of scope `ingest`."
            }
            Self::Projects => "A project is a client's account: everything else belongs to exactly one.",
            Self::Pixels => "A pixel is what one site embeds. Its id is public: it stands in pages.",
            Self::Keys => "API keys: what they open, and when they end.",
            Self::Attribution => "From where visitors came, and what came of it.",
            Self::Sync => {
                "What the CRM is told of leads: its queue, how it is doing, and whether an account is fit for it."
            }
            Self::Health => "What monitors ask.",
            Self::Pages => "What browsers load.",
        }
    }
}

impl Answer {
    /// A document of JSON.
    pub(crate) const fn json(status: StatusCode, about: &'static str, schema: SchemaOf) -> Self {
        Self { status, about, content: Content::Json(schema), headers: &[] }
    }

    /// A problem document.
    pub(crate) const fn problem(status: StatusCode, about: &'static str) -> Self {
        Self { status, about, content: Content::Problem, headers: &[] }
    }

    /// Text or bytes.
    pub(crate) const fn raw(
        status: StatusCode,
        about: &'static str,
        media_types: &'static [&'static str],
    ) -> Self {
        Self { status, about, content: Content::Raw(media_types), headers: &[] }
    }

    /// No body.
    pub(crate) const fn empty(status: StatusCode, about: &'static str) -> Self {
        Self { status, about, content: Content::Nothing, headers: &[] }
    }

    /// With headers that it always has.
    pub(crate) const fn with(self, headers: &'static [Header]) -> Self {
        Self { headers, ..self }
    }

    fn to_json(self, schemas: &mut Schemas) -> Value {
        let mut answer = json!({"description": self.about});
        let mut headers = Map::new();
        headers.insert("X-Request-Id".to_owned(), json!({"$ref": "#/components/headers/X-Request-Id"}));
        for header in self.headers {
            let name = header.name();
            headers.insert(name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
        }
        answer["headers"] = Value::Object(headers);
        let content = match self.content {
            Content::Nothing => return answer,
            Content::Json(schema) => json!({"application/json": {"schema": schema(schemas)}}),
            Content::Problem => {
                let schema = written::<ProblemBody<'static>>(schemas);
                json!({"application/problem+json": {"schema": schema}})
            }
            Content::Raw(media_types) => {
                media_types.iter().map(|kind| ((*kind).to_owned(), json!({}))).collect()
            }
        };
        answer["content"] = content;
        answer
    }
}

impl Header {
    const ALL: [Self; 8] = [
        Self::Location,
        Self::RetryAfter,
        Self::WwwAuthenticate,
        Self::ETag,
        Self::Dropped,
        Self::RateLimitLimit,
        Self::RateLimitRemaining,
        Self::RateLimitReset,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Location => "Location",
            Self::RetryAfter => "Retry-After",
            Self::WwwAuthenticate => "WWW-Authenticate",
            Self::ETag => "ETag",
            Self::Dropped => "X-Leadtrail-Dropped",
            Self::RateLimitLimit => "RateLimit-Limit",
            Self::RateLimitRemaining => "RateLimit-Remaining",
            Self::RateLimitReset => "RateLimit-Reset",
        }
    }

    fn to_json(self) -> Value {
        let (about, schema) = match self {
            Self::Location => ("The path of what the answer shows.", json!({"type": "string"})),
            Self::RetryAfter => {
                ("After how many seconds to try again.", json!({"type": "integer", "minimum": 1}))
            }
            Self::WwwAuthenticate => ("How to present a key.", json!({"type": "string", "const": "Bearer"})),
            Self::ETag => ("Names this content, for `If-None-Match`.", json!({"type": "string"})),
            Self::Dropped => (
                "Why the event was not kept: `gpc`, or `bot` with what gave it away.",
                json!({"type": "string"}),
            ),
            Self::RateLimitLimit => {
                ("How much a client may ask at once.", json!({"type": "integer", "minimum": 1}))
            }
            Self::RateLimitRemaining => {
                ("How much of that is left.", json!({"type": "integer", "minimum": 0}))
            }
            Self::RateLimitReset => {
                ("After how many seconds all of it is left again.", json!({"type": "integer", "minimum": 0}))
            }
        };
        json!({"description": about, "required": true, "schema": schema})
    }
}

/// The whole description: an OpenAPI 3.1 document.
pub(crate) fn document(routes: impl Iterator<Item = Described>) -> Value {
    let mut schemas = Schemas::default();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes {
        let method = route.method.to_ascii_lowercase();
        paths.entry(route.path).or_default().insert(method, operation(&route, &mut schemas));
    }
    let tags: Vec<Value> =
        Tag::ALL.iter().map(|tag| json!({"name": tag.name(), "description": tag.about()})).collect();
    let mut headers: Map<String, Value> =
        Header::ALL.iter().map(|header| (header.name().to_owned(), header.to_json())).collect();
    let request_id = "Names the request in logs: the client's own where it sends a harmless one.";
    headers.insert(
        "X-Request-Id".to_owned(),
        json!({"description": request_id, "required": true, "schema": {"type": "string"}}),
    );
    let key = "An API key, `lt_` and 64 hexadecimal digits. A key in the address is refused.";
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Leadtrail",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "First-party tracking with marketing attribution and CRM sync",
            "description": ABOUT,
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.into_definitions(),
            "headers": headers,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": key},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": key},
            },
        },
    })
}

const ABOUT: &str = "Managing takes an API key, as `Authorization: Bearer` or `X-API-Key`; what browsers and \
    monitors ask for takes none. Errors are problem documents (RFC 9457) whose `type` is one of a closed set; those of the \
    collecting routes have a shape of their own.\n\nLists come a page at a time: while `next_cursor` is not null, it is \
    the `cursor` of the next page. What a key may not see is answered as what is not there. Where GET is described, \
    HEAD answers alike without the body; a method that a path does not take is answered 405 with `Allow`.\n\nWhere a \
    client is held to a limit, every answer tells it as `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`, \
    and beyond it the answer is 429 with `Retry-After`. On the collecting routes an event costs one and a batch its \
    length.";

fn operation(route: &Described, schemas: &mut Schemas) -> Value {
    let operation = route.operation;
    let (detail, security, scopes) = match route.class {
        Class::Public => (operation.detail.to_owned(), json!([]), None),
        Class::Local => {
            let near = "Without a key it is answered on this machine and in private networks only.";
            let security = json!([{}, {"bearer": []}, {"header": []}]);
            (joined(operation.detail, near), security, Some(FROM_AFAR.scopes))
        }
        Class::Key(needs) => {
            let security = json!([{"bearer": []}, {"header": []}]);
            (joined(operation.detail, &needed(needs)), security, Some(needs.scopes))
        }
    };
    let mut described = json!({
        "operationId": operation.id,
        "tags": [operation.tag.name()],
        "summary": operation.summary,
        "description": detail,
        "security": security,
    });
    let in_path = operation.path.iter().map(|one| (one, "path"));
    let parameters: Vec<Value> = in_path
        .chain(operation.query.iter().map(|one| (one, "query")))
        .map(|(one, place)| {
            json!({
                "name": one.name, "in": place, "required": place == "path", "description": one.about,
                "schema": (one.schema)(schemas),
            })
        })
        .collect();
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(body) = operation.body {
        let schema = (body.schema)(schemas);
        let content: Map<String, Value> =
            body.media_types.iter().map(|kind| ((*kind).to_owned(), json!({"schema": schema}))).collect();
        described["requestBody"] = json!({"required": true, "content": content});
    }
    if let Some(scopes) = scopes {
        described["x-leadtrail-scopes"] = scopes.iter().map(|scope| scope.as_str()).collect();
    }
    let answers: BTreeMap<String, Value> = of_class(route)
        .into_iter()
        .chain(operation.answers.iter().copied())
        .map(|answer| (answer.status.as_str().to_owned(), answer.to_json(schemas)))
        .collect();
    described["responses"] = json!(answers);
    described
}

fn joined(detail: &str, needed: &str) -> String {
    if detail.is_empty() { needed.to_owned() } else { format!("{detail}\n\n{needed}") }
}

/// What a key must open, in words.
fn needed(needs: Needs) -> String {
    let scopes: Vec<String> = needs
        .scopes
        .iter()
        .filter(|scope| **scope != Scope::Admin)
        .chain([&Scope::Admin])
        .map(|scope| format!("`{scope}`"))
        .collect();
    let bound = match needs.reach {
        Reach::Service => "A key that is bound to a project is refused.",
        Reach::View => "A key that is bound to a project sees what belongs to that.",
        Reach::Named => "To a key that is bound to a project, what others have is absent.",
    };
    format!("Needs a key of scope {}. {bound}", scopes.join(" or "))
}

/// The answers that follow from a route's class, and from whether it reads a body or a query.
fn of_class(route: &Described) -> Vec<Answer> {
    let needs = match route.class {
        Class::Public => return Vec::new(),
        Class::Local => FROM_AFAR,
        Class::Key(needs) => needs,
    };
    let too_many = match route.group {
        Some(_) => "The client asked more often than it may, or too often without a valid key.",
        None => "The client asked too often without a valid key.",
    };
    let mut answers = vec![
        Answer::problem(StatusCode::UNAUTHORIZED, "No valid key is presented.")
            .with(&[Header::WwwAuthenticate]),
        Answer::problem(StatusCode::FORBIDDEN, "The key does not open this."),
        Answer::problem(StatusCode::TOO_MANY_REQUESTS, too_many).with(LIMITED),
        Answer::problem(StatusCode::SERVICE_UNAVAILABLE, "It cannot be done now.")
            .with(&[Header::RetryAfter]),
    ];
    if needs.reach == Reach::Named {
        answers.push(Answer::problem(StatusCode::NOT_FOUND, "There is no such thing, or not for this key."));
    }
    let malformed = if route.operation.body.is_some() {
        answers.extend([
            Answer::problem(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time."),
            Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than 64 KiB."),
            Answer::problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not JSON, or is compressed."),
        ]);
        "The body is not JSON or names a field twice, or a key is in the address."
    } else {
        "A key is in the address."
    };
    answers.push(Answer::problem(StatusCode::BAD_REQUEST, malformed));
    if route.operation.body.is_some() || !route.operation.query.is_empty() {
        let about = "Something is not valid; `errors` names every field to mend, and nothing was changed.";
        answers.push(Answer::problem(StatusCode::UNPROCESSABLE_ENTITY, about));
    }
    answers
}
