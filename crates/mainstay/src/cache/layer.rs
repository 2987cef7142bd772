//! [`Cache`] as a layer.

use std::fmt;

use derive_where::derive_where;
use tower_layer::Layer;

use super::{Cache, CacheService};
use crate::classify::ErrorsFail;

/// Puts a [`Cache`] in front of a service.
#[derive_where(Clone; F, C)]
pub struct CacheLayer<K, T, E, F, C, O = ()> {
    cache: Cache<K, T, E, O>,
    key: F,
    classify: C,
}

impl<K, T, E, O> Cache<K, T, E, O> {
    /// This cache as a layer. `key` gives the key of a request; `None` when it is to go past the
    /// cache, as all that change something are. Refreshes are inline.
    pub fn layer<F>(&self, key: F) -> CacheLayer<K, T, E, F, ErrorsFail, O> {
        self.layer_with(key, ErrorsFail)
    }

    /// As [`layer`](Self::layer); `classify` says what the service's results mean.
    pub fn layer_with<F, C>(&self, key: F, classify: C) -> CacheLayer<K, T, E, F, C, O> {
        CacheLayer {
            cache: self.clone(),
            key,
            classify,
        }
    }
}

impl<S, K, T, E, F: Clone, C: Clone, O> Layer<S> for CacheLayer<K, T, E, F, C, O> {
    type Service = CacheService<S, K, T, E, F, C, O>;

    fn layer(&self, inner: S) -> Self::Service {
        CacheService {
            inner,
            cache: self.cache.clone(),
            key: self.key.clone(),
            classify: self.classify.clone(),
        }
    }
}

impl<K, T, E, F, C, O> fmt::Debug for CacheLayer<K, T, E, F, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CacheLayer").field(&self.cache).finish()
    }
}
