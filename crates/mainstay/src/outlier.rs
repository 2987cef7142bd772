//! Outlier detection over the clock: leaves out the endpoint that is worse than the others.
//!
//! Prevents one bad endpoint among good ones from keeping its share of the calls. The decisions are
//! those of [`mainstay_core::outlier`]; they work with two endpoints. Always holds: to record a call
//! never waits. One caller in an interval evaluates, if nobody else is at it; all others pass by.
//! The observer is called under no lock.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use derive_where::derive_where;
use mainstay_core::event::{Event, Observe};
use mainstay_core::outcome::Outcome;
use mainstay_core::outlier::{self, Cell, Decision};
use mainstay_core::time::Instant;

use crate::builder;
use crate::name::Name;
use crate::told::Told;

mod layer;
mod service;

pub use layer::OutlierLayer;
pub use mainstay_core::outlier::{Config, ConfigError, ENDPOINTS_MAX, Evident, SHARE_MIN};
pub use service::{OutlierFuture, OutlierService};

/// The endpoints of one service, each known by its place in the list. Cheap to clone; all clones
/// compare the same endpoints.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use mainstay::{Outcome, Outliers, Reason};
///
/// let outliers = Outliers::builder("payment", ["payment-1", "payment-2"]).build().unwrap();
/// let rtt = Duration::from_millis(3);
/// for _ in 0..5 {
///     outliers.record(0, Outcome::Success, rtt);
///     outliers.record(1, Outcome::Failure(Reason::Connect), rtt);
/// }
/// assert!(outliers.is_ejected(1));
/// assert!(!outliers.is_ejected(0));
/// # });
/// ```
#[derive_where(Clone)]
pub struct Outliers<O = ()>(Arc<Group<O>>);

struct Group<O> {
    cells: Box<[Cell]>,
    /// When the next evaluation is due, in nanoseconds.
    due: AtomicU64,
    interval: Duration,
    engine: Mutex<outlier::Outliers>,
    endpoints: Box<[Arc<str>]>,
    told: Told<O>,
}

/// Makes [`Outliers`]. Their observer hears of ejections and returns.
pub type Builder<O = ()> = builder::Builder<Config, Extra, O>;

/// What outlier detection is told besides.
#[derive(Clone, Debug)]
pub struct Extra {
    endpoints: Box<[Arc<str>]>,
    seed: Option<u64>,
}

impl Outliers {
    /// Compares these endpoints of the service called `name`.
    pub fn builder<E: Into<Arc<str>>>(
        name: impl Into<Name>,
        endpoints: impl IntoIterator<Item = E>,
    ) -> Builder {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        Builder::new(
            name.into(),
            Extra {
                endpoints,
                seed: None,
            },
        )
    }
}

impl<O: Observe> Outliers<O> {
    /// The endpoints, in the order in which all else counts them.
    pub fn endpoints(&self) -> &[Arc<str>] {
        &self.0.endpoints
    }

    /// A call to this endpoint, by its place from 0, ended after `rtt`. A place that is not on the
    /// list counts nothing.
    pub fn record(&self, endpoint: usize, outcome: Outcome, rtt: Duration) {
        let Some(cell) = self.0.cells.get(endpoint) else {
            return;
        };
        let now = self.0.told.clock.coarse();
        let streak = cell.record(outcome, rtt, now);
        if streak || now.as_nanos() >= self.0.due.load(Ordering::Relaxed) {
            self.evaluate_at(now);
        }
    }

    /// Whether this endpoint is left out just now; a place that is not on the list is not.
    pub fn is_ejected(&self, endpoint: usize) -> bool {
        let cell = self.0.cells.get(endpoint);
        cell.is_some_and(|cell| cell.is_ejected(self.0.told.clock.coarse()))
    }

    /// The share of its calls that this endpoint should get: 0 while it is left out, rising from
    /// [`SHARE_MIN`] to 1 after it returned. 0 for a place that is not on the list.
    pub fn share(&self, endpoint: usize) -> f64 {
        let cell = self.0.cells.get(endpoint);
        cell.map_or(0.0, |cell| cell.share(self.0.told.clock.coarse()))
    }

    /// Endpoints that are left out just now.
    pub fn ejected(&self) -> usize {
        let now = self.0.told.clock.coarse();
        let cells = self.0.cells.iter();
        cells.filter(|cell| cell.is_ejected(now)).count()
    }

    /// Evaluates now, unless somebody is at it. Calls do so by themselves; an owner with a timer
    /// may as well, so that returns are told where no calls come.
    pub fn evaluate(&self) {
        self.evaluate_at(self.0.told.clock.coarse());
    }

    /// Another callee stands behind the endpoint now: it is in, and nothing is known of it.
    pub fn forget(&self, endpoint: usize) {
        let Some(cell) = self.0.cells.get(endpoint) else {
            return;
        };
        let now = self.0.told.clock.coarse();
        let engine = self.0.engine.lock();
        let decision = engine
            .unwrap_or_else(PoisonError::into_inner)
            .forget(endpoint, cell, now);
        if let Some(decision) = decision {
            self.tell(decision);
        }
    }

    fn evaluate_at(&self, now: Instant) {
        let mut engine = match self.0.engine.try_lock() {
            Ok(engine) => engine,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let next = now + self.0.interval;
        self.0.due.store(next.as_nanos(), Ordering::Relaxed);
        let decisions = engine.evaluate(&self.0.cells, now);
        drop(engine);
        for decision in decisions {
            self.tell(decision);
        }
    }

    fn tell(&self, decision: Decision) {
        let (Decision::Ejected { endpoint, .. } | Decision::Returned { endpoint }) = decision;
        let Some(endpoint) = self.0.endpoints.get(endpoint).map(Arc::clone) else {
            return;
        };
        self.0.told.tell(|service| match decision {
            Decision::Ejected {
                reason, duration, ..
            } => Event::EndpointEjected {
                service,
                endpoint,
                reason,
                ejected_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            },
            Decision::Returned { .. } => Event::EndpointReturned { service, endpoint },
        });
    }
}

impl<O> Builder<O> {
    /// The seed of the ejections' jitter. Without one, each group has its own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.extra.seed = Some(seed);
        self
    }

    /// The group, with all endpoints in.
    ///
    /// # Errors
    ///
    /// The first of [`ConfigError`] that applies: to the configuration, or
    /// [`ConfigError::Endpoints`] for more than [`ENDPOINTS_MAX`] endpoints.
    pub fn build(self) -> Result<Outliers<O>, ConfigError> {
        let (config, Extra { endpoints, seed }, told) = self.into_parts();
        let now = told.clock.coarse();
        let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(&*told.name));
        let engine = outlier::Outliers::new(&config, endpoints.len(), seed, now)?;
        let cells = endpoints.iter().map(|_| Cell::new(&config));
        Ok(Outliers(Arc::new(Group {
            cells: cells.collect(),
            due: AtomicU64::new((now + config.interval).as_nanos()),
            interval: config.interval,
            engine: Mutex::new(engine),
            endpoints,
            told,
        })))
    }
}

impl<O: Observe> fmt::Debug for Outliers<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outliers")
            .field("name", &self.0.told.name)
            .field("endpoints", &self.0.endpoints)
            .field("ejected", &self.ejected())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
