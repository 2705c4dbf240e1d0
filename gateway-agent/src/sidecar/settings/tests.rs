//! Configuration files, good and bad.

use std::io::Write;

use tempfile::NamedTempFile;

use super::*;

const MANAGERS: &str = "managers = [\"http://tm1:9611\", \"http://tm2:9611\"]\n";

fn load(text: &str, overrides: Overrides) -> Result<Settings, SettingsError> {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Settings::load(Some(file.path()), overrides)
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let message = load(text, Overrides::default()).unwrap_err().to_string();
    for part in expected {
        assert!(message.contains(part), "{text}\n{message}\nlacks {part}");
    }
    assert!(message.contains("tmp"), "the file is named: {message}");
}

#[test]
fn the_contracts_example_is_valid() {
    let text = r#"
        id = "gw-1"
        gateway_group = "eu"
        managers = ["http://tm1:9611", "http://tm2:9611"]
        fail_back = true
        on_disconnect = "closed"
        max_counters = 1000
        headers = "both"
        [listen]
        grpc = "127.0.0.1:8081"
        http = "[::1]:8080"
        workers = 3
    "#;
    let settings = load(text, Overrides::default()).unwrap();
    assert_eq!(settings.agent.id().as_str(), "gw-1");
    assert_eq!(settings.agent.managers().len(), 2);
    assert_eq!(settings.agent.on_disconnect, OnDisconnect::Closed);
    assert_eq!(settings.http.to_string(), "[::1]:8080");
    assert_eq!(settings.workers.get(), 3);
    assert_eq!(settings.headers, HeaderStyle::Both);
}

#[test]
fn managers_suffice() {
    let settings = load(MANAGERS, Overrides::default()).unwrap();
    assert_eq!(settings.agent.id().as_str(), host_name());
    assert!(settings.agent.fail_back);
    assert_eq!(settings.headers, HeaderStyle::Ietf);
    assert_eq!((settings.grpc, settings.http), (DEFAULT_GRPC, DEFAULT_HTTP));
}

#[test]
fn overrides_win() {
    let overrides = Overrides {
        id: Some("flag".to_owned()),
        managers: Some(vec!["http://other:1".to_owned()]),
        fail_back: Some(false),
        listen_http: Some("127.0.0.1:0".parse().unwrap()),
        ..Overrides::default()
    };
    let settings = load(&format!("id = \"file\"\n{MANAGERS}"), overrides).unwrap();
    assert_eq!(settings.agent.id().as_str(), "flag");
    assert_eq!(settings.agent.managers()[0].to_string(), "http://other:1");
    assert!(!settings.agent.fail_back);
    assert_eq!((settings.http.port(), settings.grpc.port()), (0, 8081));
}

#[test]
fn mistakes_are_named() {
    refused("managers = 1", &["managers"]);
    refused("manager = []", &["unknown field `manager`", "managers"]);
    refused("[listen]\nhtp = \"127.0.0.1:1\"", &["unknown field `htp`", "line 2"]);
    refused("", &["managers is empty"]);
    refused("managers = [\"tm1:9611\"]", &["tm1:9611", "http://"]);
    refused("managers = [\"http://a:1\", \"http://a:1\"]", &["more than once"]);
    refused(&format!("id = \"a b\"\n{MANAGERS}"), &["id contains ' '"]);
    refused(&format!("on_disconnect = \"maybe\"\n{MANAGERS}"), &["maybe", "open, closed or local"]);
    refused(
        &format!("headers = \"draft\"\n{MANAGERS}"),
        &["headers is \"draft\"", "ietf, x-ratelimit, both or none"],
    );
    for workers in ["0", "257"] {
        let text = format!("{MANAGERS}[listen]\nworkers = {workers}");
        refused(&text, &["listen.workers", workers, "1 to 256"]);
    }
    refused(&format!("{MANAGERS}[listen]\nworkers = -1"), &["line 3", "listen.workers", "integer"]);
    refused(&format!("max_counters = 0\n{MANAGERS}"), &["max_counters"]);
    refused(&format!("{MANAGERS}[listen]\nhttp = \"localhost\""), &["http", "line 3"]);
    let same = format!("{MANAGERS}[listen]\nhttp = \"127.0.0.1:8081\"");
    refused(&same, &["both 127.0.0.1:8081"]);
    let missing = Settings::load(Some(Path::new("/nowhere.toml")), Overrides::default());
    assert!(missing.unwrap_err().to_string().starts_with("cannot read /nowhere.toml"));
}

#[test]
fn what_is_written_is_not_repeated() {
    const TOKEN: &str = "weir_S3same";
    for (line, place, words) in [
        (format!("token = \"{TOKEN}\""), "line 2, column 1", "unknown field `token`"),
        (format!("token_file = \"{TOKEN}"), "line 2, column 26", "invalid basic string"),
        (format!("token_file = {TOKEN}"), "line 2, column 14", "quote"),
        (format!("token_file = [\"{TOKEN}\"]"), "line 2, column 14", "in `token_file`"),
        (
            format!("tls = \"{TOKEN}, expected a\""),
            "line 2, column 7",
            "invalid type: string, expected",
        ),
        (format!("tokens {TOKEN}"), "line 2, column 8", "key with no value"),
        (
            format!("fail_back = \"{TOKEN}\""),
            "line 2, column 13",
            "expected a boolean (in `fail_back`)",
        ),
    ] {
        let text = format!("{MANAGERS}{line}\n");
        let message = load(&text, Overrides::default()).unwrap_err().to_string();
        println!("{line}: {message}");
        assert!(!message.contains("S3same"), "{message}");
        assert!(message.contains(place) && message.contains(words), "{line}: {message}");
    }
}

#[test]
fn secrets_and_certificates_are_files_beside_the_file() {
    let text = format!(
        "token_file = \"gw.token\"\n{MANAGERS}[tls]\nca = \"ca.pem\"\ncert = \"gw.pem\"\nkey = \"/k\""
    );
    let settings = load(&text, Overrides::default()).unwrap();
    let shown = format!("{:?}", settings.agent);
    for part in ["/ca.pem", "/gw.pem", "/gw.token", "\"/k\""] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    refused(&format!("{MANAGERS}[tls]\nca = \"x\"\ncert = \"x\""), &["tls.cert and tls.key"]);
    let overrides = Overrides { token: Some("weir_abc".into()), ..Overrides::default() };
    assert!(!format!("{overrides:?}").contains("weir_abc"));
    let shown = format!("{:?}", load(MANAGERS, overrides).unwrap());
    assert!(!shown.contains("weir_abc") && shown.contains("(secret)"), "{shown}");
}

#[test]
fn listening_to_strangers_must_be_meant() {
    let open = format!("{MANAGERS}[listen]\ngrpc = \"0.0.0.0:8081\"");
    refused(&open, &["listen.grpc", "0.0.0.0:8081", "insecure_listen"]);
    assert!(load(&format!("insecure_listen = true\n{open}"), Overrides::default()).is_ok());
}
