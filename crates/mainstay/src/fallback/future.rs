//! The answer of a service with a fallback.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mainstay_core::event::Observe;
use mainstay_core::outcome::Reason;
use pin_project_lite::pin_project;

use super::{Fallback, Place};
use crate::classify::Classify;
use crate::error::{Error, Flat};

pin_project! {
    /// The answer of a [`FallbackService`](super::FallbackService).
    pub struct FallbackFuture<F, G, R, C, T, E, O = ()> {
        #[pin]
        state: State<F, R, T, E, O>,
        fallback: Fallback<O>,
        // Taken when it is needed.
        substitute: Option<G>,
        classify: C,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F, R, T, E, O> {
        Primary {
            #[pin]
            call: F,
        },
        Substitute {
            #[pin]
            call: R,
            // Both taken at the end.
            failed: Option<Result<T, Error<E>>>,
            place: Option<(Reason, Place<O>)>,
        },
    }
}

impl<F, G, R, C, T, E, O> FallbackFuture<F, G, R, C, T, E, O> {
    pub(super) const fn new(call: F, fallback: Fallback<O>, substitute: G, classify: C) -> Self {
        Self {
            state: State::Primary { call },
            fallback,
            substitute: Some(substitute),
            classify,
        }
    }
}

impl<F, G, R, C, T, E, I, O> Future for FallbackFuture<F, G, R, C, T, I, O>
where
    O: Observe,
    F: Future<Output = Result<T, E>>,
    E: Flat<Inner = I>,
    G: FnOnce(Result<&T, &Error<I>>) -> R,
    R: Future<Output = Result<T, I>>,
    C: Classify<T, I>,
{
    type Output = Result<T, Error<I>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let StateProjected::Primary { call } = this.state.as_mut().project() {
            let result = ready!(call.poll(cx)).map_err(Flat::into_error);
            let place = this.fallback.admit(result.as_ref(), this.classify);
            let (Some(_), Some(substitute)) = (&place, this.substitute.take()) else {
                return Poll::Ready(result);
            };
            let call = substitute(result.as_ref());
            this.state.set(State::Substitute {
                call,
                failed: Some(result),
                place,
            });
        }
        match this.state.project() {
            StateProjected::Substitute {
                call,
                failed,
                place,
            } => {
                let stand_in = ready!(call.poll(cx));
                let ended = failed.take().zip(place.take());
                ended.map_or(Poll::Pending, |(failed, (reason, place))| {
                    Poll::Ready(place.settle(failed, stand_in, reason))
                })
            },
            // It has just become the other.
            StateProjected::Primary { .. } => Poll::Pending,
        }
    }
}

impl<F, G, R, C, T, E, O: Observe> fmt::Debug for FallbackFuture<F, G, R, C, T, E, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackFuture")
            .field("fallback", &self.fallback)
            .finish_non_exhaustive()
    }
}
