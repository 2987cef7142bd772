//! [`Fallback`] as a layer.

use derive_where::derive_where;
use mainstay_core::event::Observe;
use tower_layer::Layer;

use super::{Fallback, FallbackService};
use crate::classify::ErrorsFail;

/// Puts a [`Fallback`] around a service.
#[derive_where(Clone, Debug; P, C)]
pub struct FallbackLayer<P, C, O: Observe = ()> {
    fallback: Fallback<O>,
    prepare: P,
    classify: C,
}

impl<O: Observe> Fallback<O> {
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
    pub fn layer<P>(&self, prepare: P) -> FallbackLayer<P, ErrorsFail, O> {
        self.layer_with(prepare, ErrorsFail)
    }

    /// As [`layer`](Self::layer); `classify` says what the service's own results mean.
    pub fn layer_with<P, C>(&self, prepare: P, classify: C) -> FallbackLayer<P, C, O> {
        FallbackLayer {
            fallback: self.clone(),
            prepare,
            classify,
        }
    }
}

impl<S, P: Clone, C: Clone, O: Observe> Layer<S> for FallbackLayer<P, C, O> {
    type Service = FallbackService<S, P, C, O>;

    fn layer(&self, inner: S) -> Self::Service {
        FallbackService {
            inner,
            fallback: self.fallback.clone(),
            prepare: self.prepare.clone(),
            classify: self.classify.clone(),
        }
    }
}
