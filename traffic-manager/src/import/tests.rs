//! Translations, by tables: what goes in, and the policies and findings that come out.

use weir_proto::amount::MAX_AMOUNT;

use super::*;

mod envoy;
mod hostile;
mod limitador;
mod reference;

/// One line for each policy: name, mode unless it is enforced, condition, key, limit.
fn summary(policy: &Policy) -> String {
    let limits: Vec<String> = policy
        .limits
        .iter()
        .map(|limit| match limit.amount {
            MAX_AMOUNT => "unlimited".to_owned(),
            amount => format!("{amount}/{}", limit.window),
        })
        .collect();
    let mode = match policy.mode {
        weir_proto::policy::Mode::Enforce => String::new(),
        mode => format!(" ({mode})"),
    };
    let condition = policy.condition.as_ref().map(ToString::to_string).unwrap_or_default();
    let key: Vec<String> = policy.key.iter().map(ToString::to_string).collect();
    format!("{}{mode}: {condition} [{}] {}", policy.name, key.join(", "), limits.join(", "))
}

/// A line for each finding: severity, line, field, value, message.
fn told(finding: &Finding) -> String {
    let Finding { line, field, value, message, severity, .. } = finding;
    format!("{severity:?} {line} {field} {value:?} {message}")
}

fn translate_one(format: Format, text: &str) -> (Vec<String>, Vec<String>) {
    let translation = translate(format, &[Source { name: "f", text }]);
    for policy in &translation.policies {
        assert_eq!(Policy::from_json(&policy.to_json()).as_ref(), Ok(policy));
    }
    let policies = translation.policies.iter().map(summary).collect();
    (policies, translation.findings.iter().map(told).collect())
}

/// A file, the policies, and a part of each finding.
type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

/// Every difference of a table at once.
#[track_caller]
fn check_all(format: Format, cases: &[Case<'_>]) {
    let faults: Vec<String> = cases.iter().filter_map(|case| difference(format, *case)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

fn difference(format: Format, (text, policies, findings): Case<'_>) -> Option<String> {
    let (made, told) = translate_one(format, text);
    let named = told.iter().zip(findings).all(|(told, part)| told.contains(part));
    let equal = made == policies && told.len() == findings.len() && named;
    let lines =
        || format!("{text}\nmade {made:#?}\nnot {policies:#?}\ntold {told:#?}\nnot {findings:#?}");
    (!equal).then(lines)
}

#[test]
fn the_samples_are_taken_over_whole() {
    for (format, text, count) in [
        (Format::Envoy, include_str!("../../../deploy/policies/import/envoy.yaml"), 10),
        (Format::Limitador, include_str!("../../../deploy/policies/import/limitador.yaml"), 2),
    ] {
        let translation = translate(format, &[Source { name: "sample", text }]);
        assert_eq!(translation.faults(false).count(), 0, "{:?}", translation.findings);
        assert_eq!(translation.policies.len(), count);
    }
}

#[test]
fn texts_are_quoted_so_that_they_stay_texts() {
    for text in ["plain", "a\"b", r"a\b", "a'b", "new\nline", "\u{7}", "ü€", r#"" || true || ""#]
    {
        let source = format!("request.user == {}", quoted(text));
        let expr = weir_proto::expr::Expr::parse(&source).unwrap();
        let request = weir_proto::request::Request::new();
        assert_eq!(expr.matches(&request.clone().user(text)), Ok(true), "{source}");
        assert_eq!(expr.matches(&request.user("other")), Ok(false), "{source}");
    }
}
