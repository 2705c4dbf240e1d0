//! Who is known, what they may do, and what is told of those who are not.

use std::{fs, time::Duration};

use axum::http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use weir_proto::wire::DESCRIPTORS;

use super::{
    token::{Secret, TokenHash, generate},
    *,
};
use crate::{
    config::Auth,
    telemetry::Telemetry,
    tls::{Certificate, Port},
};

fn entry(name: &str, role: Role, token: &Secret, expires: Option<Timestamp>) -> TokenEntry {
    let sha256 = TokenHash::of(token.expose().as_bytes());
    TokenEntry { name: name.to_owned(), role, agents: None, managers: None, sha256, expires }
}

fn auth(tokens: Vec<TokenEntry>, certificates: &[(&str, Role)]) -> Auth {
    let certificate = |&(subject, role): &(&str, Role)| CertificateEntry {
        subject: subject.to_owned(),
        role,
        agents: None,
        managers: None,
    };
    Auth {
        tokens,
        tokens_file: None,
        certificates: certificates.iter().map(certificate).collect(),
        metrics_open: false,
        peer_token_file: None,
    }
}

fn bearing(token: &str) -> Credentials {
    let value = HeaderValue::try_from(token).unwrap();
    Credentials::new(Some(&value), None)
}

fn showing(names: &[&str], not_after: i64) -> Credentials {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let not_after = u64::try_from(Timestamp::now().as_second() + not_after).unwrap();
    Credentials::new(None, Some(Arc::new(Certificate { names, not_after })))
}

fn guard(auth: &Auth) -> (Guard, watch::Sender<Option<Arc<Book>>>, Arc<Telemetry>) {
    let telemetry = Telemetry::new().unwrap();
    let (post, posted) = watch::channel(Some(Arc::new(Book::load(auth).unwrap())));
    (Guard::new(posted, Arc::clone(&telemetry)), post, telemetry)
}

fn admit(guard: &Guard, credentials: &Credentials, need: Need) -> Result<Actor, Why> {
    guard.admit(Port::Http, None, credentials, need, || "GET /test".to_owned())
}

const VIEW: Need = Need::Role(Role::Viewer);
const CHANGE: Need = Need::Role(Role::Admin);

#[test]
fn a_token_opens_what_its_role_may_and_nothing_else() {
    let token = generate().unwrap();
    let bearer = bearing(&format!("Bearer {}", token.expose()));
    for (role, may) in [
        (Role::Agent, [true, false, false, false]),
        (Role::Peer, [false, true, false, false]),
        (Role::Viewer, [false, false, true, false]),
        (Role::Admin, [false, false, true, true]),
    ] {
        let (guard, ..) = guard(&auth(vec![entry("x", role, &token, None)], &[]));
        let needs = [Role::Agent, Role::Peer, Role::Viewer, Role::Admin].map(Need::Role);
        let got = needs.map(|need| admit(&guard, &bearer, need).is_ok());
        assert_eq!(got, may, "{role}");
        let actor = admit(&guard, &bearer, Need::Any).unwrap();
        assert_eq!((&*actor.name, actor.role), ("x", Some(role)));
        assert_eq!(admit(&guard, &bearer, Need::Never).unwrap_err(), Why::Role);
    }
}

#[test]
fn what_is_not_a_good_token_is_refused_for_its_reason() {
    let (good, old) = (generate().unwrap(), generate().unwrap());
    let past = Timestamp::now() - SignedDuration::from_secs(1);
    let tokens =
        vec![entry("ops", Role::Admin, &good, None), entry("left", Role::Admin, &old, Some(past))];
    let (guard, ..) = guard(&auth(tokens, &[("*", Role::Admin)]));
    let refused = |credentials: Credentials| admit(&guard, &credentials, VIEW).unwrap_err();
    assert_eq!(refused(Credentials::default()), Why::NoCredentials);
    assert_eq!(refused(bearing(&format!("Bearer {}", old.expose()))), Why::ExpiredToken);
    let all_but_last = &good.expose()[..good.expose().len() - 1];
    for wrong in [
        "Bearer weir_0",
        "Bearer ",
        "Bearer",
        "",
        "Basic b3BzOm9wcw==",
        good.expose(),
        &format!("Bearer {all_but_last}"),
    ] {
        assert_eq!(refused(bearing(wrong)), Why::UnknownToken, "{wrong:?}");
    }
    let spelled = format!("bEARER   {} ", good.expose());
    assert!(admit(&guard, &bearing(&spelled), CHANGE).is_ok(), "the scheme has no case");
    // A wrong token is not excused by a good certificate.
    let certificate = Arc::new(Certificate { names: vec!["ops".into()], not_after: u64::MAX });
    let both = Credentials::new(Some(&HeaderValue::from_static("Bearer no")), Some(certificate));
    assert_eq!(refused(both), Why::UnknownToken);
}

#[test]
fn a_certificate_has_the_role_of_its_names() {
    let rules = [("tm-*", Role::Peer), ("ops", Role::Admin), ("*.gw.example", Role::Agent)];
    let (guard, ..) = guard(&auth(Vec::new(), &rules));
    let role = |names: &[&str]| admit(&guard, &showing(names, 60), Need::Any).map(|a| a.role);
    assert_eq!(role(&["tm-2"]), Ok(Some(Role::Peer)));
    assert_eq!(role(&["tm-"]), Ok(Some(Role::Peer)));
    assert_eq!(role(&["unknown", "ops"]), Ok(Some(Role::Admin)));
    assert_eq!(role(&["a.gw.example"]), Ok(Some(Role::Agent)));
    for other in ["gw.example", "tm", "opsx", "a.gw.example.org", ""] {
        assert_eq!(role(&[other]), Err(Why::UnknownCertificate), "{other}");
    }
    let expired = admit(&guard, &showing(&["ops"], -60), VIEW).unwrap_err();
    assert_eq!(expired, Why::ExpiredCertificate);
}

#[test]
fn refusals_are_counted_and_witnessed() {
    let (guard, _post, telemetry) = guard(&auth(Vec::new(), &[("ops", Role::Viewer)]));
    let (told, heard) = std::sync::mpsc::sync_channel(8);
    guard.witnessed_by(move |refused| told.send(refused.clone()).unwrap());
    assert!(admit(&guard, &showing(&["ops"], 60), CHANGE).is_err());
    assert!(admit(&guard, &Credentials::default(), Need::Nothing).is_ok());
    let refused = heard.try_recv().unwrap();
    assert_eq!((refused.why, refused.name.as_deref()), (Why::Role, Some("ops")));
    assert_eq!(refused.what, "GET /test");
    assert!(heard.try_recv().is_err(), "one refusal, one witness");
    let text = telemetry.text();
    let line = "weir_manager_denied_total{port=\"http\",reason=\"role\"} 1";
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn open_streams_end_when_their_token_is_withdrawn_or_ends() {
    let token = generate().unwrap();
    let bearer = bearing(&format!("Bearer {}", token.expose()));
    let need = Need::Role(Role::Agent);
    let (guard, post, _) = guard(&auth(vec![entry("gw-1", Role::Agent, &token, None)], &[]));
    let open = tokio::spawn(guard.clone().withdrawn(bearer.clone(), need));
    let other = auth(vec![entry("gw-1", Role::Agent, &generate().unwrap(), None)], &[]);
    post.send_replace(Some(Arc::new(Book::load(&other).unwrap())));
    open.await.unwrap();

    let soon = Timestamp::now() + SignedDuration::from_millis(20);
    let ending = auth(vec![entry("gw-1", Role::Agent, &token, Some(soon))], &[]);
    post.send_replace(Some(Arc::new(Book::load(&ending).unwrap())));
    guard.clone().withdrawn(bearer.clone(), need).await;
    assert!(Timestamp::now() >= soon);

    // Also when nobody reads the files any more.
    let soon = Timestamp::now() + SignedDuration::from_millis(20);
    let ending = auth(vec![entry("gw-1", Role::Agent, &token, Some(soon))], &[]);
    post.send_replace(Some(Arc::new(Book::load(&ending).unwrap())));
    drop(post);
    let end = guard.withdrawn(bearer, need);
    tokio::time::timeout(Duration::from_secs(60), end).await.expect("it ends with its token");
    assert!(Timestamp::now() >= soon);
}

#[test]
fn a_tokens_file_is_read_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let load = |text: &str| {
        fs::write(&file, text).unwrap();
        Book::load(&Auth { tokens_file: Some(file.clone()), ..auth(Vec::new(), &[]) })
    };
    let hash = TokenHash::of(b"x").to_string();
    let good = format!("[[tokens]]\nname = 'gw'\nrole = 'agent'\nsha256 = '{hash}'\n");
    assert!(load(&good).unwrap().has(Role::Agent));
    assert!(load(&format!("{good}expires = '2999-01-01T00:00:00Z'\n")).is_ok());
    for (bad, part) in [
        (good.replace("agent", "root"), "unknown variant, expected one of `agent`"),
        (good.replace(&hash, "weir_secret"), "never the token"),
        (format!("{good}expires = 'soon'\n"), "expires"),
        (format!("{good}{good}"), "same hash"),
        (good.replace("'gw'", "''"), "no name"),
        (format!("{good}uses = 3\n"), "unknown field `uses`"),
    ] {
        let error = load(&bad).unwrap_err();
        assert!(error.contains(part), "{bad}: {error}");
        assert!(!error.contains("weir_secret"), "{error}");
    }
    fs::remove_file(&file).unwrap();
    let missing = Auth { tokens_file: Some(file.clone()), ..auth(Vec::new(), &[]) };
    assert!(Book::load(&missing).unwrap_err().contains("auth.tokens_file"));
}

#[test]
fn every_service_of_ours_says_whom_it_serves() {
    use prost::Message;
    let set = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let ours = set.file.iter().filter(|file| file.package() == "weir.v1");
    let mut seen = 0;
    for file in ours {
        for service in &file.service {
            seen += 1;
            let path = format!("/weir.v1.{}/Any", service.name());
            let need = grpc::need(&path);
            assert!(matches!(need, Need::Role(Role::Agent | Role::Peer)), "{path}: {need:?}");
        }
    }
    assert!(seen >= 2, "the schema has services");
    assert_eq!(grpc::need("/weir.v1.Unheard/Of"), Need::Never);
}

#[test]
fn nothing_prints_a_secret() {
    let token = generate().unwrap();
    let bearer = bearing(&format!("Bearer {}", token.expose()));
    let auth = auth(vec![entry("gw-1", Role::Agent, &token, None)], &[]);
    let printed = format!("{token:?} {bearer:?} {auth:?} {:?}", Book::load(&auth));
    let hash = TokenHash::of(token.expose().as_bytes()).to_string();
    assert!(!printed.contains(token.expose()) && !printed.contains(&hash), "{printed}");
}

/// A call that was let through, as a stream's reader sees it.
fn speaker(guard: &Guard, credentials: &Credentials, need: Need) -> Speaker {
    let mut call = tonic::Request::new(());
    call.extensions_mut().insert(admit(guard, credentials, need).unwrap());
    Speaker::of(guard, &call, "usage")
}

#[test]
fn credentials_speak_for_the_ids_that_they_name() {
    let (token, peer) = (generate().unwrap(), generate().unwrap());
    let list = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect());
    let bound =
        TokenEntry { agents: list(&["gw-1", "eu-*"]), ..entry("ann", Role::Agent, &token, None) };
    let other =
        TokenEntry { managers: list(&["{name}"]), ..entry("tm-2", Role::Peer, &peer, None) };
    let mut auth = auth(vec![bound, other], &[("*.gateways", Role::Agent), ("any", Role::Agent)]);
    auth.certificates[0].agents = list(&["{name}"]);
    let (guard, _, telemetry) = guard(&auth);
    let bearer = |token: &Secret| bearing(&format!("Bearer {}", token.expose()));
    let agents = speaker(&guard, &bearer(&token), Need::Role(Role::Agent));
    for (id, may) in [("gw-1", true), ("eu-7", true), ("gw-2", false)] {
        assert_eq!(agents.may_be(id).is_ok(), may, "{id}");
    }
    let refused = agents.may_be("gw-2").unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    for part in ["\"ann\"", "\"gw-2\"", "gw-1, eu-*"] {
        assert!(refused.message().contains(part), "{part} in {}", refused.message());
    }
    let peers = speaker(&guard, &bearer(&peer), Need::Role(Role::Peer));
    assert!(peers.may_be("tm-2").is_ok() && peers.may_be("tm-1").is_err());
    let own = speaker(&guard, &showing(&["gw-1.gateways"], 60), Need::Role(Role::Agent));
    assert!(own.may_be("gw-1.gateways").is_ok() && own.may_be("gw-2.gateways").is_err());
    let any = speaker(&guard, &showing(&["any"], 60), Need::Role(Role::Agent));
    assert!(any.may_be("whoever").is_ok(), "without a list any id will do");
    let text = telemetry.text();
    let count = "weir_manager_denied_total{port=\"grpc\",reason=\"identity\"} 4";
    assert!(text.contains(count), "{count} in {text}");
}

#[test]
fn a_manager_that_was_dialled_is_who_its_certificate_says() {
    let list = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect());
    let mut auth = auth(Vec::new(), &[("tm-2", Role::Peer), ("gw-*", Role::Agent)]);
    auth.certificates[0].managers = list(&["tm-2"]);
    let (guard, ..) = guard(&auth);
    let shown = |name: &str| {
        let certificate = Certificate { names: vec![name.to_owned()], not_after: u64::MAX };
        Speaker::dialled(&guard, guard.recognise(Some(Arc::new(certificate))))
    };
    assert!(shown("tm-2").may_be("tm-2").is_ok() && shown("tm-2").may_be("tm-1").is_err());
    assert!(
        shown("localhost").may_be("tm-1").is_ok(),
        "TLS has checked its name, and no rule is about it"
    );
}

#[test]
fn lists_of_ids_go_with_their_role() {
    let token = generate().unwrap();
    let list = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect());
    let of = |role, agents, managers| {
        let entry = TokenEntry { agents, managers, ..entry("ann", role, &token, None) };
        Book::load(&auth(vec![entry], &[]))
    };
    assert!(of(Role::Agent, list(&["a"]), None).is_ok());
    for (found, part) in [
        (of(Role::Viewer, list(&["a"]), None), "agents"),
        (of(Role::Agent, None, list(&["a"])), "managers"),
        (of(Role::Peer, None, list(&[])), "0 entries"),
        (of(Role::Agent, list(&["a b"]), None), "a b"),
    ] {
        let error = found.unwrap_err();
        assert!(error.contains("\"ann\"") && error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn streams_end_when_their_credentials_are_for_other_ids() {
    let token = generate().unwrap();
    let bearer = bearing(&format!("Bearer {}", token.expose()));
    let of = |agents: Option<Vec<String>>| {
        let entry = TokenEntry { agents, ..entry("ann", Role::Agent, &token, None) };
        Some(Arc::new(Book::load(&auth(vec![entry], &[])).unwrap()))
    };
    let (_, post, telemetry) = guard(&auth(Vec::new(), &[("nobody", Role::Agent)]));
    post.send_replace(of(None));
    let guard = Guard::new(post.subscribe(), telemetry);
    let mut end = Box::pin(guard.withdrawn(bearer, Need::Role(Role::Agent)));
    let mut ended = || {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        end.as_mut().poll(&mut context).is_ready()
    };
    assert!(!ended());
    post.send_replace(of(None));
    assert!(!ended(), "nothing has changed for it");
    post.send_replace(of(Some(vec!["gw-1".to_owned()])));
    assert!(ended());
}
