//! Whether this manager should get work.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

const STARTING: u8 = 0;
const LISTENING: u8 = 1;
const LEAVING: u8 = 2;

/// Told by the start-up and the shutdown, asked by `/readyz`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// Both ports are served.
    pub(crate) fn listening(&self) {
        self.0.store(LISTENING, Ordering::Release);
    }

    /// The shutdown began.
    pub(crate) fn leaving(&self) {
        self.0.store(LEAVING, Ordering::Release);
    }

    /// Why the manager should get no work; `None` = it should.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Acquire) {
            LISTENING => None,
            STARTING => Some("starting: gRPC is not served yet"),
            _ => Some("shutting down"),
        }
    }
}
