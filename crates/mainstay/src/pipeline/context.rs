//! What the stages of a pipeline know of the call that passes through them, and what they hand
//! back.
//!
//! Prevents three wastes and one mistake: a clock that each policy reads again, a result that each
//! policy classifies again, a timer in each policy, and policies that disagree on when the call is
//! over. Always holds: the deadline only ever becomes earlier on the way in.

use std::time::Duration;

use mainstay_core::limit::priority::Priority;
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::time::{Deadline, Instant, nanos};

use super::grain::Grain;
use super::wait::Wait;
use crate::classify::Classify;
use crate::clock::Clock;
use crate::deadline::Ambient;
use crate::error::{Error, Rejection, Scope};
use crate::retry::Attempt;

/// A call on its way in. Cheap to copy: a stage changes its own copy.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    clock: &'a Clock,
    now: Instant,
    deadline: Deadline,
    /// How long the time was that ends at the deadline; cut off at 584 years.
    limit_nanos: u64,
    /// The budget that has counted this call already, by its address; 0 when none has.
    budget: usize,
    attempt: u32,
    /// Whose time ends at the deadline.
    scope: Scope,
    priority: Priority,
    /// Whether it may be made twice.
    idempotent: bool,
    /// Whether somebody further out tries again.
    retried: bool,
    wait: Wait,
    grain: Grain,
}

/// Whether a call may be made twice, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// By the next stage that tries again.
    Idempotent,
    /// By the next stage that tries again, if it was provably never sent.
    Unsent,
    /// By a stage further out, or by somebody further out.
    Outside,
}

/// What is said of one call before it starts.
///
/// ```
/// use mainstay::pipeline::Terms;
///
/// // A payment: tried again only if it provably never left this process.
/// let terms = Terms { idempotent: false, ..Terms::default() };
/// # assert!(!terms.idempotent);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether it may be made twice. A call that may not is tried again only when the attempt was
    /// provably never sent. Default: `true`.
    pub idempotent: bool,
    /// When the caller stops waiting, by the pipeline's clock; the pipeline's own deadline can only
    /// be earlier. Default: [`Deadline::NEVER`].
    pub deadline: Deadline,
    /// Whether somebody further out tries again, so that this pipeline must not: three layers of
    /// three attempts each would be 27 calls. Not needed within another pipeline's or retry's
    /// attempt, whose [ambient](crate::deadline) says so. Default: `false`.
    pub retried: bool,
    /// How much it matters when not all can be served: where there is a concurrency limit.
    /// Default: [`Priority::Normal`].
    pub priority: Priority,
}

impl Default for Terms {
    /// Idempotent, without a deadline, of normal priority, and nobody further out tries again.
    fn default() -> Self {
        Self {
            idempotent: true,
            deadline: Deadline::NEVER,
            retried: false,
            priority: Priority::Normal,
        }
    }
}

impl Terms {
    /// Those of a call that is part of an outer pipeline's `attempt`: its deadline is the outer
    /// one's, and only the outer one tries again. Both pipelines share one clock.
    pub fn within(attempt: Attempt) -> Self {
        Self {
            deadline: attempt.deadline,
            retried: true,
            ..Self::default()
        }
    }
}

/// A call on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended<T, E> {
    /// What the caller gets, unless a stage further out does something about it.
    pub result: Result<T, Error<E>>,
    /// What it means: decided once, by the pipeline's classifier, for all stages.
    pub outcome: Outcome,
    /// When it ended. A failure's is exact; that of a good answer may be a step of the coarse
    /// clock before it, see [`pipeline`](super).
    pub at: Instant,
}

impl<'a> Context<'a> {
    /// A call that starts now, on `terms` and under what its surroundings say.
    pub(super) fn new(clock: &'a Clock, grain: Grain, terms: Terms, wait: Wait) -> Self {
        let ambient = Ambient::current();
        let deadline = match ambient.deadline {
            None => terms.deadline,
            Some(at) => terms.deadline.earlier(Deadline::at(clock.instant(at))),
        };
        let now = grain.start(clock, deadline);
        Self {
            clock,
            now,
            deadline,
            limit_nanos: nanos(deadline.instant().since(now)),
            budget: ambient.budget,
            // What is done here is part of the outer attempt.
            attempt: ambient.attempt.max(1),
            scope: Scope::Total,
            priority: terms.priority,
            idempotent: terms.idempotent,
            retried: terms.retried || ambient.attempt > 0,
            wait,
            grain,
        }
    }

    /// The pipeline's clock.
    pub const fn clock(&self) -> &'a Clock {
        self.clock
    }

    /// This moment, as it was read last: when the call began, or after the last wait. It may be a
    /// step of the coarse clock ago, see [`pipeline`](super).
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// [`now`](Self::now) as `clock` counts.
    pub fn now_by(&self, clock: &Clock) -> Instant {
        clock.translate(self.now, self.clock)
    }

    /// When the call must be over; [`Deadline::NEVER`] when nothing limits it. A stage that waits
    /// must not wait longer.
    pub const fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// [`deadline`](Self::deadline) as `clock` counts.
    pub fn deadline_by(&self, clock: &Clock) -> Deadline {
        if self.deadline == Deadline::NEVER {
            return Deadline::NEVER;
        }
        Deadline::at(clock.translate(self.deadline.instant(), self.clock))
    }

    /// The attempt, as the call sees it.
    pub const fn attempt(&self) -> Attempt {
        Attempt {
            number: self.attempt,
            deadline: self.deadline,
        }
    }

    /// Whether waits block the thread.
    pub const fn is_blocking(&self) -> bool {
        matches!(self.wait, Wait::Thread)
    }

    /// From here on, the call has at most `after`, and less where its deadline is nearer.
    pub fn limit(&mut self, scope: Scope, after: Duration) {
        let deadline = Deadline::after(self.now, after);
        if deadline < self.deadline {
            self.deadline = deadline;
            self.limit_nanos = nanos(after);
            self.scope = scope;
        }
    }

    /// How much the call matters.
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// Whether the call may be made twice: by a retry, or by a hedge, which is part of an attempt.
    pub const fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// The call must not be made twice, whatever its terms say.
    pub(crate) const fn forbid_copies(&mut self) {
        self.idempotent = false;
    }

    /// Whether the stage that asks may try the call again. From here on, stages further in may not.
    pub const fn try_again(&mut self) -> Repeat {
        if self.retried {
            return Repeat::Outside;
        }
        self.try_again_even_when_nested()
    }

    /// [`try_again`](Self::try_again) for a stage that does not care who else does.
    pub(crate) const fn try_again_even_when_nested(&mut self) -> Repeat {
        if self.retried {
            self.attempt = 1;
        }
        self.retried = true;
        if self.idempotent {
            Repeat::Idempotent
        } else {
            Repeat::Unsent
        }
    }

    /// The budget at this address counts the call; `false` when it has done so already.
    pub(crate) const fn count_in(&mut self, budget: usize) -> bool {
        let is_new = self.budget != budget;
        self.budget = budget;
        is_new
    }

    /// What the call sees around itself.
    pub(crate) fn ambient(&self) -> Ambient {
        Ambient {
            attempt: if self.retried { self.attempt } else { 0 },
            budget: self.budget,
            ..Ambient::of(*self.clock, self.deadline)
        }
    }

    /// From here on, the next attempt.
    pub const fn count(&mut self) {
        self.attempt = self.attempt.saturating_add(1);
    }

    /// Reads the clock again, after a wait.
    pub fn refresh(&mut self) {
        self.now = self.clock.now();
    }

    /// This context with the clock read again.
    #[must_use]
    pub fn refreshed(mut self) -> Self {
        self.refresh();
        self
    }

    /// Waits for `after`, and reads the clock again.
    pub async fn sleep(&mut self, after: Duration) {
        self.wait.sleep(after).await;
        self.refresh();
    }

    /// Turns the call away: nothing was sent, and nothing can be said of the callee.
    pub const fn rejected<T, E>(&self, rejection: Rejection) -> Ended<T, E> {
        Ended {
            result: Err(Error::Rejected(rejection)),
            outcome: Outcome::Ignored,
            at: self.now,
        }
    }

    /// The call gave `result`.
    pub(super) fn ended<T, E>(
        &self,
        result: Result<T, E>,
        classify: &impl Classify<T, E>,
    ) -> Ended<T, E> {
        let outcome = classify.classify(result.as_ref());
        Ended {
            outcome,
            result: result.map_err(Error::Inner),
            at: self.grain.end(self.clock, outcome),
        }
    }

    /// The time is up.
    pub(crate) fn timed_out<T, E>(&self) -> Ended<T, E> {
        let scope = self.scope;
        let after = Duration::from_nanos(self.limit_nanos);
        Ended {
            result: Err(Error::Timeout { scope, after }),
            // Whichever limit it was: the callee stayed silent for as long as it had. A breaker
            // that looked at the attempt's limit alone would never open in front of a callee that
            // hangs when only a total is set.
            outcome: Outcome::Failure(Reason::Timeout),
            at: self.clock.now(),
        }
    }
}

impl<T, E> Ended<T, E> {
    /// [`at`](Self::at) as `clock` counts, when `cx` is the call's context.
    pub fn at_by(&self, clock: &Clock, cx: &Context<'_>) -> Instant {
        clock.translate(self.at, cx.clock)
    }

    /// It would have been tried again, had the retry budget had room.
    #[must_use]
    pub fn without_budget(self) -> Self {
        let result = match self.result {
            Err(Error::Inner(error)) => Err(Error::BudgetExhausted(error)),
            result @ (Ok(_) | Err(_)) => result,
        };
        Self { result, ..self }
    }
}
