//! The answer of a service with a fallback.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use mainstay_core::outcome::Reason;
use pin_project_lite::pin_project;

use super::{Fallback, Place};
use crate::classify::Classify;
use crate::error::{Error, Flat};

pin_project! {
    /// The answer of a [`FallbackService`](super::FallbackService).
    pub struct FallbackFuture<F, G, R, C, T, E> {
        #[pin]
        state: State<F, R, T, E>,
        fallback: Fallback,
        // Taken when it is needed.
        substitute: Option<G>,
        classify: C,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F, R, T, E> {
        Primary {
            #[pin]
            call: F,
        },
        Substitute {
            #[pin]
            call: R,
            // Both taken at the end.
            failed: Option<Result<T, Error<E>>>,
            place: Option<(Reason, Place)>,
        },
    }
}

impl<F, G, R, C, T, E> FallbackFuture<F, G, R, C, T, E> {
    pub(super) const fn new(call: F, fallback: Fallback, substitute: G, classify: C) -> Self {
        Self {
            state: State::Primary { call },
            fallback,
            substitute: Some(substitute),
            classify,
        }
    }
}

impl<F, G, R, C, T, E, I> Future for FallbackFuture<F, G, R, C, T, I>
where
    F: Future<Output = Result<T, E>>,
    E: Flat<Inner = I>,
    G: FnOnce(Result<&T, &Error<I>>) -> R,
    R: Future<Output = Result<T, I>>,
    C: Classify<T, I>,
{
    type Output = Result<T, Error<I>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjected::Primary { call } => {
                    let result = ready!(call.poll(cx)).map_err(Flat::into_error);
                    let admitted = this.fallback.admit(result.as_ref(), this.classify);
                    let (Some(place), Some(substitute)) = (admitted, this.substitute.take()) else {
                        return Poll::Ready(result);
                    };
                    let call = substitute(result.as_ref());
                    this.state.set(State::Substitute {
                        call,
                        failed: Some(result),
                        place: Some(place),
                    });
                },
                StateProjected::Substitute {
                    call,
                    failed,
                    place,
                } => {
                    let stand_in = ready!(call.poll(cx));
                    let (Some(failed), Some((reason, place))) = (failed.take(), place.take())
                    else {
                        // Polled after its end, which a future need not bear.
                        return Poll::Pending;
                    };
                    return Poll::Ready(place.settle(failed, stand_in, reason));
                },
            }
        }
    }
}

impl<F, G, R, C, T, E> fmt::Debug for FallbackFuture<F, G, R, C, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackFuture")
            .field("fallback", &self.fallback)
            .finish_non_exhaustive()
    }
}
