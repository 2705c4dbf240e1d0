//! Requests: bounds and names of attributes.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn get<'r>(request: &'r Request<'_>, name: &str) -> Option<&'r str> {
    request.get(&Attribute::parse(name).unwrap())
}

#[test]
fn names_of_attributes_are_read_in_every_spelling() {
    for (text, printed) in [
        ("application", "application"),
        ("request.application", "application"),
        ("headers.x-a", "headers.x-a"),
        ("request.headers.X-A", "headers.x-a"),
        (r#"headers["X-A"]"#, "headers.x-a"),
        (r#"request.claims["sub"]"#, "claims.sub"),
        (r#"claims['https://example.org/tier']"#, r#"claims["https://example.org/tier"]"#),
        ("query.page", "query.page"),
        ("descriptors[0].key", "descriptors[0].key"),
        (r#"request.descriptors[15]["k.v"]"#, r#"descriptors[15]["k.v"]"#),
    ] {
        let attribute = Attribute::parse(text).unwrap();
        assert_eq!(attribute.to_string(), printed);
        assert_eq!(Attribute::parse(printed).unwrap(), attribute);
    }
    for field in Field::ALL {
        assert_eq!(Attribute::parse(field.as_str()).unwrap(), Attribute::Field(field));
    }
}

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    for text in [
        "",
        "request",
        "request.",
        "aplication",
        "headers",
        "headers.",
        "headers[x]",
        "headers[\"x]",
        "headers.a.b",
        "descriptors",
        "descriptors[0]",
        "descriptors.k",
        "descriptors[16].k",
        "descriptors[00].k",
        "descriptors[-1].k",
        "descriptors[].k",
        "claims[\"a\"b\"]",
    ] {
        let error = Attribute::parse(text).expect_err(text);
        assert!(error.to_string().contains("known are api, api_version, resource"), "{error}");
    }
}

#[test]
fn what_was_set_is_there_and_nothing_else() {
    let request = Request::new()
        .api("orders")
        .header("X-A", "1")
        .header("x-a", "2")
        .query("page", "")
        .claim("sub", "anna")
        .descriptor(&[("k", "v")])
        .domain("d");
    for (name, value) in [
        ("api", Some("orders")),
        ("domain", Some("d")),
        ("headers.x-a", Some("2")),
        ("query.page", Some("")),
        ("query.Page", None),
        ("claims.sub", Some("anna")),
        ("descriptors[0].k", Some("v")),
        ("descriptors[1].k", None),
        ("user", None),
        ("ip", None),
    ] {
        assert_eq!(get(&request, name), value, "{name}");
    }
    assert_eq!(request.check(), Ok(()));
    let all: Vec<String> = request.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected = ["api=orders", "domain=d", "headers.x-a=2", "query.page=", "claims.sub=anna"];
    assert_eq!(all, [expected.as_slice(), &["descriptors[0].k=v"]].concat());
}

#[test]
fn an_address_has_one_spelling() {
    for (given, text) in [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("1111:2222:3333:4444:5555:6666:7777:8888", "1111:2222:3333:4444:5555:6666:7777:8888"),
    ] {
        assert_eq!(get(&Request::new().ip(ip(given)), "ip"), Some(text));
        let mut request = Request::new();
        request.set("ip", given).unwrap();
        assert_eq!((get(&request, "ip"), request.address()), (Some(text), Some(ip(text))));
    }
}

#[test]
fn names_from_outside_are_set_or_refused() {
    let mut request = Request::new();
    for (name, value) in [
        ("api", "orders"),
        ("request.headers.X-A", "1"),
        ("query[\"a b\"]", "2"),
        ("claims.sub", "anna"),
        ("descriptors[1].k", "v"),
    ] {
        request.set(name, value).unwrap();
        assert_eq!(get(&request, name), Some(value));
    }
    let error = request.set("aip", "orders").unwrap_err();
    assert!(error.to_string().starts_with("unknown attribute \"aip\"; known are api"), "{error}");
    let error = request.set("ip", "10.0.0.256").unwrap_err();
    assert_eq!(error, RequestError::NotAnAddress("10.0.0.256".into()));
}

#[test]
fn what_breaks_a_bound_is_absent_and_named() {
    let long = "x".repeat(MAX_VALUE_BYTES + 1);
    let request = Request::new().api(long.as_str()).header("x-a", long.as_str()).user("anna");
    assert_eq!((get(&request, "api"), get(&request, "headers.x-a")), (None, None));
    assert_eq!(get(&request, "user"), Some("anna"));
    let error = RequestError::TooLong { field: "api".into(), bytes: MAX_VALUE_BYTES + 1 };
    assert_eq!(request.check(), Err(&error));

    let full = (0..MAX_ENTRIES).fold(Request::new(), |r, n| r.header(format!("h{n}"), "v"));
    assert_eq!(full.check(), Ok(()));
    let most = MAX_ENTRIES;
    let error = RequestError::TooMany { field: "headers".into(), most };
    assert_eq!(full.clone().header("h0", "again").check(), Ok(()));
    assert_eq!(full.header("one-more", "v").check(), Err(&error));

    let mut request = Request::new();
    let error = request.set("claims.sub", long.as_str()).unwrap_err();
    assert_eq!(error.to_string(), "request.claims.sub has 1025 bytes; at most 1024 are allowed");
    assert!(request.set("descriptors[2].k", long.as_str()).is_err());
    assert_eq!(request.iter().count(), 0);
}
