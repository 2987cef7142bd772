//! [`ConcurrencyLimit`] as a layer.

use tower_layer::Layer;

use super::{ConcurrencyLimit, ConcurrencyLimitService, Priority};
use crate::classify::ErrorsFail;

/// Puts a [`ConcurrencyLimit`] around a service.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimitLayer<C = ErrorsFail> {
    limit: ConcurrencyLimit,
    priority: Priority,
    classify: C,
}

impl ConcurrencyLimit {
    /// This limit as a layer, for calls of normal priority whose errors are failures. All services
    /// that it makes share the limit.
    pub fn layer(&self) -> ConcurrencyLimitLayer {
        ConcurrencyLimitLayer {
            limit: self.clone(),
            priority: Priority::Normal,
            classify: ErrorsFail,
        }
    }
}

impl<C> ConcurrencyLimitLayer<C> {
    /// For calls that matter so much.
    #[must_use = "it is another layer"]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// With another classifier.
    pub fn classify<D>(self, classify: D) -> ConcurrencyLimitLayer<D> {
        ConcurrencyLimitLayer {
            limit: self.limit,
            priority: self.priority,
            classify,
        }
    }
}

impl<S, C: Clone> Layer<S> for ConcurrencyLimitLayer<C> {
    type Service = ConcurrencyLimitService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let classify = self.classify.clone();
        ConcurrencyLimitService::new(inner, self.limit.clone(), self.priority, classify)
    }
}
