//! What stands in a URL: a name in its path, parameters behind the question mark. All that is wrong is told
//! at once, as faults of a policy are: the parameter, its value, what is allowed.

use std::collections::BTreeMap;

use axum::{
    extract::{FromRequestParts, Path, Query as Pairs},
    http::{StatusCode, request::Parts},
};
use jiff::Timestamp;
use serde_json::Value;
use weir_proto::{policy::PolicyErrors, time::Time};

use super::problem::Problem;

/// How many of a list are shown if the request does not say.
const DEFAULT_LIMIT: usize = 100;

/// What a call takes behind the question mark.
pub(super) trait Parameters: Sized {
    /// The names that there are. Another one is a fault, because a misspelt filter would show too much, and
    /// a misspelt wish would not be met.
    const NAMES: &'static [&'static str];

    /// Reads them; what is wrong with them is kept in the query.
    fn read(query: &mut Query) -> Self;
}

/// A call that takes none.
impl Parameters for () {
    const NAMES: &'static [&'static str] = &[];

    fn read(_: &mut Query) -> Self {}
}

/// The parameters of a request.
pub(super) struct Params<T>(pub(super) T);

impl<T: Parameters, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params<T>, Problem> {
        let mut query = Query::of(parts, T::NAMES)?;
        let read = T::read(&mut query);
        query.end().map(|()| Params(read))
    }
}

/// Parameters as they came, and what was wrong with those that were read.
pub(super) struct Query {
    given: BTreeMap<String, String>,
    faults: PolicyErrors,
}

impl Query {
    fn of(parts: &Parts, names: &[&str]) -> Result<Query, Problem> {
        let pairs = Pairs::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Pairs(pairs) = pairs.map_err(|_| {
            Problem::bad_request("the query is not of the form name=value&name=value")
        })?;
        let mut query = Query { given: BTreeMap::new(), faults: PolicyErrors::default() };
        for (name, value) in pairs {
            if !names.contains(&name.as_str()) {
                let known = match names {
                    [] => "this call takes no parameters".to_owned(),
                    names => format!("known are {}", names.join(", ")),
                };
                query.refuse(&name, &value, &format!("is an unknown parameter; {known}"));
            } else if query.given.insert(name.clone(), value.clone()).is_some() {
                query.refuse(&name, &value, "is given twice; give it once");
            }
        }
        Ok(query)
    }

    fn end(self) -> Result<(), Problem> {
        if self.faults.0.is_empty() {
            return Ok(());
        }
        Err(Problem::faulty(StatusCode::BAD_REQUEST, "the query is not valid", self.faults))
    }

    /// Notes that the value of a parameter is refused; `message` follows the value.
    pub(super) fn refuse(&mut self, name: &str, value: &str, message: &str) {
        self.faults.refuse(name, &Value::from(value), message);
    }

    /// Notes that a parameter is missing; `message` says what to give.
    pub(super) fn missing(&mut self, name: &str, message: &str) {
        self.faults.missing(name, message);
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.given.remove(name)
    }

    /// What `parse` makes of a text; `allowed` follows a value of which it makes nothing.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        allowed: &str,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.refuse(name, &text, allowed);
        }
        value
    }

    /// `true` or `false`; the latter if it is not given.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        let parse = |text: &str| text.parse::<bool>().ok();
        self.parsed(name, parse, "is neither true nor false").unwrap_or_default()
    }

    /// A time.
    pub(super) fn time(&mut self, name: &str) -> Option<Time> {
        self.parsed(name, time, NO_TIME)
    }

    /// `limit`: how many of a list to show, 1 to `most`.
    pub(super) fn limit(&mut self, most: usize) -> usize {
        let parse = |text: &str| text.parse().ok().filter(|limit| (1..=most).contains(limit));
        let allowed = format!("is not a whole number from 1 to {most}");
        self.parsed("limit", parse, &allowed).unwrap_or(DEFAULT_LIMIT)
    }
}

/// Follows a text that is no [`time`].
pub(super) const NO_TIME: &str = "is not a time; write it like 2026-12-24T20:00:00Z, from 1970 on";

/// A time as people write it.
pub(super) fn time(text: &str) -> Option<Time> {
    let instant = text.parse::<Timestamp>().ok()?;
    u64::try_from(instant.as_microsecond()).ok().map(Time::from_micros)
}

/// The part of the path that names something.
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Name, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Name(name)),
            Err(_) => Err(Problem::bad_request(
                "the name in the path is not UTF-8, written with escapes like %C3%A9",
            )),
        }
    }
}
