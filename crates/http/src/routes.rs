//! The table of routes.

mod assets;
mod health;
mod pixel_gif;
mod track;

use std::future::ready;

use actix_web::guard::{Any, Get, Head};
use actix_web::http::Method;
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Route, web};

use crate::problem::Problem;

pub(crate) fn register(config: &mut web::ServiceConfig, demo_site: bool) {
    for path in ["/api/track", "/api/track/track"] {
        config.service(
            web::resource(path)
                .route(web::post().to(track::post))
                .route(web::method(Method::OPTIONS).to(track::preflight))
                .default_service(only("POST, OPTIONS")),
        );
    }
    config.service(
        web::resource("/api/track/pixel.gif")
            .route(web::get().to(pixel_gif::get))
            .default_service(only("GET")),
    );
    config.service(readable("/static/pixel.js", assets::pixel_script));
    config.service(readable("/px.js", assets::pixel_script));
    config.service(readable("/static/{name}", assets::of_index));
    config.service(readable("/", assets::index));
    config.service(readable("/health/live", health::live));
    config.service(readable("/health/ready", health::ready));
    config.service(readable("/health", health::ready));
    if demo_site {
        config.service(readable("/demo", assets::to_demo));
        config.service(
            web::resource("/demo/thanks.html")
                .route(reading().to(assets::of_demo_thanks))
                .route(web::post().to(assets::demo_form))
                .default_service(only("GET, HEAD, POST")),
        );
        config.service(readable("/demo/{name:.*}", assets::of_demo));
    }
    config.default_service(web::to(not_found));
}

/// A resource that is only read.
fn readable<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args, Output = HttpResponse>,
    Args: FromRequest + 'static,
{
    web::resource(path.to_owned()).route(reading().to(handler)).default_service(only("GET, HEAD"))
}

fn reading() -> Route {
    web::route().guard(Any(Get()).or(Head()))
}

/// The answer to any other method than `allowed`.
fn only(allowed: &'static str) -> Route {
    web::to(move |request: HttpRequest| ready(Problem::MethodNotAllowed(allowed).response(&request)))
}

async fn not_found(request: HttpRequest) -> HttpResponse {
    Problem::NotFound.response(&request)
}
