//! [`Timeout`] as a layer.

use tower_layer::Layer;

use super::{Timeout, TimeoutService};

/// Puts a [`Timeout`] around a service.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer(Timeout);

impl Timeout {
    /// This limit as a layer.
    pub const fn layer(self) -> TimeoutLayer {
        TimeoutLayer(self)
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = TimeoutService<S>;

    fn layer(&self, inner: S) -> TimeoutService<S> {
        TimeoutService::new(inner, self.0)
    }
}
