//! What a call brings along unseen: its deadline, and that somebody retries it already.
//!
//! Prevents policies that multiply each other because each thinks it is alone. Always holds: after
//! a future was polled, or panicked, the thread has again what it had before.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use mainstay_core::time::Deadline;
use pin_project_lite::pin_project;
use tokio::time;

use crate::clock::Clock;

/// Set around a call. Each part that is absent leaves what is around it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ambient {
    /// As the runtime's timers count, so that policies with clocks of their own understand it.
    pub(crate) deadline: Option<time::Instant>,
    /// Which attempt of a retry this is; 0 when nobody retries.
    pub(crate) attempt: u32,
    /// The budget that has counted this request already, by its address; 0 when none has.
    pub(crate) budget: usize,
}

thread_local! {
    // Not dropped and made at compile time: reading it is a load.
    static AMBIENT: Cell<Ambient> = const { Cell::new(Ambient::NONE) };
}

/// Puts back what was there, also when the call panics.
struct Restore(Ambient);

impl Drop for Restore {
    fn drop(&mut self) {
        AMBIENT.set(self.0);
    }
}

impl Ambient {
    pub(crate) const NONE: Self = Self {
        deadline: None,
        attempt: 0,
        budget: 0,
    };

    pub(crate) fn current() -> Self {
        AMBIENT.get()
    }

    /// Just this deadline.
    pub(crate) fn of(clock: Clock, deadline: Deadline) -> Self {
        Self {
            deadline: (deadline != Deadline::NEVER).then(|| clock.timer(deadline.instant())),
            ..Self::NONE
        }
    }

    /// This, inside of `outer`: a deadline only shortens.
    pub(crate) fn inside(self, outer: Self) -> Self {
        Self {
            deadline: match (self.deadline, outer.deadline) {
                (Some(own), Some(outer)) => Some(own.min(outer)),
                (own, outer) => own.or(outer),
            },
            attempt: if self.attempt == 0 {
                outer.attempt
            } else {
                self.attempt
            },
            budget: if self.budget == 0 {
                outer.budget
            } else {
                self.budget
            },
        }
    }

    /// Runs `work` with this inside of what is there.
    pub(crate) fn enter<R>(self, work: impl FnOnce() -> R) -> R {
        let outer = AMBIENT.get();
        AMBIENT.set(self.inside(outer));
        let _restore = Restore(outer);
        work()
    }
}

pin_project! {
    /// A future with a deadline around it. Made by [`scope`](super::scope).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Scoped<F> {
        #[pin]
        inner: F,
        own: Ambient,
    }
}

impl<F> Scoped<F> {
    pub(crate) const fn new(own: Ambient, inner: F) -> Self {
        Self { inner, own }
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.own.enter(|| this.inner.poll(cx))
    }
}
