//! [`Hedge`] as a layer.

use tower_layer::Layer;

use super::{Hedge, HedgeService};
use crate::classify::ErrorsFail;

/// Puts a [`Hedge`] around a service.
#[derive(Clone, Debug)]
pub struct HedgeLayer<R, C = ErrorsFail> {
    hedge: Hedge,
    repeat: R,
    classify: C,
}

impl Hedge {
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
    pub fn layer<R>(&self, repeat: R) -> HedgeLayer<R> {
        HedgeLayer {
            hedge: self.clone(),
            repeat,
            classify: ErrorsFail,
        }
    }
}

impl<R, C> HedgeLayer<R, C> {
    /// Says what the service's own results mean.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> HedgeLayer<R, D> {
        HedgeLayer {
            hedge: self.hedge,
            repeat: self.repeat,
            classify,
        }
    }
}

impl<S, R: Clone, C: Clone> Layer<S> for HedgeLayer<R, C> {
    type Service = HedgeService<S, R, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self {
            hedge,
            repeat,
            classify,
        } = self.clone();
        HedgeService::new(inner, hedge, repeat, classify)
    }
}
