//! What a verdict says to an HTTP client: the fields of the IETF draft "RateLimit header fields for
//! HTTP" (draft-ietf-httpapi-ratelimit-headers-11), which are structured fields (RFC 9651), and the
//! older three that Envoy's rate limit service sends.

use std::{borrow::Cow, time::Duration};

use gateway_agent_core::{LimitStatus, Outcome, Verdict};
use weir_proto::amount::{MAX_AMOUNT, Unit};

/// Largest integer of a structured field.
const MAX_INTEGER: u64 = 999_999_999_999_999;
/// Room for a separator, two numbers with their names, and quotes.
const NUMBERS: usize = 68;

/// Which headers clients get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderStyle {
    /// `RateLimit` and `RateLimit-Policy`, and `Retry-After`.
    #[default]
    Ietf,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`, and `Retry-After`.
    XRateLimit,
    /// All of them.
    Both,
    /// None, not even `Retry-After`.
    None,
}

impl HeaderStyle {
    const ALL: [HeaderStyle; 4] =
        [HeaderStyle::Ietf, HeaderStyle::XRateLimit, HeaderStyle::Both, HeaderStyle::None];

    /// The name in a configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            HeaderStyle::Ietf => "ietf",
            HeaderStyle::XRateLimit => "x-ratelimit",
            HeaderStyle::Both => "both",
            HeaderStyle::None => "none",
        }
    }

    /// The style of that name.
    pub fn parse(name: &str) -> Option<HeaderStyle> {
        Self::ALL.into_iter().find(|style| style.as_str() == name)
    }

    fn has_ietf(self) -> bool {
        matches!(self, HeaderStyle::Ietf | HeaderStyle::Both)
    }

    fn has_x(self) -> bool {
        matches!(self, HeaderStyle::XRateLimit | HeaderStyle::Both)
    }
}

/// What the older headers tell: the limit that is closest to refusing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tightest {
    /// `X-RateLimit-Limit`: the whole limit.
    pub limit: u64,
    /// `X-RateLimit-Remaining`: what is left of it; nothing after a refusal.
    pub remaining: u64,
    /// `X-RateLimit-Reset`: seconds until the window ends.
    pub reset: u64,
}

/// Values of the response headers for one or more verdicts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RateLimitHeaders {
    /// `RateLimit-Policy`, like `"gold";q=100;w=60`. Empty when no limit was met: send no header.
    pub policy: String,
    /// `RateLimit`, like `"gold";r=73;t=21`. Empty when no limit was met.
    pub limit: String,
    /// `Retry-After`, in seconds; for refused requests only.
    pub retry_after: Option<u64>,
    /// The older headers; `None` when no limit was met.
    pub tightest: Option<Tightest>,
}

impl RateLimitHeaders {
    /// Name of the header that describes the limits.
    pub const POLICY: &'static str = "ratelimit-policy";
    /// Name of the header that tells what is left.
    pub const LIMIT: &'static str = "ratelimit";
    /// Name of the header that tells when to come back.
    pub const RETRY_AFTER: &'static str = "retry-after";
    /// Name of the older header with the limit.
    pub const X_LIMIT: &'static str = "x-ratelimit-limit";
    /// Name of the older header with what is left.
    pub const X_REMAINING: &'static str = "x-ratelimit-remaining";
    /// Name of the older header with the seconds until the window ends.
    pub const X_RESET: &'static str = "x-ratelimit-reset";

    /// For one verdict.
    pub fn of(verdict: &Verdict) -> Self {
        Self::of_all([verdict])
    }

    /// For a request that was checked in parts: each limit once, and the longest wait.
    pub fn of_all<'a>(verdicts: impl IntoIterator<Item = &'a Verdict>) -> Self {
        let mut headers = Self::default();
        let mut seen: Vec<&LimitStatus> = Vec::new();
        for verdict in verdicts {
            headers.retry_after = headers.retry_after.max(retry_after(verdict));
            // There is nothing to say of a limit that nothing reaches.
            let limit = verdict.limit.as_ref().filter(|limit| limit.amount < MAX_AMOUNT);
            let Some(limit) = limit else { continue };
            headers.tighten(limit, verdict.allowed());
            let known = |other: &&LimitStatus| {
                other.policy.policy.name == limit.policy.policy.name
                    && other.limit_id() == limit.limit_id()
            };
            if !seen.iter().any(known) {
                seen.push(limit);
                headers.add(limit);
            }
        }
        headers
    }

    /// Name and value of each header to send.
    pub fn iter(&self, style: HeaderStyle) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let texts = [(Self::POLICY, &*self.policy), (Self::LIMIT, &*self.limit)];
        let texts = texts.into_iter().filter(move |(_, text)| style.has_ietf() && !text.is_empty());
        let older = self.tightest.filter(|_| style.has_x()).into_iter().flat_map(|tightest| {
            let Tightest { limit, remaining, reset } = tightest;
            [(Self::X_LIMIT, limit), (Self::X_REMAINING, remaining), (Self::X_RESET, reset)]
        });
        let wait = self.retry_after.filter(|_| style != HeaderStyle::None);
        let numbers = older.chain(wait.map(|seconds| (Self::RETRY_AFTER, seconds)));
        texts
            .map(|(name, text)| (name, Cow::Borrowed(text)))
            .chain(numbers.map(|(name, number)| (name, Cow::Owned(number.to_string()))))
    }

    /// As Envoy's service does: the least that is left, and the last one that refused before all.
    fn tighten(&mut self, limit: &LimitStatus, allowed: bool) {
        let remaining = if allowed { limit.remaining } else { 0 };
        if !allowed || self.tightest.is_none_or(|known| remaining < known.remaining) {
            let reset = whole_seconds(limit.reset);
            self.tightest = Some(Tightest { limit: limit.amount, remaining, reset });
        }
    }

    fn add(&mut self, limit: &LimitStatus) {
        let name = limit.policy.policy.name.as_str();
        for out in [&mut self.policy, &mut self.limit] {
            out.reserve(name.len() + NUMBERS);
            out.push_str(if out.is_empty() { "" } else { ", " });
            push_quoted(name, out);
        }
        let counted = limit.limit();
        let most = counted.map_or(limit.amount, |counted| counted.capacity);
        push_number(";q=", most, &mut self.policy);
        push_number(";r=", limit.remaining, &mut self.limit);
        let unit = counted.map_or(&Unit::Requests, |counted| &counted.limit.unit);
        match unit {
            // What is in flight knows no window.
            Unit::Concurrency => return self.policy.push_str(";qu=\"concurrent-requests\""),
            unit if unit.is_bytes() => self.policy.push_str(";qu=\"content-bytes\""),
            _ => {}
        }
        push_number(";w=", limit.window.as_secs(), &mut self.policy);
        push_number(";t=", whole_seconds(limit.reset), &mut self.limit);
    }
}

/// The policy that decided.
#[cfg(feature = "sidecar")]
pub(crate) fn policy_name(verdict: &Verdict) -> Option<&str> {
    verdict.policy().map(|policy| policy.policy.name.as_str())
}

/// When to come back, in whole seconds, at least one; `None` for an allowed request, and for one
/// that no waiting will help.
pub(crate) fn retry_after(verdict: &Verdict) -> Option<u64> {
    if verdict.allowed() {
        return None;
    }
    let limit = verdict.limit.as_ref();
    let wait = match (limit.and_then(|limit| limit.retry_after), &verdict.outcome) {
        (Some(wait), _) => wait,
        (None, Outcome::Pending { wait }) => *wait,
        (None, _) => limit?.reset,
    };
    Some(whole_seconds(wait).max(1))
}

/// Rounded up: who comes back a moment early is refused again.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// A parameter that is a structured field's integer. Digit by digit: the formatting machinery takes
/// longer than many a check.
fn push_number(name: &str, value: u64, out: &mut String) {
    out.push_str(name);
    let value = value.min(MAX_INTEGER);
    let mut unit = 1;
    while value / unit >= 10 {
        unit *= 10;
    }
    while unit > 0 {
        let digit = u8::try_from(value / unit % 10).unwrap_or_default();
        out.push(char::from(b'0' + digit));
        unit /= 10;
    }
}

/// A structured field's string: printable ASCII, with two characters escaped.
fn push_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push('?'),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
