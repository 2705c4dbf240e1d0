//! Limitador's CEL as Weir's: other names for the same things.

use super::super::quoted;

/// What `limit` holds in an expression.
pub(super) struct About<'d> {
    pub(super) name: Option<&'d str>,
    pub(super) id: Option<&'d str>,
}

/// What an expression may have been before it was CEL.
#[derive(Debug, Clone, Copy)]
pub(super) enum Old {
    /// `req.method == GET`, with or without quotes around the value.
    Condition,
    /// `user_id`
    Variable,
}

impl Old {
    /// In Weir's words, if it is in the old syntax: names were entries of the first descriptor.
    pub(super) fn read(self, text: &str) -> Option<String> {
        match self {
            Old::Variable => is_old_name(text.trim()).then(|| entry(text.trim())),
            Old::Condition => {
                let equal = text.split_once("==").map(|(name, value)| (name, "==", value));
                let unequal = || text.split_once("!=").map(|(name, value)| (name, "!=", value));
                let (name, operator, value) = equal.or_else(unequal)?;
                let (name, value) = (name.trim(), value.trim());
                let quote = |q| value.strip_prefix(q)?.strip_suffix(q).filter(|v| !v.contains(q));
                let inner: Option<&str> = quote('"').or_else(|| quote('\''));
                let plain = || (!value.is_empty() && value.chars().all(is_plain)).then_some(value);
                let value = inner.or_else(plain)?;
                is_old_name(name).then(|| format!("{} {operator} {}", entry(name), quoted(value)))
            }
        }
    }
}

/// A name with dots that is none of the new ones.
fn is_old_name(text: &str) -> bool {
    let first = text.split('.').next().unwrap_or_default();
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    word && text.chars().all(is_plain)
        && !["descriptors", "limit", "true", "false"].contains(&first)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/')
}

fn entry(name: &str) -> String {
    format!("request.descriptors[0][{}]", quoted(name))
}

/// Puts Weir's names in the place of Limitador's. What is in quotes is left alone.
pub(super) fn rewrite(text: &str, about: &About<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    // What a name stands behind: a dot makes it a part of something else.
    let mut last = ' ';
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '"' | '\'' => quoted_length(rest, false).ok_or("a text in quotes does not end")?,
            c if c.is_alphanumeric() || c == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let word = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                let behind = rest.get(word.len()..).unwrap_or_default();
                let raw = matches!(word, "r" | "R") && behind.starts_with(['"', '\'']);
                match word {
                    _ if raw => {
                        let text = quoted_length(behind, true);
                        1 + text.ok_or("a text in quotes does not end")?
                    }
                    _ if last == '.' => word.len(),
                    "descriptors" => {
                        check_index(behind)?;
                        out.push_str("request.");
                        word.len()
                    }
                    "limit" => {
                        let (value, length) = about.field(behind)?;
                        out.push_str(&value);
                        rest = behind.get(length..).unwrap_or_default();
                        last = '"';
                        continue;
                    }
                    _ => word.len(),
                }
            }
            c => c.len_utf8(),
        };
        let (taken, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
        out.push_str(taken);
        last = taken.chars().last().filter(|c| !c.is_whitespace()).unwrap_or(last);
        rest = behind;
    }
    Ok(out)
}

impl About<'_> {
    /// The text of `.name` or `.id`, and how long that is.
    fn field(&self, behind: &str) -> Result<(String, usize), &'static str> {
        let fields = [(".name", self.name), (".id", self.id)];
        let found = fields.into_iter().find(|(field, _)| {
            behind.strip_prefix(field).is_some_and(|rest| {
                !rest.starts_with(|c: char| c.is_alphanumeric() || "_(".contains(c))
            })
        });
        let (field, value) = found.ok_or("of limit only limit.name and limit.id are known")?;
        Ok((value.map_or_else(|| "null".to_owned(), quoted), field.len()))
    }
}

/// Only the first descriptor is there: Weir looks at each by itself.
fn check_index(behind: &str) -> Result<(), &'static str> {
    let index = behind.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match index.map(|(index, _)| index.trim()) {
        Some("0") => Ok(()),
        Some(index) if index.parse::<u32>().is_ok() => {
            Err("Weir decides about each descriptor by itself, which is descriptors[0]")
        }
        _ => Err("descriptors can only be asked for an entry, like descriptors[0].user_id"),
    }
}

/// How long the text in quotes is, quotes included.
fn quoted_length(text: &str, raw: bool) -> Option<usize> {
    let quote = text.chars().next()?;
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let end = if text.starts_with(&triple) { triple } else { quote.to_string() };
    let mut at = end.len();
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with(&end) {
            return Some(at + end.len());
        }
        let mut chars = rest.chars();
        let c = chars.next()?;
        at += c.len_utf8();
        if c == '\\' && !raw {
            at += chars.next()?.len_utf8();
        }
    }
}
