//! [`Retry`] as a stage of a pipeline.

use std::time::Duration;

use mainstay_core::retry::{Decision, Failed, GiveUpReason};

use super::{Again, Plan, Retry};
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
            let plan = &*self.0;
            let repeat = cx.try_again();
            if repeat != Repeat::Outside {
                plan.begin(&mut cx);
            }
            let ended = next.run(cx).await;
            if repeat == Repeat::Outside || ended.again() == Again::No {
                return ended;
            }
            plan.mend(ended, repeat, cx, next).await
        }
    }
}

impl Plan {
    /// Counts a call.
    fn begin(&self, cx: &mut Context<'_>) {
        self.budget.deposit_at(cx.now_by(&self.clock));
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
        loop {
            match self.after(&ended, &cx, repeat) {
                Ok(backoff) => {
                    drop(ended);
                    // Nothing is held meanwhile: all stages further in have let go.
                    cx.sleep(backoff).await;
                    cx.count();
                    ended = next.run(cx).await;
                },
                Err(Some(GiveUpReason::Budget)) => return ended.without_budget(),
                Err(_) => return ended,
            }
        }
    }

    /// How long to wait before another attempt, or why there is none; `None` when there is nothing
    /// to be mended.
    fn after<T, E>(
        &self,
        ended: &Ended<T, E>,
        cx: &Context<'_>,
        repeat: Repeat,
    ) -> Result<Duration, Option<GiveUpReason>> {
        let retry_after = match ended.again() {
            Again::No => return Err(None),
            Again::Yes => None,
            Again::After(wish) => Some(wish),
        };
        let failed = Failed {
            retry_after,
            attempts_used: cx.attempt().number,
            sent: ended.was_sent(),
            idempotent: repeat == Repeat::Idempotent,
            deadline: cx.deadline_by(&self.clock),
        };
        let now = ended.at_by(&self.clock, cx);
        let decision = self
            .budget
            .decide(&self.retry, &failed, now, &mut self.random.draw());
        match decision {
            Decision::Retry { after } => Ok(after),
            Decision::GiveUp(reason) => Err(Some(reason)),
        }
    }
}
