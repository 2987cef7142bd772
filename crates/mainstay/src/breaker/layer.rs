//! [`Breaker`] as a layer.

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_layer::Layer;

use super::{Breaker, BreakerService};
use crate::classify::ErrorsFail;

/// Puts a [`Breaker`] around a service. All services that it makes share the circuit, however
/// often it is asked: the state is the breaker's.
#[derive_where(Clone, Debug; C)]
pub struct BreakerLayer<C = ErrorsFail, O: Observe = ()> {
    breaker: Breaker<O>,
    classify: C,
}

impl<O: Observe> Breaker<O> {
    /// This breaker as a layer; an `Err` of the service is a failure.
    pub fn layer(&self) -> BreakerLayer<ErrorsFail, O> {
        BreakerLayer {
            breaker: self.clone(),
            classify: ErrorsFail,
        }
    }
}

impl<C, O: Observe> BreakerLayer<C, O> {
    /// Says otherwise what an answer means. What inner policies did is classified by
    /// [`Nested`](crate::classify::Nested) in any case.
    pub fn classify<D>(self, classify: D) -> BreakerLayer<D, O> {
        BreakerLayer {
            breaker: self.breaker,
            classify,
        }
    }
}

impl<S, C: Clone, O: Observe> Layer<S> for BreakerLayer<C, O> {
    type Service = BreakerService<S, C, O>;

    fn layer(&self, inner: S) -> BreakerService<S, C, O> {
        BreakerService::new(inner, self.breaker.clone(), self.classify.clone())
    }
}
