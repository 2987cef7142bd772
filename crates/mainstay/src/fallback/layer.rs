//! [`Fallback`] as a layer.

use tower_layer::Layer;

use super::{Fallback, FallbackService};
use crate::classify::ErrorsFail;

/// Puts a [`Fallback`] around a service.
#[derive(Clone, Debug)]
pub struct FallbackLayer<P, C> {
    fallback: Fallback,
    prepare: P,
    classify: C,
}

impl Fallback {
    /// This fallback as a layer. `prepare` is called with each request and gives the function that
    /// stands in for it: that one keeps what it needs of the request, which itself is not cloned.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use std::future::ready;
    /// use mainstay::{Error, Fallback, innermost::InnermostLayer};
    /// use tower::{ServiceBuilder, ServiceExt as _};
    ///
    /// let fallback = Fallback::builder("rates").build();
    /// let service = ServiceBuilder::new()
    ///     .layer(fallback.layer(|day: &u32| {
    ///         let day = *day;
    ///         move |_failed: Result<&u32, &Error<&str>>| ready(Ok(day - 1))
    ///     }))
    ///     .layer(InnermostLayer)
    ///     .service_fn(|_day: u32| async { Err::<u32, &str>("reset") });
    /// assert_eq!(service.oneshot(7).await, Ok(6));
    /// # });
    /// ```
    pub fn layer<P>(&self, prepare: P) -> FallbackLayer<P, ErrorsFail> {
        self.layer_with(prepare, ErrorsFail)
    }

    /// As [`layer`](Self::layer); `classify` says what the service's own results mean.
    pub fn layer_with<P, C>(&self, prepare: P, classify: C) -> FallbackLayer<P, C> {
        FallbackLayer {
            fallback: self.clone(),
            prepare,
            classify,
        }
    }
}

impl<S, P: Clone, C: Clone> Layer<S> for FallbackLayer<P, C> {
    type Service = FallbackService<S, P, C>;

    fn layer(&self, inner: S) -> Self::Service {
        FallbackService {
            inner,
            fallback: self.fallback.clone(),
            prepare: self.prepare.clone(),
            classify: self.classify.clone(),
        }
    }
}
