//! The innermost layer: a plain service with its own error becomes one with [`Error`].
//!
//! Prevents errors nested as deep as the layers: it stands around the plain service once, and all
//! layers above it share one flat error.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::Error;

/// Makes an [`Innermost`].
#[derive(Clone, Copy, Debug, Default)]
pub struct InnermostLayer;

/// A plain service whose errors are [`Error::Inner`].
#[derive(Clone, Copy, Debug)]
pub struct Innermost<S>(S);

pin_project! {
    /// The answer of an [`Innermost`].
    #[derive(Debug)]
    pub struct InnermostFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<S> Layer<S> for InnermostLayer {
    type Service = Innermost<S>;

    fn layer(&self, inner: S) -> Innermost<S> {
        Innermost(inner)
    }
}

impl<S: Service<Request>, Request> Service<Request> for Innermost<S> {
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = InnermostFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        InnermostFuture {
            inner: self.0.call(request),
        }
    }
}

impl<F: Future<Output = Result<T, E>>, T, E> Future for InnermostFuture<F> {
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx).map_err(Error::Inner)
    }
}
