//! Who asks: the key that a request shows, and what it may.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use aevatar_sandbox_contract::{Caller, KeyStore, StoredKey};
use axum::http::{HeaderMap, header};

use crate::{
    options::ApiKey,
    problem::{Problem, ProblemCode},
};

/// For how long an answer of the store is taken to hold: so long a revoked key still works.
const KNOWN_FOR: Duration = Duration::from_secs(2);
/// Keys, valid or not, that are remembered.
const REMEMBERED: usize = 10_000;

/// All keys that open the door.
pub(crate) struct Keys {
    configured: Vec<ApiKey>,
    store: Option<Arc<dyn KeyStore>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, (Instant, Option<StoredKey>)>,
    /// Whether the store has any key that is not revoked.
    any: Option<(Instant, bool)>,
}

impl Keys {
    pub(crate) fn new(configured: Vec<ApiKey>, store: Option<Arc<dyn KeyStore>>) -> Self {
        Self { configured, store, known: Mutex::default() }
    }

    /// Who asks; nothing where nobody need show a key.
    ///
    /// # Errors
    /// A key is needed, and none that is valid was shown; or the store failed.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
        if self.configured.is_empty() && !self.any_stored().await? {
            return Ok(None);
        }
        let Some(shown) = shown(headers) else { return Err(unauthenticated("no key was shown")) };
        let key = ApiKey::new(shown);
        // Every key is compared, and digests are: the time it takes says nothing of the key.
        let configured = self.configured.iter().filter(|known| known.is(&key)).count() > 0;
        if configured {
            return Ok(Some(Caller { owner: key.owner(), ..Caller::default() }));
        }
        match self.stored(&key.digest()).await? {
            Some(StoredKey { id, allowance, revoked_at: None, .. }) => Ok(Some(Caller { owner: id, allowance })),
            Some(_) => Err(unauthenticated("the key that was shown is revoked")),
            None => Err(unauthenticated("the key that was shown is not valid")),
        }
    }

    async fn any_stored(&self) -> Result<bool, Problem> {
        let Some(store) = &self.store else { return Ok(false) };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).any;
        if let Some((_, any)) = known.filter(|(at, _)| at.elapsed() < KNOWN_FOR) {
            return Ok(any);
        }
        let keys = store.keys().await.map_err(|error| store_failed(&error))?;
        let any = keys.iter().any(|key| key.revoked_at.is_none());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).any = Some((Instant::now(), any));
        Ok(any)
    }

    async fn stored(&self, digest: &str) -> Result<Option<StoredKey>, Problem> {
        let Some(store) = &self.store else { return Ok(None) };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).keys.get(digest).cloned();
        if let Some((_, key)) = known.filter(|(at, _)| at.elapsed() < KNOWN_FOR) {
            return Ok(key);
        }
        let key = store.key(digest).await.map_err(|error| store_failed(&error))?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.keys.len() >= REMEMBERED {
            known.keys.clear();
        }
        known.keys.insert(digest.to_owned(), (Instant::now(), key.clone()));
        Ok(key)
    }
}

fn shown(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    bearer.or_else(|| headers.get("x-api-key")?.to_str().ok())
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(ProblemCode::Unauthenticated, detail).with_hint(
        "send a key as `Authorization: Bearer KEY` or `X-Api-Key: KEY`; `aevatar-sandbox key create` makes one",
    )
}

fn store_failed(error: &aevatar_sandbox_contract::StoreError) -> Problem {
    tracing::error!("{error}");
    Problem::new(ProblemCode::StoreUnavailable, "keys cannot be looked up now")
        .with_hint("look at the server's log: the disk may be full, or the database cannot be reached")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[tokio::test]
    async fn a_key_is_shown_in_one_of_two_ways() {
        let keys = Keys::new(vec![ApiKey::new("first-key-of-many"), ApiKey::new("second-key-of-many")], None);
        let mut owners = Vec::new();
        for good in [
            ("authorization", "Bearer second-key-of-many"),
            ("authorization", "bearer first-key-of-many"),
            ("x-api-key", "first-key-of-many"),
        ] {
            owners.push(keys.caller(&headers(&[good])).await.unwrap().unwrap().owner);
        }
        assert_ne!(owners[0], owners[1], "each key is an owner of its own");
        assert_eq!(owners[1], owners[2]);
        for bad in [
            ("authorization", "Bearer first-key-of-man"),
            ("authorization", "Basic first-key-of-many"),
            ("authorization", "first-key-of-many"),
            ("x-api-key", ""),
            ("host", "localhost"),
        ] {
            let problem = keys.caller(&headers(&[bad])).await.unwrap_err();
            assert_eq!(problem.code(), ProblemCode::Unauthenticated, "{bad:?}");
            assert!(!problem.detail().contains("first"), "the key is not repeated");
        }
    }

    #[tokio::test]
    async fn without_keys_nobody_need_show_one() {
        assert_eq!(Keys::new(Vec::new(), None).caller(&headers(&[])).await.unwrap(), None);
    }
}
