//! Keeping the store in shape while it is used.

use std::sync::Arc;
use std::time::Duration;

use leadtrail_domain::ports::{Clock, Maintenance};

use crate::cause::cause;
use crate::shutdown::Shutdown;

/// How often the store prepares for the time to come.
pub const UPKEEP_EVERY: Duration = Duration::from_mins(5);

/// Lets the store prepare for the time to come, now and every [`UPKEEP_EVERY`], until the shutdown.
pub async fn run(maintenance: Arc<dyn Maintenance>, clock: Arc<dyn Clock>, mut shutdown: Shutdown) {
    while !shutdown.is_due() {
        if let Err(error) = maintenance.upkeep(clock.now()).await {
            tracing::warn!(error = cause(&error), "the store's upkeep failed; it is tried again");
        }
        tokio::select! {
            () = tokio::time::sleep(UPKEEP_EVERY) => {}
            () = shutdown.due() => {}
        }
    }
}
