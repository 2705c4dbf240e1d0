//! Verdicts as Envoy reads them: `RateLimitResponse`, written field by field.
//!
//! Building the message first would cost a request some ten allocations that only its encoding
//! would read. Fields that have their default are left out, as in every proto3 message.

use bytes::{BufMut, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use weir_proto::{
    amount::MAX_AMOUNT,
    calendar::Period,
    wire::envoy::service::ratelimit::v3::rate_limit_response::{Code, rate_limit::Unit},
};

use crate::{HeaderStyle, LimitStatus, RateLimitHeaders, Verdict};

/// About the length of an answer about one descriptor.
const USUAL: usize = 256;

/// The answer to a call: a status per descriptor, in order.
pub(super) fn write(verdicts: &[Verdict], style: HeaderStyle, out: &mut BytesMut) {
    out.reserve(USUAL * verdicts.len());
    let all_allowed = verdicts.iter().all(Verdict::allowed);
    number(1, code(all_allowed), out);
    let mut inner = BytesMut::with_capacity(USUAL);
    for verdict in verdicts {
        status(verdict, &mut inner);
        bytes(2, &inner, out);
        inner.clear();
    }
    let headers = RateLimitHeaders::of_all(verdicts);
    for (name, value) in headers.iter(style) {
        header(name, &value, out);
    }
}

fn code(allowed: bool) -> u64 {
    let code = if allowed { Code::Ok } else { Code::OverLimit };
    code as u64
}

/// A `DescriptorStatus`.
fn status(verdict: &Verdict, out: &mut BytesMut) {
    number(1, code(verdict.allowed()), out);
    let Some(limit) = &verdict.limit else { return };
    if limit.amount == MAX_AMOUNT {
        // As Envoy's service answers about what is unlimited.
        return number(3, u64::from(u32::MAX), out);
    }
    if let Some(unit) = unit(limit) {
        current_limit(limit, unit, out);
    }
    number(3, saturated(limit.remaining), out);
    let (seconds, nanos) = (limit.reset.as_secs(), u64::from(limit.reset.subsec_nanos()));
    let length = length_of_number(seconds) + length_of_number(nanos);
    start(4, length, out);
    number(1, seconds, out);
    number(2, nanos, out);
}

/// The limit as a `RateLimit`, where Envoy has a word for its window.
fn current_limit(limit: &LimitStatus, unit: Unit, out: &mut BytesMut) {
    let (policy, id) = (limit.policy.policy.name.as_str(), limit.limit_id());
    let (amount, unit) = (saturated(limit.amount), unit as u64);
    let name = policy.len() + 1 + id.len();
    let length = length_of_number(amount) + length_of_number(unit);
    start(2, length + 1 + encoded_len_varint(name as u64) + name, out);
    number(1, amount, out);
    number(2, unit, out);
    start(3, name, out);
    for part in [policy, "/", id] {
        out.put_slice(part.as_bytes());
    }
}

/// A `HeaderValue` among `response_headers_to_add`.
fn header(name: &str, value: &str, out: &mut BytesMut) {
    let length = |text: &str| 1 + encoded_len_varint(text.len() as u64) + text.len();
    start(3, length(name) + length(value), out);
    bytes(1, name.as_bytes(), out);
    bytes(2, value.as_bytes(), out);
}

/// The field and the length of what follows.
fn start(field: u32, length: usize, out: &mut BytesMut) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}

fn bytes(field: u32, value: &[u8], out: &mut BytesMut) {
    start(field, value.len(), out);
    out.put_slice(value);
}

fn number(field: u32, value: u64, out: &mut BytesMut) {
    if value != 0 {
        encode_key(field, WireType::Varint, out);
        encode_varint(value, out);
    }
}

/// Of a field below 16.
fn length_of_number(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + encoded_len_varint(value) }
}

fn unit(limit: &LimitStatus) -> Option<Unit> {
    const DAY: u64 = 86_400;
    let calendar = limit.limit().and_then(|limit| limit.limit.window.as_calendar());
    if let Some(calendar) = calendar {
        // However long this one is.
        return Some(match calendar.period() {
            Period::Hour => Unit::Hour,
            Period::Day => Unit::Day,
            Period::Week => Unit::Week,
            Period::Month => Unit::Month,
            Period::Year => Unit::Year,
        });
    }
    match limit.window.as_secs() {
        1 => Some(Unit::Second),
        60 => Some(Unit::Minute),
        3_600 => Some(Unit::Hour),
        DAY => Some(Unit::Day),
        secs if secs == 7 * DAY => Some(Unit::Week),
        // As long as the reference service's.
        secs if secs == 30 * DAY => Some(Unit::Month),
        secs if secs == 365 * DAY => Some(Unit::Year),
        _ => None,
    }
}

fn saturated(value: u64) -> u64 {
    value.min(u64::from(u32::MAX))
}
