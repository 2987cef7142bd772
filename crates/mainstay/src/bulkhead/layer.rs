//! [`Bulkhead`] as a layer.

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_layer::Layer;

use super::{Bulkhead, BulkheadService};

/// Puts a [`Bulkhead`] around a service.
#[derive_where(Clone, Debug)]
pub struct BulkheadLayer<O = ()>(Bulkhead<O>);

impl<O: Observe> Bulkhead<O> {
    /// This bulkhead as a layer. All services that it makes share the places.
    pub fn layer(&self) -> BulkheadLayer<O> {
        BulkheadLayer(self.clone())
    }
}

impl<S, O: Observe> Layer<S> for BulkheadLayer<O> {
    type Service = BulkheadService<S, O>;

    fn layer(&self, inner: S) -> BulkheadService<S, O> {
        BulkheadService::new(inner, self.0.clone())
    }
}
