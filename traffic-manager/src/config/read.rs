//! Reads TOML that may hold secrets: what is wrong is said without what is written there.

use serde::de::DeserializeOwned;

/// How the messages begin that quote a value, up to the value or its kind.
const QUOTING: [&str; 3] = ["invalid type: ", "invalid value: ", "unknown variant "];

/// Reads a text.
///
/// # Errors
/// Line, column, what is wrong there, and where known the field: `line 2, column 1: unknown field …`. No
/// value is repeated, and no line: a password or a token may be in it, also in the wrong place.
pub(crate) fn read_toml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| explain(text, error))
}

fn explain(text: &str, mut error: toml::de::Error) -> String {
    let start = error.span().map_or(0, |place| place.start);
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    // Without the text it shows no line of it, and names the field instead: in `store.url`.
    error.set_input(None);
    let shown = error.to_string();
    let field = shown.strip_prefix(error.message()).unwrap_or_default().trim();
    let field = if field.is_empty() { String::new() } else { format!(" ({field})") };
    format!("line {line}, column {column}: {}{field}", without_value(error.message()))
}

fn without_value(message: &str) -> String {
    for head in QUOTING {
        let Some(rest) = message.strip_prefix(head) else { continue };
        let kind = rest.split(['"', '`', ',']).next().unwrap_or_default();
        let said = [head, kind].concat();
        // The value comes before that, and may hold the same words.
        let expected = rest.rsplit_once(", expected ").map_or("something else", |(_, what)| what);
        return format!("{}, expected {expected}", said.trim_end());
    }
    message.to_owned()
}
