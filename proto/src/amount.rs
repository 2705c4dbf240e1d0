//! What limits count, and how an amount is written in a policy.

use std::fmt;

/// Largest amount of a limit: 2^48 − 1. Sums over any fleet stay far below `u64::MAX`.
pub const MAX_AMOUNT: u64 = (1 << 48) - 1;

/// What a limit counts.
///
/// Only requests so far; the other units of the contract are refused by name, so that a document
/// written for a later version fails loudly instead of limiting the wrong thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// One per request, unless the request reports a larger amount.
    Requests,
}

/// Units that the policy language has and this version does not count yet.
pub(crate) const LATER_UNITS: [&str; 8] = [
    "bandwidth",
    "events",
    "tokens",
    "prompt_tokens",
    "completion_tokens",
    "errors",
    "concurrency",
    "amount",
];

impl Unit {
    /// Every unit that this version counts.
    pub const ALL: [Unit; 1] = [Unit::Requests];

    /// The field name of a limit in this unit: `requests`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unit::Requests => "requests",
        }
    }

    /// The unit of that name; `None` for an unknown or not yet supported one.
    pub fn parse(name: &str) -> Option<Unit> {
        Self::ALL.into_iter().find(|unit| unit.as_str() == name)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_later_units_are_not_parsed() {
        for unit in Unit::ALL {
            assert_eq!(Unit::parse(&unit.to_string()), Some(unit));
        }
        for later in LATER_UNITS {
            assert_eq!(Unit::parse(later), None);
        }
    }
}
