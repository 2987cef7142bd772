//! [`Throttle`] as a layer.

use tower_layer::Layer;

use super::{Throttle, ThrottleService};
use crate::classify::ErrorsFail;

/// Puts a [`Throttle`] around a service.
#[derive(Clone, Debug)]
pub struct ThrottleLayer<C = ErrorsFail> {
    throttle: Throttle,
    classify: C,
}

impl Throttle {
    /// This throttle as a layer; give it a [classifier](ThrottleLayer::classify) that knows how the
    /// callee refuses. All services that it makes share the counts.
    pub fn layer(&self) -> ThrottleLayer {
        ThrottleLayer {
            throttle: self.clone(),
            classify: ErrorsFail,
        }
    }
}

impl<C> ThrottleLayer<C> {
    /// With another classifier.
    pub fn classify<D>(self, classify: D) -> ThrottleLayer<D> {
        ThrottleLayer {
            throttle: self.throttle,
            classify,
        }
    }
}

impl<S, C: Clone> Layer<S> for ThrottleLayer<C> {
    type Service = ThrottleService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        ThrottleService::new(inner, self.throttle.clone(), self.classify.clone())
    }
}
