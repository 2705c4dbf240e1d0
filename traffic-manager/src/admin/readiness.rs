//! Whether this manager should get work.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

const STARTING: u8 = 0;
const RECOVERING: u8 = 1;
const SERVING: u8 = 2;
const LEAVING: u8 = 3;

/// Told by the start-up and the shutdown, asked by `/readyz`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// Both ports are served whole, and what was known before is being recovered.
    pub(crate) fn recovering(&self) {
        self.0.store(RECOVERING, Ordering::Release);
    }

    /// All is there.
    pub(crate) fn serving(&self) {
        self.0.store(SERVING, Ordering::Release);
    }

    /// The shutdown began.
    pub(crate) fn leaving(&self) {
        self.0.store(LEAVING, Ordering::Release);
    }

    /// Why the manager should get no work; `None` = it should.
    pub(super) fn reason(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Acquire) {
            SERVING => None,
            STARTING => Some("starting: gRPC is not served yet"),
            RECOVERING => Some("recovering: peers and agents are telling what they know"),
            _ => Some("shutting down"),
        }
    }
}
