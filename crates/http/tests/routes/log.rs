//! What the service says while it is tested, kept where `cargo xtask test` looks through it for what no log may hold.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, Once};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Registry, fmt};

static STARTED: Once = Once::new();

/// Keeps all that our crates say in the folder that `LEADTRAIL_TEST_LOGS` names, where it does.
#[expect(
    clippy::disallowed_methods,
    reason = "where logs are kept is the business of whoever runs the tests"
)]
pub(crate) fn start() {
    STARTED.call_once(|| {
        let Some(folder) = std::env::var_os("LEADTRAIL_TEST_LOGS").filter(|folder| !folder.is_empty()) else {
            return;
        };
        let path = Path::new(&folder).join(format!("routes-{}.log", std::process::id()));
        let file = File::create(path).expect("the folder for logs can be written to");
        let ours = Targets::new().with_target("leadtrail", LevelFilter::TRACE);
        let lines = fmt::layer().with_ansi(false).with_writer(Mutex::new(file));
        tracing::subscriber::set_global_default(Registry::default().with(ours).with(lines))
            .expect("nobody else starts a log here");
    });
}
