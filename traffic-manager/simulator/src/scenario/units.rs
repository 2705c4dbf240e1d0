//! Durations, rates and parts as people write them.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// A duration: `5s`, `100ms`, `250us`, `1m30s`, `2h`; at most a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

/// A signed duration: `-500ms`, `+1s`; a clock's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offset {
    /// In milliseconds.
    pub ms: i64,
}

/// A whole number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole(pub u64);

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub f64);

/// Requests per second, absolute or in multiples of a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// `500/s`, `90/m`, or 0.
    PerSecond(f64),
    /// `2x`: this many times the limit's own rate.
    OfLimit(f64),
}

/// A number of requests, absolute or in multiples of a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// `500`.
    Requests(f64),
    /// `2x`: this many times the limit.
    OfLimit(f64),
}

/// A part: `5%`, or a number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Part(pub f64);

const LONGEST: Duration = Duration::from_secs(86_400);
const UNITS: [(&str, u64); 5] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000)];

/// Reads a duration.
///
/// # Errors
/// What is wrong with it, phrased to follow the value.
pub fn span(text: &str) -> Result<Duration, String> {
    let malformed =
        || format!("{text:?} is not a duration; write it like 100ms, 5s, 1m30s (at most 24h)");
    let mut rest = text;
    let mut micros = 0_u64;
    while !rest.is_empty() || text.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
        let (unit, tail) = tail.split_at(letters);
        let number: u64 = number.parse().map_err(|_| malformed())?;
        let (_, factor) = UNITS.iter().find(|(u, _)| *u == unit).ok_or_else(malformed)?;
        let part = number.checked_mul(*factor).ok_or_else(malformed)?;
        micros = micros.checked_add(part).ok_or_else(malformed)?;
        rest = tail;
    }
    let span = Duration::from_micros(micros);
    if span > LONGEST { Err(malformed()) } else { Ok(span) }
}

/// A duration as people write it: `1m30s`, `500us`.
pub fn human(span: Duration) -> String {
    let mut rest = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in UNITS.iter().rev() {
        if rest >= *factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0)
}

/// Either of two ways to write a value.
enum Written {
    Integer(i64),
    Number(f64),
    Text(String),
}

/// Takes numbers and text, and says of everything else what is wanted.
struct Reader<'a>(&'a str);

impl de::Visitor<'_> for Reader<'_> {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Written, E> {
        Ok(Written::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Written, E> {
        let wrong = || E::invalid_value(de::Unexpected::Unsigned(value), &self);
        i64::try_from(value).map(Written::Integer).map_err(|_| wrong())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Written, E> {
        Ok(Written::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Written, E> {
        Ok(Written::Text(value.to_owned()))
    }
}

impl Written {
    #[expect(clippy::cast_precision_loss, reason = "people write small numbers")]
    fn number(&self) -> Option<f64> {
        match self {
            Written::Integer(n) => Some(*n as f64),
            Written::Number(n) => Some(*n),
            Written::Text(_) => None,
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Written::Integer(n) => n.fmt(f),
            Written::Number(n) => n.fmt(f),
            Written::Text(text) => write!(f, "{text:?}"),
        }
    }
}

fn read<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: impl FnOnce(&Written) -> Option<T>,
    wanted: &str,
) -> Result<T, D::Error> {
    let written = from.deserialize_any(Reader(wanted))?;
    parse(&written).ok_or_else(|| de::Error::custom(format!("{written} is not {wanted}")))
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let parse = |written: &Written| match written {
            Written::Integer(n) => u64::try_from(*n).ok().map(Whole),
            Written::Number(_) | Written::Text(_) => None,
        };
        read(from, parse, "a whole number from 0")
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        read(from, |written| written.number().map(Number), "a number")
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let written = from.deserialize_any(Reader("a duration, like \"100ms\" or \"5s\""))?;
        let Written::Text(text) = written else {
            let message = format!("{written} has no unit; write a duration like 100ms or 5s");
            return Err(de::Error::custom(message));
        };
        span(&text).map(Span).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let parse = |written: &Written| {
            let Written::Text(text) = written else { return None };
            let (sign, rest) = match text.strip_prefix('-') {
                Some(rest) => (-1, rest),
                None => (1, text.strip_prefix('+').unwrap_or(text)),
            };
            let ms = i64::try_from(span(rest).ok()?.as_millis()).ok()?;
            Some(Offset { ms: sign * ms })
        };
        read(from, parse, "a clock's error, like \"+500ms\" or \"-1s\"")
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let parse = |written: &Written| match written {
            Written::Text(text) => {
                if let Some(factor) = text.strip_suffix('x') {
                    return number(factor).map(Rate::OfLimit);
                }
                let (count, unit) = text.split_once('/')?;
                let seconds = match unit {
                    "s" => 1.0,
                    "m" => 60.0,
                    "h" => 3_600.0,
                    _ => return None,
                };
                number(count).map(|count| Rate::PerSecond(count / seconds))
            }
            plain => plain.number().filter(|n| *n == 0.0).map(Rate::PerSecond),
        };
        read(
            from,
            parse,
            "a rate with a unit, like \"2x\" (twice the limit), \"500/s\" or \"90/m\"",
        )
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let parse = |written: &Written| match written {
            Written::Text(text) => number(text.strip_suffix('x')?).map(Amount::OfLimit),
            plain => plain.number().filter(|n| *n >= 0.0).map(Amount::Requests),
        };
        read(from, parse, "a number of requests, like 500 or \"2x\" (twice the limit)")
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let parse = |written: &Written| {
            let part = match written {
                Written::Text(text) => number(text.strip_suffix('%')?)? / 100.0,
                plain => plain.number()?,
            };
            (0.0..=1.0).contains(&part).then_some(Part(part))
        };
        read(from, parse, "a part, like \"5%\" or 0.05")
    }
}
