//! A service whose calls are shared.

use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Coalesce, CoalesceFuture, Lazy};
use crate::error::{Error, Flat};

/// A service that is called once for all who ask the same at the same time. Made by
/// [`Coalesce::layer`].
///
/// Always ready: the readiness of the inner service is waited for by the one caller that calls it,
/// and reserved for nobody else.
pub struct CoalesceService<S, K, T, E, F> {
    pub(super) inner: S,
    pub(super) coalesce: Coalesce<K, T, E>,
    pub(super) key: F,
}

pin_project! {
    /// The answer of a [`CoalesceService`].
    pub struct CoalesceServiceFuture<S, Request, K, T, E>
    where
        S: Service<Request>,
        K: Hash,
        K: Eq,
        K: Clone,
    {
        #[pin]
        call: CoalesceFuture<K, T, E, Lazy<S, Request>>,
    }
}

impl<S, Request, K, E, F> Service<Request> for CoalesceService<S, K, S::Response, E, F>
where
    S: Service<Request> + Clone,
    S::Response: Clone,
    S::Error: Flat<Inner = E>,
    E: Clone,
    K: Hash + Eq + Clone,
    F: Fn(&Request) -> Option<K>,
{
    type Response = S::Response;
    type Error = Error<E>;
    type Future = CoalesceServiceFuture<S, Request, K, S::Response, E>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let key = (self.key)(&request);
        let call = Lazy::new(self.inner.clone(), request);
        CoalesceServiceFuture {
            call: CoalesceFuture::new(self.coalesce.clone(), key, call),
        }
    }
}

impl<S, Request, K, E> Future for CoalesceServiceFuture<S, Request, K, S::Response, E>
where
    S: Service<Request>,
    S::Response: Clone,
    S::Error: Flat<Inner = E>,
    E: Clone,
    K: Hash + Eq + Clone,
{
    type Output = Result<S::Response, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll(cx)
    }
}

impl<S: Clone, K, T, E, F: Clone> Clone for CoalesceService<S, K, T, E, F> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            coalesce: self.coalesce.clone(),
            key: self.key.clone(),
        }
    }
}

impl<S, K, T, E, F> fmt::Debug for CoalesceService<S, K, T, E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoalesceService")
            .field("coalesce", &self.coalesce)
            .finish_non_exhaustive()
    }
}

impl<S, Request, K, T, E> fmt::Debug for CoalesceServiceFuture<S, Request, K, T, E>
where
    S: Service<Request>,
    K: Hash + Eq + Clone,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CoalesceServiceFuture")
            .field(&self.call)
            .finish()
    }
}
