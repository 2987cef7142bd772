//! The future of the innermost call: the one timer of a pipeline, and the one place where a result
//! is classified.
//!
//! Prevents two costs: a timer per time limit, and a timer for a call that is over before anybody
//! waits for it. It is made when the call is first found pending.

use std::pin::Pin;
use std::task::{self, Poll};

use mainstay_core::time::Deadline;
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

use super::context::{Context, Ended};
use crate::classify::Classify;
use crate::error::Rejection;

pin_project! {
    /// A call that ends at its deadline, and is classified when it ends.
    #[derive(Debug)]
    #[project = LimitedProjection]
    pub(super) enum Limited<'b, 'c, F, C> {
        Running {
            #[pin]
            call: F,
            #[pin]
            timer: Option<Sleep>,
            classify: &'c C,
            cx: Context<'b>,
        },
        TooLate {
            rejection: Option<Rejection>,
            cx: Context<'b>,
        },
    }
}

impl<F, C, T, E> Future for Limited<'_, '_, F, C>
where
    F: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
{
    type Output = Ended<T, E>;

    fn poll(self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Ended<T, E>> {
        match self.project() {
            LimitedProjection::Running {
                call,
                timer,
                classify,
                cx,
            } => {
                // Before the timer: an answer in the same tick wins.
                if let Poll::Ready(result) = cx.ambient().enter(|| call.poll(task)) {
                    return Poll::Ready(cx.ended(result, *classify));
                }
                wait(timer, cx, task).map(|()| cx.timed_out())
            },
            LimitedProjection::TooLate { rejection, cx } => match rejection.take() {
                Some(rejection) => Poll::Ready(cx.rejected(rejection)),
                None => Poll::Pending,
            },
        }
    }
}

/// Ready once the deadline has passed.
fn wait(
    mut timer: Pin<&mut Option<Sleep>>,
    cx: &Context<'_>,
    task: &mut task::Context<'_>,
) -> Poll<()> {
    if cx.deadline() == Deadline::NEVER {
        return Poll::Pending;
    }
    if timer.is_none() {
        let at = cx.clock().timer(cx.deadline().instant());
        timer.set(Some(sleep_until(at)));
    }
    match timer.as_pin_mut() {
        // Unconstrained: a call that uses up the task's budget at each poll would starve the timer.
        Some(timer) => std::pin::pin!(tokio::task::unconstrained(timer)).poll(task),
        None => Poll::Pending,
    }
}
