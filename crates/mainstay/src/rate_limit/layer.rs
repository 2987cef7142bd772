//! [`RateLimiter`] as a layer.

use tower_layer::Layer;

use super::{RateLimitService, RateLimiter};

/// Puts a [`RateLimiter`] around a service.
#[derive(Clone, Debug)]
pub struct RateLimitLayer(RateLimiter);

impl RateLimiter {
    /// This limiter as a layer. All services that it makes share the bucket.
    pub fn layer(&self) -> RateLimitLayer {
        RateLimitLayer(self.clone())
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> RateLimitService<S> {
        RateLimitService::new(inner, self.0.clone())
    }
}
