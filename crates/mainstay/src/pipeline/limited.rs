//! The one timer of a pipeline: around the innermost call, at the deadline.
//!
//! Prevents two costs: a timer per time limit, and a timer for a call that is over before anybody
//! waits for it. It is made when the call is first found pending.

use std::pin::Pin;
use std::task::{Context, Poll};

use mainstay_core::time::Deadline;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

use crate::clock::Clock;

pin_project! {
    /// A call that ends at a deadline: `None` when the time was up first.
    #[derive(Debug)]
    pub(super) struct Limited<'a, F> {
        #[pin]
        call: F,
        #[pin]
        timer: Option<Sleep>,
        deadline: Deadline,
        clock: &'a Clock,
    }
}

impl<'a, F> Limited<'a, F> {
    pub(super) const fn new(call: F, deadline: Deadline, clock: &'a Clock) -> Self {
        Self {
            call,
            timer: None,
            deadline,
            clock,
        }
    }
}

impl<F: Future> Future for Limited<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Before the timer: an answer in the same tick wins.
        if let Poll::Ready(output) = this.call.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if *this.deadline == Deadline::NEVER {
            return Poll::Pending;
        }
        if this.timer.is_none() {
            let at = this.clock.timer(this.deadline.instant());
            this.timer.set(Some(sleep_until(at)));
        }
        let Some(timer) = this.timer.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        // Unconstrained: a call that uses up the task's budget at each poll would starve the timer.
        let timer = std::pin::pin!(tokio::task::unconstrained(timer));
        timer.poll(cx).map(|()| None)
    }
}
