//! [`Retry`] as a stage of a pipeline.

use mainstay_core::retry::{Decision, Failed, GiveUpReason};

use super::{Plan, Retry};
use crate::error::Scope;
use crate::pipeline::{Context, Ended, Next, Stage};

/// Stages further in see each attempt. Around another retry, only this one tries again.
impl Stage for Retry {
    async fn run<T, E, N: Next<T, E>>(&self, cx: &Context<'_>, next: N) -> Ended<T, E> {
        if cx.is_retried() {
            return next.run(cx).await;
        }
        let plan = &*self.0;
        plan.budget.deposit_at(cx.now_by(&plan.clock));
        let idempotent = cx.is_idempotent();
        let mut cx = cx.retried();
        if let Some(total) = plan.total {
            cx.limit(Scope::Total, total);
        }
        loop {
            let ended = next.run(&cx).await;
            match plan.decide_ended(&ended, &cx, idempotent) {
                None => return ended,
                Some(Decision::GiveUp(GiveUpReason::Budget)) => return ended.without_budget(),
                Some(Decision::GiveUp(
                    GiveUpReason::Attempts | GiveUpReason::Unsafe | GiveUpReason::Deadline,
                )) => return ended,
                Some(Decision::Retry { after }) => {
                    drop(ended);
                    // Nothing is held meanwhile: all stages further in have let go.
                    cx.sleep(after).await;
                    cx.count();
                },
            }
        }
    }
}

impl Plan {
    /// What to do about an attempt that ended; `None` when there is nothing to be mended.
    fn decide_ended<T, E>(
        &self,
        ended: &Ended<T, E>,
        cx: &Context<'_>,
        idempotent: bool,
    ) -> Option<Decision> {
        let failed = Failed {
            retry_after: ended.again()?,
            attempts_used: cx.attempt().number,
            sent: ended.was_sent(),
            idempotent,
            deadline: cx.deadline_by(&self.clock),
        };
        let now = ended.at_by(&self.clock, cx);
        Some(
            self.budget
                .decide(&self.retry, &failed, now, &mut self.random.draw()),
        )
    }
}
