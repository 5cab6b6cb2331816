//! The log: to standard error, for people or machines.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Registry, fmt};

use crate::settings::{Log, LogFormat};

/// What the targets of all our crates begin with.
const OURS: &str = "leadtrail";
/// How much others say at most where no directive names them.
const OTHERS_MAX: LevelFilter = LevelFilter::INFO;
/// The HTTP layer reports as errors what clients do: heads that are none, connections that break.
const OF_CLIENTS: &str = "actix_http::h1::dispatcher";
/// Where the span stands that gives each line the name of its request.
const REQUEST_SPAN: &str = "leadtrail_http::envelope";

/// Starts the log. Called once.
pub(crate) fn start(log: &Log) {
    let filter = filter(&log.directives);
    let filtered = Registry::default().with(filter);
    let stderr = std::io::stderr;
    // Colours are for eyes: in a file they are noise that searches stumble over.
    let lines = fmt::layer().with_ansi(stderr().is_terminal()).with_writer(stderr);
    let started = match log.format {
        LogFormat::Pretty => tracing::subscriber::set_global_default(filtered.with(lines)),
        LogFormat::Json => {
            tracing::subscriber::set_global_default(filtered.with(lines.json().flatten_event(true)))
        }
    };
    // A log that somebody started before is as good.
    started.ok();
}

/// What is logged: as the directives say, but that a level which names nobody is meant for us, and that the name of the
/// request stands on every line.
fn filter(directives: &Targets) -> Targets {
    let general = directives.default_level().unwrap_or(LevelFilter::OFF);
    let mut filter = Targets::new()
        .with_default(general.min(OTHERS_MAX))
        .with_target(OURS, general)
        .with_target(OF_CLIENTS, LevelFilter::OFF);
    filter.extend(directives.iter());
    if !filter.would_enable(REQUEST_SPAN, &tracing::Level::ERROR) {
        filter = filter.with_target(REQUEST_SPAN, LevelFilter::ERROR);
    }
    filter
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_level_is_ours_and_others_say_no_more_than_info() {
        for (directives, target, most) in [
            ("trace", "leadtrail_http::take", Some(Level::TRACE)),
            ("trace", "leadtrail", Some(Level::TRACE)),
            ("trace", "hyper::proto", Some(Level::INFO)),
            ("trace", "actix_http::h1", Some(Level::INFO)),
            ("trace", OF_CLIENTS, None),
            ("warn,actix_http=debug", "actix_http::h1", Some(Level::DEBUG)),
            ("warn", "leadtrail_app", Some(Level::WARN)),
            ("warn", "hyper", Some(Level::WARN)),
            ("off", "leadtrail_app", None),
            ("off", "hyper", None),
            ("debug,hyper=trace", "hyper::proto", Some(Level::TRACE)),
            ("debug,hyper=trace", "reqwest", Some(Level::INFO)),
            ("trace,leadtrail_app=warn", "leadtrail_app::ingest", Some(Level::WARN)),
            ("trace,leadtrail_app=warn", "leadtrail_http", Some(Level::TRACE)),
            ("leadtrail_app=debug", "leadtrail_app", Some(Level::DEBUG)),
            ("leadtrail_app=debug", "leadtrail_http", None),
            ("leadtrail=debug", "leadtrail_http", Some(Level::DEBUG)),
        ] {
            let filter = filter(&directives.parse().unwrap());
            let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
            let enabled = levels.into_iter().filter(|level| filter.would_enable(target, level)).max();
            assert_eq!(enabled, most, "{target} under {directives}");
        }
    }

    #[test]
    fn whatever_of_ours_is_logged_the_span_of_its_request_is_there() {
        for directives in
            ["error", "warn", "trace", "leadtrail_app=debug", "leadtrail_http=off,warn", "hyper=info"]
        {
            let filter = filter(&directives.parse().unwrap());
            assert!(filter.would_enable(REQUEST_SPAN, &Level::ERROR), "{directives}");
        }
    }
}
