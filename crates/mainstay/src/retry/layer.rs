//! [`Retry`] as a layer.

use tower_layer::Layer;

use super::{Cloned, Repeat, Retry, RetryService};
use crate::classify::ErrorsFail;

/// Puts a [`Retry`] around a service.
#[derive(Clone, Debug)]
pub struct RetryLayer<C = ErrorsFail, R = Cloned> {
    retry: Retry,
    classify: C,
    repeat: R,
}

impl Retry {
    /// These retries as a layer, for requests that can be cloned.
    pub fn layer(&self) -> RetryLayer {
        RetryLayer {
            retry: self.clone(),
            classify: ErrorsFail,
            repeat: Cloned,
        }
    }
}

impl<C, R> RetryLayer<C, R> {
    /// Says what the service's own results mean.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> RetryLayer<D, R> {
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
    /// # let retry = Retry::builder(budget).build();
    /// // Only small uploads are kept for another attempt.
    /// let layer = retry
    ///     .layer()
    ///     .repeat(|body: &Vec<u8>| (body.len() < 4_096).then(|| body.clone()));
    /// ```
    #[must_use]
    pub fn repeat<Request, D: Repeat<Request>>(self, repeat: D) -> RetryLayer<C, D> {
        RetryLayer {
            retry: self.retry,
            classify: self.classify,
            repeat,
        }
    }
}

impl<S, C: Clone, R: Clone> Layer<S> for RetryLayer<C, R> {
    type Service = RetryService<S, C, R>;

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
