//! Keys.

use aevatar_sandbox_contract::{Allowance, KeyStore, LimitMaxima, StoredKey};

use crate::{data::at, place::Place};

fn key(number: i64) -> StoredKey {
    StoredKey {
        id: format!("k_{number}"),
        name: format!("ключ '{number}'"),
        digest: format!("{number:064}"),
        allowance: Allowance::default(),
        created_at: at(-number),
        revoked_at: None,
    }
}

pub(crate) async fn keys_are_kept_and_revoked(place: Place) {
    let store = place.open().await;
    let mut keys = vec![key(3), key(2), key(1)];
    keys[0].allowance = Allowance {
        per_minute: Some(60),
        concurrent: Some(2),
        priority: Some(5),
        maxima: Some(LimitMaxima {
            cpu_limit: "2".parse().unwrap(),
            memory_limit: "1Gi".parse().unwrap(),
            disk_limit: "1Gi".parse().unwrap(),
            process_limit: 8,
            timeout: std::time::Duration::from_secs(10),
        }),
        allowed_modules: Some(vec!["numpy".to_owned()]),
    };
    for key in &keys {
        store.add_key(key).await.unwrap();
    }
    assert_eq!(store.keys().await.unwrap(), keys, "the oldest first");
    assert_eq!(store.key(&keys[1].digest).await.unwrap().as_ref(), Some(&keys[1]));
    assert_eq!(store.key("").await.unwrap(), None);

    // Another process sees it at once.
    let other = place.open().await;
    assert!(other.revoke_key("k_2", at(5)).await.unwrap());
    assert!(!other.revoke_key("k_2", at(6)).await.unwrap());
    assert!(!other.revoke_key("k_none", at(6)).await.unwrap());
    keys[1].revoked_at = Some(at(5));
    assert_eq!(store.key(&keys[1].digest).await.unwrap().as_ref(), Some(&keys[1]));
    store.close().await;
    other.close().await;
    assert_eq!(place.open().await.keys().await.unwrap(), keys);
}

pub(crate) async fn a_key_is_there_once(place: Place) {
    let store = place.open().await;
    store.add_key(&key(1)).await.unwrap();
    let error = store.add_key(&StoredKey { digest: key(2).digest, ..key(1) }).await.unwrap_err();
    assert_eq!(error.to_string(), "could not keep a key");
    store.add_key(&StoredKey { digest: key(1).digest, ..key(2) }).await.unwrap_err();
    assert_eq!(store.keys().await.unwrap(), [key(1)]);
}
