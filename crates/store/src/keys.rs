//! Keys.

use aevatar_sandbox_contract::{KeyStore, StoreError, StoredKey};
use sqlx::{Row, any::AnyRow};

use crate::{
    Problem, Store,
    database::Durability,
    executions::{microseconds, timestamp},
};

const ADD: &str = "INSERT INTO sandbox_keys (id, name, digest, allowance, created_at, revoked_at)
    VALUES ($1, $2, $3, $4, $5, $6)";

const ONE: &str = "SELECT id, name, digest, allowance, created_at, revoked_at FROM sandbox_keys WHERE digest = $1";

const ALL: &str = "SELECT id, name, digest, allowance, created_at, revoked_at FROM sandbox_keys
    ORDER BY created_at, id";

const REVOKE: &str = "UPDATE sandbox_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";

#[async_trait::async_trait]
impl KeyStore for Store {
    async fn add_key(&self, key: &StoredKey) -> Result<(), StoreError> {
        add(self, key).await.map_err(|source| StoreError::new("keep a key", source))
    }

    async fn key(&self, digest: &str) -> Result<Option<StoredKey>, StoreError> {
        one(self, digest).await.map_err(|source| StoreError::new("look up a key", source))
    }

    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        all(self).await.map_err(|source| StoreError::new("list the keys", source))
    }

    async fn revoke_key(&self, id: &str, at: jiff::Timestamp) -> Result<bool, StoreError> {
        revoke(self, id, at).await.map_err(|source| StoreError::new("revoke a key", source))
    }
}

async fn add(store: &Store, key: &StoredKey) -> Result<(), Problem> {
    let mut transaction = store.database.begin(Durability::Synced).await?;
    sqlx::query(ADD)
        .bind(&key.id)
        .bind(&key.name)
        .bind(&key.digest)
        .bind(serde_json::to_string(&key.allowance)?)
        .bind(microseconds(key.created_at))
        .bind(key.revoked_at.map(microseconds))
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

async fn one(store: &Store, digest: &str) -> Result<Option<StoredKey>, Problem> {
    let row = sqlx::query(ONE).bind(digest).fetch_optional(&store.database.reader).await?;
    row.as_ref().map(read).transpose()
}

async fn all(store: &Store) -> Result<Vec<StoredKey>, Problem> {
    sqlx::query(ALL).fetch_all(&store.database.reader).await?.iter().map(read).collect()
}

async fn revoke(store: &Store, id: &str, at: jiff::Timestamp) -> Result<bool, Problem> {
    let mut transaction = store.database.begin(Durability::Synced).await?;
    let revoked = sqlx::query(REVOKE).bind(id).bind(microseconds(at)).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(revoked.rows_affected() == 1)
}

fn read(row: &AnyRow) -> Result<StoredKey, Problem> {
    Ok(StoredKey {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        digest: row.try_get("digest")?,
        allowance: serde_json::from_str(row.try_get("allowance")?)?,
        created_at: timestamp(row.try_get("created_at")?)?,
        revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(timestamp).transpose()?,
    })
}
