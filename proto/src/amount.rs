//! What limits count, and what a request counts as.

use std::{fmt, sync::Arc};

/// Largest amount of a limit: 2^48 − 1, which no use reaches; a policy writes it as `unlimited`. Sums
/// over any fleet stay far below `u64::MAX`.
pub const MAX_AMOUNT: u64 = (1 << 48) - 1;
/// Most amounts that one request or report may name.
pub const MAX_AMOUNTS: usize = 16;
/// Longest name of a custom amount, in bytes.
const MAX_NAME: usize = 64;

/// What a limit counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// One per request, unless the request says otherwise.
    Requests,
    /// Events of a stream: frames, messages.
    Events,
    /// Bytes in both directions.
    Bandwidth,
    /// Bytes of requests.
    RequestBandwidth,
    /// Bytes of responses.
    ResponseBandwidth,
    /// Tokens of a language model, in both directions.
    Tokens,
    /// Tokens of prompts.
    PromptTokens,
    /// Tokens of completions.
    CompletionTokens,
    /// Failed requests. Once there were so many, the rest of the window is refused.
    Errors,
    /// Requests in flight.
    Concurrency,
    /// An amount that only its name tells.
    Custom(AmountName),
}

/// How a unit is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Charging {
    /// With the check, which is refused if it does not fit.
    Ahead,
    /// Mostly after the response: a check passes while something is left.
    After,
    /// After the response, and seldom: nobody holds credit, and all are told when there were too many.
    Flagged,
    /// From the check until the release, or until the lease ends.
    Held,
}

/// Units with a name of their own.
const NAMED: [(Unit, &str); 10] = [
    (Unit::Requests, "requests"),
    (Unit::Events, "events"),
    (Unit::Bandwidth, "bandwidth"),
    (Unit::RequestBandwidth, "request_bandwidth"),
    (Unit::ResponseBandwidth, "response_bandwidth"),
    (Unit::Tokens, "tokens"),
    (Unit::PromptTokens, "prompt_tokens"),
    (Unit::CompletionTokens, "completion_tokens"),
    (Unit::Errors, "errors"),
    (Unit::Concurrency, "concurrency"),
];

impl Unit {
    /// The names of all units but custom ones, as fields of a limit.
    pub fn names() -> [&'static str; NAMED.len()] {
        NAMED.map(|(_, name)| name)
    }

    /// The name: `requests`, or a custom amount's own.
    pub fn as_str(&self) -> &str {
        if let Unit::Custom(name) = self {
            return name.as_str();
        }
        NAMED.iter().find(|(unit, _)| unit == self).map_or("", |(_, name)| name)
    }

    /// The unit of that name, unless it is a custom one.
    pub fn parse(name: &str) -> Option<Unit> {
        NAMED.iter().find(|(_, known)| *known == name).map(|(unit, _)| unit.clone())
    }

    /// The unit of that name, custom ones included.
    ///
    /// # Errors
    /// [`AmountNameError`].
    pub fn named(name: &str) -> Result<Unit, AmountNameError> {
        Unit::parse(name).map_or_else(|| AmountName::new(name).map(Unit::Custom), Ok)
    }

    /// How it is charged.
    #[inline]
    pub fn charging(&self) -> Charging {
        match self {
            Unit::Requests
            | Unit::Events
            | Unit::RequestBandwidth
            | Unit::PromptTokens
            | Unit::Custom(_) => Charging::Ahead,
            Unit::Bandwidth | Unit::ResponseBandwidth | Unit::Tokens | Unit::CompletionTokens => {
                Charging::After
            }
            Unit::Errors => Charging::Flagged,
            Unit::Concurrency => Charging::Held,
        }
    }

    /// Whether amounts are bytes, which a policy may write as `10MiB`.
    pub fn is_bytes(&self) -> bool {
        matches!(self, Unit::Bandwidth | Unit::RequestBandwidth | Unit::ResponseBandwidth)
    }

    /// Whether an amount of `other` counts in a limit of this unit.
    fn counts(&self, other: &Unit) -> bool {
        match self {
            Unit::Bandwidth => other.is_bytes(),
            Unit::Tokens => {
                matches!(other, Unit::Tokens | Unit::PromptTokens | Unit::CompletionTokens)
            }
            unit => unit == other,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of a custom amount: a lower-case letter, then such letters, digits and `_`; not the name
/// of another unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AmountName(Arc<str>);

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not the name of an amount; use 1 to {MAX_NAME} lower-case letters, digits and _, a letter first"
)]
pub struct AmountNameError;

impl AmountName {
    /// A valid name.
    ///
    /// # Errors
    /// [`AmountNameError`].
    pub fn new(name: &str) -> Result<AmountName, AmountNameError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let good = name.len() <= MAX_NAME
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(plain)
            && Unit::parse(name).is_none();
        if good { Ok(AmountName(name.into())) } else { Err(AmountNameError) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a request counts as: one request, unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amounts {
    requests: u64,
    others: Vec<(Unit, u64)>,
}

impl Default for Amounts {
    fn default() -> Self {
        Amounts { requests: 1, others: Vec::new() }
    }
}

impl From<u64> for Amounts {
    /// So many requests.
    fn from(requests: u64) -> Self {
        Amounts { requests, others: Vec::new() }
    }
}

impl Amounts {
    /// Says what it counts as in one unit; again replaces the former amount.
    pub fn set(&mut self, unit: Unit, amount: u64) {
        if unit == Unit::Requests {
            self.requests = amount;
            return;
        }
        self.others.retain(|(other, _)| *other != unit);
        self.others.push((unit, amount));
    }

    /// How many requests it counts as.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// The units of which something was said, but requests.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.others.iter().map(|(unit, _)| unit)
    }

    /// What it counts as in a limit of this unit. Requests and concurrency are one, and the others
    /// none, where nothing was said. Both directions count in a limit for both.
    #[inline]
    pub fn of(&self, unit: &Unit) -> u64 {
        match unit {
            Unit::Requests => self.requests,
            unit if self.others.is_empty() => u64::from(*unit == Unit::Concurrency),
            unit => self.sum(unit),
        }
    }

    fn sum(&self, unit: &Unit) -> u64 {
        let mut own = self.others.iter().filter(|(other, _)| unit.counts(other)).peekable();
        if *unit == Unit::Concurrency && own.peek().is_none() {
            return 1;
        }
        own.fold(0, |sum: u64, (_, amount)| sum.saturating_add(*amount)).min(MAX_AMOUNT)
    }
}

/// What became known after the response: amounts to add, or to take back where they are negative.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes(Vec<(Unit, i64)>);

impl Changes {
    /// Adds to what is said of a unit.
    pub fn add(&mut self, unit: Unit, amount: i64) {
        match self.0.iter_mut().find(|(other, _)| *other == unit) {
            Some((_, sum)) => *sum = sum.saturating_add(amount),
            None => self.0.push((unit, amount)),
        }
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The units of which something is said.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.0.iter().map(|(unit, _)| unit)
    }

    /// The change for a limit of this unit; none for concurrency, which leases account for.
    pub fn of(&self, unit: &Unit) -> i64 {
        if *unit == Unit::Concurrency {
            return 0;
        }
        let own = self.0.iter().filter(|(other, _)| unit.counts(other));
        own.fold(0, |sum: i64, (_, amount)| sum.saturating_add(*amount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_custom_ones_are_their_own() {
        for name in Unit::names() {
            let unit = Unit::parse(name).unwrap();
            assert_eq!((unit.to_string().as_str(), Unit::named(name)), (name, Ok(unit)));
            assert_eq!(AmountName::new(name), Err(AmountNameError), "{name} is taken");
        }
        assert_eq!(Unit::named("books_2").unwrap().as_str(), "books_2");
        for bad in ["", "Books", "2books", "_b", "a-b", "a b", &"x".repeat(65)] {
            assert_eq!(Unit::named(bad), Err(AmountNameError), "{bad:?}");
        }
    }

    #[test]
    fn amounts_count_in_the_units_that_include_them() {
        let mut amounts = Amounts::default();
        assert_eq!((amounts.of(&Unit::Requests), amounts.of(&Unit::Concurrency)), (1, 1));
        assert_eq!(amounts.of(&Unit::Tokens), 0);
        amounts.set(Unit::PromptTokens, 3);
        amounts.set(Unit::CompletionTokens, 4);
        amounts.set(Unit::RequestBandwidth, 5);
        amounts.set(Unit::RequestBandwidth, 6);
        assert_eq!((amounts.of(&Unit::Tokens), amounts.of(&Unit::PromptTokens)), (7, 3));
        assert_eq!((amounts.of(&Unit::Bandwidth), amounts.of(&Unit::ResponseBandwidth)), (6, 0));
        assert_eq!(amounts.of(&Unit::Concurrency), 1);
    }

    #[test]
    fn changes_add_up_and_may_be_negative() {
        let mut changes = Changes::default();
        changes.add(Unit::Tokens, 10);
        changes.add(Unit::PromptTokens, -3);
        changes.add(Unit::Tokens, -9);
        assert_eq!((changes.of(&Unit::Tokens), changes.of(&Unit::PromptTokens)), (-2, -3));
        assert_eq!(changes.of(&Unit::Errors), 0);
    }
}
