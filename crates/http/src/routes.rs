//! The table of routes.

mod assets;
mod connection;
mod conversions;
mod docs;
mod health;
mod hygiene;
mod keys;
mod metrics;
mod pixel_gif;
mod pixels;
mod projects;
mod scripts;
mod sync;
mod track;
mod why;

use std::future::ready;

use actix_web::guard::{Any, Get, Head};
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, Route, web};
use leadtrail_domain::key::Scope;
use serde_json::Value;

use crate::access::{Class, Needs, Reach};
use crate::asked::{KeyedHandler, LocalHandler, keyed, local};
use crate::description::{self, Operation};
use crate::limits::Group;
use crate::problem::Problem;

pub use self::scripts::{PinnedScript, pinned_scripts};

/// A route as the table has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteEntry {
    /// The method; a route that answers `GET` and `HEAD` alike stands as `GET`.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may use it.
    pub class: Class,
    /// Whose limit it falls under; absent: none.
    pub group: Option<Group>,
}

/// Every route there is, those of the demo site too.
pub fn routes() -> Vec<RouteEntry> {
    let entry = |row: &Row| RouteEntry {
        method: row.verb.method(),
        path: row.path,
        class: row.class(),
        group: row.group(),
    };
    TABLE.iter().map(|described| &described.row).chain(DEMO).map(entry).collect()
}

/// The description of every route but those of the demo site: an OpenAPI 3.1 document, made of the table of routes and
/// of the types that are read and written. `/api/openapi.json` answers it.
pub fn openapi() -> Value {
    description::document(TABLE.iter().map(|Described { row, operation }| description::Described {
        method: row.verb.method(),
        path: row.path,
        class: row.class(),
        group: row.group(),
        operation,
    }))
}

/// A row that cannot be without its description.
struct Described {
    row: Row,
    operation: &'static Operation,
}

struct Row {
    verb: Verb,
    path: &'static str,
    endpoint: Endpoint,
}

impl Row {
    fn class(&self) -> Class {
        match self.endpoint {
            Endpoint::Open(_) | Endpoint::Tracking(_) => Class::Public,
            Endpoint::Keyed(needs, _) => Class::Key(needs),
            Endpoint::Local(_) => Class::Local,
        }
    }

    fn group(&self) -> Option<Group> {
        match self.endpoint {
            Endpoint::Open(_) | Endpoint::Local(_) => None,
            Endpoint::Tracking(_) => Some(Group::Tracking),
            Endpoint::Keyed(..) => Some(self.verb.group()),
        }
    }
}

/// A keyed handler is given requests by way of its needs and no other: there is no route without a class.
enum Endpoint {
    Open(fn(Route) -> Route),
    /// Open, and each event is charged to its client.
    Tracking(fn(Route) -> Route),
    Keyed(Needs, KeyedHandler),
    Local(LocalHandler),
}

#[derive(Clone, Copy)]
enum Verb {
    Get,
    /// GET and HEAD.
    Read,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Verb {
    fn method(self) -> &'static str {
        match self {
            Self::Get | Self::Read => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// The limit of a keyed route.
    fn group(self) -> Group {
        match self {
            Self::Get | Self::Read | Self::Options => Group::Reading,
            Self::Post | Self::Put | Self::Patch | Self::Delete => Group::Managing,
        }
    }

    /// As an `Allow` header has it.
    fn allowed(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD",
            Self::Get | Self::Post | Self::Put | Self::Patch | Self::Delete | Self::Options => self.method(),
        }
    }

    fn route(self) -> Route {
        match self {
            Self::Get => web::get(),
            Self::Read => web::route().guard(Any(Get()).or(Head())),
            Self::Post => web::post(),
            Self::Put => web::put(),
            Self::Patch => web::patch(),
            Self::Delete => web::delete(),
            Self::Options => web::method(Method::OPTIONS),
        }
    }
}

const fn open(
    verb: Verb,
    path: &'static str,
    to: fn(Route) -> Route,
    operation: &'static Operation,
) -> Described {
    Described { row: Row { verb, path, endpoint: Endpoint::Open(to) }, operation }
}

const fn tracking(
    verb: Verb,
    path: &'static str,
    to: fn(Route) -> Route,
    operation: &'static Operation,
) -> Described {
    Described { row: Row { verb, path, endpoint: Endpoint::Tracking(to) }, operation }
}

const fn from_near(
    verb: Verb,
    path: &'static str,
    handler: LocalHandler,
    operation: &'static Operation,
) -> Described {
    Described { row: Row { verb, path, endpoint: Endpoint::Local(handler) }, operation }
}

const fn by_key(
    verb: Verb,
    path: &'static str,
    scopes: &'static [Scope],
    reach: Reach,
    handler: KeyedHandler,
    operation: &'static Operation,
) -> Described {
    Described {
        row: Row { verb, path, endpoint: Endpoint::Keyed(Needs { scopes, reach }, handler) },
        operation,
    }
}

const fn of_demo(verb: Verb, path: &'static str, to: fn(Route) -> Route) -> Row {
    Row { verb, path, endpoint: Endpoint::Open(to) }
}

/// Whoever may change it may look at it too.
const LOOK: &[Scope] = &[Scope::Read, Scope::Manage];
const MANAGE: &[Scope] = &[Scope::Manage];
const ADMIN: &[Scope] = &[Scope::Admin];
const SYNC: &[Scope] = &[Scope::Sync];
/// Whoever sets a connection may look whether it is fit.
const SYNC_OR_MANAGE: &[Scope] = &[Scope::Sync, Scope::Manage];

/// What every service answers. Rows of one path stand together; of two paths that match, the first is taken.
const TABLE: &[Described] = &[
    tracking(Verb::Post, "/api/track", |route| route.to(track::post), &track::POST),
    open(Verb::Options, "/api/track", |route| route.to(track::preflight), &track::PREFLIGHT),
    tracking(Verb::Post, "/api/track/track", |route| route.to(track::post), &track::POST_ALIAS),
    open(Verb::Options, "/api/track/track", |route| route.to(track::preflight), &track::PREFLIGHT_ALIAS),
    tracking(Verb::Get, "/api/track/pixel.gif", |route| route.to(pixel_gif::get), &pixel_gif::GET),
    by_key(
        Verb::Read,
        "/api/projects",
        LOOK,
        Reach::View,
        |asked| Box::pin(projects::list(asked)),
        &projects::LIST,
    ),
    by_key(
        Verb::Post,
        "/api/projects",
        MANAGE,
        Reach::Service,
        |asked| Box::pin(projects::create(asked)),
        &projects::CREATE,
    ),
    by_key(
        Verb::Read,
        "/api/projects/pixels/{id}",
        LOOK,
        Reach::Named,
        |asked| Box::pin(pixels::show(asked)),
        &pixels::SHOW,
    ),
    by_key(
        Verb::Put,
        "/api/projects/pixels/{id}",
        MANAGE,
        Reach::Named,
        |asked| Box::pin(pixels::replace(asked)),
        &pixels::REPLACE,
    ),
    by_key(
        Verb::Patch,
        "/api/projects/pixels/{id}",
        MANAGE,
        Reach::Named,
        |asked| Box::pin(pixels::merge(asked)),
        &pixels::MERGE,
    ),
    by_key(
        Verb::Delete,
        "/api/projects/pixels/{id}",
        MANAGE,
        Reach::Named,
        |asked| Box::pin(pixels::archive(asked)),
        &pixels::ARCHIVE,
    ),
    by_key(
        Verb::Read,
        "/api/projects/{id}",
        LOOK,
        Reach::Named,
        |asked| Box::pin(projects::show(asked)),
        &projects::SHOW,
    ),
    by_key(
        Verb::Put,
        "/api/projects/{id}",
        MANAGE,
        Reach::Named,
        |asked| Box::pin(projects::replace(asked)),
        &projects::REPLACE,
    ),
    by_key(
        Verb::Patch,
        "/api/projects/{id}",
        MANAGE,
        Reach::Named,
        |asked| Box::pin(projects::merge(asked)),
        &projects::MERGE,
    ),
    by_key(
        Verb::Delete,
        "/api/projects/{id}",
        MANAGE,
        Reach::Named,
        |asked| Box::pin(projects::archive(asked)),
        &projects::ARCHIVE,
    ),
    by_key(
        Verb::Read,
        "/api/projects/{id}/pixels",
        LOOK,
        Reach::Named,
        |asked| Box::pin(pixels::list(asked)),
        &pixels::LIST,
    ),
    by_key(
        Verb::Post,
        "/api/projects/{id}/pixels",
        MANAGE,
        Reach::Named,
        |asked| Box::pin(pixels::create(asked)),
        &pixels::CREATE,
    ),
    by_key(
        Verb::Read,
        "/api/projects/{id}/connection",
        MANAGE,
        Reach::Named,
        |asked| Box::pin(connection::show(asked)),
        &connection::SHOW,
    ),
    by_key(
        Verb::Put,
        "/api/projects/{id}/connection",
        MANAGE,
        Reach::Named,
        |asked| Box::pin(connection::put(asked)),
        &connection::PUT,
    ),
    by_key(
        Verb::Delete,
        "/api/projects/{id}/connection",
        MANAGE,
        Reach::Named,
        |asked| Box::pin(connection::remove(asked)),
        &connection::REMOVE,
    ),
    by_key(
        Verb::Read,
        "/api/pixels/{id}/snippet",
        LOOK,
        Reach::Named,
        |asked| Box::pin(pixels::snippet(asked)),
        &pixels::SNIPPET,
    ),
    by_key(
        Verb::Post,
        "/api/pixels/{id}/check",
        MANAGE,
        Reach::Named,
        |asked| Box::pin(pixels::check(asked)),
        &pixels::CHECK,
    ),
    by_key(Verb::Read, "/api/keys", ADMIN, Reach::View, |asked| Box::pin(keys::list(asked)), &keys::LIST),
    by_key(Verb::Post, "/api/keys", ADMIN, Reach::View, |asked| Box::pin(keys::create(asked)), &keys::CREATE),
    by_key(
        Verb::Read,
        "/api/keys/{id}",
        ADMIN,
        Reach::Named,
        |asked| Box::pin(keys::show(asked)),
        &keys::SHOW,
    ),
    by_key(
        Verb::Delete,
        "/api/keys/{id}",
        ADMIN,
        Reach::Named,
        |asked| Box::pin(keys::revoke(asked)),
        &keys::REVOKE,
    ),
    by_key(Verb::Read, "/api/sync/jobs", SYNC, Reach::View, |asked| Box::pin(sync::list(asked)), &sync::LIST),
    by_key(
        Verb::Read,
        "/api/sync/jobs/{id}",
        SYNC,
        Reach::Named,
        |asked| Box::pin(sync::show(asked)),
        &sync::SHOW,
    ),
    by_key(
        Verb::Post,
        "/api/sync/jobs/{id}/replay",
        SYNC,
        Reach::Named,
        |asked| Box::pin(sync::replay(asked)),
        &sync::REPLAY,
    ),
    by_key(
        Verb::Post,
        "/api/sync/jobs/{id}/hold",
        SYNC,
        Reach::Named,
        |asked| Box::pin(sync::hold(asked)),
        &sync::HOLD,
    ),
    by_key(
        Verb::Post,
        "/api/sync/jobs/{id}/skip",
        SYNC,
        Reach::Named,
        |asked| Box::pin(sync::skip(asked)),
        &sync::SKIP,
    ),
    by_key(
        Verb::Read,
        "/api/sync/health",
        SYNC,
        Reach::View,
        |asked| Box::pin(sync::health(asked)),
        &sync::HEALTH,
    ),
    by_key(
        Verb::Read,
        "/api/analytics/debug/utm-analysis",
        LOOK,
        Reach::View,
        |asked| Box::pin(hygiene::show(asked)),
        &hygiene::SHOW,
    ),
    by_key(
        Verb::Read,
        "/api/conversions",
        LOOK,
        Reach::View,
        |asked| Box::pin(conversions::list(asked)),
        &conversions::LIST,
    ),
    by_key(Verb::Read, "/api/why", SYNC, Reach::View, |asked| Box::pin(why::show(asked)), &why::SHOW),
    by_key(
        Verb::Read,
        "/api/crm/verify",
        SYNC_OR_MANAGE,
        Reach::View,
        |asked| Box::pin(sync::verify(asked)),
        &sync::VERIFY,
    ),
    open(Verb::Read, "/static/pixel.js", |route| route.to(scripts::pixel), &scripts::PIXEL),
    open(Verb::Read, "/px.js", |route| route.to(scripts::pixel), &scripts::PIXEL_SHORT),
    open(
        Verb::Read,
        "/static/pixel.{hash}.js",
        |route| route.to(scripts::pinned_pixel),
        &scripts::PIXEL_PINNED,
    ),
    open(Verb::Read, "/static/px-plus.js", |route| route.to(scripts::plus), &scripts::PLUS),
    open(Verb::Read, "/px-plus.js", |route| route.to(scripts::plus), &scripts::PLUS_SHORT),
    open(
        Verb::Read,
        "/static/px-plus.{hash}.js",
        |route| route.to(scripts::pinned_plus),
        &scripts::PLUS_PINNED,
    ),
    open(Verb::Read, "/static/{name}", |route| route.to(assets::of_index), &assets::INDEX_FILE),
    open(Verb::Read, "/", |route| route.to(assets::index), &assets::FRONT_PAGE),
    open(Verb::Read, "/api/openapi.json", |route| route.to(docs::openapi), &docs::OPENAPI),
    open(Verb::Read, "/docs", |route| route.to(docs::page), &docs::PAGE),
    open(Verb::Read, "/static/docs/{name}", |route| route.to(docs::page_file), &docs::PAGE_FILE),
    open(Verb::Read, "/health/live", |route| route.to(health::live), &health::LIVE),
    open(Verb::Read, "/health/ready", |route| route.to(health::ready), &health::READY),
    open(Verb::Read, "/health", |route| route.to(health::ready), &health::READY_ALIAS),
    from_near(Verb::Read, "/metrics", metrics::show, &metrics::SHOW),
];

/// The demo site, where it is asked for.
const DEMO: &[Row] = &[
    of_demo(Verb::Read, "/demo", |route| route.to(assets::to_demo)),
    of_demo(Verb::Read, "/demo/thanks.html", |route| route.to(assets::of_demo_thanks)),
    of_demo(Verb::Post, "/demo/thanks.html", |route| route.to(assets::demo_form)),
    of_demo(Verb::Read, "/demo/{name:.*}", |route| route.to(assets::of_demo)),
];

pub(crate) fn register(config: &mut web::ServiceConfig, demo_site: bool) {
    let demo: &[Row] = if demo_site { DEMO } else { &[] };
    let rows: Vec<&Row> = TABLE.iter().map(|described| &described.row).chain(demo).collect();
    for rows in rows.chunk_by(|one, next| one.path == next.path) {
        let mut resource = web::resource(rows[0].path);
        for row in rows {
            let route = row.verb.route();
            resource = resource.route(match row.endpoint {
                Endpoint::Open(to) | Endpoint::Tracking(to) => to(route),
                Endpoint::Keyed(needs, handler) => keyed(route, needs, row.verb.group(), handler),
                Endpoint::Local(handler) => local(route, handler),
            });
        }
        let allowed = rows.iter().map(|row| row.verb.allowed()).collect::<Vec<_>>().join(", ");
        config.service(resource.default_service(only(allowed)));
    }
    config.default_service(web::to(not_found));
}

/// The answer to any other method than `allowed`.
fn only(allowed: String) -> Route {
    let problem = Problem::MethodNotAllowed(allowed);
    web::to(move |request: HttpRequest| ready(problem.response(&request)))
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    Problem::NotFound.response(&request)
}
