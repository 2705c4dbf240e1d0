//! What a file of Envoy's service says, checked as that service checks it.

use super::super::{
    fields::{Fields, join},
    report::Report,
    yaml::Node,
};

const ROOT: [&str; 2] = ["domain", "descriptors"];
const DESCRIPTOR: [&str; 10] = [
    "key",
    "value",
    "rate_limit",
    "descriptors",
    "shadow_mode",
    "quota_mode",
    "detailed_metric",
    "value_to_metric",
    "share_threshold",
    "metadata",
];
const LIMIT: [&str; 5] = ["requests_per_unit", "unit", "unlimited", "name", "replaces"];
/// Units and windows. The last three are as long as that service makes them.
const UNITS: [(&str, &str); 7] = [
    ("second", "1s"),
    ("minute", "1m"),
    ("hour", "1h"),
    ("day", "1d"),
    ("week", "7d"),
    ("month", "30d"),
    ("year", "365d"),
];

/// One file.
pub(super) struct Domain<'d> {
    pub(super) line: usize,
    pub(super) name: &'d str,
    pub(super) descriptors: Vec<Descriptor<'d>>,
}

/// One descriptor with what is nested in it.
pub(super) struct Descriptor<'d> {
    pub(super) file: &'d str,
    pub(super) line: usize,
    pub(super) path: String,
    pub(super) key: &'d str,
    /// Empty = any.
    pub(super) value: &'d str,
    pub(super) limit: Option<Limit<'d>>,
    pub(super) shadow: bool,
    pub(super) share: bool,
    /// The line of `quota_mode: true`.
    pub(super) quota: Option<usize>,
    pub(super) children: Vec<Descriptor<'d>>,
}

pub(super) struct Limit<'d> {
    pub(super) amount: Amount,
    pub(super) name: &'d str,
    pub(super) replaces: Vec<&'d str>,
}

pub(super) enum Amount {
    Unlimited,
    Per { requests: u64, window: &'static str },
}

/// Reads a file. What is wrong is reported; without a domain there is nothing.
pub(super) fn domain<'d>(file: &'d str, node: &'d Node, report: &mut Report) -> Option<Domain<'d>> {
    let fields = Fields::of(node, "", &ROOT, report)?;
    let name = fields.text("domain", report).unwrap_or_default();
    if name.is_empty() {
        report.invalid(fields.line_of("domain"), "domain", "", "is missing or empty");
        return None;
    }
    let descriptors = descriptors(file, &fields, report);
    Some(Domain { line: fields.line_of("domain"), name, descriptors })
}

fn descriptors<'d>(file: &'d str, fields: &Fields<'d>, report: &mut Report) -> Vec<Descriptor<'d>> {
    let list = fields.list("descriptors", report);
    list.into_iter().filter_map(|(path, node)| descriptor(file, &path, node, report)).collect()
}

fn descriptor<'d>(
    file: &'d str,
    path: &str,
    node: &'d Node,
    report: &mut Report,
) -> Option<Descriptor<'d>> {
    let fields = Fields::of(node, path, &DESCRIPTOR, report)?;
    let key = fields.text("key", report).unwrap_or_default();
    let value = fields.text("value", report).unwrap_or_default();
    let share = fields.flag("share_threshold", report);
    let quota = fields.flag("quota_mode", report).then(|| fields.line_of("quota_mode"));
    for (name, message) in [
        ("detailed_metric", "names a metric there; here every key's use is in the counters"),
        ("value_to_metric", "names a metric there; here every key's use is in the counters"),
    ] {
        if fields.flag(name, report) {
            report.note(fields.line_of(name), &fields.path_of(name), "true", message);
        }
    }
    if let Some(metadata) = fields.get("metadata") {
        let message = "is not sent: Weir's answers have no dynamic metadata";
        report.note(metadata.line, &fields.path_of("metadata"), metadata.excerpt(), message);
    }
    let descriptor = Descriptor {
        file,
        line: fields.line,
        path: path.to_owned(),
        key,
        value,
        limit: fields
            .get("rate_limit")
            .and_then(|node| limit(node, &fields.path_of("rate_limit"), report)),
        shadow: fields.flag("shadow_mode", report),
        share,
        quota,
        children: descriptors(file, &fields, report),
    };
    if key.is_empty() {
        report.invalid(fields.line_of("key"), &fields.path_of("key"), "", "is missing or empty");
        return None;
    }
    if share && !key.contains('*') && !value.contains('*') {
        let message = "shares the limit of values that fit a pattern, but the value has no *";
        let line = fields.line_of("share_threshold");
        report.invalid(line, &fields.path_of("share_threshold"), "true", message);
    }
    Some(descriptor)
}

fn limit<'d>(node: &'d Node, path: &str, report: &mut Report) -> Option<Limit<'d>> {
    let fields = Fields::of(node, path, &LIMIT, report)?;
    let name = fields.text("name", report).unwrap_or_default();
    let mut replaces = Vec::new();
    for (path, node) in fields.list("replaces", report) {
        let Some(entry) = Fields::of(node, &path, &["name"], report) else { continue };
        let other = entry.text("name", report).unwrap_or_default();
        let (line, path) = (entry.line_of("name"), join(&path, "name"));
        if other.is_empty() {
            report.invalid(line, &path, "", "is missing or empty; name the limit to replace");
        } else if other == name {
            report.invalid(line, &path, other, "is the name of this very limit");
        } else {
            replaces.push(other);
        }
    }
    let amount = amount(&fields, report)?;
    Some(Limit { amount, name, replaces })
}

fn amount(fields: &Fields<'_>, report: &mut Report) -> Option<Amount> {
    let most = u64::from(u32::MAX);
    let requests = fields.number("requests_per_unit", most, report);
    let unit = fields.text("unit", report);
    let window = unit.and_then(|unit| {
        UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, window)| *window)
    });
    let (line, path) = (fields.line_of("unit"), fields.path_of("unit"));
    if fields.flag("unlimited", report) {
        if window.is_some() {
            let message = "must not be given when unlimited is";
            report.invalid(line, &path, unit.unwrap_or_default(), message);
        }
        return Some(Amount::Unlimited);
    }
    let Some(window) = window else {
        let names: Vec<&str> = UNITS.iter().map(|(name, _)| *name).collect();
        let message = format!("is missing or no unit; known are {}", names.join(", "));
        report.invalid(line, &path, unit.unwrap_or_default(), &message);
        return None;
    };
    if fields.get("requests_per_unit").is_none() {
        let message = "is missing, which counts as 0 there: everything is refused";
        report.note(fields.line, &fields.path_of("requests_per_unit"), "", message);
    }
    Some(Amount::Per { requests: requests.unwrap_or_default(), window })
}
