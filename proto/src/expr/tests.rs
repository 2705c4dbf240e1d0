//! Expressions: what they say, what is refused, and that the native evaluator agrees with CEL.

use std::net::IpAddr;

use super::*;

mod hostile;
mod oracle;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn request() -> Request<'static> {
    Request::new()
        .api("orders")
        .method("GET")
        .path("/orders/17")
        .ip(ip("10.1.2.3"))
        .header("X-Plan", "gold")
        .claim("sub", "anna")
        .descriptor(&[("remote_address", "192.0.2.1")])
        .rule("edge|remote_address")
        .call_rule("edge|remote_address")
}

fn matches(source: &str) -> Result<bool, EvalError> {
    Expr::parse(source).unwrap_or_else(|e| panic!("{source}: {e}")).matches(&request())
}

fn absent(name: &str) -> EvalError {
    EvalError::Absent(Attribute::parse(name).unwrap())
}

#[test]
fn conditions_hold_or_not() {
    for (source, holds) in [
        (r#"request.api == "orders""#, true),
        (r#""orders" == request.api"#, true),
        (r#"request.api != "orders""#, false),
        (r#"request.api in ["users", "orders"]"#, true),
        (r#"request.api in []"#, false),
        (r#"request.path.startsWith("/orders/")"#, true),
        (r#"request.path.endsWith("18")"#, false),
        (r#"request.path.contains("ers/1")"#, true),
        (r#"request.path.matches("^/orders/[0-9]+$")"#, true),
        (r#"matches(request.path, r"/\d{3}")"#, false),
        (r#"request.headers["x-plan"] == "gold""#, true),
        (r#"request.headers["X-PLAN"] == "gold""#, true),
        (r#"request.claims.sub == "anna""#, true),
        (r#"request.descriptors[0].remote_address == "192.0.2.1""#, true),
        (r#"request.descriptors[0]["remote_address"] == "192.0.2.1""#, true),
        (r#""x-plan" in request.headers"#, true),
        (r#""X-Other" in request.headers"#, false),
        (r#""remote_address" in request.descriptors[0]"#, true),
        (r#""remote_address" in request.descriptors[1]"#, false),
        (r#"request.rule == "edge|remote_address""#, true),
        (r#"request.rule in ["edge|api", "edge|remote_address"]"#, true),
        (r#""edge|remote_address" in request.rules"#, true),
        (r#"!("edge|api" in request.rules)"#, true),
        ("has(request.api)", true),
        ("has(request.user)", false),
        ("has(request.claims.sub)", true),
        ("!has(request.query.page)", true),
        ("size(request.api) == 6", true),
        ("request.api.size() > 6 || true", true),
        (r#"request.api + request.method == "ordersGET""#, true),
        (r#"request.api == "x" ? false : request.method == "GET""#, true),
        ("request.api < request.path", false),
        ("1 + 2 * 3 == 7", true),
        ("-1 < 0 && 7 % 2 == 1", true),
        ("true", true),
        (
            r#"request.api == "orders" && (request.method == "PUT" || request.method == "GET")"#,
            true,
        ),
    ] {
        assert_eq!(matches(source), Ok(holds), "{source}");
    }
}

#[test]
fn absence_is_an_error_unless_the_rest_decides() {
    let user = || absent("user");
    for (source, outcome) in [
        (r#"request.user == "anna""#, Err(user())),
        (r#"request.user != "anna""#, Err(user())),
        (r#"!(request.user == "anna")"#, Err(user())),
        (r#"request.user == "anna" || true"#, Ok(true)),
        (r#"true || request.user == "anna""#, Ok(true)),
        (r#"false || request.user == "anna""#, Err(user())),
        (r#"request.user == "anna" && false"#, Ok(false)),
        (r#"request.user == "anna" && request.api == "orders""#, Err(user())),
        (r#"size(request.user) > 0"#, Err(user())),
        (r#"request.headers["x-none"] == "a""#, Err(absent("headers.x-none"))),
        (r#"request.descriptors[3].a == "a""#, Err(absent("descriptors[3].a"))),
        (r#"request.tenant.matches("a")"#, Err(absent("tenant"))),
        (r#"has(request.user) && request.user == "anna""#, Ok(false)),
    ] {
        assert_eq!(matches(source), outcome, "{source}");
    }
}

#[test]
fn failures_are_errors_and_say_why() {
    for source in [
        "1 / 0 == 1",
        "9223372036854775807 + 1 > 0",
        "[1, 2][5] == 1",
        r#"cidr("10.0.0.0/8").contains(request.api)"#,
    ] {
        assert!(matches!(matches(source), Err(EvalError::Failed(_))), "{source}");
    }
    assert!(matches!(matches("request.api"), Err(EvalError::WrongType(_))));
}

#[test]
fn networks_hold_both_their_ends() {
    let within = |network: &str, client: &str| {
        let expr = Expr::parse(&format!(r#"cidr("{network}").contains(request.ip)"#)).unwrap();
        expr.matches(&Request::new().ip(ip(client))).unwrap()
    };
    for (network, inside, outside) in [
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
        ("203.0.113.64/26", ["203.0.113.64", "203.0.113.127"], ["203.0.113.63", "203.0.113.128"]),
        ("192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.0", "192.0.2.2"]),
        ("10.9.9.9/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
        ("::ffff:10.0.0.0/104", ["10.0.0.0", "::ffff:10.255.255.255"], ["11.0.0.0", "::1"]),
        (
            "2001:db8::/32",
            ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
            ["2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"],
        ),
        ("::/0", ["::", "2001:db8::1"], ["0.0.0.0", "::ffff:1.2.3.4"]),
        ("0.0.0.0/0", ["0.0.0.0", "::ffff:255.255.255.255"], ["::", "2001:db8::1"]),
    ] {
        for client in inside {
            assert!(within(network, client), "{client} in {network}");
        }
        for client in outside {
            assert!(!within(network, client), "{client} not in {network}");
        }
    }
    let forwarded = Expr::parse(r#"cidr("10.0.0.0/8").contains(request.headers.fwd)"#).unwrap();
    assert_eq!(forwarded.matches(&Request::new().header("fwd", "::ffff:10.0.0.1")), Ok(true));
}

#[test]
fn keys_are_text_numbers_or_booleans() {
    let request = request();
    for (source, text) in [
        ("request.api", Ok("orders")),
        ("request.ip", Ok("10.1.2.3")),
        (r#"request.api + "/" + request.method"#, Ok("orders/GET")),
        ("size(request.api)", Ok("6")),
        ("7u", Ok("7")),
        (r#"request.path.startsWith("/orders")"#, Ok("true")),
        (r#"has(request.user) ? request.user : "nobody""#, Ok("nobody")),
        ("request.user", Err(absent("user"))),
        (r#"request.user + "x""#, Err(absent("user"))),
    ] {
        let expr = Expr::parse(source).unwrap();
        assert_eq!(expr.text(&request), text.map(Cow::Borrowed), "{source}");
    }
    for source in ["1.5", "[1]", "null"] {
        let outcome = Expr::parse(source).unwrap().text(&request).map(Cow::into_owned);
        assert!(matches!(outcome, Err(EvalError::WrongType(_))), "{source}");
    }
}

#[test]
fn what_is_not_offered_is_refused_with_its_place() {
    for (source, column, words) in [
        ("request.aip == 'x'", 8, "unknown attribute request.aip; known are api, api_version"),
        ("user == 'x'", 1, "unknown name user; there is only request"),
        ("true && foo(request.api)", 12, "unknown function foo; offered are"),
        ("request.api.lowerAscii() == 'x'", 23, "unknown function lowerAscii"),
        ("[1].all(x, x > 0)", 8, "all() loops"),
        ("request.headers == 'x'", 8, "is a map; name an entry"),
        ("request.descriptors[0] == 'x'", 20, "name an entry of a descriptor"),
        ("request == 'x'", 1, "name an attribute"),
        ("request.api.x == 'x'", 12, "is text and has no parts"),
        ("request[request.api] == 'x'", 8, "is a literal"),
        ("request.api in request.headers", 8, "text in quotes"),
        ("has(request.headers['x'])", 20, "in request.headers"),
        ("request.api.matches(request.path)", 28, "pattern in quotes"),
        ("request.api.matches('(')", 21, "malformed"),
        ("'a'.matches('a')", 1, "tests an attribute"),
        ("cidr('10.0.0.0/33').contains(request.ip)", 6, "is no network"),
        ("cidr('10.0.0.0/8') == request.ip", 5, "must be followed by"),
        ("{'a': 1}['a'] == 1", 1, "braces are not offered"),
        ("b'x' == b'x'", 1, "bytes are not offered"),
        ("int('1') == 1", 4, "unknown function int"),
        ("", 1, "it is empty"),
        ("request.api ==", 15, "Syntax error"),
        ("true // and more", 6, "comments"),
        ("request.`api` == ''", 9, "backquotes"),
        ("request.application == 1", 24, "which is text and a number do not go together; write"),
        ("1 != request.application", 1, "a number and request.application"),
        ("request.api in \"GET\"", 16, "in looks into a list, like"),
        ("request.api in request.method", 23, "not into request.method"),
        ("request.api in ['a', 2]", 22, "in quotes"),
        ("request.headers['x'] > 5", 24, "do not go together"),
        ("true && request.api", 16, "is never true or false"),
        ("!request.api", 9, "is never true or false"),
        ("request.api ? true : false", 8, "is never true or false"),
        ("request.api + 1 == 'x'", 15, "do not go together"),
        ("request.api - request.user == 1", 8, "reckon"),
        ("request.api.startsWith(1)", 24, "startsWith() is for"),
        ("size(1) == 1", 6, "has no size"),
        ("request.rule == 'edge'", 17, "the rule \"edge\" has no entries"),
        (r"request.rule == 'e|k=\\a'", 17, "needless backslashes"),
        ("request.rule in ['e|k', 'e|']", 25, "empty domain or key"),
        ("request.api == 'x", 16, "does not end"),
    ] {
        let error = Expr::parse(source).expect_err(source);
        assert!(error.message.contains(words), "{source}: {error}");
        assert_eq!(error.column, column, "{source}: {error}");
    }
}

#[test]
fn what_is_never_true_or_false_is_no_condition() {
    for (source, can) in [
        ("request.api", false),
        ("size(request.api)", false),
        ("'text'", false),
        ("[true]", false),
        ("request.api + 'x'", false),
        ("has(request.api)", true),
        ("request.api == 'x'", true),
        ("request.api == 'x' ? true : false", true),
        ("false", true),
    ] {
        assert_eq!(Expr::parse(source).unwrap().can_be_condition(), can, "{source}");
    }
}
