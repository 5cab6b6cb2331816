//! The log: to standard error, for people or machines.

use tracing_subscriber::EnvFilter;

use crate::settings::{Log, LogFormat};

/// The HTTP layer reports as errors what clients do: heads that are none, connections that break.
const OF_CLIENTS: &str = "actix_http::h1::dispatcher=off";

/// Starts the log. Called once.
pub(crate) fn start(log: &Log) {
    let filter = EnvFilter::builder().parse_lossy(format!("{OF_CLIENTS},{}", log.level));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Pretty => tracing::subscriber::set_global_default(subscriber.finish()),
        LogFormat::Json => {
            tracing::subscriber::set_global_default(subscriber.json().flatten_event(true).finish())
        }
    };
    // A log that somebody started before is as good.
    started.ok();
}
