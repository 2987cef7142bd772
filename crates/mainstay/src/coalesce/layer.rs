//! [`Coalesce`] as a layer.

use tower_layer::Layer;

use super::{Coalesce, CoalesceService};

/// Puts a [`Coalesce`] around a service.
pub struct CoalesceLayer<K, T, E, F> {
    coalesce: Coalesce<K, T, E>,
    key: F,
}

impl<K, T, E> Coalesce<K, T, E> {
    /// This as a layer. `key` gives the key of a request; `None` when it is not to be shared, as
    /// all that change something are not.
    pub fn layer<F>(&self, key: F) -> CoalesceLayer<K, T, E, F> {
        CoalesceLayer {
            coalesce: self.clone(),
            key,
        }
    }
}

impl<S, K, T, E, F: Clone> Layer<S> for CoalesceLayer<K, T, E, F> {
    type Service = CoalesceService<S, K, T, E, F>;

    fn layer(&self, inner: S) -> Self::Service {
        CoalesceService {
            inner,
            coalesce: self.coalesce.clone(),
            key: self.key.clone(),
        }
    }
}

impl<K, T, E, F: Clone> Clone for CoalesceLayer<K, T, E, F> {
    fn clone(&self) -> Self {
        Self {
            coalesce: self.coalesce.clone(),
            key: self.key.clone(),
        }
    }
}

impl<K, T, E, F> std::fmt::Debug for CoalesceLayer<K, T, E, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CoalesceLayer")
            .field(&self.coalesce)
            .finish()
    }
}
