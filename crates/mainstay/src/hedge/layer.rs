//! [`Hedge`] as a layer.

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_layer::Layer;

use super::{Hedge, HedgeService};
use crate::classify::ErrorsFail;

/// Puts a [`Hedge`] around a service.
#[derive_where(Clone, Debug; R, C)]
pub struct HedgeLayer<R, C = ErrorsFail, O: Observe = ()> {
    hedge: Hedge<O>,
    repeat: R,
    classify: C,
}

impl<O: Observe> Hedge<O> {
    /// This hedge as a layer. `repeat` marks the idempotent requests: those that it gives a copy of
    /// may be sent twice, all others are sent once. [`Cloned`](super::Cloned) says that all are.
    ///
    /// ```
    /// # use mainstay::{RetryBudget, hedge::Hedge};
    /// # let budget = RetryBudget::builder("catalog").build().unwrap();
    /// # let hedge = Hedge::builder(budget).build().unwrap();
    /// // Here a request is nothing but its method.
    /// let layer = hedge.layer(|method: &&'static str| (*method == "GET").then_some(*method));
    /// ```
    pub fn layer<R>(&self, repeat: R) -> HedgeLayer<R, ErrorsFail, O> {
        HedgeLayer {
            hedge: self.clone(),
            repeat,
            classify: ErrorsFail,
        }
    }
}

impl<R, C, O: Observe> HedgeLayer<R, C, O> {
    /// Says what the service's own results mean.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> HedgeLayer<R, D, O> {
        HedgeLayer {
            hedge: self.hedge,
            repeat: self.repeat,
            classify,
        }
    }
}

impl<S, R: Clone, C: Clone, O: Observe> Layer<S> for HedgeLayer<R, C, O> {
    type Service = HedgeService<S, R, C, O>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self {
            hedge,
            repeat,
            classify,
        } = self.clone();
        HedgeService::new(inner, hedge, repeat, classify)
    }
}
