//! All policies around one call, in the one order in which they help each other.
//!
//! Prevents policies that work against each other: a retry that hammers an open circuit, a full
//! bulkhead that opens one, a place that is held while nothing runs, three time limits of which
//! none is for the whole call.
//!
//! From the outside in:
//!
//! | stage | why here |
//! |---|---|
//! | fallback, cache | the last thing that can still help, whatever failed below |
//! | coalesce | the same question is asked once, whatever asking takes |
//! | deadline | one for the whole call: queues, backoffs and attempts all use it up |
//! | rate limit | one token for a call, however many attempts it takes |
//! | retry | around all that may be another way next time, and in front of all that counts attempts |
//! | hedge | within an attempt, from the same budget: retries come after all copies failed |
//! | endpoint | each attempt and each copy may go to another one |
//! | breaker | sees every attempt of its endpoint; while open, it takes no places further in |
//! | client throttle | what the callee would refuse takes no place |
//! | concurrency limit, bulkhead | a place is held by what runs, never during a backoff |
//! | attempt's time limit | a slow attempt is a failure that the breaker sees and a retry may mend |
//! | fault injection | what is injected is met by all the others, as the real thing would be |
//! | the call | |
//!
//! Fallback, cache and coalesce need to know the answer's type or a key: put them around
//! [`Pipeline::call`]; an endpoint is picked by the call itself. A rejection by a stage says nothing
//! about the callee: stages further out do not count it, and a retry waits for it only when the
//! stage said how long, and the deadline leaves that time. The result is classified once per
//! attempt, and there is one timer, made when the call is first found pending. Nothing is allocated
//! unless there is a hedge, whose race is, for calls that may be hedged.
//!
//! For another order, [`stack()`] the stages by hand. For tower there is no layer of the whole
//! pipeline: its future has no name that `Service::Future` could be without a `Box`. Stack the
//! policies' own layers in the order above instead.
//!
//! # Surroundings
//!
//! A pipeline ends at the [ambient deadline](crate::deadline) when that is the earliest, and its
//! call sees the pipeline's deadline there. Within an attempt of another pipeline or of a plain
//! [`Retry`](crate::Retry) it makes one attempt, whose number is the outer one's; a retry that was
//! built with [`even_when_nested`](crate::retry::Builder::even_when_nested) tries again all the
//! same. A request is counted once by a budget, however many policies around it share that.
//!
//! # How exact limits are
//!
//! When all limits of a [`Pipeline::builder`] are half a second or longer, a call begins at what
//! the coarse clock says. Its limits may then end early by a step of that clock, which is 10 ms at
//! most, and never late. Precise are: shorter limits, limits that begin after a wait (in a queue,
//! between attempts), a deadline from outside that is nearer than half a second, the time of a
//! failure, and all limits of a [`stack()`]. With the feature `test-util` all are: the two clocks are
//! one then.
//!
//! Sources: the order of Resilience4j's decorators and of Polly's standard pipeline agree with it
//! where they have the stage; one deadline for all is gRPC's, one budget for retries and hedges
//! too (proposal A6).

use std::fmt;
use std::sync::Arc;

use mainstay_core::event::Observe;

use crate::classify::{Classify, ErrorsFail};
use crate::clock::Clock;
use crate::error::Error;
use crate::name::Name;
use crate::retry::Attempt;

mod bottom;
mod builder;
mod canonical;
mod config;
mod context;
mod grain;
mod limited;
mod stack;
mod stage;
mod wait;

pub use builder::{Builder, ConfigError};
pub use canonical::Canonical;
pub use config::{Config, RetryConfig, TimeoutConfig};
pub use context::{Context, Ended, Repeat, Terms};
pub use stack::{Stack, stack};
pub(crate) use stage::Optional;
pub use stage::{Chain, Next, Stage};

use bottom::{BlockingBottom, Bottom};
use grain::Grain;
use wait::{Wait, block_on};

/// Policies around a call. Cheap to clone; all clones share the policies' states.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use mainstay::{Breaker, Bulkhead, Clock, Pipeline, Retry, RetryBudget};
///
/// let clock = Clock::new();
/// let budget = RetryBudget::builder("payment").clock(clock).build().unwrap();
/// let pipeline = Pipeline::builder("payment")
///     .deadline(Duration::from_secs(3))
///     .retry(Retry::builder(budget).clock(clock).build().unwrap())
///     .breaker(Breaker::builder("payment").clock(clock).build().unwrap())
///     .bulkhead(Bulkhead::builder("payment").clock(clock).build().unwrap())
///     .timeout(Duration::from_secs(1))
///     .clock(clock)
///     .build()
///     .unwrap();
///
/// let answer = pipeline
///     .call(async |attempt| if attempt.number < 2 { Err("reset") } else { Ok("paid") })
///     .await;
/// assert_eq!(answer, Ok("paid"));
/// # });
/// ```
pub struct Pipeline<S = Canonical, C = ErrorsFail>(Arc<Plan<S, C>>);

#[derive(Debug)]
struct Plan<S, C> {
    name: Name,
    stages: S,
    classify: C,
    clock: Clock,
    grain: Grain,
}

impl<O: Observe> Pipeline<Canonical<O>> {
    /// A pipeline called `name`, the service that it guards, with no stage so far.
    ///
    /// Its policies say which observer it has. Where it has none of those, say it is [`Pipeline`]
    /// that you want: `let pipeline: Pipeline = …`.
    pub fn builder(name: impl Into<Name>) -> Builder<ErrorsFail, O> {
        Builder::new(name.into())
    }
}

impl<S, C> Pipeline<S, C> {
    fn new(name: Name, stages: S, classify: C, (clock, grain): (Clock, Grain)) -> Self {
        Self(Arc::new(Plan {
            name,
            stages,
            classify,
            clock,
            grain,
        }))
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// The clock that it reads, and that [`Terms::deadline`] is told by.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Its stages.
    pub fn stages(&self) -> &S {
        &self.0.stages
    }
}

impl<S: Stage, C> Pipeline<S, C> {
    /// Makes an idempotent call: `call` is run once per attempt.
    ///
    /// Takes an `async |attempt| { … }` that borrows what it needs, or any function that gives a
    /// future. The pipeline's future is `Send` when the call's is.
    ///
    /// # Errors
    ///
    /// [`Error::Inner`] with the last attempt's error, [`Error::Rejected`] when a stage turned it
    /// away, or with [`Cause::NoTime`](crate::error::Cause::NoTime) when the deadline passed before
    /// it began, [`Error::Timeout`] when a time limit was reached, [`Error::BudgetExhausted`] when
    /// it failed and the retry budget had no room for another attempt.
    pub fn call<T, E, F>(
        &self,
        call: impl Fn(Attempt) -> F,
    ) -> impl Future<Output = Result<T, Error<E>>>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<T, E>,
    {
        self.call_on(Terms::default(), call)
    }

    /// Makes a call on `terms`: not to be made twice, with a deadline of its own, or as a part of
    /// an outer pipeline's attempt.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_on<T, E, F>(
        &self,
        terms: Terms,
        call: impl Fn(Attempt) -> F,
    ) -> impl Future<Output = Result<T, Error<E>>>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<T, E>,
    {
        self.0.run(terms, call, &self.0.classify)
    }

    /// Makes an idempotent call whose result `classify` judges, instead of the pipeline's own
    /// classifier.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_with<T, E, F>(
        &self,
        call: impl Fn(Attempt) -> F,
        classify: impl Classify<T, E>,
    ) -> impl Future<Output = Result<T, Error<E>>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.0.run(Terms::default(), call, classify)
    }

    /// Makes an idempotent call that blocks its thread, from a thread that may be blocked.
    ///
    /// Waits block, too. A thread cannot be stopped from outside: the call itself has to end by
    /// [`Attempt::deadline`], by the timeouts of its sockets; if it does not, its late answer is
    /// returned all the same.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call), without [`Error::Timeout`], except for one that is
    /// [injected](crate::fault).
    pub fn call_blocking<T, E>(&self, call: impl Fn(Attempt) -> Result<T, E>) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
    {
        self.call_blocking_on(Terms::default(), call)
    }

    /// [`call_blocking`](Self::call_blocking) on `terms`.
    ///
    /// # Errors
    ///
    /// As [`call_blocking`](Self::call_blocking).
    pub fn call_blocking_on<T, E>(
        &self,
        terms: Terms,
        call: impl Fn(Attempt) -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        C: Classify<T, E>,
    {
        let plan = &*self.0;
        let cx = Context::new(&plan.clock, plan.grain, terms, Wait::Thread);
        let bottom = BlockingBottom(Bottom {
            call: &call,
            classify: &plan.classify,
            name: &plan.name,
        });
        block_on(plan.stages.run(cx, bottom)).result
    }
}

impl<S: Stage, C> Plan<S, C> {
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, and its caller moves them all"
    )]
    fn run<T, E, F>(
        &self,
        terms: Terms,
        call: impl Fn(Attempt) -> F,
        classify: impl Classify<T, E>,
    ) -> impl Future<Output = Result<T, Error<E>>>
    where
        F: Future<Output = Result<T, E>>,
    {
        async move {
            // Read here, not when the future was made: it may be polled later.
            let cx = Context::new(&self.clock, self.grain, terms, Wait::Runtime);
            let bottom = Bottom {
                call: &call,
                classify: &classify,
                name: &self.name,
            };
            self.stages.run(cx, bottom).await.result
        }
    }
}

impl<S, C> Clone for Pipeline<S, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Pipeline<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("name", &self.0.name)
            .field("stages", &self.0.stages)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
