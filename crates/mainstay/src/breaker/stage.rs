//! [`Breaker`] as a stage of a pipeline.

use mainstay_core::event::Observe;
use mainstay_core::outcome::Outcome;

use super::{Breaker, Permit};
use crate::error::Rejection;
use crate::pipeline::{Context, Ended, Next, Stage};

/// Each attempt counts. What stages further in turn away counts as nothing, and gives a probe's
/// slot back.
impl<O: Observe> Stage for Breaker<O> {
    async fn run<T, E, N: Next<T, E>>(&self, cx: Context<'_>, next: N) -> Ended<T, E> {
        match self.enter() {
            Ok(permit) => {
                let ended = next.run(cx).await;
                permit.leave(&cx, &ended);
                ended
            },
            Err(rejection) => cx.rejected(rejection),
        }
    }
}

impl<O: Observe> Breaker<O> {
    /// Lets a call in, or turns it away.
    pub(crate) fn enter(&self) -> Result<Permit<'_, O>, Rejection> {
        self.try_acquire()
            .map_err(|rejected| self.rejection(rejected))
    }
}

impl<O: Observe> Permit<'_, O> {
    /// Records how the call `cx` ended.
    pub(crate) fn leave<T, E>(self, cx: &Context<'_>, ended: &Ended<T, E>) {
        match ended.outcome {
            // Needs no time, unless slow calls count; then the breaker knows how exact a one.
            Outcome::Success | Outcome::Permanent => self.success(),
            outcome @ (Outcome::Failure(_) | Outcome::Throttled { .. } | Outcome::Ignored) => {
                let at = ended.at_by(self.clock(), cx);
                self.record_at(outcome, at);
            },
        }
    }
}
