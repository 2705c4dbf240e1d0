//! Who does not belong gets nothing: agents without good certificates and tokens, people without the
//! role. And who belongs stays connected while certificates and tokens are changed.

mod security {
    pub(crate) mod authority;
    pub(crate) mod scene;
}
mod support;

use std::{fs, process::Command};

use security::{
    authority::Authority,
    scene::{As, Client, Scene},
};
use serde_json::json;
use support::{fleet::SOON, http, process::weir_binary, wait::wait_until};

const CERTIFIED: &[&str] =
    &["--tls-ca", "ca.pem", "--tls-cert", "gw-1.pem", "--tls-key", "gw-1.key"];

impl Client {
    fn is_connected(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/v1/status", self.http);
        let status = http::get(&url).ok().filter(|answer| answer.status == 200);
        status.is_some_and(|answer| {
            let status = answer.json();
            status["ready"] == true && status["managers"][0]["usage"] == "up"
        })
    }

    fn allows(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/v1/check", self.http);
        let body = json!({ "attributes": { "application": "shop" } });
        http::post_json(&url, &body).is_ok_and(|answer| answer.status == 200)
    }
}

/// The agents that the manager has heard of.
fn known(scene: &Scene) -> Vec<String> {
    let who = As { token: Some("viewer"), ..As::default() };
    let answer = scene.call("GET", "/api/v1/agents", who, "");
    let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    let agents = body["agents"].as_array().expect("agents").iter();
    let mut ids: Vec<String> =
        agents.map(|agent| agent["id"].as_str().unwrap_or_default().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn agents_that_do_not_belong_are_refused_logged_and_counted() {
    let scene = Scene::start();
    let (at, strangers) = (scene.folder(), Authority::new("strangers"));
    scene.ours.issue(at, "gw-1", 2999);
    scene.ours.issue(at, "old", 2021);
    scene.ours.issue(at, "printer", 2999);
    strangers.issue(at, "stranger", 2999);
    scene.add_token("short", "agent", &["--expires", "1s"]);
    fs::write(at.join("wrong.token"), "weir_0000\n").expect("a file");

    let with = |more: &[&'static str]| -> Vec<&'static str> { [CERTIFIED, more].concat() };
    let certified = |name: &'static str, pem: &'static str, key: &'static str| {
        (name, vec!["--tls-ca", "ca.pem", "--tls-cert", pem, "--tls-key", key])
    };
    let cases = [
        ("no_certificate", vec!["--tls-ca", "ca.pem", "--token-file", "agent.token"]),
        certified("untrusted_certificate", "stranger.pem", "stranger.key"),
        certified("expired_certificate", "old.pem", "old.key"),
        certified("unknown_certificate", "printer.pem", "printer.key"),
        ("unknown_token", with(&["--token-file", "wrong.token"])),
        ("expired_token", with(&["--token-file", "short.token"])),
        ("role", with(&["--token-file", "viewer.token"])),
    ];
    let before: Vec<u64> = cases.iter().map(|(why, _)| scene.denied("grpc", why)).collect();
    assert!(before.iter().all(|count| *count == 0), "{before:?}");
    for (reason, args) in &cases {
        let agent = scene.agent(&format!("bad-{reason}"), "https", args);
        let logs = [&scene.manager, &agent.process];
        wait_until(&format!("{reason} is counted"), SOON, &logs, || {
            scene.denied("grpc", reason) > 0
        });
        let line = format!("reason=\"{reason}\"");
        wait_until(&format!("{reason} is logged"), SOON, &logs, || {
            scene.manager.log().contains(&line) && agent.process.log().contains("no usage link")
        });
        assert!(!agent.is_connected(), "{reason}");
    }
    let plain = scene.agent("bad-plain", "http", &["--token-file", "agent.token"]);
    wait_until("plain text is refused", SOON, &[&scene.manager, &plain.process], || {
        scene.denied("grpc", "handshake") > 0
    });

    let good = [
        scene.agent("gw-1", "https", CERTIFIED),
        scene.agent("gw-2", "https", &with(&["--token-file", "agent.token"])),
    ];
    for agent in &good {
        wait_until("a good agent is let in", SOON, &[&scene.manager, &agent.process], || {
            agent.is_connected() && agent.allows()
        });
    }
    assert_eq!(known(&scene), ["gw-1", "gw-2"], "nobody else was heard");
    for name in ["agent", "viewer", "short", "wrong"] {
        let secret = scene.token(name);
        for process in [&scene.manager, &good[1].process] {
            assert!(!process.log().contains(&secret), "{name} in a log");
        }
    }
}

#[test]
fn people_do_what_their_role_allows() {
    let scene = Scene::start();
    scene.ours.issue(scene.folder(), "ops", 2999);
    scene.ours.issue(scene.folder(), "printer", 2999);
    let token = |name| As { token: Some(name), ..As::default() };
    let certificate = |name| As { certificate: Some(name), ..As::default() };
    let policy = json!({
        "name": "new", "level": "application", "key": ["application"],
        "limits": [{ "requests": 5, "window": "1h", "algorithm": "fixed_window" }],
    })
    .to_string();
    let question = json!({ "attributes": { "application": "shop" } }).to_string();
    let policies = "/api/v1/policies";
    for (who, method, path, body, status) in [
        (As::default(), "GET", "/healthz", "", 200),
        (As::default(), "GET", "/", "", 200),
        (As::default(), "GET", policies, "", 401),
        (As::default(), "GET", "/metrics", "", 401),
        (As::default(), "GET", "/nothing/here", "", 401),
        (As::default(), "POST", policies, &policy, 401),
        (token("agent"), "GET", policies, "", 403),
        (token("viewer"), "GET", policies, "", 200),
        (token("viewer"), "GET", "/metrics", "", 200),
        (token("viewer"), "POST", "/api/v1/explain", &question, 200),
        (token("viewer"), "POST", policies, &policy, 403),
        (token("viewer"), "DELETE", "/api/v1/policies/shop", "", 403),
        (token("viewer"), "POST", "/api/v1/counters:reset", "{\"policy\":\"shop\"}", 403),
        (certificate("printer"), "GET", policies, "", 403),
        (token("admin"), "POST", policies, &policy, 201),
        (certificate("ops"), "DELETE", "/api/v1/policies/new", "", 204),
    ] {
        let answer = scene.call(method, path, who, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert_eq!(answer.challenge.is_some(), status == 401, "{method} {path}");
        if status >= 400 {
            assert_eq!(answer.kind, "application/problem+json", "{method} {path}");
        }
    }
    assert_eq!(scene.denied("http", "no_credentials"), 4);
    assert_eq!(scene.denied("http", "role"), 4);
    assert_eq!(scene.denied("http", "unknown_certificate"), 1);
    let log = scene.manager.log();
    for part in ["name=\"viewer\"", "DELETE /api/v1/policies/shop", "reason=\"role\""] {
        assert!(log.contains(part), "{part} in {log}");
    }
}

#[test]
fn the_client_shows_its_token_over_https() {
    let scene = Scene::start();
    let list = ["policy", "list", "--ca", "ca.pem"];
    let run = |more: &[&str]| scene.cli(&[&list[..], more].concat());
    let done = run(&["--token-file", "viewer.token"]);
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && text.contains("shop"), "{done:?}");

    let refused = |more: &[&str], code: i32, part: &str| {
        let done = run(more);
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(code), "{done:?}");
        assert!(text.contains(part), "{part} in {text}");
    };
    refused(&[], 1, "needs a token");
    refused(&[], 1, "--token-file FILE (or WEIR_TOKEN_FILE)");
    refused(&["--token", "weir_00"], 1, "not known");
    let done = scene.cli(&["policy", "list", "--token-file", "viewer.token"]);
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(2) && text.contains("--ca"), "{done:?}");
    let delete = ["policy", "delete", "shop", "--ca", "ca.pem", "--token-file"];
    let done = scene.cli(&[&delete[..], &["viewer.token"]].concat());
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(1) && text.contains("role admin"), "{done:?}");
    assert!(scene.cli(&[&delete[..], &["admin.token"]].concat()).status.success());
}

/// Runs the client against an address, which it does not reach; what it says.
fn out_of_reach(scene: &Scene, server: &str, more: &[&str]) -> String {
    let done = scene.client(&[&["policy", "list", "--server", server][..], more].concat());
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{text}");
    text
}

#[test]
fn the_client_says_what_keeps_it_from_a_manager() {
    let scene = Scene::start();
    let at = scene.folder();
    let tls = format!("://localhost:{}", scene.http);
    let text = out_of_reach(&scene, &format!("http{tls}"), &[]);
    let told = format!("the manager at http{tls} speaks TLS; use https{tls}, and --ca FILE");
    assert!(text.contains(&told), "{text}");

    let fleet = support::group::Group::start(1, &[]);
    let plain = format!("://127.0.0.1:{}", fleet.managers[0].http);
    let text = out_of_reach(&scene, &format!("https{plain}"), &["--ca", "ca.pem"]);
    let told = format!("the manager at https{plain} speaks no TLS; use http{plain}");
    assert!(text.contains(&told), "{text}");

    let strangers = Authority::new("strangers");
    fs::write(at.join("strangers.pem"), strangers.pem()).expect("a file");
    let text = out_of_reach(&scene, &format!("https{tls}"), &["--ca", "strangers.pem"]);
    assert!(text.contains("is not signed by an authority in the file of --ca"), "{text}");
    strangers.issue(at, "stranger", 2999);
    let own = ["--ca", "ca.pem", "--client-cert", "stranger.pem", "--client-key", "stranger.key"];
    let text = out_of_reach(&scene, &format!("https{tls}"), &own);
    assert!(text.contains("does not accept the certificate of --client-cert"), "{text}");
    let text = out_of_reach(&scene, "http://127.0.0.1:1", &[]);
    assert!(
        text.contains("connection refused") && text.contains("is the manager running?"),
        "{text}"
    );
}

#[test]
fn certificates_and_tokens_are_changed_without_a_restart() {
    let scene = Scene::start();
    let at = scene.folder();
    scene.ours.issue(at, "gw-1", 2999);
    let args = [CERTIFIED, &["--token-file", "agent.token"]].concat();
    let agent = scene.agent("gw-1", "https", &args);
    let logs = [&scene.manager, &agent.process];
    wait_until("the agent is let in", SOON, &logs, || agent.is_connected());

    let expiry = "weir_manager_certificate_expiry_seconds ";
    let first = scene.metric(expiry);
    fs::write(at.join("tm-1.pem"), "not a certificate").expect("a file");
    wait_until("a bad certificate is told", SOON, &logs, || {
        scene.manager.log().contains("the new TLS files are not used")
    });
    assert!((scene.metric(expiry) - first).abs() < 60.0, "the old one serves");
    scene.ours.issue(at, "tm-1", 2998);
    // A year less: whoever connects now is shown the new one, and trusts it.
    wait_until("the new certificate is used", SOON, &logs, || {
        scene.metric(expiry) < first - 300.0 * 86_400.0
    });
    wait_until("checks pass", SOON, &logs, || agent.is_connected() && agent.allows());
    let log = agent.process.log();
    assert!(!log.contains("no usage link"), "nothing was dropped: {log}");

    // The agent's token is replaced by another of the same name: its streams end.
    let secret = scene.token("agent");
    let tokens = fs::read_to_string(at.join("tokens.toml")).expect("the tokens file");
    let rest = tokens.split_once("[[tokens]]").expect("the agent's is the first").1;
    let rest = &rest[rest.find("[[tokens]]").expect("others follow")..];
    fs::write(at.join("tokens.toml"), rest).expect("a file");
    wait_until("the agent is refused", SOON, &logs, || scene.denied("grpc", "unknown_token") > 0);
    wait_until("its links are down", SOON, &logs, || !agent.is_connected());
    wait_until("limits are enforced alone meanwhile", SOON, &logs, || agent.allows());
    fs::remove_file(at.join("agent.token")).expect("the old token");
    scene.add_token("agent", "agent", &[]);
    assert_ne!(scene.token("agent"), secret);
    wait_until("the agent is back with its new token", SOON, &logs, || agent.is_connected());
}

#[test]
fn who_speaks_for_another_is_refused_logged_and_counted() {
    let scene = Scene::start();
    let at = scene.folder();
    scene.ours.issue(at, "gw-1", 2999);
    scene.ours.issue(at, "own-1", 2999);
    scene.add_token("bound", "agent", &["--agents", "gw-b,eu-*"]);
    let of = |name: &'static str| {
        let [pem, key] = [".pem", ".key"].map(|end| format!("{name}{end}"));
        ["--tls-ca", "ca.pem", "--tls-cert", &pem, "--tls-key", &key].map(str::to_owned)
    };
    let start = |id: &str, args: Vec<String>| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        scene.agent(id, "https", &args)
    };
    let token = |id: &str| {
        let more = ["--token-file", "bound.token"].map(str::to_owned);
        start(id, of("gw-1").into_iter().chain(more).collect())
    };
    for (agent, id, name) in [
        (token("gw-x"), "gw-x", "bound"),
        // The rule for own-* says that a certificate's name is its agent's id.
        (start("own-2", of("own-1").into()), "own-2", "own-1"),
    ] {
        let logs = [&scene.manager, &agent.process];
        let before = scene.denied("grpc", "identity");
        wait_until("it is counted", SOON, &logs, || scene.denied("grpc", "identity") > before);
        let line = format!("name=\"{name}\" call=\"usage as the agent \\\"{id}\\\"");
        wait_until("both are told", SOON, &logs, || {
            let log = agent.process.log();
            scene.manager.log().contains(&line)
                && log.contains(id)
                && log.contains("may not speak for")
        });
        let status = http::get(&format!("http://127.0.0.1:{}/v1/status", agent.http));
        let problem = status.expect("its status").json()["managers"][0]["problem"].to_string();
        assert!(problem.contains(name) && problem.contains(id), "{problem}");
        assert!(!agent.is_connected());
    }
    let good = [token("eu-7"), token("gw-b"), start("own-1", of("own-1").into())];
    for agent in &good {
        let logs = [&scene.manager, &agent.process];
        wait_until("it is let in", SOON, &logs, || agent.is_connected());
    }
    assert_eq!(known(&scene), ["eu-7", "gw-b", "own-1"], "nobody else was heard");
}

#[test]
fn a_manager_is_no_other_manager() {
    let scene = Scene::start();
    scene.ours.issue(scene.folder(), "tm-2", 2999);
    scene.add_token("peer", "peer", &["--managers", "tm-2"]);
    let linked = || {
        let who = As { token: Some("viewer"), ..As::default() };
        let answer = scene.call("GET", "/api/v1/nodes", who, "");
        let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let nodes = body["nodes"].as_array().expect("nodes").clone();
        nodes
            .iter()
            .filter(|node| node["link"] == "up")
            .map(|node| node["id"].to_string())
            .collect()
    };
    let false_one = scene.another_manager("tm-3");
    let logs = [&scene.manager, &false_one];
    wait_until("it is counted", SOON, &logs, || scene.denied("grpc", "identity") > 0);
    wait_until("both are told", SOON, &logs, || {
        scene.manager.log().contains("peers as the manager \\\"tm-3\\\"; allowed: tm-2")
            && false_one.log().contains("may not speak for the manager")
    });
    let links: Vec<String> = linked();
    assert_eq!(links, [""; 0], "it is no part of the group");
    false_one.kill();
    let right_one = scene.another_manager("tm-2");
    let logs = [&scene.manager, &right_one];
    wait_until("it is let in", SOON, &logs, || linked() == ["\"tm-2\""]);
}

#[test]
fn check_config_reads_what_the_agent_would_read() {
    let scene = Scene::start();
    let at = scene.folder();
    scene.ours.issue(at, "gw-1", 2999);
    scene.ours.issue(at, "old", 2021);
    let good = "id = 'gw-1'\nmanagers = ['https://localhost:9611']\ntoken_file = 'agent.token'\n\
                [tls]\nca = 'ca.pem'\ncert = 'gw-1.pem'\nkey = 'gw-1.key'\n";
    let check = |from: &str, to: &str| {
        fs::write(at.join("gw.toml"), good.replace(from, to)).expect("a file");
        let program = weir_binary("gateway-agent").unwrap_or_else(|why| panic!("{why}"));
        let file = at.join("gw.toml");
        let done = Command::new(program).arg("check-config").arg(file).output().expect("it runs");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    assert_eq!(check("", "").0, Some(0));
    for (from, to, parts) in [
        ("agent.token", "none.token", ["token_file", "none.token"]),
        ("ca.pem", "none.pem", ["tls.ca", "none.pem"]),
        ("ca.pem", "tokens.toml", ["tls.ca", "no certificate"]),
        ("gw-1.pem", "gw-1.key", ["tls.cert", "no certificate"]),
        ("gw-1.key", "tm-1.key", ["tls.key", "not that of the certificate"]),
        ("gw-1.key", "gw-1.pem", ["tls.key", "no private key"]),
        ("gw-1.", "old.", ["tls.cert", "ended at 2021-12-31"]),
    ] {
        let (code, said) = check(from, to);
        assert_eq!(code, Some(1), "{from} as {to}: {said}");
        for part in [parts[0], parts[1], "gw.toml"] {
            assert!(said.contains(part), "{part:?} is not in {said}");
        }
    }
}
