//! A limit that a request brings along, from a gateway that is trusted for it.
//!
//! Its counters are apart from those of every other amount: the id of the limit has the amount in it, so
//! that whoever reads a counter's key knows what counts, without having seen the request.

use crate::{
    amount::{MAX_AMOUNT, Unit},
    policy::Limit,
    window::{Algorithm, Window},
};

/// So many requests per fixed window, in the place of what policies say that allow it
/// (`request_limits`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimit {
    requests: u64,
    window: Window,
}

impl RequestLimit {
    /// So many requests, 0 (nothing passes) to [`MAX_AMOUNT`] (`unlimited`), per window; `None` for
    /// more, and for windows of a calendar.
    pub fn new(requests: u64, window: Window) -> Option<RequestLimit> {
        let fits = requests <= MAX_AMOUNT && window.as_calendar().is_none();
        fits.then_some(RequestLimit { requests, window })
    }

    /// As a policy would have it.
    pub fn limit(self) -> Limit {
        Limit {
            unit: Unit::Requests,
            amount: self.requests,
            window: self.window,
            algorithm: Algorithm::FixedWindow,
            burst: None,
        }
    }

    /// Its id in every policy, which no other limit has: `requests/1m/fixed_window=500`.
    pub fn id(self) -> String {
        format!("{}={}", self.limit().id(), self.requests)
    }

    /// Reads an id.
    pub(crate) fn parse(id: &str) -> Option<RequestLimit> {
        let (limit, amount) = id.split_once('=')?;
        let window = limit.split('/').nth(1)?;
        let read = RequestLimit::new(amount.parse().ok()?, window.parse().ok()?)?;
        // One limit has one id, or it would have several counters.
        (read.id() == id).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_has_one_spelling() {
        for (requests, window) in [(0, "1s"), (500, "90s"), (MAX_AMOUNT, "365d")] {
            let limit = RequestLimit::new(requests, window.parse().unwrap()).unwrap();
            assert_eq!(RequestLimit::parse(&limit.id()), Some(limit));
        }
        assert_eq!(RequestLimit::new(MAX_AMOUNT + 1, "1s".parse().unwrap()), None);
        for bad in [
            "requests/1m/fixed_window",
            "requests/60s/fixed_window=5",
            "requests/1m/fixed_window=05",
            "requests/1m/fixed_window=+5",
            "requests/1m/sliding_window=5",
            "tokens/1m/fixed_window=5",
            "night:requests/1m/fixed_window=5",
            "requests/day@UTC/fixed_window=5",
            "=",
        ] {
            assert_eq!(RequestLimit::parse(bad), None, "{bad}");
        }
    }
}
