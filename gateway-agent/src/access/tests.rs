//! Files that cannot be used, and secrets that are not printed.

use rcgen::{CertificateParams, KeyPair};

use super::*;

fn write(folder: &Path) -> AccessFiles {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["gw-1".to_owned()]).unwrap();
    let own = params.self_signed(&key).unwrap();
    fs::write(folder.join("ca.pem"), own.pem()).unwrap();
    fs::write(folder.join("gw.pem"), own.pem()).unwrap();
    fs::write(folder.join("gw.key"), key.serialize_pem()).unwrap();
    AccessFiles {
        ca: Some(folder.join("ca.pem")),
        identity: Some((folder.join("gw.pem"), folder.join("gw.key"))),
        token: None,
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = write(folder.path());
    assert!(Access::load(good.clone()).unwrap().speaks_tls());
    let none = folder.path().join("none");
    let (cert, key) = good.identity.clone().unwrap();
    for (files, part) in [
        (AccessFiles { ca: Some(none.clone()), ..good.clone() }, "tls.ca: cannot read"),
        (AccessFiles { ca: Some(key.clone()), ..good.clone() }, "tls.ca"),
        (AccessFiles { identity: Some((cert.clone(), cert)), ..good.clone() }, "tls.key"),
        (AccessFiles { identity: Some((none.clone(), key)), ..good.clone() }, "tls.cert"),
        (AccessFiles { ca: None, ..good.clone() }, "tls.ca is missing"),
        (AccessFiles { token: Some(TokenSource::File(none)), ..good }, "token_file"),
    ] {
        let error = Access::load(files).unwrap_err();
        assert!(error.contains(part) && !error.contains("PRIVATE"), "{error}");
    }
}

#[cfg(feature = "sidecar")]
#[test]
fn a_certificate_that_has_ended_or_has_another_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = write(folder.path());
    let now = crate::clock::unix_seconds();
    assert_eq!(good.valid_at(now), Ok(()));
    let late = good.valid_at(u64::MAX / 2).unwrap_err();
    assert!(
        late.contains("tls.cert") && late.contains("gw.pem") && late.contains("ended"),
        "{late}"
    );
    let early = good.valid_at(0).unwrap_err();
    assert!(early.contains("valid from"), "{early}");
    let other = KeyPair::generate().unwrap().serialize_pem();
    fs::write(folder.path().join("gw.key"), other).unwrap();
    let error = Access::load(good).unwrap_err();
    let named = error.contains("tls.cert and tls.key") && error.contains("not that of");
    assert!(named, "{error}");
}

#[test]
fn a_token_is_sent_and_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "weir_abc\n").unwrap();
    let files = |token| AccessFiles { token: Some(token), ..AccessFiles::default() };
    let access = Access::load(files(TokenSource::File(file.clone()))).unwrap();
    let sent = |access: &Access| access.authorization().unwrap().unwrap();
    assert_eq!(sent(&access).to_str().unwrap(), "Bearer weir_abc");
    fs::write(&file, "weir_new").unwrap();
    assert_eq!(sent(&access).to_str().unwrap(), "Bearer weir_new", "read anew");

    let text = Access::load(files(TokenSource::Text("weir_abc".to_owned()))).unwrap();
    let printed = format!("{text:?} {:?}", sent(&text));
    assert!(!printed.contains("weir_abc"), "{printed}");
    for bad in ["", " \n", "two words", "t\u{fc}r\u{1}"] {
        let error = Access::load(files(TokenSource::Text(bad.to_owned()))).unwrap_err();
        assert!(bad.trim().is_empty() || !error.contains(bad), "{error}");
    }
}

#[test]
fn new_certificates_are_taken_and_bad_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::load(write(folder.path())).unwrap();
    let first = access.tls().unwrap();
    assert!(Arc::ptr_eq(&first, &access.tls().unwrap()), "nothing changed");
    fs::write(folder.path().join("gw.pem"), "no certificate").unwrap();
    assert!(Arc::ptr_eq(&first, &access.tls().unwrap()), "the old one serves");
    write(folder.path());
    assert!(!Arc::ptr_eq(&first, &access.tls().unwrap()), "the new one serves");
}

#[test]
fn files_that_could_not_be_read_are_tried_again_though_they_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let access = Access::load(write(folder.path())).unwrap();
    let first = access.tls().unwrap();
    let files = write(folder.path());
    // As after a look at which the files could not be opened.
    let mut state = access.tls.as_ref().unwrap().lock().unwrap();
    state.told = Some("too many open files".to_owned());
    drop(state);
    let second = access.tls().unwrap();
    assert!(!Arc::ptr_eq(&first, &second), "the new ones serve");
    let (cert, _) = files.identity.unwrap();
    fs::write(&cert, "no certificate").unwrap();
    for _ in 0..2 {
        assert!(Arc::ptr_eq(&second, &access.tls().unwrap()), "the old ones serve");
        let state = access.tls.as_ref().unwrap().lock().unwrap();
        assert!(state.stamp != Stamp::of(&access.files), "they are not taken for read");
        assert!(state.told.as_ref().is_some_and(|why| why.contains("tls.cert")), "told once");
    }
}
