//! [`Bulkhead`] as a layer.

use tower_layer::Layer;

use super::{Bulkhead, BulkheadService};

/// Puts a [`Bulkhead`] around a service.
#[derive(Clone, Debug)]
pub struct BulkheadLayer(Bulkhead);

impl Bulkhead {
    /// This bulkhead as a layer. All services that it makes share the places.
    pub fn layer(&self) -> BulkheadLayer {
        BulkheadLayer(self.clone())
    }
}

impl<S> Layer<S> for BulkheadLayer {
    type Service = BulkheadService<S>;

    fn layer(&self, inner: S) -> BulkheadService<S> {
        BulkheadService::new(inner, self.0.clone())
    }
}
