//! Times, spans and hashes as people read them in a table; `--output json` has them as they are.

use serde_json::Value;

use super::output::text;

/// Digits of a hash that tell it from others.
const SHORT: usize = 12;

/// A time to the second: `2026-11-27T08:49:12Z`.
pub(super) fn moment(value: &Value, field: &str) -> String {
    let time = text(value, field);
    match time.split_once('.') {
        Some((seconds, fraction)) if fraction.ends_with('Z') => format!("{seconds}Z"),
        _ => time,
    }
}

/// A number of seconds as a span: `250ms`, `5.3s`, `1m`, `2h10m`, `3d`.
pub(super) fn duration(value: &Value, field: &str) -> String {
    let Some(seconds) = value.get(field).and_then(Value::as_f64) else { return String::new() };
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds < 1.0 {
        return format!("{:.0}ms", (seconds * 1_000.0).max(1.0));
    }
    if seconds < 60.0 {
        let short = format!("{seconds:.1}");
        return format!("{}s", short.trim_end_matches(".0"));
    }
    let seconds = seconds.round();
    let (long, short) = match seconds {
        _ if seconds < 3_600.0 => ((60.0, "m"), (1.0, "s")),
        _ if seconds < 86_400.0 => ((3_600.0, "h"), (60.0, "m")),
        _ => ((86_400.0, "d"), (3_600.0, "h")),
    };
    let whole = (seconds / long.0).floor();
    let rest = ((seconds - whole * long.0) / short.0).floor();
    if rest == 0.0 {
        format!("{whole}{}", long.1)
    } else {
        format!("{whole}{}{rest}{}", long.1, short.1)
    }
}

/// The beginning of an id, by which the commands find it.
pub(super) fn short(id: &str) -> String {
    id.chars().take(SHORT).collect()
}

/// A text with the ids in it shortened.
pub(super) fn with_short_ids(text: &str) -> String {
    let is_id = |word: &str| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let words = text.split(' ').map(|word| if is_id(word) { short(word) } else { word.to_owned() });
    words.collect::<Vec<_>>().join(" ")
}

/// At most so many characters of a text, which may go on.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_and_times_are_short() {
        for (seconds, shown) in [
            (json!(0), "0s"),
            (json!(0.0), "0s"),
            (json!(0.000_04), "1ms"),
            (json!(0.25), "250ms"),
            (json!(5.256_983), "5.3s"),
            (json!(5.0), "5s"),
            (json!(60), "1m"),
            (json!(130), "2m10s"),
            (json!(3_600), "1h"),
            (json!(7_800), "2h10m"),
            (json!(86_400), "1d"),
            (json!(2_678_400), "31d"),
            (json!(null), ""),
        ] {
            assert_eq!(duration(&json!({ "s": seconds }), "s"), shown);
        }
        for (time, shown) in [
            ("2026-11-27T08:49:12.544983Z", "2026-11-27T08:49:12Z"),
            ("2026-11-27T08:49:00Z", "2026-11-27T08:49:00Z"),
            ("", ""),
        ] {
            assert_eq!(moment(&json!({ "at": time }), "at"), shown);
        }
    }

    #[test]
    fn ids_are_shortened_and_long_texts_cut() {
        let id = "17d4540112573c19b435b5813d8d375ce890aea279801a15c78c94e2a256f1e6";
        assert_eq!(with_short_ids(&format!("conflict {id}")), "conflict 17d454011257");
        assert_eq!(with_short_ids("[\"shop\"]"), "[\"shop\"]");
        assert_eq!((cut("éééé", 3), cut("ééé", 3)), ("éé…".to_owned(), "ééé".to_owned()));
    }
}
