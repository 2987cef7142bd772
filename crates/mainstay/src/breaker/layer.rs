//! [`Breaker`] as a layer.

use tower_layer::Layer;

use super::{Breaker, BreakerService};
use crate::classify::ErrorsFail;

/// Puts a [`Breaker`] around a service. All services that it makes share the circuit, however
/// often it is asked: the state is the breaker's.
#[derive(Clone, Debug)]
pub struct BreakerLayer<C = ErrorsFail> {
    breaker: Breaker,
    classify: C,
}

impl Breaker {
    /// This breaker as a layer; an `Err` of the service is a failure.
    pub fn layer(&self) -> BreakerLayer {
        BreakerLayer {
            breaker: self.clone(),
            classify: ErrorsFail,
        }
    }
}

impl<C> BreakerLayer<C> {
    /// Says otherwise what an answer means. What inner policies did is classified by
    /// [`Nested`](crate::classify::Nested) in any case.
    pub fn classify<D>(self, classify: D) -> BreakerLayer<D> {
        BreakerLayer {
            breaker: self.breaker,
            classify,
        }
    }
}

impl<S, C: Clone> Layer<S> for BreakerLayer<C> {
    type Service = BreakerService<S, C>;

    fn layer(&self, inner: S) -> BreakerService<S, C> {
        BreakerService::new(inner, self.breaker.clone(), self.classify.clone())
    }
}
