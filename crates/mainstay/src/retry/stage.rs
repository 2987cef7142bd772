//! [`Retry`] as a stage of a pipeline.

use std::time::Duration;

use mainstay_core::retry::{Decision, Failed, GiveUpReason};

use super::course::Mendable;
use super::{Plan, Retry};
use crate::error::Scope;
use crate::pipeline::{Context, Ended, Next, Repeat, Stage};

/// Stages further in see each attempt. Around another retry, only this one tries again.
impl Stage for Retry {
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, and its caller moves them all"
    )]
    fn run<T, E, N: Next<T, E>>(
        &self,
        mut cx: Context<'_>,
        next: N,
    ) -> impl Future<Output = Ended<T, E>> {
        async move {
            let plan = &*self.plan;
            let repeat = match cx.try_again() {
                Repeat::Idempotent if !self.idempotent => Repeat::Unsent,
                repeat => repeat,
            };
            if repeat != Repeat::Outside {
                plan.begin(&mut cx);
            }
            let ended = next.run(cx).await;
            if repeat == Repeat::Outside {
                return ended;
            }
            plan.budget.ended(ended.outcome);
            if mendable(&ended).is_none() {
                return ended;
            }
            plan.mend(ended, repeat, cx, next).await
        }
    }
}

fn mendable<T, E>(ended: &Ended<T, E>) -> Option<Mendable> {
    Mendable::of(ended.result.as_ref().err(), ended.outcome)
}

impl Plan {
    /// Counts a call.
    fn begin(&self, cx: &mut Context<'_>) {
        self.budget.deposit_at(cx.now_by(&self.budget.clock()));
        if let Some(total) = self.total {
            cx.limit(Scope::Total, total);
        }
    }

    /// Tries again after the first attempt, which ended so.
    async fn mend<T, E, N: Next<T, E>>(
        &self,
        mut ended: Ended<T, E>,
        repeat: Repeat,
        mut cx: Context<'_>,
        next: N,
    ) -> Ended<T, E> {
        let mut waited = Duration::ZERO;
        loop {
            let Some(decision) = self.after(&ended, &cx, repeat, waited) else {
                return ended;
            };
            match decision {
                Decision::Retry { after, backoff } => {
                    drop(ended);
                    waited = backoff;
                    // Nothing is held meanwhile: all stages further in have let go.
                    cx.sleep(after).await;
                    cx.count();
                    ended = next.run(cx).await;
                    self.budget.ended(ended.outcome);
                },
                Decision::GiveUp(GiveUpReason::Budget) => return ended.without_budget(),
                Decision::GiveUp(
                    GiveUpReason::Attempts
                    | GiveUpReason::Unsafe
                    | GiveUpReason::Deadline
                    | GiveUpReason::RetryAfter,
                ) => return ended,
            }
        }
    }

    /// What follows an attempt; `None` when there is nothing to be mended.
    fn after<T, E>(
        &self,
        ended: &Ended<T, E>,
        cx: &Context<'_>,
        repeat: Repeat,
        waited: Duration,
    ) -> Option<Decision> {
        let mendable = mendable(ended)?;
        let failed = Failed {
            retry_after: mendable.retry_after,
            attempts_used: cx.attempt().number,
            sent: mendable.sent,
            idempotent: repeat == Repeat::Idempotent,
            waited,
            deadline: cx.deadline_by(&self.clock),
        };
        let now = ended.at_by(&self.clock, cx);
        Some(
            self.retry
                .decide(&failed, &self.budget, now, &mut self.random.draw()),
        )
    }
}
