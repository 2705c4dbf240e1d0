//! When a group applies: its `during`.

use serde_json::Value;

use super::{
    super::error::PolicyErrors,
    fields::{Fields, unknown_choice},
    span::timezone,
    text,
};
use crate::schedule::{Dates, Hours, MAX_DATES, Schedule, WEEKDAYS, Weekdays};

const FIELDS: [&str; 4] = ["timezone", "weekdays", "hours", "dates"];

/// The schedule at `path`; `None` after a fault that leaves none.
pub(super) fn schedule(value: &Value, path: &str, errors: &mut PolicyErrors) -> Option<Schedule> {
    let before = errors.0.len();
    let mut fields = Fields::of(value, path, errors)?;
    fields.only(&FIELDS, &[]);
    let zone = timezone(&mut fields);
    let weekdays = weekdays(&mut fields);
    let hours = fields.optional("hours", hours);
    let dates = fields.list("dates", MAX_DATES, dates);
    if fields.has("dates") && dates.is_empty() && fields.errors.0.len() == before {
        fields.refuse("dates", "is empty; give dates, or leave it out for all");
    }
    if !["weekdays", "hours", "dates"].iter().any(|name| fields.has(name)) {
        errors.refuse(path, value, "says no time; give at least one of weekdays, hours, dates");
    }
    (errors.0.len() == before).then_some(Schedule { zone: zone?, weekdays, hours, dates })
}

fn weekdays(fields: &mut Fields<'_, '_>) -> Option<Weekdays> {
    let before = fields.errors.0.len();
    let mut days = Weekdays::default();
    let names = fields.list("weekdays", WEEKDAYS.len(), weekday);
    names.iter().for_each(|name| {
        days.add(name);
    });
    if fields.has("weekdays") && names.is_empty() && fields.errors.0.len() == before {
        fields.refuse("weekdays", "is empty; give weekdays, or leave it out for all");
    }
    fields.has("weekdays").then_some(days)
}

fn weekday(value: &Value, path: &str, errors: &mut PolicyErrors) -> Option<String> {
    let allowed = || format!("one of {}", WEEKDAYS.join(", "));
    let known = text(value, &allowed()).and_then(|name| {
        let known = Weekdays::default().add(name);
        if known { Ok(name.to_owned()) } else { Err(unknown_choice(name, &WEEKDAYS)) }
    });
    known.map_err(|message| errors.refuse(path, value, message)).ok()
}

fn hours(value: &Value) -> Result<Hours, String> {
    let what = "from when to when, like \"08:00-18:00\" or \"22:00-06:00\"";
    let text = text(value, what)?;
    Hours::parse(text).ok_or_else(|| format!("is no span of a day; give {what}, up to 24:00"))
}

fn dates(value: &Value, path: &str, errors: &mut PolicyErrors) -> Option<Dates> {
    let what = "a date like 2026-12-24, or the first and the last like 2026-12-24..2026-12-26";
    let dates = text(value, what)
        .and_then(|text| Dates::parse(text).ok_or_else(|| format!("is no date; give {what}")));
    dates.map_err(|message| errors.refuse(path, value, message)).ok()
}
