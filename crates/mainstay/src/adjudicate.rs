//! Asks several replicas at once, and believes what enough of them say.
//!
//! Prevents one wrong answer from being believed, and one slow or dead replica from holding up the
//! rest: a replica that fails, panics or is late abstains, and who can no longer change the result
//! is not waited for. The decisions are those of [`mainstay_core::adjudicate`], where the
//! literature is named.
//!
//! Always holds: nothing is spawned; when the answer is there, no replica's future is left.
//!
//! There is no layer: one request goes to several services, and only the caller knows which.

use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use derive_where::derive_where;
use mainstay_core::adjudicate::{self as core, Decision};
use mainstay_core::event::{Event, Observe};

use crate::builder;
use crate::name::Name;
use crate::timeout;
use crate::told::Told;

pub use mainstay_core::adjudicate::{
    Config as Judge, ConfigError as ReplicasError, REPLICAS_MAX, Replicas, Rule, Tally, Why,
};

/// How answers are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What it takes, and the quorum. Default: the majority, of however few.
    pub judge: Judge,
    /// When those who are still silent abstain; `None` waits for all who matter. More than zero,
    /// and at most [`LIMIT_MAX`](crate::timeout::LIMIT_MAX). Default: `None`.
    pub total: Option<Duration>,
}

/// A configured value that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No number of replicas, or not the number of the weights, can be judged like this.
    #[error(transparent)]
    Replicas(#[from] ReplicasError),
    /// The time for the answers is this: zero, or above [`LIMIT_MAX`](crate::timeout::LIMIT_MAX).
    #[error("total is {0:?}; set more than zero and at most a year, or none")]
    Total(Duration),
}

/// Asks replicas and chooses an answer. Cheap to clone.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use mainstay::Adjudicator;
///
/// let adjudicator = Adjudicator::builder("sums").build().unwrap();
/// let replicas = [4, 5, 4].map(|sum| async move { Ok::<_, &str>(sum) });
/// let verdict = adjudicator.call(replicas).await.unwrap();
/// assert_eq!(verdict.answer, 4);
/// assert!(verdict.tally.differed.contains(1));
/// # });
/// ```
#[derive_where(Clone)]
pub struct Adjudicator<O = ()>(Arc<Court<O>>);

struct Court<O> {
    config: Config,
    weights: Vec<NonZeroU32>,
    told: Told<O>,
}

/// A chosen answer. Replicas are numbered in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<T, E> {
    /// The answer, as the first replica gave it that agreed.
    pub answer: T,
    /// Who said what.
    pub tally: Tally,
    /// Why replicas abstained, except those that panicked or were late.
    pub failures: Vec<(usize, E)>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoVerdict<E> {
    /// These replicas cannot be judged; none was asked.
    #[error(transparent)]
    Replicas(#[from] ReplicasError),
    /// The answers do not decide: too few, or too different.
    #[error("no answer of {name}: {}", why.as_str())]
    Undecided {
        /// The adjudicator's name.
        name: Name,
        /// Why they do not.
        why: Why,
        /// Who said what.
        tally: Tally,
        /// Why replicas abstained, except those that panicked or were late.
        failures: Vec<(usize, E)>,
    },
}

/// Makes an [`Adjudicator`]. Its observer hears that answers differ: the first time, and again after
/// a second without.
pub type Builder<O = ()> = builder::Builder<Config, Vec<NonZeroU32>, O>;

/// A replica that was asked, under its number.
type Running<F> = (usize, Pin<Box<F>>);

impl Adjudicator {
    /// An adjudicator for the service called `name`.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder::new(name.into(), Vec::new())
    }
}

impl<O: Observe> Adjudicator<O> {
    /// Asks all `replicas` at once. Answers are alike when they are equal; an `Err` abstains.
    ///
    /// The futures are polled by the caller's own, each time it is woken, and dropped as soon as
    /// the answer is certain.
    ///
    /// # Errors
    ///
    /// [`NoVerdict::Undecided`] when no answer is chosen, and [`Why`]. [`NoVerdict::Replicas`] when
    /// the replicas cannot be judged: none or too many, fewer than the quorum, or not as many as
    /// weights.
    pub async fn call<T, E, F>(
        &self,
        replicas: impl IntoIterator<Item = F>,
    ) -> Result<Verdict<T, E>, NoVerdict<E>>
    where
        T: PartialEq,
        F: Future<Output = Result<T, E>>,
    {
        self.call_with(replicas, T::eq).await
    }

    /// As [`call`](Self::call); `alike` says which answers mean the same: within a tolerance, of
    /// the same digest, equal except for a timestamp.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub async fn call_with<T, E, F>(
        &self,
        replicas: impl IntoIterator<Item = F>,
        alike: impl Fn(&T, &T) -> bool,
    ) -> Result<Verdict<T, E>, NoVerdict<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let court = &*self.0;
        let boxed = replicas.into_iter().map(Box::pin);
        let mut running: Vec<Running<F>> = boxed.enumerate().collect();
        let mut answers = court.open(running.len(), alike)?;
        let mut failures = Vec::new();
        let mut timer = pin!(court.config.total.map(tokio::time::sleep));
        poll_fn(|cx| {
            if hear(&mut running, &mut answers, &mut failures, cx) {
                return Poll::Ready(());
            }
            match timer.as_mut().as_pin_mut() {
                Some(timer) => timer.poll(cx),
                None => Poll::Pending,
            }
        })
        .await;
        // Before anybody acts on the result.
        drop(running);
        court.close(answers, failures)
    }
}

/// Polls each replica; whether the result is certain.
fn hear<T, E, F, Q>(
    running: &mut Vec<Running<F>>,
    answers: &mut core::Adjudicator<T, Q>,
    failures: &mut Vec<(usize, E)>,
    cx: &mut Context<'_>,
) -> bool
where
    F: Future<Output = Result<T, E>>,
    Q: Fn(&T, &T) -> bool,
{
    let mut next = 0;
    while answers.decision() == Decision::Pending {
        let Some((replica, future)) = running.get_mut(next) else {
            return false;
        };
        let replica = *replica;
        // A panic is one replica's failure like any other; what it left behind is dropped.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => {
                next += 1;
                continue;
            },
            Ok(Poll::Ready(Ok(answer))) => answers.answer(replica, answer),
            Ok(Poll::Ready(Err(error))) => {
                answers.abstain(replica);
                failures.push((replica, error));
            },
            Err(_panic) => answers.abstain(replica),
        }
        drop(running.remove(next));
    }
    true
}

impl<O: Observe> Court<O> {
    fn open<T, Q: Fn(&T, &T) -> bool>(
        &self,
        replicas: usize,
        alike: Q,
    ) -> Result<core::Adjudicator<T, Q>, ReplicasError> {
        let weights = self.weights.len();
        if self.weights.is_empty() {
            core::Adjudicator::new(self.config.judge, replicas, alike)
        } else if weights == replicas {
            core::Adjudicator::weighted(self.config.judge, &self.weights, alike)
        } else {
            Err(ReplicasError::Weights { weights, replicas })
        }
    }

    fn close<T, E, Q: Fn(&T, &T) -> bool>(
        &self,
        answers: core::Adjudicator<T, Q>,
        failures: Vec<(usize, E)>,
    ) -> Result<Verdict<T, E>, NoVerdict<E>> {
        let disagrees = answers.disagrees();
        let (result, tally) = answers.finish();
        self.tell(disagrees, &tally);
        match result {
            Ok(answer) => Ok(Verdict {
                answer,
                tally,
                failures,
            }),
            Err(why) => Err(NoVerdict::Undecided {
                name: self.told.name.clone(),
                why,
                tally,
                failures,
            }),
        }
    }

    /// A replica that is wrong is wrong each time: one event at its first, not one per call.
    fn tell(&self, disagrees: bool, tally: &Tally) {
        if disagrees {
            self.told.refused(|service| Event::AnswersDisagreed {
                service,
                agreed: tally.agreed.count(),
                differed: tally.differed.count(),
            });
        } else {
            self.told.rest();
        }
    }
}

impl<O> Builder<O> {
    /// What each replica's answer counts; without it, they count the same.
    pub fn weights(mut self, weights: impl Into<Vec<NonZeroU32>>) -> Self {
        self.extra = weights.into();
        self
    }

    /// The adjudicator. With weights it is known how many replicas it will judge; without, a quorum
    /// that those who are asked cannot reach shows when they are asked.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Replicas`] when no number of replicas, or not that of the weights, reaches
    /// the quorum; [`ConfigError::Total`] for a `total` that is zero or above
    /// [`LIMIT_MAX`](crate::timeout::LIMIT_MAX).
    pub fn build(self) -> Result<Adjudicator<O>, ConfigError> {
        let (config, weights, told) = self.into_parts();
        let replicas = if weights.is_empty() {
            REPLICAS_MAX
        } else {
            weights.len()
        };
        config.judge.check(replicas)?;
        if let Some(total) = timeout::refused(config.total) {
            return Err(ConfigError::Total(total));
        }
        Ok(Adjudicator(Arc::new(Court {
            config,
            weights,
            told,
        })))
    }
}

impl<O> fmt::Debug for Adjudicator<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adjudicator")
            .field("name", &self.0.told.name)
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
