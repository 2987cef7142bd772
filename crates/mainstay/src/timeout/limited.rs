//! A future with a time limit whose timer is made when it is first needed.
//!
//! Prevents a timer, which is registered under a lock, for each of the many calls that are ready
//! at once: those pay nothing but the poll. Always holds: the future is asked before the timer, so
//! that an answer in the same tick wins.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Timeout;
use crate::deadline::Ambient;
use crate::error::{Error, Scope};

/// A time limit that was reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elapsed {
    scope: Scope,
    after: Duration,
}

impl Elapsed {
    pub(crate) const fn into_error<E>(self) -> Error<E> {
        Error::Timeout {
            scope: self.scope,
            after: self.after,
        }
    }
}

pin_project! {
    /// `inner`, ended by its limit or by the ambient deadline, whichever is first.
    #[derive(Debug)]
    pub(crate) struct Limited<F> {
        #[pin]
        inner: F,
        #[pin]
        timer: Option<Sleep>,
        // What the inner future sees around itself. Holds the end of a total limit.
        own: Ambient,
        limit: Option<Timeout>,
        elapsed: Elapsed,
    }
}

impl<F> Limited<F> {
    pub(crate) const fn new(own: Ambient, limit: Option<Timeout>, inner: F) -> Self {
        Self {
            inner,
            timer: None,
            own,
            limit,
            elapsed: Elapsed {
                scope: Scope::Total,
                after: Duration::ZERO,
            },
        }
    }
}

/// When a call that is not ready has to end, and what is said then.
fn end(own: Ambient, limit: Option<Timeout>) -> Option<(Instant, Elapsed)> {
    let outer = Ambient::current().deadline;
    if limit.is_none() && outer.is_none() {
        return None;
    }
    let now = Instant::now();
    let own = limit.and_then(|Timeout { scope, after }| {
        let end = match scope {
            Scope::Attempt => now.checked_add(after),
            Scope::Total => own.deadline,
        };
        end.map(|end| (end, Elapsed { scope, after }))
    });
    let outer = outer.map(|end| {
        let after = end.saturating_duration_since(now);
        let scope = Scope::Total;
        (end, Elapsed { scope, after })
    });
    match (own, outer) {
        (Some(own), Some(outer)) => Some(if outer.0 < own.0 { outer } else { own }),
        (own, outer) => own.or(outer),
    }
}

impl<F: Future> Future for Limited<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let inner = this.inner;
        let polled = if *this.own == Ambient::NONE {
            inner.poll(cx)
        } else {
            this.own.enter(|| inner.poll(cx))
        };
        if let Poll::Ready(output) = polled {
            return Poll::Ready(Ok(output));
        }
        if this.timer.is_none() {
            let Some((end, elapsed)) = end(*this.own, *this.limit) else {
                return Poll::Pending;
            };
            *this.elapsed = elapsed;
            this.timer.set(Some(sleep_until(end)));
        }
        let elapsed = *this.elapsed;
        this.timer.as_pin_mut().map_or(Poll::Pending, |timer| {
            // A future that always uses up what it may do in one go must not silence the timer.
            Pin::new(&mut unconstrained(timer))
                .poll(cx)
                .map(|()| Err(elapsed))
        })
    }
}
