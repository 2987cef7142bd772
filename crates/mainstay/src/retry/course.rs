//! The course of one call: where it is, and what follows an attempt.
//!
//! Prevents four forms of the same call (async, blocking, tower, nested) that decide differently.

use std::time::Duration;

use mainstay_core::event::Observe;
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::retry::{Decision, Failed, GiveUpReason, Sent};
use mainstay_core::time::Deadline;

use super::{Attempt, Retry};
use crate::classify::Classify;
use crate::deadline::{Ambient, no_time};
use crate::error::{Error, Rejection};
use crate::timeout::Timeout;

/// Where a call is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    number: u32,
    /// The total limit that this call has of itself.
    own: Ambient,
    total: Option<Duration>,
    deadline: Deadline,
    /// The last backoff, without what the callee asked for.
    waited: Duration,
    /// Another retry around this one does the retrying.
    is_nested: bool,
    /// The request can be sent only once.
    is_single: bool,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Its result is the call's.
    Done,
    /// Another attempt; the budget has been charged.
    Again {
        /// After this wait.
        after: Duration,
    },
    /// Its result is the call's, because the budget is used up.
    Exhausted,
}

impl Course {
    /// A call begins: it is counted as a request, unless somebody around it has done so.
    pub(super) fn begin<O: Observe>(retry: &Retry<O>) -> Result<Self, Rejection> {
        let plan = &*retry.plan;
        let ambient = Ambient::current();
        let is_nested = ambient.attempt != 0 && !plan.even_when_nested;
        if !is_nested && ambient.budget != plan.budget.address() {
            plan.budget.deposit();
        }
        let mut own = Ambient {
            budget: if is_nested { 0 } else { plan.budget.address() },
            ..Ambient::NONE
        };
        let mut deadline = Deadline::NEVER;
        if let Some(at) = ambient.deadline {
            deadline = Deadline::at(plan.clock.instant(at));
            // A few milliseconds late at worst, and then the timer ends the first attempt.
            if deadline.remaining(plan.clock.coarse()).is_none() {
                return Err(no_time(plan.budget.name()));
            }
        }
        if let Some(total) = plan.total {
            let end = Deadline::after(plan.clock.now(), total);
            own.deadline = Some(plan.clock.timer(end.instant()));
            deadline = deadline.earlier(end);
        }
        Ok(Self {
            // What an inner retry does is part of the outer one's attempt.
            number: if is_nested { ambient.attempt } else { 1 },
            own,
            total: plan.total,
            deadline,
            waited: Duration::ZERO,
            is_nested,
            is_single: false,
        })
    }

    /// The call of a request that can be sent again, or only once.
    pub(super) const fn repeatable(self, repeatable: bool) -> Self {
        Self {
            is_single: !repeatable,
            ..self
        }
    }

    /// What all attempts see around them.
    pub(super) const fn ambient(&self) -> Ambient {
        self.own
    }

    /// The limit of all attempts together.
    pub(super) fn limit(&self) -> Option<Timeout> {
        self.total.map(Timeout::total)
    }

    /// What the next attempt sees around it.
    pub(super) const fn mark(&self) -> Ambient {
        Ambient {
            attempt: self.number,
            ..self.own
        }
    }

    pub(super) const fn attempt(&self) -> Attempt {
        Attempt {
            number: self.number,
            deadline: self.deadline,
        }
    }

    /// An attempt ended.
    pub(super) fn next<T, E, O: Observe>(
        &mut self,
        retry: &Retry<O>,
        result: &Result<T, Error<E>>,
        classify: &impl Classify<T, Error<E>>,
    ) -> Next {
        if self.is_nested {
            return Next::Done;
        }
        let outcome = classify.classify(result.as_ref());
        retry.plan.budget.ended(outcome);
        if self.is_single {
            return Next::Done;
        }
        let Some(failed) = self.failed(retry, result.as_ref().err(), outcome) else {
            return Next::Done;
        };
        let plan = &*retry.plan;
        let (now, random) = (plan.clock.now(), &mut plan.random.draw());
        match plan.retry.decide(&failed, &plan.budget, now, random) {
            Decision::Retry { after, backoff } => {
                self.number = self.number.saturating_add(1);
                self.waited = backoff;
                Next::Again { after }
            },
            Decision::GiveUp(GiveUpReason::Budget) => Next::Exhausted,
            Decision::GiveUp(
                GiveUpReason::Attempts
                | GiveUpReason::Unsafe
                | GiveUpReason::Deadline
                | GiveUpReason::RetryAfter,
            ) => Next::Done,
        }
    }

    /// The failed attempt; `None` when the result stands.
    fn failed<E, O>(
        &self,
        retry: &Retry<O>,
        error: Option<&Error<E>>,
        outcome: Outcome,
    ) -> Option<Failed> {
        let mendable = Mendable::of(error, outcome)?;
        Some(Failed {
            attempts_used: self.number,
            sent: mendable.sent,
            idempotent: retry.idempotent,
            retry_after: mendable.retry_after,
            waited: self.waited,
            deadline: self.deadline,
        })
    }
}

/// A result that another attempt may mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mendable {
    /// Whether the attempt may have had an effect.
    pub(super) sent: Sent,
    /// When asking again may help, if somebody said so.
    pub(super) retry_after: Option<Duration>,
}

impl Mendable {
    /// What `error`, or an answer that is none, and its `outcome` mean; `None` when the result
    /// stands.
    ///
    /// Not when a policy further in turned the call away and does not know when it will have room:
    /// asking again at once would hammer it.
    pub(super) fn of<E>(error: Option<&Error<E>>, outcome: Outcome) -> Option<Self> {
        // An inner retry with this budget, or one as empty, has given up.
        if matches!(error, Some(Error::BudgetExhausted(_))) {
            return None;
        }
        let retry_after = match outcome {
            Outcome::Success | Outcome::Permanent => return None,
            Outcome::Failure(_) => error.and_then(Error::retry_after),
            Outcome::Throttled { retry_after } => retry_after,
            // Turned away by an inner policy, which may have said when that will be over.
            Outcome::Ignored => Some(error?.retry_after()?),
        };
        let sent = match outcome {
            // Without a connection nothing can have been sent.
            Outcome::Failure(Reason::Connect) => Sent::Never,
            Outcome::Success
            | Outcome::Failure(_)
            | Outcome::Throttled { .. }
            | Outcome::Permanent
            | Outcome::Ignored => error.map_or(Sent::Maybe, Error::was_sent),
        };
        Some(Self { sent, retry_after })
    }
}
