//! How a shutdown reaches every task.

use tokio::sync::watch;

/// The one who shuts down.
pub(crate) struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Tells everybody.
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// Those who are told.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Resolves at the shutdown; also when the one who would tell is gone.
    pub(crate) async fn requested(&mut self) {
        let _ = self.0.wait_for(|&stop| stop).await;
    }
}

/// A way to tell and a way to be told.
pub(crate) fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}
