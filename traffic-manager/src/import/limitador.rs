//! Files of Kuadrant's Limitador: a list of limits, all of which apply that can.
//!
//! A limit becomes a policy of its own. Conditions and variables are CEL over `descriptors` there,
//! and over `request.descriptors` here.

use std::collections::{BTreeSet, HashMap};

use serde_json::json;
use weir_proto::{amount::MAX_AMOUNT, expr::Expr, policy::KeyPart};

use super::{
    Draft,
    fields::Fields,
    quoted,
    report::Report,
    unlimited,
    yaml::{Node, Value},
};

use self::translate_cel::{About, Old, rewrite};

mod translate_cel;

const LIMIT: [&str; 7] =
    ["id", "namespace", "max_value", "seconds", "name", "conditions", "variables"];
/// The longest window.
const MAX_SECONDS: u64 = 365 * 86_400;

/// Adds a draft for each limit of the files.
pub(super) fn translate(documents: &[(&str, Node)], drafts: &mut Vec<Draft>, report: &mut Report) {
    let mut places: HashMap<String, (String, usize)> = HashMap::new();
    for (file, node) in documents {
        report.enter(file);
        let Value::List(items) = &node.value else {
            report.invalid(node.line, "", node.excerpt(), "is not a list of limits");
            continue;
        };
        for (index, item) in items.iter().enumerate() {
            let Some(draft) = limit(file, &format!("[{index}]"), item, report) else { continue };
            let place = ((*file).to_owned(), item.line);
            if let Some((other, line)) = places.insert(draft.identity.clone(), place) {
                let message =
                    format!("counts the same as {other}:{line}, and Limitador keeps one of them");
                report.invalid(item.line, &draft.field, "", &message);
            } else {
                drafts.push(draft);
            }
        }
    }
}

fn limit(file: &str, path: &str, node: &Node, report: &mut Report) -> Option<Draft> {
    let fields = Fields::of(node, path, &LIMIT, report)?;
    let namespace = fields.text("namespace", report).unwrap_or_default();
    if namespace.is_empty() {
        let line = fields.line_of("namespace");
        report.invalid(line, &fields.path_of("namespace"), "", "is missing or empty");
    }
    let about = About { name: fields.text("name", report), id: fields.text("id", report) };
    let conditions = conditions(&fields, &about, report);
    let key = variables(&fields, &about, report);
    let (limit, window) = amount(&fields, report)?;
    let domain = format!("request.domain == {}", quoted(namespace));
    let all: Vec<String> =
        conditions.as_ref()?.iter().map(|text| format!(" && ({text})")).collect();
    let condition = format!("{domain}{}", all.concat());
    let identity = format!("{condition} {window} {}", key.as_ref()?.join(" "));
    // Without a name it is told apart by a mark, which an empty part asks for.
    let called = about.name.or(about.id).map(|name| vec![name.to_owned()]);
    let called = called.unwrap_or_else(|| vec![window, String::new()]);
    Some(Draft {
        file: file.to_owned(),
        line: fields.line,
        field: fields.path.clone(),
        path: std::iter::once(namespace.to_owned()).chain(called).collect(),
        identity,
        condition,
        key: key?,
        limit,
        request_limits: false,
        mode: "enforce",
        ..Draft::default()
    })
    .filter(|_| !namespace.is_empty())
}

/// The limit in the policy language, and its window.
fn amount(fields: &Fields<'_>, report: &mut Report) -> Option<(serde_json::Value, String)> {
    let most = fields.number("max_value", u64::MAX, report);
    let seconds = fields.number("seconds", u64::MAX, report);
    for (name, value) in [("max_value", most), ("seconds", seconds)] {
        if value.is_none() && fields.get(name).is_none() {
            report.invalid(fields.line, &fields.path_of(name), "", "is missing");
        }
    }
    let (most, seconds) = (most?, seconds?);
    if !(1..=MAX_SECONDS).contains(&seconds) {
        let message = format!("has no equivalent: a window has 1 to {MAX_SECONDS} seconds");
        let line = fields.line_of("seconds");
        report.no_equivalent(line, &fields.path_of("seconds"), &seconds.to_string(), &message);
        return None;
    }
    let window = format!("{seconds}s");
    if most < MAX_AMOUNT {
        return Some((json!({ "requests": most, "window": window }), window));
    }
    let message = "is more than can be counted: the policy is unlimited";
    let line = fields.line_of("max_value");
    report.note(line, &fields.path_of("max_value"), &most.to_string(), message);
    Some((unlimited(&window), window))
}

/// `None` if any has no equivalent: with fewer conditions the limit would meet more requests.
fn conditions(
    fields: &Fields<'_>,
    about: &About<'_>,
    report: &mut Report,
) -> Option<BTreeSet<String>> {
    let mut conditions = Some(BTreeSet::new());
    for (path, node) in fields.list("conditions", report) {
        let read = texts(node, &path, report).and_then(|text| {
            let text = translated(text, about, Old::Condition, (node.line, &path), report)?;
            let faulty = match Expr::parse(&text) {
                Ok(expr) if expr.can_be_condition() => return Some(text),
                Ok(_) => "is never true or false".to_owned(),
                Err(error) => format!("has no equivalent: {text} {error}"),
            };
            report.no_equivalent(node.line, &path, node.excerpt(), &faulty);
            None
        });
        conditions = conditions.zip(read).map(|(mut all, text)| {
            all.insert(text);
            all
        });
    }
    conditions
}

/// `None` if any has no equivalent.
fn variables(fields: &Fields<'_>, about: &About<'_>, report: &mut Report) -> Option<Vec<String>> {
    let mut key = Some(BTreeSet::new());
    for (path, node) in fields.list("variables", report) {
        let read = texts(node, &path, report).and_then(|text| {
            let text = translated(text, about, Old::Variable, (node.line, &path), report)?;
            match KeyPart::parse(&text) {
                Ok(part) => Some(part.to_string()),
                Err(error) => {
                    let message = format!("has no equivalent: {text} {error}");
                    report.no_equivalent(node.line, &path, node.excerpt(), &message);
                    None
                }
            }
        });
        key = key.zip(read).map(|(mut all, part)| {
            all.insert(part);
            all
        });
    }
    key.map(|key| key.into_iter().collect())
}

fn texts<'n>(node: &'n Node, path: &str, report: &mut Report) -> Option<&'n str> {
    match &node.value {
        Value::Scalar(text, _) if !node.is_null() => Some(text),
        _ => {
            report.invalid(node.line, path, node.excerpt(), "is not text");
            None
        }
    }
}

fn translated(
    text: &str,
    about: &About<'_>,
    old: Old,
    (line, path): (usize, &str),
    report: &mut Report,
) -> Option<String> {
    if let Some(modern) = old.read(text) {
        let message = format!(
            "is in the syntax before Limitador 2.0, which that version does not apply; read as {modern}"
        );
        report.note(line, path, text, &message);
        return Some(modern);
    }
    match rewrite(text, about) {
        Ok(text) => Some(text),
        Err(message) => {
            report.no_equivalent(line, path, text, &format!("has no equivalent: {message}"));
            None
        }
    }
}
