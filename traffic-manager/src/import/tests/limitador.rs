//! Files of Limitador.

use super::*;

const LIMITS: &[Case<'_>] = &[
    // The documentation's example.
    (
        "- namespace: example.org
  max_value: 10
  seconds: 60
  conditions:
    - \"descriptors[0].req_method == 'GET'\"
  variables:
    - descriptors[0].user_id
",
        &[
            r#"example.org.60s-0f6fb86d: request.domain == "example.org" && (request.descriptors[0].req_method == 'GET') [descriptors[0].user_id] 10/1m"#,
        ],
        &[],
    ),
    // Names; several conditions; no conditions at all.
    (
        "- {namespace: ns, name: reads, max_value: 5, seconds: 1, conditions: [\"descriptors[0]['req.method'] == 'GET'\", \"descriptors[0]['req.path'] != '/json'\"], variables: []}
- {namespace: ns, id: all, max_value: 0, seconds: 31536000, conditions: , variables: }
",
        &[
            r#"ns.reads: request.domain == "ns" && (request.descriptors[0]['req.method'] == 'GET') && (request.descriptors[0]['req.path'] != '/json') [] 5/1s"#,
            r#"ns.all: request.domain == "ns" [] 0/365d"#,
        ],
        &[],
    ),
    // What is in quotes is left alone; limit.name is known.
    (
        r#"- {namespace: n, name: x, max_value: 1, seconds: 1, conditions: ["descriptors[0].a == 'descriptors[1]' && limit.name == 'x' && limit.id == null"], variables: ["descriptors[0].a + '/' + descriptors[0].b"]}
"#,
        &[
            r#"n.x: request.domain == "n" && (request.descriptors[0].a == 'descriptors[1]' && "x" == 'x' && null == null) [request.descriptors[0].a + '/' + request.descriptors[0].b] 1/1s"#,
        ],
        &[],
    ),
    // The syntaxes before 2.0.
    (
        "- {namespace: n, name: old, max_value: 1, seconds: 1, conditions: [req.method == \"GET\", path != /json], variables: [user_id, req.host]}
",
        &[
            r#"n.old: request.domain == "n" && (request.descriptors[0]["path"] != "/json") && (request.descriptors[0]["req.method"] == "GET") [descriptors[0].user_id, descriptors[0]["req.host"]] 1/1s"#,
        ],
        &["Note 1 [0].conditions[0]", "Note 1 [0].conditions[1]", "Note 1 [0].variables[0]", "Note 1 [0].variables[1]"],
    ),
    (
        "- {namespace: n, name: endless, max_value: 18446744073709551615, seconds: 60}\n",
        &[r#"n.endless: request.domain == "n" [] unlimited"#],
        &["Note 1 [0].max_value \"18446744073709551615\" is more than can be counted"],
    ),
    // What has no equivalent or no sense.
    (
        "- {namespace: n, max_value: 1, seconds: 60, conditions: [\"descriptors[1].a == 'b'\"]}
- {namespace: n, max_value: 1, seconds: 60, conditions: [\"descriptors.exists(d, d.a == 'b')\"]}
- {namespace: n, max_value: 1, seconds: 60, conditions: [\"descriptors[0].a.matches(descriptors[0].b)\"]}
- {namespace: n, max_value: 1, seconds: 60, conditions: [\"size(descriptors[0].a)\"]}
- {namespace: n, max_value: 1, seconds: 60, variables: [\"descriptors[0]\"]}
- {namespace: n, max_value: 1, seconds: 0}
- {namespace: n, max_value: 1, seconds: 99999999999}
",
        &[],
        &[
            "NoEquivalent 1 [0].conditions[0] \"descriptors[1].a == 'b'\" has no equivalent: Weir decides about each descriptor by itself",
            "NoEquivalent 2 [1].conditions[0]",
            "NoEquivalent 3 [2].conditions[0] \"descriptors[0].a.matches(descriptors[0].b)\" has no equivalent: request.descriptors[0].a",
            "NoEquivalent 4 [3].conditions[0] \"size(descriptors[0].a)\" is never true or false",
            "NoEquivalent 5 [4].variables[0]",
            "NoEquivalent 6 [5].seconds \"0\" has no equivalent: a window has 1 to",
            "NoEquivalent 7 [6].seconds \"99999999999\"",
        ],
    ),
    (
        "- {max_value: 1, seconds: 1}
- {namespace: n, seconds: 1}
- {namespace: n, max_value: -1, seconds: 1}
- {namespace: n, max_value: 1, seconds: 1, polices: x}
- {namespace: n, max_value: 2, seconds: 1}
- {namespace: n, max_value: 1, seconds: 2, conditions: [[a]], variables: descriptors}
",
        &[r#"n.1s-1e0402b8: request.domain == "n" [] 1/1s"#],
        &[
            "Invalid 1 [0].namespace \"\" is missing or empty",
            "Invalid 2 [1].max_value \"\" is missing",
            "Invalid 3 [2].max_value \"-1\" is not a whole number",
            "Invalid 4 [3].polices \"x\" is an unknown field",
            "Invalid 5 [4] \"\" counts the same as f:4",
            "Invalid 6 [5].conditions[0] \"[…]\" is not text",
            "Invalid 6 [5].variables \"descriptors\" is not a list",
        ],
    ),
];

#[test]
fn limits_become_policies_or_findings() {
    check_all(Format::Limitador, LIMITS);
}

#[test]
fn a_list_is_needed() {
    for text in ["namespace: n", "text", "{}"] {
        let (policies, told) = translate_one(Format::Limitador, text);
        assert!(policies.is_empty() && told[0].contains("is not a list of limits"), "{told:?}");
    }
}
