//! [`Retry`] as a stage of a pipeline.

use std::time::Duration;

use mainstay_core::event::Observe;
use mainstay_core::retry::{Decision, Failed, GiveUpReason};

use super::course::Mendable;
use super::{Plan, Retry};
use crate::error::Scope;
use crate::pipeline::{Context, Ended, Next, Repeat, Stage};

/// Stages further in see each attempt. Around another retry, only this one tries again.
impl<O: Observe> Stage for Retry<O> {
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
            let repeat = self.begin(&mut cx);
            let ended = next.run(cx).await;
            if self.is_settled(repeat, &ended) {
                return ended;
            }
            self.mend(ended, repeat, cx, next).await
        }
    }
}

impl<O: Observe> Retry<O> {
    /// Counts a call, and says whether it may be made twice from here.
    pub(crate) fn begin(&self, cx: &mut Context<'_>) -> Repeat {
        let plan = &*self.plan;
        if !self.idempotent {
            cx.forbid_copies();
        }
        let repeat = if plan.even_when_nested {
            cx.try_again_even_when_nested()
        } else {
            cx.try_again()
        };
        if repeat != Repeat::Outside {
            plan.begin(cx);
        }
        repeat
    }

    /// Whether the first attempt's result is the call's.
    pub(crate) fn is_settled<T, E>(&self, repeat: Repeat, ended: &Ended<T, E>) -> bool {
        if repeat == Repeat::Outside {
            return true;
        }
        self.plan.budget.ended(ended.outcome);
        mendable(ended).is_none()
    }

    /// Tries again after the first attempt, which ended so.
    pub(crate) fn mend<T, E, N: Next<T, E>>(
        &self,
        ended: Ended<T, E>,
        repeat: Repeat,
        cx: Context<'_>,
        next: N,
    ) -> impl Future<Output = Ended<T, E>> {
        self.plan.mend(ended, repeat, cx, next)
    }

    /// The time for the whole call.
    pub(crate) fn total(&self) -> Option<Duration> {
        self.plan.total
    }
}

fn mendable<T, E>(ended: &Ended<T, E>) -> Option<Mendable> {
    Mendable::of(ended.result.as_ref().err(), ended.outcome)
}

impl<O: Observe> Plan<O> {
    /// Counts a call.
    fn begin(&self, cx: &mut Context<'_>) {
        if cx.count_in(self.budget.address()) {
            self.budget.deposit_at(cx.now_by(&self.budget.clock()));
        }
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
