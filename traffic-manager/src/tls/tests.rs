//! Handshakes over real sockets, with certificates made here.

use std::{fs, path::Path};

use axum::http::Uri;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tokio::sync::watch;

use super::*;
use crate::{auth::Guard, config::Tls, net::Listener, telemetry::Telemetry};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Writes `NAME.pem` and `NAME.key` into the folder.
fn issue(by: &Authority, folder: &Path, name: &str, expired: bool) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    if expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

struct Scene {
    folder: tempfile::TempDir,
    ours: Authority,
    telemetry: Arc<Telemetry>,
    server: Arc<TlsServer>,
    url: Uri,
    listener: Listener,
}

impl Scene {
    async fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let ours = authority("ours");
        let strangers = authority("strangers");
        let at = folder.path();
        fs::write(at.join("ca.pem"), ours.pem()).unwrap();
        for (by, name, expired) in [
            (&ours, "tm-1", false),
            (&ours, "gw-1", false),
            (&ours, "old", true),
            (&strangers, "stranger", false),
        ] {
            issue(by, at, name, expired);
        }
        let files = Tls {
            cert: at.join("tm-1.pem"),
            key: at.join("tm-1.key"),
            client_ca: Some(at.join("ca.pem")),
            require_client_cert: true,
            peer_ca: None,
        };
        let server = Arc::new(TlsServer::load(files).unwrap());
        let telemetry = Telemetry::new().unwrap();
        let guard = Guard::new(watch::channel(None).1, Arc::clone(&telemetry));
        let refused = telemetry.refused_grpc.clone();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), "listen.grpc", refused);
        let listener = listener.await.unwrap();
        let url = format!("https://localhost:{}", listener.address().unwrap().port());
        let listener = listener.secured(Port::Grpc, Some(Arc::clone(&server)), &guard);
        Scene { folder, ours, telemetry, server, url: url.parse().unwrap(), listener }
    }

    fn client(&self, name: &str) -> TlsClient {
        let at = |file: String| self.folder.path().join(file);
        let identity = (at(format!("{name}.pem")), at(format!("{name}.key")));
        let files = ClientFiles { ca: at("ca.pem".to_owned()), identity: Some(identity) };
        TlsClient::load(files).unwrap()
    }

    /// The names of the next client that gets in.
    async fn names(&mut self, client: &TlsClient) -> Vec<String> {
        let url = self.url.clone();
        let (connection, stream) =
            tokio::join!(self.listener.accept(), client::dial(&url, Some(client)));
        stream.unwrap();
        connection.caller().certificate.as_ref().unwrap().names.clone()
    }

    /// Whether exactly one was refused for that reason.
    fn denied(&self, reason: &str) -> bool {
        let text = self.telemetry.text();
        text.contains(&format!("weir_manager_denied_total{{port=\"grpc\",reason=\"{reason}\"}} 1"))
    }
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate() {
    let mut scene = Scene::new().await;
    let client = scene.client("gw-1");
    assert_eq!(scene.names(&client).await, ["gw-1", "localhost"]);
    let left = scene.server.not_after().unwrap();
    assert!(left > 1_700_000_000, "{left} is a time to come");
}

#[tokio::test]
async fn who_does_not_belong_is_counted_and_holds_nobody_up() {
    let mut scene = Scene::new().await;
    let good = scene.client("gw-1");
    let ca = scene.folder.path().join("ca.pem");
    let bare = TlsClient::load(ClientFiles { ca, identity: None }).unwrap();
    // With TLS 1.3 a client learns only by reading that it was refused. One says nothing at all.
    let mut kept = Vec::new();
    let silent = tokio::net::TcpStream::connect(scene.listener.address().unwrap()).await.unwrap();
    for client in [scene.client("old"), scene.client("stranger"), bare] {
        let url = scene.url.clone();
        kept.push(tokio::spawn(async move { client::dial(&url, Some(&client)).await.is_ok() }));
    }
    assert_eq!(scene.names(&good).await[0], "gw-1", "while the others are under way");
    let counted = async {
        let reasons = ["expired_certificate", "untrusted_certificate", "no_certificate"];
        while !reasons.iter().all(|reason| scene.denied(reason)) {
            scene.names(&good).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("each is counted once");
    drop((silent, kept));
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let mut scene = Scene::new().await;
    let client = scene.client("stranger");
    fs::write(scene.folder.path().join("ca.pem"), authority("strangers").pem()).unwrap();
    let url = scene.url.clone();
    let mut dial = std::pin::pin!(client::dial(&url, Some(&client)));
    let error = tokio::select! {
        _ = scene.listener.accept() => panic!("nobody gets in"),
        dialled = &mut dial => dialled.map(drop).unwrap_err(),
    };
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn new_files_are_used_and_bad_ones_are_not() {
    let mut scene = Scene::new().await;
    let at = scene.folder.path().to_owned();
    assert_eq!(scene.server.refresh(), Ok(false));
    fs::write(at.join("tm-1.pem"), "no certificate").unwrap();
    let error = scene.server.refresh().unwrap_err();
    assert!(error.contains("tls.cert") && error.contains("tm-1.pem"), "{error}");
    assert_eq!(scene.server.refresh(), Ok(false), "told once");
    let client = scene.client("gw-1");
    assert_eq!(scene.names(&client).await[0], "gw-1", "the old ones serve");

    // The certificate of one key with the key of another does not serve.
    fs::copy(at.join("old.pem"), at.join("tm-1.pem")).unwrap();
    assert!(scene.server.refresh().unwrap_err().contains("do not serve together"));

    let strangers = authority("strangers");
    issue(&strangers, &at, "tm-1", false);
    assert_eq!(scene.server.refresh(), Ok(true));
    let url = scene.url.clone();
    let refused = tokio::select! {
        _ = scene.listener.accept() => panic!("the client does not trust it"),
        dialled = client::dial(&url, Some(&client)) => dialled.is_err(),
    };
    assert!(refused, "the new certificate is shown");
    fs::write(at.join("ca.pem"), format!("{}{}", scene.ours.pem(), strangers.pem())).unwrap();
    assert_eq!(scene.server.refresh(), Ok(true), "the client's authority is watched, too");
    issue(&strangers, &at, "gw-1", false);
    assert_eq!(scene.names(&client).await[0], "gw-1", "the client has read its files again");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    issue(&authority("ours"), folder.path(), "tm-1", false);
    let files = |cert: &str, key: &str| Tls {
        cert: at(cert),
        key: at(key),
        client_ca: None,
        require_client_cert: false,
        peer_ca: None,
    };
    assert!(TlsServer::load(files("tm-1.pem", "tm-1.key")).is_ok());
    for (cert, key, part) in [
        ("none.pem", "tm-1.key", "tls.cert: cannot read"),
        ("tm-1.key", "tm-1.key", "tls.cert"),
        ("tm-1.pem", "tm-1.pem", "tls.key"),
    ] {
        let error = TlsServer::load(files(cert, key)).map(drop).unwrap_err();
        assert!(error.contains(part), "{error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    }
}
