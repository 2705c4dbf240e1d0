//! `explain`: what a request would meet.

use std::io;

use serde_json::{Map, Value, json};
use ureq::http::Method;
use weir_proto::request::Attribute;

use super::{
    Failure,
    client::Client,
    output::{Output, cells, list, text},
    table::Table,
};

/// The request, and when.
#[derive(Debug, clap::Args)]
pub(super) struct Question {
    /// The request's attributes, like application=shop ip=192.0.2.1 headers.x-tier=gold
    #[arg(value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(Attribute, String)>,
    /// What it counts as, like requests=5; one request if not given
    #[arg(long = "amount", value_name = "UNIT=COUNT", value_parser = amount)]
    amounts: Vec<(String, u64)>,
    /// At which time, like 2026-12-24T20:00:00Z; now if not given
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

fn attribute(text: &str) -> Result<(Attribute, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it like application=shop")?;
    let attribute = Attribute::parse(name).map_err(|error| error.to_string())?;
    Ok((attribute, value.to_owned()))
}

fn amount(text: &str) -> Result<(String, u64), String> {
    let (unit, count) = text.split_once('=').ok_or("write it like requests=5")?;
    let count = count.parse().map_err(|_| format!("{count:?} is not a whole number"))?;
    Ok((unit.to_owned(), count))
}

impl Question {
    /// The call's body.
    fn body(&self) -> Value {
        let mut attributes = Map::new();
        for (attribute, value) in &self.attributes {
            put(&mut attributes, attribute, value);
        }
        let mut body = json!({ "attributes": attributes });
        if !self.amounts.is_empty() {
            let amounts = self.amounts.iter().map(|(unit, n)| (unit.clone(), json!(n)));
            body["amounts"] = Value::Object(amounts.collect());
        }
        if let Some(at) = &self.at {
            body["at"] = json!(at);
        }
        body
    }
}

fn put(attributes: &mut Map<String, Value>, attribute: &Attribute, value: &str) {
    let mut into = |map: &str, name: &str| {
        let map = attributes.entry(map).or_insert_with(|| json!({}));
        map[name] = json!(value);
    };
    match attribute {
        Attribute::Header(name) => into("headers", name),
        Attribute::Query(name) => into("query", name),
        Attribute::Claim(name) => into("claims", name),
        Attribute::Descriptor(index, key) => {
            let list = attributes.entry("descriptors").or_insert_with(|| json!([]));
            let Some(list) = list.as_array_mut() else { return };
            if list.len() <= *index {
                list.resize(index + 1, json!([]));
            }
            if let Some(entries) = list.get_mut(*index).and_then(Value::as_array_mut) {
                entries.push(json!({ "key": &**key, "value": value }));
            }
        }
        // The manager finds out itself which rules a call meets.
        Attribute::Rule(_) => {}
        Attribute::Field(field) => {
            attributes.insert(field.as_str().to_owned(), json!(value));
        }
    }
}

/// Asks and prints.
pub(super) fn obey(
    question: &Question,
    client: &Client,
    output: &mut Output,
    out: &mut dyn io::Write,
) -> Result<(), Failure> {
    let answer = client.write(Method::POST, "/explain", None, Some(&question.body()))?.body;
    output.print(out, &answer, |answer| {
        let mut tables = vec![verdict(answer)];
        tables.extend(met(answer));
        tables.extend(unmet(answer));
        tables
    })
}

fn verdict(answer: &Value) -> Table {
    let mut table = Table::new(&["VERDICT", "AT", "WHY"]);
    table.row(cells(answer, ["verdict", "at", "detail"]));
    table
}

fn met(answer: &Value) -> Option<Table> {
    list(answer, "met").next()?;
    let mut table = Table::new(&[
        "MET",
        "MODE",
        "GROUP",
        "LIMIT",
        "KEY",
        "USED",
        "OF",
        "LEFT",
        "REFUSES",
        "WINDOW ENDS",
        "THROTTLED",
    ]);
    for policy in list(answer, "met") {
        let [name, mode, group] = cells(policy, ["policy", "mode", "group"]);
        if list(policy, "counters").next().is_none() {
            let mut row = vec![name.clone(), mode.clone(), group.clone(), "denies".to_owned()];
            row.resize(11, String::new());
            table.row(row);
        }
        for counter in list(policy, "counters") {
            let [limit, key, used, of, left, refuses, ends, agents] = cells(
                counter,
                [
                    "limit_id",
                    "key",
                    "used",
                    "limit",
                    "remaining",
                    "refuses",
                    "window_end",
                    "throttled_agents",
                ],
            );
            let (name, mode, group) = (name.clone(), mode.clone(), group.clone());
            let row = [name, mode, group, limit, key, used, of, left, refuses, ends, agents];
            table.row(row);
        }
    }
    Some(table)
}

/// Policies, and groups of policies that are met, with the reason.
fn unmet(answer: &Value) -> Option<Table> {
    let mut rows = Vec::new();
    for policy in list(answer, "met") {
        for group in list(policy, "groups_not_met") {
            let name = format!("{} {}", text(policy, "policy"), text(group, "group"));
            rows.push([name, text(group, "reason")]);
        }
    }
    for policy in list(answer, "not_met") {
        rows.push(cells(policy, ["policy", "reason"]));
    }
    let (listed, total) = (list(answer, "not_met").count() as u64, &answer["not_met_total"]);
    if let Some(more) = total.as_u64().map(|total| total.saturating_sub(listed)).filter(|n| *n > 0)
    {
        rows.push([format!("{more} more"), String::new()]);
    }
    let mut table = Table::new(&["NOT MET", "WHY"]);
    let some = !rows.is_empty();
    rows.into_iter().for_each(|row| table.row(row));
    some.then_some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_find_their_places_in_the_body() {
        let attributes = [
            "application=shop",
            "request.path=/a=b",
            "headers.X-Tier=gold",
            "claims.sub=u1",
            "query.page=2",
            "descriptors[1].k=v",
        ];
        let attributes = attributes.iter().map(|text| attribute(text).unwrap()).collect();
        let amounts = vec![amount("requests=5").unwrap()];
        let at = Some("2026-12-24T20:00:00Z".to_owned());
        assert_eq!(
            Question { attributes, amounts, at }.body(),
            json!({
                "attributes": {
                    "application": "shop", "path": "/a=b", "headers": { "x-tier": "gold" },
                    "claims": { "sub": "u1" }, "query": { "page": "2" },
                    "descriptors": [[], [{ "key": "k", "value": "v" }]],
                },
                "amounts": { "requests": 5 },
                "at": "2026-12-24T20:00:00Z",
            })
        );
    }
}
