//! The stores: one suite for all of them, crashes, full disks, a real PostgreSQL, and the commands.
#![allow(clippy::unwrap_used, reason = "helpers of tests, which Clippy does not take for tests")]

mod support;

#[path = "security/authority.rs"]
mod authority;
#[path = "store/child.rs"]
mod child;
#[path = "store/conformance.rs"]
mod conformance;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use authority::Authority;
use conformance::{conforms, records};
use support::{
    peers::{or_skip, system_binary},
    postgres::{Postgres, postgres_binary},
    process::weir_binary,
    wait::wait_until,
};
use traffic_manager::store::{
    Batch, Identity, MemoryStore, Place, PostgresPlace, RedbStore, Store, StoreError, StoreHandle,
    Table,
};
use weir_proto::{id::ManagerId, time::Time};

const SOON: Duration = Duration::from_secs(30);

pub(crate) fn identity() -> Identity {
    Identity { manager: ManagerId::new("tm-1").unwrap(), created: Time::from_secs(7) }
}

fn named(name: &str) -> Identity {
    Identity { manager: ManagerId::new(name).unwrap(), ..identity() }
}

#[test]
fn memory_conforms() {
    conforms(&|| Ok(Box::new(MemoryStore::new(identity()))), false);
}

#[test]
fn the_embedded_store_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let open = || -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(RedbStore::open(folder.path(), &identity())?))
    };
    conforms(&open, true);
}

#[test]
fn postgresql_conforms_is_fenced_and_comes_back() {
    let Some(program) = or_skip(postgres_binary()) else { return };
    let mut server = Postgres::start(&program);
    let place = database(&server, "weir");
    conforms(&|| place.open(&identity()), true);
    managers_share_a_schema(&place);
    a_newer_format_and_other_tables_are_refused(&server);
    restores_into_a_database(&place);
    whoever_was_replaced_meanwhile_writes_nothing(&server, &place);
    a_lost_connection_passes(&mut server, &place);
    only_a_trusted_server_is_spoken_to(&mut server);
}

/// What the options of a URL make of a store on that server.
fn opened(server: &Postgres, options: &str) -> Result<Box<dyn Store>, String> {
    let url = format!("{}{options}", server.url());
    let place = PostgresPlace::new(&url, None, "weir".to_owned())?;
    Place::Postgres(Box::new(place)).open(&named("tm-tls")).map_err(|error| error.to_string())
}

fn only_a_trusted_server_is_spoken_to(server: &mut Postgres) {
    let Err(error) = opened(server, "?sslmode=require") else { panic!("it speaks no TLS") };
    assert!(error.contains("TLS"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let (ours, strangers) = (Authority::new("ours"), Authority::new("strangers"));
    let at = |name: &str| folder.path().join(name);
    fs::write(at("ca.pem"), ours.pem()).unwrap();
    fs::write(at("strangers.pem"), strangers.pem()).unwrap();
    ours.issue(folder.path(), "db", 2999);
    server.secure(&at("db.pem"), &at("db.key"));
    let full = |ca: &str| format!("?sslmode=verify-full&sslrootcert={}", at(ca).display());
    for (options, encrypted) in
        [("?sslmode=require".to_owned(), "1"), (full("ca.pem"), "1"), (String::new(), "0")]
    {
        let mut store = opened(server, &options).unwrap_or_else(|why| panic!("{options}: {why}"));
        store.commit(&batch("key", "value")).unwrap();
        let ask = "SELECT count(*)::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                   WHERE ssl AND application_name = 'weir traffic-manager'";
        // A session that was closed just now may still be listed.
        wait_until("its session is as the URL says", SOON, &[], || asked(server, ask) == encrypted);
    }
    let Err(error) = opened(server, &full("strangers.pem")) else { panic!("it is a stranger") };
    assert!(error.contains("certificate"), "{error}");
    ours.issue(folder.path(), "db", 2021);
    server.secure(&at("db.pem"), &at("db.key"));
    let Err(error) = opened(server, &full("ca.pem")) else { panic!("its certificate has ended") };
    assert!(error.contains("xpired"), "{error}");
}

fn database(server: &Postgres, schema: &str) -> Place {
    let place = PostgresPlace::new(&server.url(), None, schema.to_owned()).unwrap();
    Place::Postgres(Box::new(place))
}

fn batch(key: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(Table::Entries, key, value);
    batch
}

fn managers_share_a_schema(place: &Place) {
    let (mut one, mut two) =
        (place.open(&named("tm-a")).unwrap(), place.open(&named("tm-b")).unwrap());
    one.commit(&batch("key", "of a")).unwrap();
    two.commit(&batch("key", "of b")).unwrap();
    assert_eq!(records(one.as_mut()), [(Table::Entries, b"key".into(), b"of a".into())]);
    assert_eq!(records(two.as_mut()), [(Table::Entries, b"key".into(), b"of b".into())]);
}

fn a_newer_format_and_other_tables_are_refused(server: &Postgres) {
    let place = database(server, "newer");
    drop(place.open(&identity()).unwrap());
    sql(server, "UPDATE newer.weir_stores SET format = 2");
    let error = place.open(&identity()).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
    sql(server, "CREATE SCHEMA other; CREATE TABLE other.weir_stores (a int)");
    sql(server, "CREATE TABLE other.weir_entries (a int)");
    let error = database(server, "other").open(&identity()).err().unwrap();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    let wrong = server.url().replace("sesame", "guess");
    let wrong = PostgresPlace::new(&wrong, None, "weir".to_owned()).unwrap();
    let error = Place::Postgres(Box::new(wrong)).open(&identity()).err().unwrap();
    assert!(matches!(error, StoreError::Failed { .. }), "{error}");
    assert!(!error.to_string().contains("guess"), "{error}");
}

/// As the database's administrator.
#[tokio::main(flavor = "current_thread")]
async fn sql(server: &Postgres, text: &str) {
    let (client, connection) =
        tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(text).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

/// The one value that a query gives.
#[tokio::main(flavor = "current_thread")]
async fn asked(server: &Postgres, query: &str) -> String {
    let (client, connection) =
        tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let value = client.query_one(query, &[]).await.unwrap().get(0);
    drop(client);
    connection.await.unwrap().unwrap();
    value
}

fn restores_into_a_database(place: &Place) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let mut store = place.open(&named("tm-r")).unwrap();
    store.commit(&batch("key", "kept")).unwrap();
    store.backup(&file).unwrap();
    store.commit(&batch("key", "newer")).unwrap();
    drop(store);
    let restore = |force| traffic_manager::store::restore(&file, place, None, force);
    let error = restore(false).unwrap_err();
    assert!(matches!(error, StoreError::Exists { .. }), "{error}");
    restore(true).unwrap();
    let mut store = place.open(&named("tm-r")).unwrap();
    assert_eq!(records(store.as_mut()), [(Table::Entries, b"key".into(), b"kept".into())]);
}

/// Ends the sessions of all stores, as a proxy or an administrator may.
fn end_sessions(server: &Postgres) {
    sql(
        server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
         AND application_name LIKE 'weir%'",
    );
}

fn whoever_was_replaced_meanwhile_writes_nothing(server: &Postgres, place: &Place) {
    let me = named("tm-replaced");
    let stored = |key: &str, value: &str| (Table::Entries, key.into(), value.into());
    let mut first = place.open(&me).unwrap();
    first.commit(&batch("key", "old")).unwrap();
    end_sessions(server);
    let mut second = place.open(&me).unwrap();
    second.commit(&batch("key", "new")).unwrap();
    drop(second);
    for _ in 0..2 {
        let error = first.commit(&batch("key", "stale")).unwrap_err();
        assert!(matches!(error, StoreError::Held { .. }) && first.is_over(), "{error}");
    }
    drop(first);
    let mut third = place.open(&me).unwrap();
    assert_eq!(records(third.as_mut()), [stored("key", "new")], "what was acknowledged stays");

    // The handle's thread ends, and the manager with it.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let handle = StoreHandle::start(third).unwrap();
    end_sessions(server);
    place.open(&me).unwrap().commit(&batch("key", "newer")).unwrap();
    runtime.block_on(async {
        let error = handle.commit(batch("key", "stale")).await.unwrap_err();
        assert!(matches!(error, StoreError::Held { .. }), "{error}");
        handle.closed().await;
    });
    let mut last = place.open(&me).unwrap();
    assert_eq!(records(last.as_mut()), [stored("key", "newer")]);
}

fn a_lost_connection_passes(server: &mut Postgres, place: &Place) {
    let me = named("tm-lost");
    let mut store = place.open(&me).unwrap();
    store.commit(&batch("before", "1")).unwrap();
    // A session that ended meanwhile is replaced unnoticed.
    end_sessions(server);
    store.commit(&batch("between", "2")).unwrap();
    server.cut();
    let error = store.commit(&batch("refused", "3")).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }) && error.may_pass(), "{error}");
    server.resume();
    wait_until("the store is back", SOON, &[], || store.commit(&batch("after", "4")).is_ok());
    let keys: Vec<_> = records(store.as_mut()).into_iter().map(|(_, key, _)| key).collect();
    assert_eq!(keys, [b"after".to_vec(), b"before".to_vec(), b"between".to_vec()]);
}

#[test]
fn kill_9_at_any_moment_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..15_u64 {
        let mut child = child::command(&[], "child::child_that_writes", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        // The kill meets the child somewhere in the commits after the last line that was read.
        while seen < 1 + round * 7 % 23 {
            let line = lines.next().expect("the child writes on").unwrap();
            if let Some(number) = line.strip_prefix("acknowledged ") {
                (acknowledged, seen) = (number.parse::<u64>().unwrap() + 1, seen + 1);
            }
        }
        child.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("acknowledged ") {
                acknowledged = number.parse::<u64>().unwrap_or(0).max(acknowledged - 1) + 1;
            }
        }
        child.wait().unwrap();
        let mut store = RedbStore::open(folder.path(), &identity()).expect("it opens");
        let there = child::committed(&mut store);
        assert!((acknowledged..=acknowledged + 1).contains(&there), "{there} of {acknowledged}");
    }
}

#[test]
fn kill_9_while_the_store_is_made_leaves_one_that_opens() {
    for round in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut child = child::command(&[], "child::child_that_writes", &data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mark = data.join(["lock", "weir.redb.part", "weir.redb"][round % 3]);
        wait_until("the child begins", SOON, &[], || {
            mark.exists() || data.join("weir.redb").exists()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let mut store = RedbStore::open(&data, &identity()).expect("it opens");
        child::committed(&mut store);
    }
}

#[test]
fn a_limit_of_the_files_length_refuses_clearly_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    // Without the trap the system would end a process that reaches the limit.
    let before = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    let mut command = child::command(&before, "child::child_that_fills_the_disk", folder.path());
    child::with_ballast(&mut command, Path::new("limit"));
    recovered(&command.output().unwrap());
}

#[test]
fn a_full_disk_refuses_clearly_and_passes() {
    let Some(unshare) = or_skip(system_binary("unshare")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    // A small disk of its own, which goes with the process.
    let mount = format!("mount -t tmpfs -o size=3m tmpfs {path}");
    let unshare = unshare.to_str().unwrap();
    let spaces = ["--mount", "--map-root-user"];
    let may = Command::new(unshare).args(spaces).args(["sh", "-c", &mount]).output().unwrap();
    let why = String::from_utf8_lossy(&may.stderr).into_owned();
    if or_skip(may.status.success().then_some(()).ok_or(why)).is_none() {
        return;
    }
    let script = format!("{mount} && exec \"$0\" \"$@\"");
    let before = [unshare, spaces[0], spaces[1], "sh", "-c", &script];
    let mut command = child::command(&before, "child::child_that_fills_the_disk", folder.path());
    child::with_ballast(&mut command, &folder.path().join("ballast"));
    recovered(&command.output().unwrap());
}

fn recovered(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("recovered"), "{said}\n{errors}");
}

fn manager(args: &[&str]) -> (bool, String) {
    let program = weir_binary("traffic-manager").unwrap();
    let output = Command::new(program).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_commands_check_back_up_and_restore() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, copy, backup) = (path("data"), path("copy"), path("backup"));
    let (ok, text) = manager(&["store", "check", "--data-dir", &data]);
    assert!(!ok && text.contains("there is no store at"), "{text}");
    assert!(!Path::new(&data).exists(), "a check makes nothing");

    let mut store = RedbStore::open(Path::new(&data), &identity()).unwrap();
    store.commit(&batch("key", "kept")).unwrap();
    let (ok, text) = manager(&["store", "backup", &backup, "--data-dir", &data]);
    assert!(!ok && text.contains(&format!("in use by process {}", std::process::id())), "{text}");
    drop(store);

    let (ok, text) = manager(&["store", "backup", &backup, "--data-dir", &data]);
    assert!(ok && text.contains("sound (manager tm-1, format 1, 1 entries"), "{text}");
    let (ok, text) = manager(&["store", "restore", &backup, "--data-dir", &data]);
    assert!(!ok && text.contains("exists already") && text.contains("--force"), "{text}");
    let restore = ["store", "restore", &backup, "--data-dir", &copy, "--id", "tm-9"];
    assert!(manager(&restore).0);
    let mut store = RedbStore::open(Path::new(&copy), &named("tm-9")).unwrap();
    assert_eq!(records(&mut store), [(Table::Entries, b"key".into(), b"kept".into())]);
    drop(store);

    fs::write(Path::new(&data).join("weir.redb"), "garbage that once was a store").unwrap();
    let (ok, text) = manager(&["store", "check", "--data-dir", &data]);
    assert!(!ok && text.contains("is not a store of Weir"), "{text}");
    assert!(manager(&["store", "restore", &backup, "--data-dir", &data, "--force"]).0);
    assert!(manager(&["store", "check", "--data-dir", &data]).0);
    fs::write(&backup, "no backup").unwrap();
    let (ok, text) = manager(&["store", "restore", &backup, "--data-dir", &data, "--force"]);
    assert!(!ok && text.contains("is not a store of Weir"), "{text}");
    let (ok, text) = manager(&["store", "check", "--data-dir", &data]);
    assert!(ok, "a failed restore leaves the store as it was: {text}");
}

#[tokio::test]
async fn a_store_in_use_is_copied_while_commits_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let place = Place::Folder(data.clone());
    let (handle, loaded) = StoreHandle::open(place.clone(), identity()).await.unwrap();
    assert!(loaded.is_empty());
    handle.commit(batch("key", "kept")).await.unwrap();
    let before = names(&data);
    let (copied, committed) =
        tokio::join!(handle.copy(&data), handle.commit(batch("key", "newer")));
    committed.unwrap();
    let mut copied = copied.unwrap();
    assert_eq!(names(&data), before, "the copy has no name");
    let backup = folder.path().join("backup");
    let size = std::io::copy(&mut copied.file, &mut fs::File::create(&backup).unwrap()).unwrap();
    assert_eq!(size, copied.size);
    let report = traffic_manager::store::inspect(&backup).unwrap();
    assert_eq!((report.records, report.identity), ([1, 0, 0], identity()));
    handle.shutdown().await;
    let error = handle.copy(&data).await.unwrap_err();
    assert_eq!(error, StoreError::Stopped);
    let (handle, loaded) = StoreHandle::open(place, identity()).await.unwrap();
    assert_eq!(loaded, [(Table::Entries, b"key".to_vec(), b"newer".to_vec())]);
    handle.shutdown().await;
}

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}
