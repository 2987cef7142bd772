//! Batches (Hystrix's request collapser): many small calls become one.
//!
//! Prevents a callee that spends its time on the overhead of calls rather than on their content:
//! a round trip, a transaction or a lock for each row, where one would do for a hundred.
//!
//! Nothing runs in the background. Each batch is driven by one of its callers: the one that
//! completes it, or the oldest when the window is over. A caller that goes away takes its item out
//! of a batch that was not sent yet; if it drove one that was, another takes over where it stopped.
//! For that the call is boxed, once per batch, and is `Send` and `'static`.
//!
//! Always holds: the queue and the calls in flight are within their limits; each caller gets the
//! result of its own item, or an error; nobody waits for a driver that is gone.

use std::fmt;
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_core::time::Deadline;

use crate::clock::Clock;
use crate::error::{Cause, Error, Policy, Rejection, Scope};
use crate::name::Name;

mod future;
mod gathering;
mod service;

pub use future::BatchFuture;

use gathering::Gathering;

/// Longest window, a minute: who waits longer for company has mistaken the unit.
pub const WINDOW_MAX: Duration = Duration::from_mins(1);

/// How calls are gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most items in a batch; one that is full does not wait any longer. 1 batches nothing.
    /// Default: 100.
    pub size_max: NonZeroU32,
    /// How long the first item of a batch waits for others: above zero, at most [`WINDOW_MAX`].
    /// With `None` it does not: a batch is what has gathered while all places in flight were taken.
    /// Default: 1 ms.
    pub window: Option<Duration>,
    /// Batches in flight at a time. Default: 4.
    pub in_flight: NonZeroU32,
    /// Items that may wait to be sent. Default: 10,000.
    pub queue: NonZeroU32,
}

impl Default for Config {
    /// A hundred items or a millisecond, four batches in flight, ten thousand items waiting.
    fn default() -> Self {
        Self {
            size_max: const { NonZeroU32::MIN.saturating_add(99) },
            window: Some(Duration::from_millis(1)),
            in_flight: const { NonZeroU32::MIN.saturating_add(3) },
            queue: const { NonZeroU32::MIN.saturating_add(9_999) },
        }
    }
}

/// A value that no batch can work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The window is zero or above [`WINDOW_MAX`].
    #[error("window is {0:?}; set it above zero and to at most a minute, or leave it out")]
    Window(Duration),
}

/// Gathers calls. Cheap to clone; all clones share the batches. It is a `Service` of items, too.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use mainstay::Batch;
///
/// let queries = Arc::new(AtomicU32::new(0));
/// let count = Arc::clone(&queries);
/// let users = Batch::builder("users")
///     .build(move |ids: Vec<u32>| {
///         count.fetch_add(1, Ordering::Relaxed);
///         async move { ids.into_iter().map(|id| Ok::<_, &str>(id * 10)).collect() }
///     })
///     .unwrap();
/// let (one, two) = tokio::join!(users.call(1), users.call(2));
/// assert_eq!((one, two), (Ok(10), Ok(20)));
/// assert_eq!(queries.load(Ordering::Relaxed), 1);
/// # });
/// ```
pub struct Batch<I, T, E>(Arc<Shared<I, T, E>>);

struct Shared<I, T, E> {
    gathering: Mutex<Gathering<I, T, E>>,
    send: SendBatch<I, T, E>,
    name: Name,
    clock: Clock,
}

/// One call for a whole batch.
type Sending<T, E> = Pin<Box<dyn Future<Output = Vec<Result<T, E>>> + Send>>;

/// Makes the call for a batch.
type SendBatch<I, T, E> = Box<dyn Fn(Vec<I>) -> Sending<T, E> + Send + Sync>;

/// Makes a [`Batch`].
#[derive(Debug)]
#[must_use = "ends with build()"]
pub struct Builder {
    name: Name,
    config: Config,
    clock: Option<Clock>,
}

impl Batch<(), (), ()> {
    /// Batches for the service called `name`.
    pub fn builder(name: impl Into<Name>) -> Builder {
        Builder {
            name: name.into(),
            config: Config::default(),
            clock: None,
        }
    }
}

impl<I, T, E> Batch<I, T, E> {
    /// Gives the result of `item`, which goes with others. Joins a batch when it is first polled.
    ///
    /// # Errors
    ///
    /// Of the returned future: [`Error::Inner`] when the item failed; [`Error::Rejected`] with
    /// [`Cause::QueueFull`] when too many wait already, and with [`Cause::Unanswered`] when the
    /// batch panicked or did not give one result for each item.
    pub fn call(&self, item: I) -> BatchFuture<I, T, E> {
        BatchFuture::new(self.clone(), item)
    }

    /// As [`call`](Self::call), until `deadline`. An item that was not sent by then never is.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); [`Error::Rejected`] with [`Cause::NoTime`] or [`Cause::QueueWait`]
    /// when the deadline passed before the item was sent, and [`Error::Timeout`] when after.
    pub async fn call_before(&self, item: I, deadline: Deadline) -> Result<T, Error<E>> {
        let Some(left) = deadline.remaining(self.0.clock.now()) else {
            return Err(self.rejection(Cause::NoTime));
        };
        let mut call = pin!(self.call(item));
        let timer = self.0.clock.timer(deadline.instant());
        match tokio::time::timeout_at(timer, call.as_mut()).await {
            Ok(result) => result,
            Err(_elapsed) if call.is_waiting() => Err(self.rejection(Cause::QueueWait)),
            Err(_elapsed) => Err(Error::Timeout {
                scope: Scope::Total,
                after: left,
            }),
        }
    }

    /// Items that wait to be sent.
    pub fn queued(&self) -> usize {
        self.gathering().queued()
    }

    /// Batches in flight.
    pub fn in_flight(&self) -> usize {
        self.gathering().in_flight()
    }

    fn rejection(&self, cause: Cause) -> Error<E> {
        Error::Rejected(Rejection {
            policy: Policy::Batch,
            name: self.0.name.clone(),
            cause,
            retry_after: None,
        })
    }

    /// No user code runs under this lock.
    fn gathering(&self) -> MutexGuard<'_, Gathering<I, T, E>> {
        let gathering = self.0.gathering.lock();
        gathering.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I, T, E> Clone for Batch<I, T, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Builder {
    /// How calls are gathered.
    pub const fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// The clock to read.
    pub const fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Batches that are sent by `send`, which gives one result for each item, in their order.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Window`] for a window that is zero or above [`WINDOW_MAX`].
    pub fn build<I, T, E, F>(
        self,
        send: impl Fn(Vec<I>) -> F + Send + Sync + 'static,
    ) -> Result<Batch<I, T, E>, ConfigError>
    where
        F: Future<Output = Vec<Result<T, E>>> + Send + 'static,
    {
        if let Some(window) = self.config.window
            && (window.is_zero() || window > WINDOW_MAX)
        {
            return Err(ConfigError::Window(window));
        }
        Ok(Batch(Arc::new(Shared {
            gathering: Mutex::new(Gathering::new(self.config)),
            send: Box::new(move |items| Box::pin(send(items))),
            name: self.name,
            clock: self.clock.unwrap_or_default(),
        })))
    }
}

impl<I, T, E> fmt::Debug for Batch<I, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("name", &self.0.name)
            .field("queued", &self.queued())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
