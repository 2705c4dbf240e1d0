//! Input that means harm. Test threads have 2 MiB of stack, as tokio's workers do.

use proptest::prelude::*;

use super::*;

fn refused(source: &str) -> String {
    Expr::parse(source).expect_err("must be refused").message
}

#[test]
fn long_and_deep_texts_never_reach_the_parser() {
    for (source, words) in [
        ("(".repeat(5_000), "bytes"),
        ("x".repeat(10_240), "bytes"),
        ("(".repeat(400), "nested"),
        (format!("{}1{}", "(".repeat(250), ")".repeat(250)), "nested"),
        (format!("{}1{}", "[".repeat(250), "]".repeat(250)), "nested"),
        ("{".repeat(500), "nested"),
        (format!("{}1", "1+".repeat(255)), "nested"),
        (format!("{}(1)", "(1)+".repeat(120)), "nested"),
        (format!("{}true", "!".repeat(500)), "nested"),
        (format!("{}1", "-".repeat(500)), "nested"),
        (format!("request{}", ".a".repeat(240)), "nested"),
        (format!("x{}", "[0]".repeat(160)), ""),
        (format!("{}1", "1<".repeat(255)), "nested"),
        (format!("{}1", "1 in ".repeat(100)), "nested"),
        (format!("{}1", "true?1:".repeat(70)), "nested"),
        (format!("{}1", "a&&b?1:".repeat(70)), "nested"),
        (format!("r\"\\\" + {}", "(".repeat(300)), "nested"),
        (format!("'''a''' + {}", "(".repeat(300)), "nested"),
        (format!("'\\'' + {}", "(".repeat(300)), "nested"),
    ] {
        let message = refused(&source);
        assert!(message.contains(words), "{}: {message}", &source[..20]);
    }
}

#[test]
fn as_deep_as_allowed_is_parsed_and_evaluated() {
    let deep = format!("{}true{}", "(".repeat(47), ")".repeat(47));
    assert_eq!(matches(&deep), Ok(true));
    let chain = format!("{}0 == 45", "1+".repeat(45));
    assert_eq!(matches(&chain), Ok(true));
    let wide = vec!["true"; 64].join("&&");
    assert_eq!(matches(&wide), Ok(true));
    let choices = format!("{}true", "false?false:".repeat(16));
    assert_eq!(matches(&choices), Ok(true));
}

#[test]
fn loops_are_refused_before_they_are_expanded() {
    let mut nested = "true".to_owned();
    for _ in 0..7 {
        nested = format!("[1,2,3,4,5,6,7,8].all(x,{nested})");
    }
    assert!(refused(&nested).contains("loops"), "{}", refused(&nested));
}

#[test]
fn regular_expressions_are_bounded() {
    let huge = r#"request.path.matches("((a{1000}){1000}){1000}")"#;
    assert!(refused(huge).contains("needs more than"));
    // Exponential for a backtracking engine; linear here.
    let expr = Expr::parse(r#"request.path.matches("^(a|a|aa)*$")"#).unwrap();
    let path = "a".repeat(1_000) + "b";
    assert_eq!(expr.matches(&Request::new().path(path)), Ok(false));
}

proptest! {
    #[test]
    fn no_text_panics(source in "\\PC{0,80}") {
        let _ = Expr::parse(&source).map(|expr| expr.matches(&request()));
    }

    #[test]
    fn no_mix_of_tokens_panics(
        tokens in proptest::collection::vec(
            proptest::sample::select(vec![
                "request", ".", "api", "headers", "descriptors", "(", ")", "[", "]", "{", "}", "\"", "'",
                "\"x\"", "0", "1.5", "1u", "in", "==", "&&", "||", "!", "-", "+", "?", ":", ",", "has",
                "cidr", "matches", "size", "\\", "r\"", "b'", "//", "'''", "null", "true", " ",
            ]),
            0..40,
        )
    ) {
        let source = tokens.concat();
        if let Ok(expr) = Expr::parse(&source) {
            let _ = expr.matches(&request());
            let _ = expr.text(&request());
        }
    }
}
