//! The table of routes.

mod assets;
mod connection;
mod health;
mod keys;
mod metrics;
mod pixel_gif;
mod pixels;
mod projects;
mod sync;
mod track;

use std::future::ready;

use actix_web::guard::{Any, Get, Head};
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, Route, web};
use leadtrail_domain::key::Scope;

use crate::access::{Class, Needs, Reach};
use crate::asked::{KeyedHandler, LocalHandler, keyed, local};
use crate::limits::Group;
use crate::problem::Problem;

/// A route as the table has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteEntry {
    /// The method; a route that answers `GET` and `HEAD` alike stands as `GET`.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may use it.
    pub class: Class,
    /// Which limit it falls under; absent: none.
    pub group: Option<Group>,
}

/// Every route there is, those of the demo site too.
pub fn routes() -> Vec<RouteEntry> {
    let entry = |row: &Row| RouteEntry {
        method: row.verb.method(),
        path: row.path,
        class: match row.endpoint {
            Endpoint::Open(_) | Endpoint::Tracking(_) => Class::Public,
            Endpoint::Keyed(needs, _) => Class::Key(needs),
            Endpoint::Local(_) => Class::Local,
        },
        group: match row.endpoint {
            Endpoint::Open(_) | Endpoint::Local(_) => None,
            Endpoint::Tracking(_) => Some(Group::Tracking),
            Endpoint::Keyed(..) => Some(row.verb.group()),
        },
    };
    TABLE.iter().chain(DEMO).map(entry).collect()
}

struct Row {
    verb: Verb,
    path: &'static str,
    endpoint: Endpoint,
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

    /// As an `Allow` header has it.
    fn allowed(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD",
            Self::Get | Self::Post | Self::Put | Self::Patch | Self::Delete | Self::Options => self.method(),
        }
    }

    /// The limit of a keyed route.
    fn group(self) -> Group {
        match self {
            Self::Get | Self::Read | Self::Options => Group::Reading,
            Self::Post | Self::Put | Self::Patch | Self::Delete => Group::Managing,
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

const fn open(verb: Verb, path: &'static str, to: fn(Route) -> Route) -> Row {
    Row { verb, path, endpoint: Endpoint::Open(to) }
}

const fn tracking(verb: Verb, path: &'static str, to: fn(Route) -> Route) -> Row {
    Row { verb, path, endpoint: Endpoint::Tracking(to) }
}

const fn by_key(
    verb: Verb,
    path: &'static str,
    scopes: &'static [Scope],
    reach: Reach,
    handler: KeyedHandler,
) -> Row {
    Row { verb, path, endpoint: Endpoint::Keyed(Needs { scopes, reach }, handler) }
}

const fn from_near(verb: Verb, path: &'static str, handler: LocalHandler) -> Row {
    Row { verb, path, endpoint: Endpoint::Local(handler) }
}

/// Whoever may change it may look at it too.
const LOOK: &[Scope] = &[Scope::Read, Scope::Manage];
const MANAGE: &[Scope] = &[Scope::Manage];
const ADMIN: &[Scope] = &[Scope::Admin];
const SYNC: &[Scope] = &[Scope::Sync];
/// Whoever sets a connection may look whether it is fit.
const SYNC_OR_MANAGE: &[Scope] = &[Scope::Sync, Scope::Manage];

/// What every service answers. Rows of one path stand together; of two paths that match, the first is taken.
const TABLE: &[Row] = &[
    tracking(Verb::Post, "/api/track", |route| route.to(track::post)),
    open(Verb::Options, "/api/track", |route| route.to(track::preflight)),
    tracking(Verb::Post, "/api/track/track", |route| route.to(track::post)),
    open(Verb::Options, "/api/track/track", |route| route.to(track::preflight)),
    tracking(Verb::Get, "/api/track/pixel.gif", |route| route.to(pixel_gif::get)),
    by_key(Verb::Read, "/api/projects", LOOK, Reach::View, |asked| Box::pin(projects::list(asked))),
    by_key(Verb::Post, "/api/projects", MANAGE, Reach::Service, |asked| Box::pin(projects::create(asked))),
    by_key(Verb::Read, "/api/projects/pixels/{id}", LOOK, Reach::Named, |asked| {
        Box::pin(pixels::show(asked))
    }),
    by_key(Verb::Put, "/api/projects/pixels/{id}", MANAGE, Reach::Named, |asked| {
        Box::pin(pixels::replace(asked))
    }),
    by_key(Verb::Patch, "/api/projects/pixels/{id}", MANAGE, Reach::Named, |asked| {
        Box::pin(pixels::merge(asked))
    }),
    by_key(Verb::Delete, "/api/projects/pixels/{id}", MANAGE, Reach::Named, |asked| {
        Box::pin(pixels::archive(asked))
    }),
    by_key(Verb::Read, "/api/projects/{id}", LOOK, Reach::Named, |asked| Box::pin(projects::show(asked))),
    by_key(Verb::Put, "/api/projects/{id}", MANAGE, Reach::Named, |asked| Box::pin(projects::replace(asked))),
    by_key(Verb::Patch, "/api/projects/{id}", MANAGE, Reach::Named, |asked| Box::pin(projects::merge(asked))),
    by_key(Verb::Delete, "/api/projects/{id}", MANAGE, Reach::Named, |asked| {
        Box::pin(projects::archive(asked))
    }),
    by_key(Verb::Read, "/api/projects/{id}/pixels", LOOK, Reach::Named, |asked| {
        Box::pin(pixels::list(asked))
    }),
    by_key(Verb::Post, "/api/projects/{id}/pixels", MANAGE, Reach::Named, |asked| {
        Box::pin(pixels::create(asked))
    }),
    by_key(Verb::Read, "/api/projects/{id}/connection", MANAGE, Reach::Named, |asked| {
        Box::pin(connection::show(asked))
    }),
    by_key(Verb::Put, "/api/projects/{id}/connection", MANAGE, Reach::Named, |asked| {
        Box::pin(connection::put(asked))
    }),
    by_key(Verb::Delete, "/api/projects/{id}/connection", MANAGE, Reach::Named, |asked| {
        Box::pin(connection::remove(asked))
    }),
    by_key(Verb::Read, "/api/pixels/{id}/snippet", LOOK, Reach::Named, |asked| {
        Box::pin(pixels::snippet(asked))
    }),
    by_key(Verb::Read, "/api/keys", ADMIN, Reach::View, |asked| Box::pin(keys::list(asked))),
    by_key(Verb::Post, "/api/keys", ADMIN, Reach::View, |asked| Box::pin(keys::create(asked))),
    by_key(Verb::Read, "/api/keys/{id}", ADMIN, Reach::Named, |asked| Box::pin(keys::show(asked))),
    by_key(Verb::Delete, "/api/keys/{id}", ADMIN, Reach::Named, |asked| Box::pin(keys::revoke(asked))),
    by_key(Verb::Read, "/api/sync/jobs", SYNC, Reach::View, |asked| Box::pin(sync::list(asked))),
    by_key(Verb::Read, "/api/sync/jobs/{id}", SYNC, Reach::Named, |asked| Box::pin(sync::show(asked))),
    by_key(Verb::Post, "/api/sync/jobs/{id}/replay", SYNC, Reach::Named, |asked| {
        Box::pin(sync::replay(asked))
    }),
    by_key(Verb::Post, "/api/sync/jobs/{id}/hold", SYNC, Reach::Named, |asked| Box::pin(sync::hold(asked))),
    by_key(Verb::Post, "/api/sync/jobs/{id}/skip", SYNC, Reach::Named, |asked| Box::pin(sync::skip(asked))),
    by_key(Verb::Read, "/api/sync/health", SYNC, Reach::View, |asked| Box::pin(sync::health(asked))),
    by_key(Verb::Read, "/api/crm/verify", SYNC_OR_MANAGE, Reach::View, |asked| Box::pin(sync::verify(asked))),
    open(Verb::Read, "/static/pixel.js", |route| route.to(assets::pixel_script)),
    open(Verb::Read, "/px.js", |route| route.to(assets::pixel_script)),
    open(Verb::Read, "/static/{name}", |route| route.to(assets::of_index)),
    open(Verb::Read, "/", |route| route.to(assets::index)),
    open(Verb::Read, "/health/live", |route| route.to(health::live)),
    open(Verb::Read, "/health/ready", |route| route.to(health::ready)),
    open(Verb::Read, "/health", |route| route.to(health::ready)),
    from_near(Verb::Read, "/metrics", metrics::show),
];

/// The demo site, where it is asked for.
const DEMO: &[Row] = &[
    open(Verb::Read, "/demo", |route| route.to(assets::to_demo)),
    open(Verb::Read, "/demo/thanks.html", |route| route.to(assets::of_demo_thanks)),
    open(Verb::Post, "/demo/thanks.html", |route| route.to(assets::demo_form)),
    open(Verb::Read, "/demo/{name:.*}", |route| route.to(assets::of_demo)),
];

pub(crate) fn register(config: &mut web::ServiceConfig, demo_site: bool) {
    let tables = [TABLE, if demo_site { DEMO } else { &[] }];
    for rows in tables.into_iter().flat_map(|table| table.chunk_by(|one, next| one.path == next.path)) {
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
