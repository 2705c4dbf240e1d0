//! In which span a limit counts: `window`, or `calendar` with `timezone`.

use serde_json::Value;

use super::{
    super::error::distance,
    fields::{Fields, unknown_choice},
    text,
};
use crate::{
    calendar::{Calendar, Period},
    window::{Algorithm, Window, WindowError},
    zone::Zone,
};

/// The fields that are read here.
pub(super) const FIELDS: [&str; 3] = ["window", "calendar", "timezone"];
/// What to write for a time zone.
const ZONE: &str = "a name of the IANA time zone database, like Europe/Berlin or UTC";
/// Most zones that are proposed for one that is unknown.
const PROPOSALS: usize = 3;

/// The span of a limit; `None` after a fault.
pub(super) fn span(fields: &mut Fields<'_, '_>) -> Option<Window> {
    if !fields.has("calendar") {
        fields.refuse_present("timezone", "belongs to a calendar; give calendar: day, for example");
        let hint = "say in which span, like 1s, 5m or 1d, or give calendar: day";
        return fields.required("window", hint, window);
    }
    fields.refuse_present("window", "cannot be given beside calendar; choose one of both");
    let period = fields.optional("calendar", period)?;
    Some(Window::calendar(Calendar::new(period, timezone(fields)?)))
}

/// The zone of `timezone`, UTC where there is none; `None` after a fault.
pub(super) fn timezone(fields: &mut Fields<'_, '_>) -> Option<Zone> {
    if fields.has("timezone") { fields.optional("timezone", zone) } else { Zone::named("UTC") }
}

/// Calendar windows begin empty: only fixed windows do.
pub(super) fn check_algorithm(
    fields: &mut Fields<'_, '_>,
    window: Option<Window>,
    algorithm: Option<Algorithm>,
) {
    let calendar = window.and_then(Window::as_calendar).is_some();
    if calendar && algorithm.is_some_and(|algorithm| algorithm != Algorithm::FixedWindow) {
        let message = "does not go with calendar, whose windows begin empty; give fixed_window, or a \
                       window in the place of calendar";
        fields.refuse("algorithm", message);
    }
}

/// A span of fixed length.
pub(super) fn window(value: &Value) -> Result<Window, String> {
    let text = text(value, "a duration like 1m")?;
    text.parse().map_err(|e: WindowError| e.to_string())
}

fn period(value: &Value) -> Result<Period, String> {
    let known = Period::ALL.map(Period::as_str);
    let text = text(value, &format!("one of {}", known.join(", ")))?;
    Period::parse(text).ok_or_else(|| unknown_choice(text, &known))
}

fn zone(value: &Value) -> Result<Zone, String> {
    let name = text(value, ZONE)?;
    Zone::named(name).ok_or_else(|| {
        let near = near(name);
        if near.is_empty() {
            format!("is not a time zone; give {ZONE}")
        } else {
            format!("is not a time zone; did you mean {}? Give {ZONE}", near.join(" or "))
        }
    })
}

/// The zones whose name, or whose place (`Berlin`), is hardly another word, nearest first.
fn near(word: &str) -> Vec<String> {
    let place = |name: &str| name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    // People write spaces for the underlines.
    let (word, whole) = (word.replace(' ', "_"), word.to_ascii_lowercase());
    let wanted = place(&word);
    let edits = |name: &String| {
        let whole = distance(&whole, &name.to_ascii_lowercase());
        // Short words are all alike.
        let known = place(name);
        let place = if wanted.len() > 3 { distance(&wanted, &known) } else { usize::MAX };
        (whole.min(place), name.clone())
    };
    let mut near: Vec<(usize, String)> =
        Zone::names().map(|name| edits(&name)).filter(|(edits, _)| *edits <= 2).collect();
    near.sort();
    near.into_iter().take(PROPOSALS).map(|(_, name)| name).collect()
}
