//! A service of one endpoint, whose calls are compared with those of the others.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use derive_where::derive_where;
use mainstay_core::event::Observe;
use mainstay_core::time::Instant;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Outliers;
use crate::classify::{Classify, ErrorsFail, Nested};
use crate::error::{Error, Flat};

/// A service that reports its calls to [`Outliers`]. Made by [`Outliers::layer`].
#[derive_where(Clone, Debug; S, C)]
pub struct OutlierService<S, C = ErrorsFail, O: Observe = ()> {
    inner: S,
    outliers: Outliers<O>,
    endpoint: usize,
    classify: C,
}

impl<S, C, O: Observe> OutlierService<S, C, O> {
    pub(super) fn new(inner: S, reports: (Outliers<O>, usize, C)) -> Self {
        let (outliers, endpoint, classify) = reports;
        Self {
            inner,
            outliers,
            endpoint,
            classify,
        }
    }
}

pin_project! {
    /// The answer of an [`OutlierService`]. Dropped before its end, it says nothing of the endpoint.
    #[derive_where(Debug; F, C)]
    pub struct OutlierFuture<F, C = ErrorsFail, O = ()>
    where
        O: Observe,
    {
        #[pin]
        inner: F,
        outliers: Outliers<O>,
        endpoint: usize,
        started: Instant,
        classify: C,
    }
}

impl<S, C, O, Request> Service<Request> for OutlierService<S, C, O>
where
    O: Observe,
    S: Service<Request>,
    S::Error: Flat,
    C: Classify<S::Response, <S::Error as Flat>::Inner> + Clone,
{
    type Response = S::Response;
    type Error = Error<<S::Error as Flat>::Inner>;
    type Future = OutlierFuture<S::Future, C, O>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Flat::into_error)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        OutlierFuture {
            started: self.outliers.0.told.clock.now(),
            inner: self.inner.call(request),
            outliers: self.outliers.clone(),
            endpoint: self.endpoint,
            classify: self.classify.clone(),
        }
    }
}

impl<F, C, O, T, E> Future for OutlierFuture<F, C, O>
where
    F: Future<Output = Result<T, E>>,
    E: Flat,
    C: Classify<T, E::Inner>,
    O: Observe,
{
    type Output = Result<T, Error<E::Inner>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx)).map_err(Flat::into_error);
        let outcome = Nested(&*this.classify).classify(result.as_ref());
        let rtt = this.outliers.0.told.clock.now().since(*this.started);
        this.outliers.record(*this.endpoint, outcome, rtt);
        Poll::Ready(result)
    }
}
