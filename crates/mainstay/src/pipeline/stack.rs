//! Stages in an order of one's own.

use std::fmt;

use super::Pipeline;
use super::grain::Grain;
use super::stage::{Chain, Stage};
use crate::classify::ErrorsFail;
use crate::clock::Clock;
use crate::name::Name;

/// Makes a [`Pipeline`] of any stages in any order.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use mainstay::{Breaker, Timeout, pipeline};
///
/// // A breaker that counts whole calls: what happens further in is one result to it.
/// let breaker = Breaker::builder("payment").build().unwrap();
/// let pipeline = pipeline::stack(breaker)
///     .then(Timeout::total(Duration::from_secs(1)))
///     .build("payment");
/// let answer = pipeline.call(async |_| Ok::<_, std::io::Error>("paid")).await;
/// assert_eq!(answer.unwrap(), "paid");
/// # });
/// ```
#[must_use = "ends with build()"]
pub struct Stack<S, C = ErrorsFail> {
    stages: S,
    classify: C,
    clock: Option<Clock>,
}

/// Begins with the outermost stage.
pub fn stack<S: Stage>(outer: S) -> Stack<S> {
    Stack {
        stages: outer,
        classify: ErrorsFail,
        clock: None,
    }
}

impl<S: Stage, C> Stack<S, C> {
    /// `inner` inside of all stages so far.
    pub fn then<I: Stage>(self, inner: I) -> Stack<Chain<S, I>, C> {
        Stack {
            stages: Chain::new(self.stages, inner),
            classify: self.classify,
            clock: self.clock,
        }
    }

    /// Says what results mean. Without one, each `Err` is a failure that another attempt may mend.
    pub fn classify<D>(self, classify: D) -> Stack<S, D> {
        Stack {
            stages: self.stages,
            classify,
            clock: self.clock,
        }
    }

    /// The clock to read.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The pipeline called `name`.
    pub fn build(self, name: impl Into<Name>) -> Pipeline<S, C> {
        let clock = self.clock.unwrap_or_default();
        // Stages of any kind may have limits that nobody knows of.
        Pipeline::new(
            name.into(),
            self.stages,
            self.classify,
            (clock, Grain::Exact),
        )
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Stack<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("stages", &self.stages)
            .finish_non_exhaustive()
    }
}
