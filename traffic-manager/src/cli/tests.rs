//! Arguments and exit codes. The commands against a manager are tested end to end.

use clap::CommandFactory;

use super::*;

fn run_with(arguments: &[&str]) -> (ExitCode, String) {
    let mut out = Vec::new();
    let words = std::iter::once("traffic-manager").chain(arguments.iter().copied());
    let code = run(words.map(OsString::from), &mut out);
    (code, String::from_utf8(out).unwrap())
}

/// `ExitCode` compares only by its text.
fn is(code: ExitCode, expected: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(expected))
}

#[test]
fn the_commands_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn usage_errors_are_two_and_help_is_zero() {
    assert!(is(run_with(&["policy", "frobnicate"]).0, 2));
    assert!(is(run_with(&["--help"]).0, 0));
}

#[test]
fn an_unreachable_manager_is_two() {
    // Port 1 on loopback: nothing listens there.
    let (code, _) = run_with(&["status", "--server", "http://127.0.0.1:1"]);
    assert!(is(code, 2));
}

#[test]
fn check_config_tells_what_it_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tm.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "id = 'tm-1'\npolicies_file = 'p.yaml'\n").unwrap();
    assert!(is(run_with(&["check-config", path]).0, 1), "the policies file is missing");
    let policies = "apiVersion: weir/v1\npolicies:\n- name: a\n  level: deny\n";
    std::fs::write(folder.path().join("p.yaml"), policies).unwrap();
    let (code, out) = run_with(&["check-config", path]);
    assert!(is(code, 0) && out.contains("ok (id tm-1") && out.contains("1 policies"), "{out}");
    std::fs::write(folder.path().join("p.yaml"), "apiVersion: weir/v1\n").unwrap();
    assert!(is(run_with(&["check-config", path]).0, 1), "the policies file is not valid");
}

#[test]
fn check_config_reads_certificates_and_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tm.toml");
    let check = |text: &str| {
        std::fs::write(&file, format!("id = 'tm-1'\n{text}")).unwrap();
        is(run_with(&["check-config", file.to_str().unwrap()]).0, 0)
    };
    assert!(!check("[tls]\ncert = 'tm.pem'\nkey = 'tm.key'\n"), "there is no such file");
    assert!(!check("[auth]\ntokens_file = 'tokens.toml'\n"));
    std::fs::write(folder.path().join("tokens.toml"), "").unwrap();
    assert!(check("[auth]\ntokens_file = 'tokens.toml'\n"));

    let key = rcgen::KeyPair::generate().unwrap();
    let tls = "[tls]\ncert = 'tm.pem'\nkey = 'tm.key'\n";
    let issue = |year: i32, own: &rcgen::KeyPair| {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let pem = params.self_signed(own).unwrap().pem();
        std::fs::write(folder.path().join("tm.pem"), pem).unwrap();
        std::fs::write(folder.path().join("tm.key"), key.serialize_pem()).unwrap();
    };
    issue(2999, &key);
    assert!(check(tls));
    issue(2021, &key);
    assert!(!check(tls), "it has ended");
    issue(2999, &rcgen::KeyPair::generate().unwrap());
    assert!(!check(tls), "of another key");
}

#[test]
fn a_token_is_made_and_kept_apart_from_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gw.token");
    let make = ["token", "new", "--name", "gw \"1\"", "--role", "agent", "--expires", "90d"];
    let (code, lines) = run_with(&[&make[..], &["--write", file.to_str().unwrap()]].concat());
    assert!(is(code, 0), "{lines}");
    let secret = std::fs::read_to_string(&file).unwrap();
    assert!(!lines.contains(secret.trim()), "{lines}");
    let table: toml::Table = lines.parse().unwrap();
    let entry = &table["tokens"][0];
    let hash = crate::auth::token::TokenHash::of(secret.trim().as_bytes()).to_string();
    assert_eq!(
        (entry["name"].as_str(), entry["sha256"].as_str()),
        (Some("gw \"1\""), Some(&*hash))
    );
    assert!(entry["expires"].as_str().is_some_and(|end| end.ends_with('Z')), "{lines}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let again = run_with(&[&make[..], &["--write", file.to_str().unwrap()]].concat());
    assert!(is(again.0, 1), "a token is not overwritten");
    let (_, printed) = run_with(&make);
    assert!(!printed.contains("weir_"), "never where it could be appended to a file: {printed}");
    assert!(is(run_with(&["token", "new", "--name", "x", "--role", "root"]).0, 2));
}

#[test]
fn an_invalid_policy_is_one_and_nothing_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    std::fs::write(&file, "name: a\nlevel: nowhere\n").unwrap();
    let server = ["--server", "http://127.0.0.1:1"];
    let file = file.to_str().unwrap();
    assert!(is(run_with(&[&["policy", "apply", "-f", file], &server[..]].concat()).0, 1));
}

#[test]
fn an_import_is_printed_without_a_server_and_refused_with_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good.yaml"), folder.path().join("bad.yaml"));
    let limit = "rate_limit: {unit: day, requests_per_unit: 5}";
    std::fs::write(
        &good,
        format!("domain: d\ndescriptors: [{{key: k, detailed_metric: true, {limit}}}]\n"),
    )
    .unwrap();
    std::fs::write(
        &bad,
        format!("domain: e\ndescriptors: [{{key: k, quota_mode: true, {limit}}}]\n"),
    )
    .unwrap();
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let import = |more: &[&str]| {
        run_with(
            &[&["policy", "import", "--format", "envoy", "--dry-run", "-o", "yaml"], more].concat(),
        )
    };
    let (code, out) = import(&[good]);
    assert!(is(code, 0) && out.starts_with("# note: "), "{out}");
    let policies = weir_proto::policy::parse_document(&out).unwrap();
    assert_eq!(policies[0].name.as_str(), "d.k");
    let (code, out) = import(&[good, bad]);
    assert!(is(code, 1) && out.is_empty(), "{out}");
    let (code, out) = import(&[good, bad, "--partial"]);
    assert!(is(code, 0) && out.contains("# left out: ") && out.contains("quota_mode"), "{out}");
    let (code, out) = import(&[good, "-o", "json"]);
    assert!(is(code, 2) && out.is_empty(), "given twice: {out}");
    assert!(is(import(&["/nowhere.yaml"]).0, 2));
    assert!(is(run_with(&["policy", "import", good]).0, 2), "whose file?");
    let server = ["--server", "http://127.0.0.1:1"];
    let direct = ["policy", "import", "--format", "envoy", good];
    assert!(is(run_with(&[&direct[..], &server].concat()).0, 2));
}

/// Both managers die at 3 s.
const SCENARIO: &str = "duration = '6s'\nwarm_up = '2s'\nexpect_over = 0\n\
    [agents]\ncount = 3\n[[traffic]]\nrate = '3x'\n\
    [[events]]\nat = '3s'\nevent = 'kill'\nmanagers = 'all'\n\
    [[policies]]\nname = 'p'\nlevel = 'api'\nlimits = [{ requests = 30, window = '1s' }]\n";

#[test]
fn simulate_is_zero_when_the_limit_holds_and_one_when_it_does_not_come_up_to_the_scenario() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("down.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, SCENARIO).unwrap();
    let (code, out) = run_with(&["simulate", path, "--runs", "2"]);
    assert!(is(code, 0) && out.contains("seeds 1 to 2") && out.contains("0.00 (0.00) %"), "{out}");
    std::fs::write(&file, format!("expect_under = 0\n{SCENARIO}")).unwrap();
    assert!(is(run_with(&["simulate", path]).0, 1), "something is missing after managers died");
    std::fs::write(&file, format!("surprise = 0\n{SCENARIO}")).unwrap();
    assert!(is(run_with(&["simulate", path]).0, 1), "nobody knows that field");
    assert!(is(run_with(&["simulate"]).0, 2));
    assert!(is(run_with(&["simulate", path, "--runs", "0"]).0, 2));
}

#[test]
fn simulate_is_not_green_on_nothing_and_bounds_what_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("down.toml");
    let path = file.to_str().unwrap();
    for (text, told) in [
        (
            SCENARIO.replace("window = '1s'", "window = '1m'"),
            "no window of p was judged: duration must exceed warm_up + two windows, 2m2s",
        ),
        (
            SCENARIO.replace("level = 'api'", "level = 'api'\nkey = ['api']"),
            "no request met p: check key and attributes",
        ),
        (SCENARIO.replace("level = 'api'", "level = 'api'\nmode = 'shadow'"), ""),
        (format!("{SCENARIO}{}", "#".repeat(1 << 20)), ""),
        (String::new(), ""),
    ] {
        std::fs::write(&file, text).unwrap();
        let (code, out) = run_with(&["simulate", path]);
        assert!(is(code, 1) && out.contains(told), "{told} is not in: {out}");
    }
    std::fs::write(&file, SCENARIO).unwrap();
    let last = u64::MAX.to_string();
    assert!(is(run_with(&["simulate", path, "--runs", "2", "--seed", &last]).0, 2));
    assert!(is(run_with(&["simulate", "/dev/zero"]).0, 1));
}

/// A reader who has left.
struct Gone;

impl std::io::Write for Gone {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn simulate_is_quiet_when_nobody_reads_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("down.toml");
    std::fs::write(&file, SCENARIO).unwrap();
    let arguments = ["traffic-manager", "simulate", file.to_str().unwrap()];
    let code = run(arguments.into_iter().map(std::ffi::OsString::from), &mut Gone);
    assert!(is(code, 0));
}

#[test]
fn simulate_compares_draws_and_speaks_json() {
    let folder = tempfile::tempdir().unwrap();
    let (file, picture) = (folder.path().join("down.toml"), folder.path().join("down.svg"));
    let (path, svg) = (file.to_str().unwrap(), picture.to_str().unwrap());
    let policies = "apiVersion: weir/v1\npolicies:\n- name: q\n  level: api\n  limits:\n  \
                    - {requests: 30, window: 1s}\n";
    std::fs::write(folder.path().join("p.yaml"), policies).unwrap();
    let (head, _) = SCENARIO.split_once("[[policies]]").unwrap();
    std::fs::write(&file, format!("policies_file = 'p.yaml'\n{head}")).unwrap();
    let (code, out) = run_with(&["simulate", path, "--compare", "--markdown"]);
    assert!(is(code, 0) && out.contains("| down |") && out.contains("| weir strict |"), "{out}");
    let (code, out) =
        run_with(&["simulate", path, "--seed", "9", "--output", "json", "--plot", svg]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(is(code, 0) && json[0]["scenario"] == "down" && json[0]["seed"] == 9, "{out}");
    assert!(
        json[0]["rows"][0]["policy"] == "q" && json[0]["traffic"][0]["usage_bytes"].is_number()
    );
    let picture = std::fs::read_to_string(&picture).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains(">down<"), "{picture}");
    let two = [&["simulate", path, path, "--plot", svg][..]].concat();
    assert!(is(run_with(&two).0, 2), "one picture for two scenarios");
}

#[test]
fn attributes_to_explain_are_checked_before_anything_is_asked() {
    let server = ["--server", "http://127.0.0.1:1"];
    let explain = |arguments: &[&str]| run_with(&[&["explain"], arguments, &server[..]].concat()).0;
    for wrong in ["application", "aplication=shop", "descriptors[99].k=v"] {
        assert!(is(explain(&[wrong]), 2), "{wrong}");
    }
    assert!(is(explain(&["--amount", "requests=many"]), 2));
    assert!(is(explain(&["application=shop", "headers.x-tier=gold"]), 2), "nothing listens there");
}
