//! Some of the nodes.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use super::{file::Select, units::Whole};

struct Reader;

impl<'de> de::Visitor<'de> for Reader {
    type Value = Select;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number from 1, a list like [1, 2], \"1-3\", \"30%\" or \"all\"")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Select, E> {
        let wrong = || E::invalid_value(de::Unexpected::Signed(value), &self);
        u64::try_from(value).map(Select::One).map_err(|_| wrong())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Select, E> {
        Ok(Select::One(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Select, E> {
        Ok(Select::Text(value.to_owned()))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Select, A::Error> {
        let mut places = Vec::new();
        while let Some(Whole(place)) = list.next_element()? {
            places.push(place);
        }
        Ok(Select::List(places))
    }
}

impl<'de> Deserialize<'de> for Select {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

impl Select {
    /// It names its nodes one by one; otherwise it is a part, or all.
    pub(super) fn names(&self) -> bool {
        !matches!(self, Select::Text(text) if text.trim() == "all" || text.ends_with('%'))
    }
}

/// Places (from 0) of the selected among `count` nodes, in order.
///
/// # Errors
/// What is wrong, phrased to follow the name of the field.
pub(super) fn select(select: &Select, count: usize, what: &str) -> Result<Vec<usize>, String> {
    let hint = format!(
        "write \"all\", a number from 1 to {count}, a list like [1, 2], \"1-{count}\" or \"30%\""
    );
    let place = |n: u64| {
        let place = usize::try_from(n).ok().and_then(|n| n.checked_sub(1));
        place.filter(|place| *place < count).ok_or_else(|| {
            format!("names {what} {n}, but there are {count}, counted from 1; {hint}")
        })
    };
    let mut places = match select {
        Select::One(n) => vec![place(*n)?],
        Select::List(list) => list.iter().map(|n| place(*n)).collect::<Result<_, _>>()?,
        Select::Text(text) => {
            let text = text.trim();
            if text == "all" {
                (0..count).collect()
            } else if let Some(part) = text.strip_suffix('%') {
                first_part(part, count).ok_or_else(|| format!("= {text:?} is no part; {hint}"))?
            } else {
                let range = text.split_once('-').and_then(|(a, b)| {
                    Some((a.trim().parse::<u64>().ok()?, b.trim().parse::<u64>().ok()?))
                });
                let (a, b) = range.ok_or_else(|| format!("= {text:?} is not known; {hint}"))?;
                (place(a)?..=place(b)?).collect()
            }
        }
    };
    places.sort_unstable();
    places.dedup();
    if places.is_empty() { Err(format!("selects nobody; {hint}")) } else { Ok(places) }
}

/// The first so many per cent, rounded up.
fn first_part(part: &str, count: usize) -> Option<Vec<usize>> {
    let part: usize = part.trim().parse().ok().filter(|part| *part <= 100)?;
    Some((0..(count * part).div_ceil(100)).collect())
}

/// The highest number that a selection of agents names; none for parts and all.
pub(super) fn highest(select: &Select) -> Option<u64> {
    match select {
        Select::One(n) => Some(*n),
        Select::List(list) => list.iter().max().copied(),
        Select::Text(text) => {
            let ends = text.split('-').filter_map(|end| end.trim().parse().ok());
            ends.max()
        }
    }
}
