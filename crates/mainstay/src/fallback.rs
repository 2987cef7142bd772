//! Fallback: when a call fails, something simpler stands in for it.
//!
//! Prevents an error where an older or simpler answer would do. It stands in for failures, refused
//! calls and timeouts; a permanent refusal (not found) is an answer, and is handed on.
//!
//! Always holds: never more than the limit of substitutes run at a time, however many calls fail
//! (Hystrix's fallback semaphore): what stands in for a fallen service must not fall by the load
//! that it takes over. Where there is no place, the caller gets the failure of the call itself.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use derive_where::derive_where;
use mainstay_core::bulkhead::{Bulkhead, Limits};
use mainstay_core::event::{Event, Observe};
use mainstay_core::outcome::Reason;

use crate::builder;
use crate::classify::{Classify, ErrorsFail, Nested};
use crate::error::{Cause, Error};
use crate::name::Name;
use crate::told::Told;

mod future;
mod layer;
mod service;

pub use future::FallbackFuture;
pub use layer::FallbackLayer;
pub use service::FallbackService;

/// How much may stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Substitutes that run at a time, whatever the limit of the calls; `None` is no limit.
    /// Default: 10.
    pub in_flight: Option<NonZeroU32>,
}

impl Default for Config {
    /// Ten, as Hystrix has it.
    fn default() -> Self {
        Self {
            in_flight: Some(const { NonZeroU32::MIN.saturating_add(9) }),
        }
    }
}

/// Answers where a call failed. Cheap to clone; all clones share the limit.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use mainstay::{Breaker, Error, Fallback};
///
/// let fallback = Fallback::builder("rates").build();
/// let answer = fallback.call(async { Err("reset") }, |_| async { Ok("yesterday's rates") }).await;
/// assert_eq!(answer, Ok("yesterday's rates"));
///
/// // Around another policy: what that one refuses is stood in for, too.
/// let breaker = Breaker::builder("rates").build().unwrap();
/// let today = breaker.call(async { Err::<&str, _>("reset") });
/// let answer = fallback.call_nested(today, |_| async { Err("no such file") }).await;
/// assert_eq!(
///     answer,
///     Err(Error::FallbackFailed {
///         primary: Box::new(Error::Inner("reset")),
///         fallback: "no such file",
///     })
/// );
/// # });
/// ```
#[derive_where(Clone)]
pub struct Fallback<O = ()>(Arc<Standby<O>>);

struct Standby<O> {
    places: Option<Bulkhead>,
    told: Told<O>,
}

/// A place for one substitute; free again when dropped.
struct Place<O>(Fallback<O>);

/// Makes a [`Fallback`]. Its observer hears that substitutes are given, and that they no longer
/// are: one pair per episode, not one per call.
pub type Builder<O = ()> = builder::Builder<Config, (), O>;

impl Fallback {
    /// A fallback for the service called `name`.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder::new(name.into(), ())
    }
}

impl<O: Observe> Fallback<O> {
    /// Runs `primary`, and `substitute` when it gave an `Err`.
    ///
    /// A fixed value is `|_| async { Ok(value) }`; it is made only when it is needed.
    ///
    /// # Errors
    ///
    /// [`Error::FallbackFailed`] with both errors when both failed; [`Error::Inner`] when
    /// `substitute` was not run because too many run already.
    pub async fn call<T, E, R: Future<Output = Result<T, E>>>(
        &self,
        primary: impl Future<Output = Result<T, E>>,
        substitute: impl FnOnce(Result<&T, &Error<E>>) -> R,
    ) -> Result<T, Error<E>> {
        self.call_with(primary, substitute, ErrorsFail).await
    }

    /// Runs `primary`, and `substitute` when `classify` says that the call failed or was throttled:
    /// an `Ok` may ask for a substitute, and an `Err` may do without. `substitute` is told which.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call). Where an `Ok` had failed and the substitute fails too, the caller
    /// gets that `Ok`.
    pub async fn call_with<T, E, R: Future<Output = Result<T, E>>>(
        &self,
        primary: impl Future<Output = Result<T, E>>,
        substitute: impl FnOnce(Result<&T, &Error<E>>) -> R,
        classify: impl Classify<T, E>,
    ) -> Result<T, Error<E>> {
        let primary = async { primary.await.map_err(Error::Inner) };
        self.call_nested_with(primary, substitute, classify).await
    }

    /// As [`call`](Self::call), around a call through other policies: their rejections and timeouts
    /// ask for a substitute as well.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); the other policy's error when `substitute` was not run.
    pub async fn call_nested<T, E, R: Future<Output = Result<T, E>>>(
        &self,
        primary: impl Future<Output = Result<T, Error<E>>>,
        substitute: impl FnOnce(Result<&T, &Error<E>>) -> R,
    ) -> Result<T, Error<E>> {
        self.call_nested_with(primary, substitute, ErrorsFail).await
    }

    /// As [`call_nested`](Self::call_nested); `classify` is asked about the call's own results.
    ///
    /// # Errors
    ///
    /// As [`call_nested`](Self::call_nested).
    pub async fn call_nested_with<T, E, R: Future<Output = Result<T, E>>>(
        &self,
        primary: impl Future<Output = Result<T, Error<E>>>,
        substitute: impl FnOnce(Result<&T, &Error<E>>) -> R,
        classify: impl Classify<T, E>,
    ) -> Result<T, Error<E>> {
        let result = primary.await;
        let Some((reason, place)) = self.admit(result.as_ref(), &classify) else {
            return result;
        };
        let stand_in = substitute(result.as_ref()).await;
        place.settle(result, stand_in, reason)
    }

    /// The blocking form of [`call`](Self::call).
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_blocking<T, E>(
        &self,
        primary: impl FnOnce() -> Result<T, E>,
        substitute: impl FnOnce(Result<&T, &Error<E>>) -> Result<T, E>,
    ) -> Result<T, Error<E>> {
        let primary = || primary().map_err(Error::Inner);
        self.call_nested_blocking_with(primary, substitute, ErrorsFail)
    }

    /// The blocking form of [`call_nested_with`](Self::call_nested_with).
    ///
    /// # Errors
    ///
    /// As [`call_nested_with`](Self::call_nested_with).
    pub fn call_nested_blocking_with<T, E>(
        &self,
        primary: impl FnOnce() -> Result<T, Error<E>>,
        substitute: impl FnOnce(Result<&T, &Error<E>>) -> Result<T, E>,
        classify: impl Classify<T, E>,
    ) -> Result<T, Error<E>> {
        let result = primary();
        let Some((reason, place)) = self.admit(result.as_ref(), &classify) else {
            return result;
        };
        let stand_in = substitute(result.as_ref());
        place.settle(result, stand_in, reason)
    }

    /// Substitutes that run just now; 0 where they are not limited.
    pub fn in_flight(&self) -> u32 {
        let places = self.0.places.as_ref();
        places.map_or(0, |places| places.counts().in_flight)
    }

    /// Why `result` needs a substitute, and a place for it; `None` when it stays as it is.
    fn admit<T, E>(
        &self,
        result: Result<&T, &Error<E>>,
        classify: &impl Classify<T, E>,
    ) -> Option<(Reason, Place<O>)> {
        let Some(reason) = need(result, classify) else {
            if result.is_ok() {
                self.0.passed();
            }
            return None;
        };
        if let Some(places) = &self.0.places {
            places.enter().ok()?;
        }
        Some((reason, Place(self.clone())))
    }
}

/// Why `result` asks for something else in its place, if it does. A rejection does: for outer
/// policies it says nothing about the callee, but the caller has no answer.
pub(crate) fn need<T, E>(
    result: Result<&T, &Error<E>>,
    classify: &impl Classify<T, E>,
) -> Option<Reason> {
    match result {
        Err(Error::Rejected(rejection)) => Some(reason(rejection.cause)),
        Err(Error::FallbackFailed { primary, .. }) => need(Err(&**primary), classify),
        Ok(_) | Err(Error::Inner(_) | Error::Timeout { .. } | Error::BudgetExhausted(_)) => {
            Nested(classify).classify(result).reason()
        },
    }
}

const fn reason(cause: Cause) -> Reason {
    match cause {
        Cause::QueueWait | Cause::NoTime => Reason::Timeout,
        Cause::Unanswered => Reason::Abandoned,
        Cause::Injected => Reason::Forced,
        Cause::CircuitOpen | Cause::QueueFull | Cause::RateReached | Cause::Shed => Reason::Error,
    }
}

impl<O: Observe> Standby<O> {
    fn passed(&self) {
        self.told
            .passed(|service, served| Event::FallbackEnded { service, served });
    }

    fn served(&self, reason: Reason) {
        self.told
            .refused(|service| Event::FallbackStarted { service, reason });
    }
}

impl<O: Observe> Place<O> {
    fn settle<T, E>(
        self,
        primary: Result<T, Error<E>>,
        stand_in: Result<T, E>,
        reason: Reason,
    ) -> Result<T, Error<E>> {
        match (stand_in, primary) {
            (Ok(answer), _) => {
                self.0.0.served(reason);
                Ok(answer)
            },
            (Err(fallback), Err(primary)) => Err(Error::FallbackFailed {
                primary: Box::new(primary),
                fallback,
            }),
            // A failed answer says more than that there is no other.
            (Err(_), Ok(failed)) => Ok(failed),
        }
    }
}

impl<O> Drop for Place<O> {
    fn drop(&mut self) {
        if let Some(places) = &self.0.0.places {
            // Nobody queues for a substitute: the place is owed to nobody.
            let _free = places.leave();
        }
    }
}

impl<O> Builder<O> {
    /// The fallback, with nothing standing in.
    pub fn build(self) -> Fallback<O> {
        let limits = |in_flight| Limits {
            in_flight,
            queue: None,
        };
        let (config, (), told) = self.into_parts();
        Fallback(Arc::new(Standby {
            places: config.in_flight.map(limits).map(Bulkhead::new),
            told,
        }))
    }
}

impl<O: Observe> fmt::Debug for Fallback<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("name", &self.0.told.name)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl<O> fmt::Debug for Place<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.0.0.told.name).finish()
    }
}

#[cfg(test)]
mod tests;
