//! A load: what the one caller does for all who wait, and what there is without it.

use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mainstay_core::event::Observe;
use mainstay_core::freshness::{Kept, Stamp};
use mainstay_core::time::Instant;
use pin_project_lite::pin_project;

use super::shelf::Looked;
use super::{Begun, Cache, Kind, Served};
use crate::classify::Classify;
use crate::error::Error;

/// An answer that may be served if no better one is to be had.
#[derive(Clone, Debug)]
pub(super) struct Spare<T> {
    pub(super) value: T,
    pub(super) stamp: Stamp,
    pub(super) version: u64,
}

impl<T: Clone> Spare<T> {
    pub(super) fn of<E>(looked: &Looked<Result<T, E>>) -> Option<Self> {
        let value = looked.value.as_ref().ok()?;
        (looked.stamp.kept == Kept::Answer).then(|| Self {
            value: value.clone(),
            stamp: looked.stamp,
            version: looked.version,
        })
    }
}

impl<T> Spare<T> {
    pub(super) fn serve(self, now: Instant, kind: Kind) -> Served<T> {
        Served {
            value: self.value,
            age: now.since(self.stamp.stored),
            kind,
        }
    }
}

pin_project! {
    /// Loads, and keeps what came.
    pub(super) struct Load<K, T, E, F, C, O> {
        #[pin]
        future: F,
        cache: Cache<K, T, E, O>,
        key: Option<K>,
        classify: C,
        // The version that the caller saw, which is not news.
        seen: Option<u64>,
        begun: Option<Begun>,
    }
}

impl<K, T, E, F, C, O> Load<K, T, E, F, C, O> {
    pub(super) const fn new(
        cache: Cache<K, T, E, O>,
        key: Option<K>,
        future: F,
        classify: C,
        seen: Option<u64>,
    ) -> Self {
        Self {
            future,
            cache,
            key,
            classify,
            seen,
            begun: None,
        }
    }
}

impl<K, T, E, F, C, O> Future for Load<K, T, E, F, C, O>
where
    O: Observe,
    K: Hash + Eq + Clone,
    T: Clone,
    E: Clone,
    F: Future<Output = Result<T, Error<E>>>,
    C: Classify<T, E>,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(key) = this.key else {
            return this.future.poll(cx);
        };
        let begun = if let Some(begun) = this.begun {
            *begun
        } else {
            // Between this caller's look and its turn, another may have loaded.
            if let Some(newer) = this.cache.newer(key, *this.seen) {
                return Poll::Ready(newer.map_err(Error::Inner));
            }
            *this.begun.insert(this.cache.begin(key))
        };
        let result = ready!(this.future.poll(cx));
        this.cache.learn(key, &result, this.classify, begun);
        Poll::Ready(result)
    }
}
