//! What a store answered a moment ago.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use leadtrail_domain::ports::StoreError;
use moka::future::Cache;

/// A bounded read-through cache of what exists. What does not is asked for each time, so that a new thing is known at
/// once and nobody can fill the cache with names that mean nothing.
#[derive(Clone)]
pub(crate) struct Recent<K, V> {
    cache: Cache<K, Arc<V>>,
}

#[derive(Debug, thiserror::Error)]
enum Miss {
    #[error("there is no such thing")]
    Unknown,
    #[error("the look-up failed")]
    Store(#[source] StoreError),
}

impl<K, V> Recent<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(crate) fn new(entries_max: u64, age_max: Duration) -> Self {
        Self { cache: Cache::builder().max_capacity(entries_max).time_to_live(age_max).build() }
    }

    /// What is known of `key`, or what `ask` answers; of several askers at a time, one asks.
    ///
    /// # Errors
    /// `Transient` with the cause when `ask` fails.
    pub(crate) async fn known(
        &self,
        key: &K,
        ask: impl Future<Output = Result<Option<V>, StoreError>>,
    ) -> Result<Option<Arc<V>>, StoreError> {
        if let Some(known) = self.cache.get(key).await {
            return Ok(Some(known));
        }
        let asked = async { ask.await.map_err(Miss::Store)?.map(Arc::new).ok_or(Miss::Unknown) };
        match self.cache.try_get_with(key.clone(), asked).await {
            Ok(known) => Ok(Some(known)),
            Err(miss) if matches!(*miss, Miss::Unknown) => Ok(None),
            Err(miss) => Err(StoreError::transient(miss)),
        }
    }

    /// Asks anew the next time.
    pub(crate) async fn forget(&self, key: &K) {
        self.cache.invalidate(key).await;
    }
}
