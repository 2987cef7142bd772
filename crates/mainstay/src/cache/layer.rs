//! [`Cache`] as a layer.

use std::fmt;

use tower_layer::Layer;

use super::{Cache, CacheService};
use crate::classify::ErrorsFail;

/// Puts a [`Cache`] in front of a service.
pub struct CacheLayer<K, T, E, F, C> {
    cache: Cache<K, T, E>,
    key: F,
    classify: C,
}

impl<K, T, E> Cache<K, T, E> {
    /// This cache as a layer. `key` gives the key of a request; `None` when it is to go past the
    /// cache, as all that change something are. Refreshes are inline.
    pub fn layer<F>(&self, key: F) -> CacheLayer<K, T, E, F, ErrorsFail> {
        self.layer_with(key, ErrorsFail)
    }

    /// As [`layer`](Self::layer); `classify` says what the service's results mean.
    pub fn layer_with<F, C>(&self, key: F, classify: C) -> CacheLayer<K, T, E, F, C> {
        CacheLayer {
            cache: self.clone(),
            key,
            classify,
        }
    }
}

impl<S, K, T, E, F: Clone, C: Clone> Layer<S> for CacheLayer<K, T, E, F, C> {
    type Service = CacheService<S, K, T, E, F, C>;

    fn layer(&self, inner: S) -> Self::Service {
        CacheService {
            inner,
            cache: self.cache.clone(),
            key: self.key.clone(),
            classify: self.classify.clone(),
        }
    }
}

impl<K, T, E, F: Clone, C: Clone> Clone for CacheLayer<K, T, E, F, C> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            key: self.key.clone(),
            classify: self.classify.clone(),
        }
    }
}

impl<K, T, E, F, C> fmt::Debug for CacheLayer<K, T, E, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CacheLayer").field(&self.cache).finish()
    }
}
