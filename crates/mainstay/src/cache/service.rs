//! A service with a cache in front.

use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use derive_where::derive_where;
use mainstay_core::event::Observe;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{Cache, CacheFuture};
use crate::classify::Classify;
use crate::coalesce::Lazy;
use crate::error::{Error, Flat};

/// A service that is called for what its cache does not have. Made by [`Cache::layer`].
///
/// Always ready: what is in the cache is served whether or not the inner service is ready, whose
/// readiness is waited for by the one caller that loads.
#[derive_where(Clone; S, F, C)]
pub struct CacheService<S, K, T, E, F, C, O = ()> {
    pub(super) inner: S,
    pub(super) cache: Cache<K, T, E, O>,
    pub(super) key: F,
    pub(super) classify: C,
}

pin_project! {
    /// The answer of a [`CacheService`].
    pub struct CacheServiceFuture<S, Request, K, T, E, C, O = ()>
    where
        S: Service<Request>,
        K: Hash,
        K: Eq,
        K: Clone,
    {
        #[pin]
        call: CacheFuture<K, T, E, Lazy<S, Request>, C, O>,
    }
}

impl<S, Request, K, E, F, C, O> Service<Request> for CacheService<S, K, S::Response, E, F, C, O>
where
    O: Observe,
    S: Service<Request> + Clone,
    S::Response: Clone,
    S::Error: Flat<Inner = E>,
    E: Clone,
    K: Hash + Eq + Clone,
    F: Fn(&Request) -> Option<K>,
    C: Classify<S::Response, E> + Clone,
{
    type Response = S::Response;
    type Error = Error<E>;
    type Future = CacheServiceFuture<S, Request, K, S::Response, E, C, O>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let key = (self.key)(&request);
        let load = Lazy::new(self.inner.clone(), request);
        CacheServiceFuture {
            call: CacheFuture::new(self.cache.clone(), key, load, self.classify.clone()),
        }
    }
}

impl<S, Request, K, E, C, O> Future for CacheServiceFuture<S, Request, K, S::Response, E, C, O>
where
    O: Observe,
    S: Service<Request>,
    S::Response: Clone,
    S::Error: Flat<Inner = E>,
    E: Clone,
    K: Hash + Eq + Clone,
    C: Classify<S::Response, E> + Clone,
{
    type Output = Result<S::Response, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let served = ready!(self.project().call.poll(cx));
        Poll::Ready(served.map(|served| served.value))
    }
}

impl<S, K, T, E, F, C, O> fmt::Debug for CacheService<S, K, T, E, F, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheService")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

impl<S, Request, K, T, E, C, O> fmt::Debug for CacheServiceFuture<S, Request, K, T, E, C, O>
where
    S: Service<Request>,
    K: Hash + Eq + Clone,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CacheServiceFuture")
            .field(&self.call)
            .finish()
    }
}
