//! The numbers of the service, as Prometheus reads them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use leadtrail_app::measures::{COUNT_HISTOGRAMS, SECONDS_HISTOGRAMS};
use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Which build this is: always 1, told by its labels.
const BUILD_INFO: &str = "leadtrail_build_info";

/// From a commit of SQLite's to a slow answer.
const SECONDS_BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// From a single event to the largest group by default, and beyond.
const COUNT_BOUNDS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// How often what was timed is sorted into its histogram, so that it does not pile up where nobody reads it.
const SORT_EVERY: Duration = Duration::from_secs(5);

/// The recorder of this process.
#[derive(Clone)]
pub(crate) struct Measures(PrometheusHandle);

impl Measures {
    /// Installs the recorder. Called once, before anything that is measured is made.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let mut builder = PrometheusBuilder::new();
        for name in SECONDS_HISTOGRAMS.into_iter().chain([leadtrail_http::REQUEST_SECONDS]) {
            builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &SECONDS_BOUNDS)?;
        }
        for name in COUNT_HISTOGRAMS {
            builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &COUNT_BOUNDS)?;
        }
        let handle = builder.install_recorder().context("cannot measure")?;
        leadtrail_app::measures::describe();
        leadtrail_http::describe_measures();
        leadtrail_db_pool::describe_measures();
        describe_gauge!(BUILD_INFO, "Which build this is, told by its labels");
        gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self(handle))
    }

    /// What `/metrics` answers.
    pub(crate) fn shown(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let handle = self.0.clone();
        Arc::new(move || handle.render())
    }

    /// Sorts what was timed, for as long as the service runs.
    pub(crate) async fn keep_sorted(self) {
        loop {
            tokio::time::sleep(SORT_EVERY).await;
            self.0.run_upkeep();
        }
    }
}
