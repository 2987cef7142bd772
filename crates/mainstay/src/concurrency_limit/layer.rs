//! [`ConcurrencyLimit`] as a layer.

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_layer::Layer;

use super::{ConcurrencyLimit, ConcurrencyLimitService, Priority};
use crate::classify::ErrorsFail;

/// Puts a [`ConcurrencyLimit`] around a service.
#[derive_where(Clone, Debug; C)]
pub struct ConcurrencyLimitLayer<C = ErrorsFail, O: Observe = ()> {
    limit: ConcurrencyLimit<O>,
    priority: Priority,
    classify: C,
}

impl<O: Observe> ConcurrencyLimit<O> {
    /// This limit as a layer, for calls of normal priority whose errors are failures. All services
    /// that it makes share the limit.
    pub fn layer(&self) -> ConcurrencyLimitLayer<ErrorsFail, O> {
        ConcurrencyLimitLayer {
            limit: self.clone(),
            priority: Priority::Normal,
            classify: ErrorsFail,
        }
    }
}

impl<C, O: Observe> ConcurrencyLimitLayer<C, O> {
    /// For calls that matter so much.
    #[must_use = "it is another layer"]
    pub fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// With another classifier.
    pub fn classify<D>(self, classify: D) -> ConcurrencyLimitLayer<D, O> {
        ConcurrencyLimitLayer {
            limit: self.limit,
            priority: self.priority,
            classify,
        }
    }
}

impl<S, C: Clone, O: Observe> Layer<S> for ConcurrencyLimitLayer<C, O> {
    type Service = ConcurrencyLimitService<S, C, O>;

    fn layer(&self, inner: S) -> Self::Service {
        let classify = self.classify.clone();
        ConcurrencyLimitService::new(inner, self.limit.clone(), self.priority, classify)
    }
}
