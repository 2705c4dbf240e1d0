//! Native evaluation against the plain CEL interpreter, on random conditions and requests.

use std::collections::HashMap;

use cel::{Context, Program, Value};
use proptest::prelude::*;

use super::*;

const FIELDS: [&str; 3] = ["api", "user", "path"];
/// Without these there are only texts, and tests of them.
const MIXED: [&str; 4] = ["1", "true", "(request.", "(\""];
const TEXTS: [&str; 4] = ["a", "b", "ab", ""];

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(&TEXTS[..]).prop_map(|text| format!("\"{text}\"")),
        1 => Just("1".to_owned()),
        1 => Just("true".to_owned()),
    ]
}

fn operand() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => proptest::sample::select(&FIELDS[..]).prop_map(|field| format!("request.{field}")),
        2 => Just("request.headers[\"h\"]".to_owned()),
        1 => literal(),
    ]
}

fn test() -> impl Strategy<Value = String> {
    let compare = proptest::sample::select(vec!["==", "!=", "<", ">="]);
    let method = proptest::sample::select(vec!["startsWith", "endsWith", "contains"]);
    let attribute = || proptest::sample::select(&FIELDS[..]).prop_map(|f| format!("request.{f}"));
    prop_oneof![
        4 => (operand(), compare, operand()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        3 => (operand(), proptest::collection::vec(literal(), 0..4))
            .prop_map(|(a, list)| format!("{a} in [{}]", list.join(", "))),
        3 => (operand(), method, literal()).prop_map(|(a, m, b)| format!("{a}.{m}({b})")),
        1 => attribute().prop_map(|a| format!("has({a})")),
        1 => Just("\"h\" in request.headers".to_owned()),
        1 => attribute().prop_map(|a| format!("{a}.matches(\"^a|b$\")")),
        1 => (operand(), 0..3u8).prop_map(|(a, n)| format!("size({a}) == {n}")),
        1 => proptest::sample::select(vec!["true".to_owned(), "false".to_owned()]),
        1 => operand(),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    test().prop_recursive(4, 12, 3, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            3 => pair.clone().prop_map(|(a, b)| format!("({a}) && ({b})")),
            3 => pair.prop_map(|(a, b)| format!("({a}) || ({b})")),
            2 => inner.clone().prop_map(|a| format!("!({a})")),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("({a}) ? ({b}) : ({c})")),
        ]
    })
}

/// The attributes that are present: the fields, then the header.
type Present = [Option<&'static str>; 4];

fn present() -> impl Strategy<Value = Present> {
    let value = || proptest::option::of(proptest::sample::select(&TEXTS[..]));
    [value(), value(), value(), value()]
}

fn build(present: &Present) -> Request<'static> {
    let mut request = Request::new();
    for (field, value) in FIELDS.iter().zip(present) {
        if let Some(value) = value {
            request.set(field, *value).unwrap();
        }
    }
    present[3].map_or(request.clone(), |value| request.header("h", value))
}

/// The same by the interpreter alone, with its own `matches`, `has` and maps.
fn interpreter(source: &str, present: &Present) -> Option<bool> {
    let program = Program::compile(source).unwrap();
    let header: HashMap<String, Value> =
        present[3].iter().map(|v| ("h".to_owned(), Value::from(*v))).collect();
    let mut request: HashMap<String, Value> = HashMap::from([("headers".into(), header.into())]);
    for (field, value) in FIELDS.iter().zip(present) {
        value.map(|value| request.insert((*field).to_owned(), value.into()));
    }
    let mut context = Context::default();
    context.add_variable_from_value("request", request);
    match program.execute(&context) {
        Ok(Value::Bool(holds)) => Some(holds),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn native_agrees_with_the_interpreter(source in condition(), present in present()) {
        let Ok(expr) = Expr::parse(&source) else {
            // Only the bounds, and kinds that do not go together, may refuse what the generator writes.
            let mixed = MIXED.iter().any(|sign| source.contains(sign));
            prop_assert!(source.len() > 200 || mixed, "{source}: {:?}", Expr::parse(&source));
            return Ok(());
        };
        let request = build(&present);
        prop_assert_eq!(expr.eval(&request), interpreter(&source, &present), "{}", source);
        prop_assert_eq!(expr.matches(&request).ok(), expr.eval(&request));
    }
}
