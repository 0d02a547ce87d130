//! Databases that are new, old, of another version, or not there.

use std::{error::Error as _, os::unix::fs::PermissionsExt, path::Path};

use aevatar_sandbox_contract::{ExecutionId, ExecutionStatus, ExecutionStore, KeyStore, StoreError};
use aevatar_sandbox_store::{Store, StoreLocation};

use crate::{
    data::{ended, waiting},
    place::Place,
};

fn cause(error: &StoreError) -> String {
    format!("{error}: {}", error.source().unwrap())
}

pub(crate) async fn several_may_open_an_empty_database_at_the_same_time(place: Place) {
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let location = place.location();
            tokio::spawn(
                async move { Store::open(location).await.unwrap().finish(&ended(ExecutionId::generate())).await },
            )
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().unwrap());
    }
}

pub(crate) async fn what_a_newer_program_used_is_refused(place: Place) {
    place.open().await.close().await;
    let mut database = place.connect().await;
    let newer = "INSERT INTO sandbox_migrations (version, description, success, checksum, execution_time)
        SELECT 999, 'newer', success, checksum, execution_time FROM sandbox_migrations WHERE version = 1";
    sqlx::query(newer).execute(&mut database).await.unwrap();
    let error = cause(&Store::open(place.location()).await.unwrap_err());
    let expected =
        "the database has version 999 of the schema, and this program knows versions up to 1: use a newer program";
    assert!(error.starts_with("could not open the ") && error.ends_with(expected), "{error}");
    // The attempt left no lock behind.
    sqlx::query("DELETE FROM sandbox_migrations WHERE version = 999").execute(&mut database).await.unwrap();
    place.open().await;
}

pub(crate) async fn a_changed_schema_is_refused(place: Place) {
    place.open().await.close().await;
    let mut database = place.connect().await;
    let changed = "UPDATE sandbox_migrations SET checksum = $1 WHERE version = 1";
    sqlx::query(changed).bind(b"x".as_slice()).execute(&mut database).await.unwrap();
    let error = cause(&Store::open(place.location()).await.unwrap_err());
    assert!(error.contains("version 1 of the schema in the database is not the one"), "{error}");
}

pub(crate) async fn files_are_for_their_owner_only(place: Place) {
    let store = place.open().await;
    store.enqueue(&waiting()).await.unwrap();
    let mode = |path: &Path| fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.folder()), 0o700);
    let mut files = 0;
    for entry in fs_err::read_dir(place.folder()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        files += 1;
    }
    assert!(files >= 4, "the database, its log, locks");
}

pub(crate) async fn locks_of_dead_servers_are_removed(place: Place) {
    let locks = || fs_err::read_dir(place.folder().join("servers")).unwrap().count();
    let store = place.open().await;
    store.inherit().await.unwrap();
    for _ in 0..3 {
        // Dropped without being closed, as at a crash.
        place.open().await.enqueue(&waiting()).await.unwrap();
    }
    let reader = place.open().await;
    reader.keys().await.unwrap();
    assert_eq!(locks(), 4);
    assert_eq!(store.inherit().await.unwrap().queued.len(), 3);
    assert_eq!(locks(), 1);
    store.close().await;
    assert_eq!(locks(), 0);
}

pub(crate) async fn a_folder_may_have_any_name(place: Place) {
    let folder = place.folder().join("a b?c#d%20é/%2e%2e");
    let store = Store::open(StoreLocation::Folder(folder.clone())).await.unwrap();
    store.enqueue(&waiting()).await.unwrap();
    assert!(folder.join("executions.sqlite").exists());
}

/// Made by the first released program. A later schema must read what is in it.
const OLD: &str = include_str!("../fixtures/sqlite-v1.sql");

pub(crate) async fn a_database_of_version_1_is_read(place: Place) {
    place.open().await.close().await;
    for suffix in ["", "-wal", "-shm"] {
        let file = place.folder().join(format!("executions.sqlite{suffix}"));
        if file.exists() {
            fs_err::remove_file(file).unwrap();
        }
    }
    fs_err::File::create(place.folder().join("executions.sqlite")).unwrap();
    sqlx::raw_sql(OLD).execute(&mut place.connect().await).await.unwrap();

    let store = place.open().await;
    let keys = store.keys().await.unwrap();
    assert_eq!(keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["k_first", "k_second"]);
    assert!(keys[0].revoked_at.is_none() && keys[1].revoked_at.is_some());
    assert_eq!(keys[0].allowance.per_minute, Some(60));

    let failed = "01980000-0000-7000-8000-000000000001".parse().unwrap();
    let record = store.record("k_first", failed).await.unwrap().unwrap();
    assert_eq!(record.status, ExecutionStatus::Failed);
    let result = store.result("k_first", failed).await.unwrap().unwrap();
    assert_eq!(result.stdout, "zero \0 and \u{fffd}\n");
    assert_eq!(store.events("k_first", failed).await.unwrap().unwrap().len(), 2);
    assert_eq!(store.file("k_first", failed, "out/ä.txt").await.unwrap().unwrap().content, b"\0\xffa");

    let inheritance = store.inherit().await.unwrap();
    let [waits] = &inheritance.queued[..] else { panic!("{inheritance:?}") };
    assert_eq!(waits.idempotency_key.as_deref(), Some("name"));
    assert_eq!(waits.request.code, b"print(1)");
    let [(running, request)] = &inheritance.running[..] else { panic!("{inheritance:?}") };
    assert_eq!(running.status, ExecutionStatus::Running);
    assert_eq!(request.code, b"print(2)");
}

pub(crate) async fn a_server_that_is_not_there_is_named(_: Place) {
    let location = StoreLocation::Postgres("Host=/nowhere;Password=secret".parse().unwrap());
    let error = Store::open(location).await.unwrap_err();
    assert_eq!(error.to_string(), "could not open the PostgreSQL store");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

pub(crate) async fn the_password_is_not_shown(place: Place) {
    let location = StoreLocation::Postgres(format!("{};Password=hidden", place.text).parse().unwrap());
    let store = Store::open(location.clone()).await.unwrap();
    store.enqueue(&waiting()).await.unwrap();
    let shown = format!("{location:?} {store:?}");
    assert!(!shown.contains("hidden"), "{shown}");
}
