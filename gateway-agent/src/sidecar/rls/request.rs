//! Envoy's descriptors as requests that policies see.

use weir_proto::{
    amount::MAX_AMOUNT,
    request::{Field, MAX_ENTRIES, MAX_VALUE_BYTES, Request, RequestError, RequestLimit},
    window::Window,
    wire::envoy::{
        extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry},
        service::ratelimit::v3::RateLimitRequest,
        r#type::v3::RateLimitUnit,
    },
};

use super::rules::Met;
use crate::sidecar::proxy::shortened;

/// Most descriptors of a call.
const MAX_DESCRIPTORS: usize = 64;
/// The name under which Envoy sends the client's address.
const REMOTE_ADDRESS: &str = "remote_address";

/// Refuses what the reference service refuses, and what cannot be meant.
pub(super) fn validate(request: &RateLimitRequest) -> Result<(), String> {
    if request.domain.is_empty() {
        return Err("rate limit domain must not be empty".to_owned());
    }
    let count = request.descriptors.len();
    if count == 0 {
        return Err("rate limit descriptor list must not be empty".to_owned());
    }
    if count > MAX_DESCRIPTORS {
        return Err(format!(
            "descriptors has {count} entries; at most {MAX_DESCRIPTORS} are allowed"
        ));
    }
    for (index, descriptor) in request.descriptors.iter().enumerate() {
        if descriptor.entries.len() > MAX_ENTRIES {
            return Err(format!(
                "descriptors[{index}].entries has more than {MAX_ENTRIES} entries"
            ));
        }
        if hits(request, descriptor) > MAX_AMOUNT {
            return Err(format!("descriptors[{index}].hits_addend is more than {MAX_AMOUNT}"));
        }
    }
    Ok(())
}

/// What a descriptor counts as: its own addend, or the call's, or one.
pub(super) fn hits(request: &RateLimitRequest, descriptor: &RateLimitDescriptor) -> u64 {
    match (descriptor.hits_addend, request.hits_addend) {
        (Some(own), _) => own,
        (None, 0) => 1,
        (None, whole) => u64::from(whole),
    }
}

/// The limit that a descriptor brings along. A month has 30 days and a year 365, as with the reference
/// service. `Err` names a unit that is none.
pub(super) fn limit(descriptor: &RateLimitDescriptor) -> Result<Option<RequestLimit>, String> {
    const DAY: u64 = 86_400;
    let Some(limit) = &descriptor.limit else { return Ok(None) };
    let secs = match limit.unit() {
        RateLimitUnit::Unknown => 0,
        RateLimitUnit::Second => 1,
        RateLimitUnit::Minute => 60,
        RateLimitUnit::Hour => 3_600,
        RateLimitUnit::Day => DAY,
        RateLimitUnit::Month => 30 * DAY,
        RateLimitUnit::Year => 365 * DAY,
    };
    let window = Window::from_secs(secs).map_err(|_| {
        let unit = limit.unit;
        format!("limit.unit is {unit}; it may be SECOND (1), MINUTE, HOUR, DAY, MONTH or YEAR (6)")
    })?;
    Ok(RequestLimit::new(limit.requests_per_unit.into(), window))
}

/// The request that a descriptor stands for. `remote_address` is the client's address; other entries
/// that are named like an attribute (`application`, `path`, …) set it; `domain` and `rule` are not
/// the client's to set. Of two entries with one key the last counts, and each is also there by its
/// place: `key[0]`, `key[1]`.
pub(super) fn describe<'a>(
    domain: &'a str,
    descriptor: &'a RateLimitDescriptor,
    met: &'a Met<'_>,
    index: usize,
) -> Result<Request<'a>, RequestError> {
    let mut request = met.tell(Request::new().domain(shortened(domain.into())), index);
    let usual = |entry: &Entry| entry.value.len() <= MAX_VALUE_BYTES && has_plain_key(entry);
    let usual = descriptor.entries.iter().all(usual);
    if usual {
        let entries = descriptor.entries.iter().map(|entry| (&*entry.key, &*entry.value));
        request = request.descriptor(&entries.collect::<Vec<_>>());
        request.check().map_err(Clone::clone)?;
    }
    for entry in &descriptor.entries {
        let (key, value) = (&*entry.key, shortened((&*entry.value).into()));
        let field = match key {
            REMOTE_ADDRESS => Some(Field::Ip),
            _ => Field::parse(key).filter(|field| !matches!(field, Field::Domain | Field::Rule)),
        };
        if let Some(field) = field {
            match request.set(field.as_str(), value.clone()) {
                // A proxy in front may say "unknown": the request has no address, and the entry its text.
                Err(RequestError::NotAnAddress(_)) => {}
                set => set?,
            }
        }
        if !usual && has_plain_key(entry) {
            request.set(&format!("descriptors[0][\"{key}\"]"), value)?;
        }
    }
    add_places(descriptor, &mut request);
    Ok(request)
}

/// Names entries with one key by their places among each other.
fn add_places<'a>(descriptor: &'a RateLimitDescriptor, request: &mut Request<'a>) {
    let entries = &descriptor.entries;
    for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| has_plain_key(entry)) {
        let same = |other: &&Entry| other.key == entry.key;
        let before = entries.iter().take(index).filter(same).count();
        if before > 0 || entries.iter().skip(index + 1).any(|other| same(&other)) {
            let name = format!("descriptors[0][\"{}[{before}]\"]", entry.key);
            // Left out where there is no room: nothing but these names is lost.
            let _ = request.set(&name, shortened((&*entry.value).into()));
        }
    }
}

/// Whether policies can name the entry.
fn has_plain_key(entry: &Entry) -> bool {
    !entry.key.contains(['"', '\'', '\\'])
}
