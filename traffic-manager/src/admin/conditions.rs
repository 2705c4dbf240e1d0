//! `ETag`, `If-Match`, `If-None-Match` (RFC 9110): no writer overwrites what it has not seen.

use axum::http::{HeaderMap, HeaderName, header};

use super::problem::Problem;

/// The tag as a header has it.
pub(super) fn etag(tag: &str) -> String {
    if tag.starts_with('"') { tag.to_owned() } else { format!("\"{tag}\"") }
}

/// The tags that a condition names.
#[derive(Debug, PartialEq, Eq)]
enum Tags {
    /// `*`
    Any,
    /// As they came, quotes included.
    Listed(Vec<String>),
}

/// What a request assumes about the resource.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    matches: Option<Tags>,
    none_matches: Option<Tags>,
}

impl Conditions {
    /// Reads the headers.
    pub(super) fn of(headers: &HeaderMap) -> Result<Conditions, Problem> {
        Ok(Conditions {
            matches: tags(headers, header::IF_MATCH)?,
            none_matches: tags(headers, header::IF_NONE_MATCH)?,
        })
    }

    /// Whether a write may go on while the resource has the tag `current` (`None` = is absent).
    pub(super) fn allow(&self, current: Option<&str>) -> bool {
        let strong = |tags: &Tags| match tags {
            Tags::Any => current.is_some(),
            // A weak tag (W/"…") never equals ours, which are strong.
            Tags::Listed(tags) => current.is_some_and(|now| tags.iter().any(|tag| tag == now)),
        };
        self.matches.as_ref().is_none_or(strong) && !self.unchanged(current)
    }

    /// Whether the client has the newest state: `If-None-Match` names it.
    pub(super) fn unchanged(&self, current: Option<&str>) -> bool {
        self.none_matches.as_ref().is_some_and(|tags| match tags {
            Tags::Any => current.is_some(),
            Tags::Listed(tags) => current.is_some_and(|now| {
                tags.iter().any(|tag| tag.strip_prefix("W/").unwrap_or(tag) == now)
            }),
        })
    }

    /// Whether the request wants the resource to be absent, and so to create it.
    pub(super) fn want_absent(&self) -> bool {
        self.none_matches == Some(Tags::Any)
    }

    /// Whether the request wants the resource to exist.
    pub(super) fn want_present(&self) -> bool {
        self.matches.is_some()
    }
}

fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Problem> {
    let mut listed = Vec::new();
    for value in headers.get_all(&name) {
        let text = value.to_str().map_err(|_| malformed(&name))?.trim();
        if text == "*" {
            return Ok(Some(Tags::Any));
        }
        for tag in text.split(',').map(str::trim) {
            let opaque = tag.strip_prefix("W/").unwrap_or(tag);
            if opaque.len() < 2 || !opaque.starts_with('"') || !opaque.ends_with('"') {
                return Err(malformed(&name));
            }
            listed.push(tag.to_owned());
        }
    }
    Ok(if listed.is_empty() { None } else { Some(Tags::Listed(listed)) })
}

fn malformed(name: &HeaderName) -> Problem {
    Problem::bad_request(format!(
        "the {name} header is not a list of entity tags like \"17\", or *"
    ))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn conditions(name: HeaderName, value: &str) -> Conditions {
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
        Conditions::of(&headers).unwrap()
    }

    #[test]
    fn if_match_wants_one_of_its_tags() {
        let listed = conditions(header::IF_MATCH, "\"a\", \"b\"");
        assert!(listed.allow(Some("\"b\"")));
        assert!(!listed.allow(Some("\"c\"")) && !listed.allow(None));
        assert!(!conditions(header::IF_MATCH, "W/\"a\"").allow(Some("\"a\"")), "weak tags");
        let any = conditions(header::IF_MATCH, "*");
        assert!(any.allow(Some("\"c\"")) && !any.allow(None));
    }

    #[test]
    fn if_none_match_wants_none_of_them() {
        let absent = conditions(header::IF_NONE_MATCH, "*");
        assert!(absent.allow(None) && !absent.allow(Some("\"a\"")) && absent.want_absent());
        let weak = conditions(header::IF_NONE_MATCH, "W/\"a\"");
        assert!(weak.unchanged(Some("\"a\"")) && !weak.unchanged(Some("\"b\"")));
    }

    #[test]
    fn what_is_not_a_tag_is_refused() {
        for text in ["a", "\"a", "", "\"a\",", "W/"] {
            let headers =
                HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_str(text).unwrap())]);
            assert!(Conditions::of(&headers).is_err(), "{text}");
        }
    }
}
