//! Bodies, good and bad.

use weir_proto::request::Attribute;

use super::*;

fn check(body: &str) -> Check<'_> {
    parse(body.as_bytes()).unwrap()
}

fn get(body: &str, attribute: &str) -> Option<String> {
    let check = check(body);
    let request = check.request(None).unwrap();
    request.get(&Attribute::parse(attribute).unwrap()).map(str::to_owned)
}

#[track_caller]
fn refused(body: &str, expected: &[&str]) {
    let message = match parse::<Check<'_>>(body.as_bytes()) {
        Ok(check) => check.request(None).map(|_| ()).unwrap_err(),
        Err(message) => message,
    };
    for part in expected {
        assert!(message.contains(part), "{body}\n{message}\nlacks {part}");
    }
}

#[test]
fn attributes_of_every_kind_are_read() {
    let body = r#"{
        "attributes": {
            "application": "a\"b", "ip": "10.0.0.1",
            "headers": { "X-Tier": "gold" },
            "query": { "page": "2" },
            "claims": { "sub": "u1", "level": 7, "admin": true, "age": -1, "rate": 0.5 },
            "descriptors": [[{ "key": "k", "value": "v" }], [{ "key": "k", "value": "\u0077" }]]
        },
        "amounts": { "requests": 3 }
    }"#;
    assert_eq!(check(body).amounts.0.requests(), 3);
    for (attribute, value) in [
        ("application", "a\"b"),
        ("ip", "10.0.0.1"),
        ("headers.x-tier", "gold"),
        ("query.page", "2"),
        ("claims.sub", "u1"),
        ("claims.level", "7"),
        ("claims.admin", "true"),
        ("claims.age", "-1"),
        ("claims.rate", "0.5"),
        ("descriptors[0].k", "v"),
        ("descriptors[1].k", "w"),
    ] {
        assert_eq!(get(body, attribute).as_deref(), Some(value), "{attribute}");
    }
    assert_eq!(get(body, "user"), None);
}

#[test]
fn everything_may_be_left_out() {
    let check = check("{}");
    assert_eq!(check.amounts.0.requests(), 1);
    assert_eq!(check.request(None).unwrap().iter().count(), 0);
}

#[test]
fn unknown_names_are_refused_with_what_is_known() {
    refused(r#"{"attribute": {}}"#, &["attribute", "`attributes`", "`amounts`"]);
    refused(
        r#"{"attributes": {"aplication": "a"}}"#,
        &["attributes: ", "\"aplication\"", "application, "],
    );
    refused(r#"{"attributes": {"headers.x": "a"}}"#, &["unknown attribute", "headers"]);
    refused(r#"{"amounts": {"Tokens": 1}}"#, &["\"Tokens\" is not the name", "known are requests"]);
    refused(
        r#"{"attributes": {"descriptors": [[{"key": "k", "vale": "v"}]]}}"#,
        &["vale", "value"],
    );
}

#[test]
fn wrong_types_are_refused_with_their_path() {
    refused("[]", &["The body is refused", "an object"]);
    refused("", &["The body is refused"]);
    refused("{} {}", &["trailing"]);
    refused(r#"{"attributes": 1}"#, &["attributes: ", "an object of attributes"]);
    refused(r#"{"attributes": {"user": 1}}"#, &["attributes.user: ", "a string"]);
    refused(r#"{"attributes": {"user": null}}"#, &["attributes.user: ", "null"]);
    refused(r#"{"attributes": {"claims": {"a": []}}}"#, &["attributes.claims.a: ", "a boolean"]);
    refused(r#"{"attributes": {"descriptors": [[["k", "v"]]]}}"#, &["descriptors[0][0]: "]);
    refused(r#"{"attributes": {"descriptors": [{}]}}"#, &["attributes.descriptors[0]: "]);
    refused(r#"{"amounts": {"requests": "1"}}"#, &["amounts.requests: "]);
    refused(r#"{"amounts": {"requests": -1}}"#, &["amounts.requests: "]);
    refused(r#"{"amounts": {"requests": 0}}"#, &["amounts: requests is", "1 to"]);
    refused(r#"{"amounts": {"requests": 281474976710656}}"#, &["amounts: requests is", "1 to"]);
}

#[test]
fn values_beyond_the_bounds_are_refused() {
    refused(r#"{"attributes": {"ip": "localhost"}}"#, &["attributes: request.ip", "IPv4"]);
    let long = "x".repeat(1_025);
    refused(&format!(r#"{{"attributes": {{"user": "{long}"}}}}"#), &["user", "1025 bytes"]);
    refused(&format!(r#"{{"attributes": {{"headers": {{"a": "{long}"}}}}}}"#), &["headers.a"]);
    let many: Vec<String> = (0..65).map(|n| format!(r#""h{n}": "v""#)).collect();
    let many = many.join(",");
    refused(&format!(r#"{{"attributes": {{"headers": {{{many}}}}}}}"#), &["headers", "64"]);
    let descriptors = vec!["[]"; 17].join(",");
    refused(&format!(r#"{{"attributes": {{"descriptors": [{descriptors}]}}}}"#), &["16 entries"]);
}
