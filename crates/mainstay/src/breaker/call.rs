//! A call through a circuit breaker, as a future.
//!
//! Prevents a call that costs more than what it is guarded by: an `async fn` would keep its
//! arguments twice, and move them once more when it is first polled.

use std::pin::Pin;
use std::task::{Context, Poll};

use mainstay_core::breaker;
use mainstay_core::event::Observe;
use pin_project_lite::pin_project;

use super::{Breaker, Held};
use crate::classify::Classify;
use crate::error::Error;

pin_project! {
    /// Asks for a permit when it is first polled, and holds it until its future is done.
    #[must_use = "futures do nothing unless polled"]
    pub(super) struct Call<'a, F, C, O>
    where
        O: Observe,
    {
        #[pin]
        future: F,
        permit: Option<breaker::Permit>,
        breaker: &'a Breaker<O>,
        is_begun: bool,
        classify: C,
    }

    impl<F, C, O> PinnedDrop for Call<'_, F, C, O>
    where
        O: Observe,
    {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(permit) = this.permit.take() {
                drop(Held::new(*this.breaker, permit));
            }
        }
    }
}

impl<'a, F, C, O: Observe> Call<'a, F, C, O> {
    #[inline]
    pub(super) const fn new(breaker: &'a Breaker<O>, future: F, classify: C) -> Self {
        Self {
            future,
            permit: None,
            breaker,
            is_begun: false,
            classify,
        }
    }
}

impl<F, C, O, T, E> Future for Call<'_, F, C, O>
where
    F: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
    O: Observe,
{
    type Output = Result<T, Error<E>>;

    #[expect(
        clippy::inline_always,
        reason = "an answer that is moved out of here costs as much as the call; what is seldom is apart"
    )]
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // In two registers until here; a guard that is moved takes a detour through memory.
        let permit = if *this.is_begun {
            this.permit.take()
        } else {
            *this.is_begun = true;
            match this.breaker.acquire() {
                Ok(permit) => Some(permit),
                Err(rejected) => return Poll::Ready(Err(this.breaker.refuse(rejected))),
            }
        };
        let Some(permit) = permit else {
            // Asked again after the answer.
            return Poll::Pending;
        };
        // Out of the future while that runs: a panic is a failure whoever catches it.
        let mut held = Held::new(*this.breaker, permit);
        match this.future.poll(cx) {
            Poll::Ready(result) => {
                held.settle(this.classify.classify(result.as_ref()));
                Poll::Ready(result.map_err(Error::Inner))
            },
            Poll::Pending => {
                *this.permit = held.take();
                Poll::Pending
            },
        }
    }
}
