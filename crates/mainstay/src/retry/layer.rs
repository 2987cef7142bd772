//! [`Retry`] as a layer.

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_layer::Layer;

use super::{Cloned, Repeat, Retry, RetryService};
use crate::classify::ErrorsFail;

/// Puts a [`Retry`] around a service.
#[derive_where(Clone, Debug; C, R)]
pub struct RetryLayer<C = ErrorsFail, R = Cloned, O: Observe = ()> {
    retry: Retry<O>,
    classify: C,
    repeat: R,
}

impl<O: Observe> Retry<O> {
    /// These retries as a layer, for requests that can be cloned.
    pub fn layer(&self) -> RetryLayer<ErrorsFail, Cloned, O> {
        RetryLayer {
            retry: self.clone(),
            classify: ErrorsFail,
            repeat: Cloned,
        }
    }
}

impl<C, R, O: Observe> RetryLayer<C, R, O> {
    /// Says what the service's own results mean.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> RetryLayer<D, R, O> {
        RetryLayer {
            retry: self.retry,
            classify,
            repeat: self.repeat,
        }
    }

    /// Says which requests can be sent again, and makes the copies.
    ///
    /// ```
    /// # use mainstay::{Retry, RetryBudget};
    /// # let budget = RetryBudget::builder("payment").build().unwrap();
    /// # let retry = Retry::builder(budget).build().unwrap();
    /// // Only small uploads are kept for another attempt.
    /// let layer = retry
    ///     .layer()
    ///     .repeat(|body: &Vec<u8>| (body.len() < 4_096).then(|| body.clone()));
    /// ```
    #[must_use]
    pub fn repeat<Request, D: Repeat<Request>>(self, repeat: D) -> RetryLayer<C, D, O> {
        RetryLayer {
            retry: self.retry,
            classify: self.classify,
            repeat,
        }
    }
}

impl<S, C: Clone, R: Clone, O: Observe> Layer<S> for RetryLayer<C, R, O> {
    type Service = RetryService<S, C, R, O>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self {
            retry,
            classify,
            repeat,
        } = self.clone();
        RetryService::new(inner, retry, classify, repeat)
    }
}

#[cfg(test)]
mod tests;
