//! The configuration as people meet it.

use std::fs;

use super::*;

fn load(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tm.toml");
    fs::write(&file, text).unwrap();
    Config::load(Some(&file), Settings::default()).map_err(|error| error.to_string())
}

#[test]
fn everything_has_a_default() {
    let config = load("id = \"tm-1\"").unwrap();
    assert_eq!(config.grpc.to_string(), "127.0.0.1:9611");
    assert_eq!(config.http.to_string(), "127.0.0.1:9610");
    assert_eq!(config.store, Place::Memory);
    assert_eq!(config.silent_hold, Duration::from_secs(30));
    assert_eq!((config.log_format, config.log_level), (LogFormat::Text, LogLevel::default()));
    assert!(Config::resolve(Settings::default()).is_ok(), "the host name is a name");
}

#[test]
fn the_whole_file_is_read() {
    let config = load(
        "id = 'tm-1'\ndata_dir = '/var/lib/weir'\npeers = ['http://tm2:9611']\n\
         policies_file = 'policies.yaml'\ninsecure_listen = true\nsilent_hold = '2m'\n\
         max_counters = 5\n[listen]\ngrpc = '0.0.0.0:9611'\nhttp = 'localhost:9620'\n\
         [log]\nformat = 'json'\nlevel = 'debug'\n",
    )
    .unwrap();
    assert_eq!(config.peers, ["http://tm2:9611"]);
    assert_eq!(config.http.to_string(), "127.0.0.1:9620");
    assert_eq!((config.max_counters, config.silent_hold.as_secs()), (5, 120));
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.store, Place::Folder("/var/lib/weir".into()));
    let policies = config.policies_file.unwrap();
    assert!(policies.is_absolute() && policies.ends_with("policies.yaml"), "beside the file");
}

#[test]
fn an_unknown_field_is_named_with_file_and_line() {
    let error = load("id = 'a'\npeer = ['http://x:1']\n").unwrap_err();
    for part in ["tm.toml", "line 2", "unknown field `peer`", "`peers`"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let error = load("[listen]\ngprc = '127.0.0.1:1'\n").unwrap_err();
    assert!(error.contains("unknown field `gprc`"), "{error}");
}

#[test]
fn what_is_written_is_not_repeated() {
    const URL: &str = "postgres://weir:S3same@db/limits";
    for (text, place, words) in [
        (format!("[store]\nurl = \"{URL}\n"), "line 2, column ", "invalid basic string"),
        (format!("[store]\nurll = \"{URL}\"\n"), "line 2, column 1", "unknown field `urll`"),
        (format!("[store]\nurl = {URL}\n"), "line 2, column 7", "quote"),
        (
            format!("[store]\nurl = [\"{URL}\"]\n"),
            "line 2, column 7",
            "sequence, expected a string (in `store.url`)",
        ),
        (format!("store = \"{URL}\"\n"), "line 1, column 9", "invalid type: string, expected"),
        (format!("peers = \"{URL}\"\n"), "line 1, column 9", "expected a sequence (in `peers`)"),
        (
            "[[auth.tokens]]\nsha256 = 'weir_S3same'\n".into(),
            "line 2, column 10",
            "sha256 is not a hash",
        ),
        ("[[auth.tokens]]\nrole = 'weir_S3same'\n".into(), "line 2, column 8", "`viewer`"),
        ("[[auth.tokens]]\nexpires = 'weir_S3same'\n".into(), "line 2, column 11", "is no time"),
        (
            "[[auth.tokens]]\nname = 'a'\ntoken = 'weir_S3same'\n".into(),
            "line 3, column 1",
            "`token`",
        ),
    ] {
        let message = load(&text).unwrap_err();
        println!("{text}{message}");
        assert!(!message.contains("S3same"), "{message}");
        assert!(message.contains(place) && message.contains(words), "{text}{message}");
    }
}

#[test]
fn every_fault_is_reported_at_once() {
    let error = load(
        "id = 'a b'\npeers = ['tm2']\nsilent_hold = '2h'\nmax_counters = 0\n\
         [listen]\ngrpc = 'here'\n[log]\nformat = 'xml'\n",
    )
    .unwrap_err();
    let fields: Vec<&str> =
        error.lines().filter_map(|line| line.split(": ").nth(1)?.split(' ').next()).collect();
    assert_eq!(
        fields,
        ["id", "peers", "listen.grpc", "silent_hold", "max_counters", "log.format"],
        "{error}"
    );
}

#[test]
fn other_than_loopback_must_be_asked_for() {
    let error = load("[listen]\nhttp = '0.0.0.0:9610'\n").unwrap_err();
    assert!(error.contains("listen.http") && error.contains("insecure_listen = true"), "{error}");
    assert!(load("insecure_listen = true\n[listen]\nhttp = '0.0.0.0:9610'\n").is_ok());
    assert!(load("[listen]\nhttp = '[::1]:9610'\n").is_ok());
}

#[test]
fn tls_and_auth_together_open_an_address() {
    const OPEN: &str = "[listen]\ngrpc = '0.0.0.0:9611'\nhttp = '0.0.0.0:9610'\n";
    const TLS: &str = "[tls]\ncert = 'tm.pem'\nkey = 'tm.key'\n";
    const AUTH: &str = "[auth]\ntokens_file = 'tokens.toml'\n";
    let both = load(&[OPEN, TLS, AUTH].concat()).unwrap();
    let (tls, auth) = (both.tls.unwrap(), both.auth.unwrap());
    assert!(tls.cert.is_absolute() && tls.cert.ends_with("tm.pem"), "beside the file");
    assert!(auth.tokens_file.unwrap().is_absolute());
    assert!(!tls.require_client_cert && !auth.metrics_open);
    for (text, part) in [
        ([OPEN, TLS].concat(), "nobody is asked"),
        ([OPEN, AUTH].concat(), "nothing is encrypted (no [tls])"),
        (OPEN.to_owned(), "nothing is encrypted or authenticated"),
    ] {
        let error = load(&text).unwrap_err();
        assert!(error.contains(part) && error.contains("listen.http"), "{error}");
    }
}

#[test]
fn half_of_tls_is_no_tls() {
    for (text, field) in [
        ("[tls]\ncert = 'a'\n", "tls.key"),
        ("[tls]\nkey = 'a'\n", "tls.cert"),
        ("[tls]\nclient_ca = 'a'\n", "tls.cert"),
        ("[tls]\ncert = 'a'\nkey = 'a'\nrequire_client_cert = true\n", "tls.require_client_cert"),
        ("[[auth.certificates]]\nsubject = 'a'\nrole = 'agent'\n", "auth.certificates"),
        ("[auth]\nmetrics_open = true\n", "auth accepts nobody"),
        ("peers = ['https://tm2:9611']\n", "tls.peer_ca"),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.contains(field), "{field} in {error}");
    }
    let text = "[tls]\ncert = 'a'\nkey = 'b'\nclient_ca = 'c'\n";
    let tls = load(&format!("peers = ['https://tm2:9611']\n{text}")).unwrap().tls.unwrap();
    assert!(tls.require_client_cert && tls.peer_ca == tls.client_ca, "mutual by default");
}

#[test]
fn tokens_are_hashes() {
    let token = |hash: &str| {
        load(&format!("[[auth.tokens]]\nname = 'ops'\nrole = 'admin'\nsha256 = '{hash}'\n"))
    };
    assert_eq!(token(&"0f".repeat(32)).unwrap().auth.unwrap().tokens.len(), 1);
    let error = token("weir_abc").unwrap_err();
    assert!(error.contains("never the token"), "{error}");
}

#[test]
fn one_address_serves_one_thing() {
    let error = load("[listen]\nhttp = '127.0.0.1:9611'\n").unwrap_err();
    assert!(error.contains("is the address of listen.grpc"), "{error}");
}

#[test]
fn flags_and_variables_win_over_the_file() {
    let file = Settings { id: Some("file".into()), max_counters: Some(1), ..Settings::default() };
    let over = Settings { id: Some("flag".into()), ..Settings::default() };
    let config = Config::resolve(file.overridden_by(over)).unwrap();
    assert_eq!((config.id.as_str(), config.max_counters), ("flag", 1));
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("/no/such.toml")), Settings::default()).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /no/such.toml"), "{error}");
}

#[test]
fn there_is_one_store() {
    let error =
        load("id = 'a'\ndata_dir = '/x'\n[store]\nurl = 'postgres://w:sesame@db/w'\n").unwrap_err();
    assert!(error.contains("data_dir = \"/x\" and store.url name two stores"), "{error}");
    let error = load("id = 'a'\n[store]\nschema = 'x'\n").unwrap_err();
    assert!(error.contains("store.schema needs store.url"), "{error}");
    let error = load("id = 'a'\ndata_dir = ''\n").unwrap_err();
    assert!(error.contains("data_dir is empty"), "{error}");
}

#[test]
#[cfg(feature = "postgres")]
fn a_database_is_named_without_its_password() {
    let config = load("id = 'a'\n[store]\nurl = 'postgres://w:sesame@db/w'\n").unwrap();
    assert_eq!(config.store.to_string(), "postgres://w@db:5432/w (schema weir)");
    assert!(!format!("{config:?}").contains("sesame"));
    let settings =
        StoreSettings { url: Some("postgres://w:sesame@db".into()), ..Default::default() };
    assert!(!format!("{settings:?}").contains("sesame"));
    let error = load("id = 'a'\n[store]\nurl = 'postgres://db/w'\nschema = 'x'\n").unwrap_err();
    assert!(error.contains("store.url names no user"), "{error}");
    let error =
        load("id = 'a'\n[store]\nurl = 'postgres://w@db'\npassword_file = 'none'\n").unwrap_err();
    assert!(
        error.contains("store.password_file = ") && error.contains("cannot be read"),
        "{error}"
    );
}
