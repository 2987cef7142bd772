//! [`Hedge`] as a stage of a pipeline.
//!
//! The copies of one attempt are made of all that is further in: each has its own permit of the
//! breaker, its own place in the bulkhead and its own time limit, and the loser gives them back.

use std::convert::{Infallible, identity};

use mainstay_core::event::Observe;
use mainstay_core::outcome::Outcome;

use super::copies::Operation;
use super::race::Race;
use super::{Attempt, Hedge};
use crate::classify::Classify;
use crate::deadline::Scoped;
use crate::error::Error;
use crate::pipeline::{Context, Ended, Next, Optional, Stage};

/// Sends copies of slow attempts of idempotent calls. They have the attempt's number: a retry comes
/// after all of them. A blocked thread cannot send a second copy, and sends none.
///
/// A call that may be hedged allocates the race of its copies, so that those which may not are not
/// three times their size.
impl<O: Observe> Stage for Hedge<O> {
    fn run<T, E, N: Next<T, E>>(
        &self,
        cx: Context<'_>,
        next: N,
    ) -> impl Future<Output = Ended<T, E>> {
        if cx.is_blocking() || !cx.is_idempotent() {
            return Optional::Absent { call: next.run(cx) };
        }
        Optional::There {
            call: Box::pin(self.race(cx, next)),
        }
    }
}

impl<O: Observe> Hedge<O> {
    async fn race<T, E, N: Next<T, E>>(&self, mut cx: Context<'_>, next: N) -> Ended<T, E> {
        // As for a call: a copy that a retry around it pays for is not counted twice.
        if cx.count_in(self.0.budget.address()) {
            self.0.budget.deposit();
        }
        let copy = |copy: Attempt| async move {
            let cx = if copy.number > 1 { cx.refreshed() } else { cx };
            Ok(next.run(cx).await)
        };
        let race = Race::new(&*self.0, Operation(copy), AsEnded, identity);
        match Scoped::new(cx.ambient(), race).await {
            Ok(ended) => ended,
            Err(Error::Inner(never) | Error::BudgetExhausted(never)) => match never {},
            // No copy gives an error: what went wrong is inside of how it ended.
            Err(Error::Rejected(_) | Error::Timeout { .. }) => cx.timed_out(),
        }
    }
}

/// What a pipeline's classifier has said already.
struct AsEnded;

impl<T, E> Classify<Ended<T, E>, Error<Infallible>> for AsEnded {
    fn classify(&self, result: Result<&Ended<T, E>, &Error<Infallible>>) -> Outcome {
        result.map_or(Outcome::Ignored, |ended| ended.outcome)
    }
}
