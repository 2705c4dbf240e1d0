//! A small map with bounds.

use std::{borrow::Cow, fmt::Display};

use super::{MAX_ENTRIES, MAX_VALUE_BYTES, RequestError};

/// A few entries in the order in which they came; a linear search beats a hash at this size.
#[derive(Debug, Clone, Default)]
pub(super) struct Map<'a> {
    entries: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Map<'a> {
    /// Sets or replaces an entry. `field` is the map's name, for the error.
    pub(super) fn set(
        &mut self,
        field: &str,
        key: Cow<'a, str>,
        value: Cow<'a, str>,
    ) -> Result<(), RequestError> {
        if key.len() > MAX_VALUE_BYTES {
            return Err(RequestError::TooLong {
                field: format!("{field} (a name)"),
                bytes: key.len(),
            });
        }
        check_length(&format_args!("{field}.{key}"), &value)?;
        if let Some(entry) = self.entries.iter_mut().find(|(k, _)| *k == key) {
            entry.1 = value;
        } else if self.entries.len() < MAX_ENTRIES {
            self.entries.push((key, value));
        } else {
            return Err(RequestError::TooMany { field: field.to_owned(), most: MAX_ENTRIES });
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_ref())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(k, v)| (k.as_ref(), v.as_ref()))
    }
}

/// Refuses a value of more than [`MAX_VALUE_BYTES`].
pub(super) fn check_length(field: &impl Display, value: &str) -> Result<(), RequestError> {
    if value.len() <= MAX_VALUE_BYTES {
        return Ok(());
    }
    Err(RequestError::TooLong { field: field.to_string(), bytes: value.len() })
}
