//! A service with a cache in front.

use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

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
pub struct CacheService<S, K, T, E, F, C> {
    pub(super) inner: S,
    pub(super) cache: Cache<K, T, E>,
    pub(super) key: F,
    pub(super) classify: C,
}

pin_project! {
    /// The answer of a [`CacheService`].
    pub struct CacheServiceFuture<S, Request, K, T, E, C>
    where
        S: Service<Request>,
        K: Hash,
        K: Eq,
        K: Clone,
    {
        #[pin]
        call: CacheFuture<K, T, E, Lazy<S, Request>, C>,
    }
}

impl<S, Request, K, E, F, C> Service<Request> for CacheService<S, K, S::Response, E, F, C>
where
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
    type Future = CacheServiceFuture<S, Request, K, S::Response, E, C>;

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

impl<S, Request, K, E, C> Future for CacheServiceFuture<S, Request, K, S::Response, E, C>
where
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

impl<S: Clone, K, T, E, F: Clone, C: Clone> Clone for CacheService<S, K, T, E, F, C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            cache: self.cache.clone(),
            key: self.key.clone(),
            classify: self.classify.clone(),
        }
    }
}

impl<S, K, T, E, F, C> fmt::Debug for CacheService<S, K, T, E, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheService")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

impl<S, Request, K, T, E, C> fmt::Debug for CacheServiceFuture<S, Request, K, T, E, C>
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
