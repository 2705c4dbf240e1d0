//! What sub-requests are understood to be about.

use weir_proto::request::Attribute;

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    headers
}

#[track_caller]
fn sees(pairs: &[(&str, &str)], expected: &[(&str, Option<&str>)]) {
    let headers = headers(pairs);
    let request = describe(&headers).unwrap();
    for (attribute, value) in expected {
        assert_eq!(request.get(&Attribute::parse(attribute).unwrap()), *value, "{attribute}");
    }
}

fn refused(pairs: &[(&str, &str)]) -> Box<Problem> {
    describe(&headers(pairs)).unwrap_err()
}

#[test]
fn nginx_and_traefik_say_the_same() {
    let expected = [
        ("method", Some("POST")),
        ("host", Some("shop.example")),
        ("path", Some("/a/b")),
        ("query.x", Some("1 2")),
        ("query.y", Some("é")),
        ("query.z", Some("")),
        ("ip", Some("192.0.2.7")),
    ];
    sees(
        &[
            ("x-original-method", "POST"),
            ("x-original-uri", "/a/b?x=1+2&y=%C3%A9&z"),
            ("x-original-host", "shop.example"),
            ("x-real-ip", "192.0.2.7"),
        ],
        &expected,
    );
    sees(
        &[
            ("x-forwarded-method", "POST"),
            ("x-forwarded-uri", "/a/b?x=1%202&y=%c3%a9&z="),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-for", "198.51.100.1, 192.0.2.7"),
        ],
        &expected,
    );
    sees(&[("x-original-url", "https://shop.example/a?b=c")], &[("path", Some("/a"))]);
    sees(&[("x-original-url", "https://shop.example")], &[("path", Some("/"))]);
    sees(&[], &[("path", None), ("ip", None), ("method", None)]);
}

#[test]
fn attributes_have_headers_of_their_own() {
    sees(
        &[("x-weir-application", "shop"), ("x-weir-subscription-tier", "gold"), ("x-a", "b")],
        &[
            ("application", Some("shop")),
            ("subscription_tier", Some("gold")),
            ("headers.x-a", Some("b")),
            ("headers.x-weir-application", None),
        ],
    );
    let unknown = refused(&[("x-weir-aplication", "shop")]);
    assert_eq!(unknown.status, 400);
    assert!(unknown.detail.contains("application-tier"), "{}", unknown.detail);
}

#[test]
fn only_the_nearest_proxy_is_believed_about_the_client() {
    sees(&[("x-forwarded-for", "not an address, 192.0.2.7")], &[("ip", Some("192.0.2.7"))]);
    let twice = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "192.0.2.7")];
    sees(&twice, &[("ip", Some("192.0.2.7"))]);
    sees(&[("x-real-ip", "[2001:db8::1]:443")], &[("ip", Some("2001:db8::1"))]);
    sees(&[("x-real-ip", "192.0.2.7:443")], &[("ip", Some("192.0.2.7"))]);
    assert_eq!(refused(&[("x-real-ip", "unknown")]).status, 400);
}

#[test]
fn what_clients_stretch_is_shortened_and_what_they_multiply_is_refused() {
    let long = "/".repeat(5_000);
    sees(&[("x-original-uri", &long)], &[("query.x", None)]);
    let short = [("x-original-uri", &*long)];
    let map = headers(&short);
    let request = describe(&map).unwrap();
    let path = request.get(&Attribute::parse("path").unwrap()).unwrap();
    assert!(path.starts_with("////") && path.len() <= 1_024);

    let names: Vec<String> = (0..65).map(|n| format!("h{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "v")).collect();
    assert_eq!(refused(&many).status, 431);
    sees(&[("x-a", "1"), ("x-a", "2")], &[("headers.x-a", Some("1, 2"))]);
    sees(&[("x-a", "\u{e9}\u{1F600}")], &[("headers.x-a", Some("\u{e9}\u{1F600}"))]);
}

#[test]
fn odd_encodings_pass_as_they_are() {
    for (text, plain) in
        [("a%2", "a%2"), ("%zz", "%zz"), ("%", "%"), ("%41%", "A%"), ("a+b", "a b")]
    {
        assert_eq!(decoded(text), plain);
    }
}

#[test]
fn the_query_of_the_sub_request_is_checked() {
    let refuse = |uri: &str| options(&uri.parse().unwrap()).map(|options| options.refuse);
    assert_eq!(refuse("/v1/auth"), Ok(None));
    assert_eq!(refuse("/v1/auth?refuse=403"), Ok(Some(403)));
    for bad in ["/v1/auth?refuse=200", "/v1/auth?refuse=x", "/v1/auth?refused=403"] {
        assert_eq!(refuse(bad).unwrap_err().status, 400, "{bad}");
    }
}
