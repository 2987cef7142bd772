//! [`Faults`] as a stage of a pipeline.
//!
//! A stage works for calls of any type, and so it can make neither their errors nor their answers.
//! An injected error is a rejection that counts as the callee's failure; answers are left as they
//! are. Where the real error or a wrong answer matters, use [`Faults::call`] inside of the call.

use std::time::Duration;

use mainstay_core::fault::{Fault, LATENCY_MAX};
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::time::Deadline;

use super::Faults;
use crate::error::Error;
use crate::pipeline::{Context, Ended, Next, Stage};

/// Breaks attempts before they are made. Calls in a pipeline have no key: those of
/// [`enable_for`](Faults::enable_for) are not among them.
impl Stage for Faults {
    async fn run<T, E, N: Next<T, E>>(&self, mut cx: Context<'_>, next: N) -> Ended<T, E> {
        if let Some(fault) = self.decide(None)
            && let Some(broken) = self.meet(fault, &mut cx).await
        {
            return broken;
        }
        next.run(cx).await
    }
}

impl Faults {
    /// Meets `fault` in the call `cx`; `None` when the call is made all the same.
    pub(crate) async fn meet<T, E>(
        &self,
        fault: Fault,
        cx: &mut Context<'_>,
    ) -> Option<Ended<T, E>> {
        let delay = match fault {
            Fault::Error => return Some(self.failed(cx)),
            Fault::Reject => return Some(cx.rejected(self.rejection())),
            Fault::Wrong => return None,
            Fault::Latency(delay) => delay,
            Fault::Hang => LATENCY_MAX,
        };
        let left = left(cx);
        cx.sleep(left.map_or(delay, |left| left.min(delay))).await;
        // Later than the deadline there is nobody to make the call for.
        let is_late = left.is_some_and(|left| left <= delay);
        (is_late || fault == Fault::Hang).then(|| cx.timed_out())
    }

    fn failed<T, E>(&self, cx: &Context<'_>) -> Ended<T, E> {
        Ended {
            result: Err(Error::Rejected(self.rejection())),
            outcome: Outcome::Failure(Reason::Error),
            at: cx.now(),
        }
    }
}

/// What is left until the deadline; `None` when there is none.
fn left(cx: &Context<'_>) -> Option<Duration> {
    let deadline = cx.deadline();
    (deadline != Deadline::NEVER).then(|| deadline.instant().since(cx.now()))
}
