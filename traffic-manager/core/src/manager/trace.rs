//! The whole state as text, for explorers of the protocol: equal texts, equal futures.

use std::fmt;

use super::Manager;

impl Manager {
    /// Writes everything that what it does next depends on, apart from its configuration and
    /// policies. Two managers of one configuration with the same text behave alike from here on.
    ///
    /// # Errors
    /// Those of `into`.
    pub fn trace(&self, into: &mut impl fmt::Write) -> fmt::Result {
        write!(
            into,
            "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}",
            self.fleet,
            self.ledger,
            self.feeds,
            self.usage,
            self.credit,
            self.dirty,
            self.timers,
            self.heartbeat_at,
        )
    }
}
