//! An answer from a cache, or through it.

use std::fmt;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mainstay_core::event::Observe;
use pin_project_lite::pin_project;

use super::load::{Load, Spare};
use super::{Cache, Claim, Found, Served};
use crate::classify::Classify;
use crate::coalesce::CoalesceFuture;
use crate::error::Error;
use crate::fallback::need;

pin_project! {
    /// An answer of [`Cache::get_or_nested_with`]. Looks at the cache when it is first polled.
    pub struct CacheFuture<K, T, E, F, C, O = ()>
    where
        K: Hash,
        K: Eq,
        K: Clone,
    {
        // Declared before the claim: the load is dropped before another may begin.
        #[pin]
        flight: Option<Flight<K, T, E, F, C, O>>,
        begin: Option<Begin<K, F>>,
        cache: Cache<K, T, E, O>,
        classify: C,
        spare: Option<Spare<T>>,
        claim: Option<Claim<K, T, E, O>>,
    }
}

type Flight<K, T, E, F, C, O> = CoalesceFuture<K, T, E, Load<K, T, E, F, C, O>>;

/// What there is of a key, and the right to refresh it.
type Old<K, T, E, O> = (Option<Spare<T>>, Option<Claim<K, T, E, O>>);

struct Begin<K, F> {
    /// `None` for a call that goes past the cache.
    key: Option<K>,
    load: F,
}

impl<K: Hash + Eq + Clone, T, E, F, C: Clone, O> CacheFuture<K, T, E, F, C, O> {
    pub(super) const fn new(
        cache: Cache<K, T, E, O>,
        key: Option<K>,
        load: F,
        classify: C,
    ) -> Self {
        Self {
            flight: None,
            begin: Some(Begin { key, load }),
            cache,
            classify,
            spare: None,
            claim: None,
        }
    }

    /// For a caller that has looked already, and has found this.
    pub(super) fn fly(
        cache: Cache<K, T, E, O>,
        key: K,
        load: F,
        classify: C,
        (spare, claim): Old<K, T, E, O>,
    ) -> Self
    where
        T: Clone,
        E: Clone,
        F: Future<Output = Result<T, Error<E>>>,
        C: Classify<T, E>,
    {
        let seen = spare.as_ref().map(|spare| spare.version);
        Self {
            flight: Some(flight(&cache, Some(key), load, (classify.clone(), seen))),
            begin: None,
            cache,
            classify,
            spare,
            claim,
        }
    }
}

fn flight<K, T, E, F, C, O>(
    cache: &Cache<K, T, E, O>,
    key: Option<K>,
    load: F,
    (classify, seen): (C, Option<u64>),
) -> Flight<K, T, E, F, C, O>
where
    K: Hash + Eq + Clone,
{
    let load = Load::new(cache.clone(), key.clone(), load, classify, seen);
    CoalesceFuture::new(cache.store.coalesce.clone(), key, load)
}

impl<K, T, E, F, C, O> Future for CacheFuture<K, T, E, F, C, O>
where
    O: Observe,
    K: Hash + Eq + Clone,
    T: Clone,
    E: Clone,
    F: Future<Output = Result<T, Error<E>>>,
    C: Classify<T, E> + Clone,
{
    type Output = Result<Served<T>, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(Begin { key, load }) = this.begin.take() {
            let found = match &key {
                Some(key) => this.cache.find(key),
                None => Found::Load(None, None),
            };
            let (spare, claim) = match found {
                Found::Serve(served) => return Poll::Ready(served.map_err(Error::Inner)),
                Found::Load(spare, claim) => (spare, claim),
            };
            let seen = spare.as_ref().map(|spare| spare.version);
            let classify = (this.classify.clone(), seen);
            this.flight
                .set(Some(flight(this.cache, key, load, classify)));
            *this.spare = spare;
            *this.claim = claim;
        }
        let Some(flight) = this.flight.as_mut().as_pin_mut() else {
            // Polled after its end, which a future need not bear.
            return Poll::Pending;
        };
        let result = ready!(flight.poll(cx));
        this.flight.set(None);
        *this.claim = None;
        let need = need(result.as_ref(), this.classify);
        Poll::Ready(this.cache.settle(result, this.spare.take(), need))
    }
}

impl<K: Hash + Eq + Clone, T, E, F, C, O> fmt::Debug for CacheFuture<K, T, E, F, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheFuture")
            .field("begun", &self.begin.is_none())
            .finish_non_exhaustive()
    }
}
