//! [`Retry`] as a stage of a pipeline.

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
            let terms = cx.try_again();
            if terms == Repeat::Outside {
                return next.run(cx).await;
            }
            plan.budget.deposit_at(cx.now_by(&plan.clock));
            if let Some(total) = plan.total {
                cx.limit(Scope::Total, total);
            }
            loop {
                let ended = next.run(cx).await;
                if ended.again() == Again::No {
                    return ended;
                }
                match plan.decide_ended(&ended, &cx, terms) {
                    Decision::GiveUp(GiveUpReason::Budget) => return ended.without_budget(),
                    Decision::GiveUp(
                        GiveUpReason::Attempts | GiveUpReason::Unsafe | GiveUpReason::Deadline,
                    ) => return ended,
                    Decision::Retry { after } => {
                        drop(ended);
                        // Nothing is held meanwhile: all stages further in have let go.
                        cx.sleep(after).await;
                        cx.count();
                    },
                }
            }
        }
    }
}

impl Plan {
    /// What to do about an attempt that may be mended.
    fn decide_ended<T, E>(&self, ended: &Ended<T, E>, cx: &Context<'_>, terms: Repeat) -> Decision {
        let failed = Failed {
            retry_after: match ended.again() {
                Again::After(wish) => Some(wish),
                Again::No | Again::Yes => None,
            },
            attempts_used: cx.attempt().number,
            sent: ended.was_sent(),
            idempotent: terms == Repeat::Idempotent,
            deadline: cx.deadline_by(&self.clock),
        };
        let now = ended.at_by(&self.clock, cx);
        self.budget
            .decide(&self.retry, &failed, now, &mut self.random.draw())
    }
}
