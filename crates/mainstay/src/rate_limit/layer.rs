//! [`RateLimiter`] as a layer.

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_layer::Layer;

use super::{RateLimitService, RateLimiter};

/// Puts a [`RateLimiter`] around a service.
#[derive_where(Clone, Debug)]
pub struct RateLimitLayer<O = ()>(RateLimiter<O>);

impl<O: Observe> RateLimiter<O> {
    /// This limiter as a layer. All services that it makes share the bucket.
    pub fn layer(&self) -> RateLimitLayer<O> {
        RateLimitLayer(self.clone())
    }
}

impl<S, O: Observe> Layer<S> for RateLimitLayer<O> {
    type Service = RateLimitService<S, O>;

    fn layer(&self, inner: S) -> RateLimitService<S, O> {
        RateLimitService::new(inner, self.0.clone())
    }
}
