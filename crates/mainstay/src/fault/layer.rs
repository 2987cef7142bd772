//! [`Faults`] as a layer.

use tower_layer::Layer;

use super::{FaultService, Faults};

/// Puts [`Faults`] around a service.
#[derive(Clone, Debug)]
pub struct FaultLayer<P, G> {
    faults: Faults,
    key: P,
    forge: G,
}

impl Faults {
    /// This as a layer, for requests with a key, see [`Faults::enable_for`]; `key` may give `None`.
    /// A late call's future is made at once, and polled when the delay is over.
    pub fn layer<Request, P, G>(&self, key: P, forge: G) -> FaultLayer<P, G>
    where
        P: Fn(&Request) -> Option<&str>,
    {
        FaultLayer {
            faults: self.clone(),
            key,
            forge,
        }
    }
}

impl<S, P: Clone, G: Clone> Layer<S> for FaultLayer<P, G> {
    type Service = FaultService<S, P, G>;

    fn layer(&self, inner: S) -> Self::Service {
        FaultService {
            inner,
            faults: self.faults.clone(),
            key: self.key.clone(),
            forge: self.forge.clone(),
        }
    }
}
