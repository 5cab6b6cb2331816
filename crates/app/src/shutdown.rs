//! One signal that tells every task to finish.

use tokio::sync::watch;

/// Tells every holder of a [`Shutdown`] to finish. Dropping it tells them too.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Whether to finish; cloned into every task.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// A trigger and what it triggers.
pub fn channel() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Tells everybody to finish.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Whether to finish now.
    pub fn is_due(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Returns once it is time to finish.
    pub async fn due(&mut self) {
        // An error means that the trigger is gone, which tells the same.
        if self.0.wait_for(|due| *due).await.is_err() {}
    }
}
