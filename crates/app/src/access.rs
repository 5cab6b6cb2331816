//! Who asks: the key that a caller presents, and what it lets the caller see.

use std::sync::Arc;
use std::time::Duration;

use leadtrail_domain::id::{KeyId, ProjectId};
use leadtrail_domain::key::{ApiKey, KeyHash, KeySecret};
use leadtrail_domain::ports::{Keys, StoreError};
use leadtrail_domain::time::Timestamp;
use moka::future::Cache;
use tracing::Instrument as _;

use crate::cause::cause;
use crate::recent::Recent;

/// How old an answer about a key may be: a revocation elsewhere reaches a running server within this time.
pub const KEY_AGE_MAX: Duration = Duration::from_secs(2);
/// How many keys are remembered.
pub const KEYS_MAX: u64 = 10_000;
/// How exactly a key's last use is known.
pub const KEY_USE_NOTED_EVERY: Duration = Duration::from_mins(1);

/// The part of the service that a caller sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// Every project.
    All,
    /// This project, as if there were no other.
    Only(ProjectId),
}

impl View {
    /// What `key` lets its bearer see.
    pub fn of(key: &ApiKey) -> Self {
        key.project_id.map_or(Self::All, Self::Only)
    }

    /// Whether `project` is in view.
    pub fn shows(self, project: ProjectId) -> bool {
        match self {
            Self::All => true,
            Self::Only(own) => own == project,
        }
    }

    /// The only project in view, where there is one.
    pub fn project(self) -> Option<ProjectId> {
        match self {
            Self::All => None,
            Self::Only(own) => Some(own),
        }
    }
}

/// The keys of a store, read through a bounded cache.
#[derive(Clone)]
pub struct Access {
    keys: Arc<dyn Keys>,
    recent: Recent<KeyHash, ApiKey>,
    noted: Cache<KeyId, ()>,
}

impl Access {
    /// Access by the keys of a store.
    pub fn new(keys: Arc<dyn Keys>) -> Self {
        let noted = Cache::builder().max_capacity(KEYS_MAX).time_to_live(KEY_USE_NOTED_EVERY).build();
        Self { keys, recent: Recent::new(KEYS_MAX, KEY_AGE_MAX), noted }
    }

    /// The key whose secret is `presented`, where it opens anything at `now`. That it was used is written behind the
    /// caller's back, once in [`KEY_USE_NOTED_EVERY`].
    ///
    /// The secret is compared by being looked up under its SHA-256: how long that takes depends on the hash, which
    /// nobody can steer towards a stored one, and not on how many characters of a secret were right.
    ///
    /// # Errors
    /// `Transient` when the store does not answer.
    pub async fn key(&self, presented: &str, now: Timestamp) -> Result<Option<Arc<ApiKey>>, StoreError> {
        let Some(hash) = KeySecret::presented(presented).map(|secret| secret.hash()) else { return Ok(None) };
        let known = self.recent.known(&hash, self.keys.key_by_hash(&hash)).await?;
        let Some(key) = known.filter(|key| key.is_valid_at(now)) else { return Ok(None) };
        self.note_use(&key, now).await;
        Ok(Some(key))
    }

    /// Asks the store about a key the next time it is presented: it has just been revoked.
    pub async fn forget(&self, key: &ApiKey) {
        self.recent.forget(&key.hash).await;
    }

    async fn note_use(&self, key: &ApiKey, now: Timestamp) {
        let is_noted = key.last_used_at.is_some_and(|at| now.since(at) < KEY_USE_NOTED_EVERY);
        if is_noted || !self.noted.entry(key.id).or_insert(()).await.is_fresh() {
            return;
        }
        let (keys, id) = (Arc::clone(&self.keys), key.id);
        // One at most per key and minute, so that there are never more of them than keys in use.
        let noted = async move {
            if let Err(error) = keys.key_used(id, now).await {
                tracing::warn!(error = cause(&error), key.id = %id, "the use of a key could not be noted");
            }
        };
        tokio::spawn(noted.in_current_span());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use leadtrail_domain::key::Scope;
    use leadtrail_domain::ports::Page;
    use leadtrail_store_memory::MemoryStore;

    use super::*;

    /// A store that counts how often it is asked, and says when a use is written.
    struct Counted {
        store: MemoryStore,
        asked: AtomicU32,
        used: tokio::sync::mpsc::UnboundedSender<Timestamp>,
    }

    #[async_trait]
    impl Keys for Counted {
        async fn create_key(&self, key: &ApiKey) -> Result<(), StoreError> {
            self.store.create_key(key).await
        }

        async fn create_first_key(&self, key: &ApiKey) -> Result<bool, StoreError> {
            self.store.create_first_key(key).await
        }

        async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<ApiKey>, StoreError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.store.key_by_hash(hash).await
        }

        async fn keys(
            &self,
            project: Option<ProjectId>,
            page: &Page<KeyId>,
        ) -> Result<Vec<ApiKey>, StoreError> {
            self.store.keys(project, page).await
        }

        async fn key(&self, project: Option<ProjectId>, id: KeyId) -> Result<Option<ApiKey>, StoreError> {
            self.store.key(project, id).await
        }

        async fn revoke_key(
            &self,
            project: Option<ProjectId>,
            id: KeyId,
            at: Timestamp,
        ) -> Result<bool, StoreError> {
            self.store.revoke_key(project, id, at).await
        }

        async fn key_used(&self, id: KeyId, at: Timestamp) -> Result<(), StoreError> {
            self.store.key_used(id, at).await?;
            self.used.send(at).map_err(StoreError::transient)
        }
    }

    fn secret(byte: u8) -> KeySecret {
        KeySecret::new([byte; 32])
    }

    fn key(byte: u8) -> ApiKey {
        let secret = secret(byte);
        ApiKey {
            id: KeyId::new(Timestamp::EPOCH, [byte; 16]),
            name: "a key".to_owned(),
            prefix: secret.prefix().to_owned(),
            hash: secret.hash(),
            scopes: BTreeSet::from([Scope::Read]),
            project_id: None,
            created_at: Timestamp::EPOCH,
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    fn counted() -> (Arc<Counted>, Access, tokio::sync::mpsc::UnboundedReceiver<Timestamp>) {
        let (used, noted) = tokio::sync::mpsc::unbounded_channel();
        let store = Arc::new(Counted { store: MemoryStore::new(), asked: AtomicU32::new(0), used });
        (Arc::clone(&store), Access::new(store), noted)
    }

    #[tokio::test]
    async fn a_known_key_is_asked_for_once_and_its_use_is_written_once() {
        let (store, access, mut uses) = counted();
        store.create_key(&key(1)).await.unwrap();
        for _ in 0..3 {
            assert!(access.key(secret(1).reveal(), at(100)).await.unwrap().is_some());
        }
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
        assert_eq!(uses.recv().await, Some(at(100)));
        assert!(uses.try_recv().is_err());
    }

    #[tokio::test]
    async fn an_unknown_key_is_asked_for_each_time() {
        let (store, access, _uses) = counted();
        for asked in 1..=3 {
            assert_eq!(access.key(secret(1).reveal(), at(0)).await.unwrap(), None);
            assert_eq!(store.asked.load(Ordering::SeqCst), asked);
        }
        assert_eq!(access.key("lt_nonsense", at(0)).await.unwrap(), None);
        assert_eq!(store.asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn an_expiry_needs_no_fresh_answer_and_a_revocation_here_is_known_at_once() {
        let (store, access, _uses) = counted();
        let expiring = ApiKey { expires_at: Some(at(10)), ..key(1) };
        store.create_key(&expiring).await.unwrap();
        store.create_key(&key(2)).await.unwrap();
        assert!(access.key(secret(1).reveal(), at(9)).await.unwrap().is_some());
        assert_eq!(access.key(secret(1).reveal(), at(10)).await.unwrap(), None);
        assert!(access.key(secret(2).reveal(), at(9)).await.unwrap().is_some());
        store.revoke_key(None, key(2).id, at(9)).await.unwrap();
        access.forget(&key(2)).await;
        assert_eq!(access.key(secret(2).reveal(), at(9)).await.unwrap(), None);
    }
}
