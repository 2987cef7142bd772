//! How a breaker is made, alone or as one of many of a kind.
//!
//! Prevents ten thousand circuits that each hold a copy of what they have in common.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;

use mainstay_core::breaker;
use mainstay_core::event::Observe;
use mainstay_core::random::Random;

use super::{Abandoned, Breaker, Circuit, Config, ConfigError, Slow, Span};
use crate::clock::Clock;
use crate::lane;

/// Makes a [`Breaker`].
#[must_use = "ends with build()"]
pub struct Builder {
    name: Arc<str>,
    endpoint: Arc<str>,
    config: Config,
    clock: Option<Clock>,
    observer: Arc<dyn Observe>,
    seed: Option<u64>,
    lanes: Option<NonZeroU32>,
}

/// What breakers of one kind have in common: name, limits, clock and observer. Each has its own
/// circuit.
///
/// For an endpoint, a tenant or a host each; see [`Registry`](crate::registry::Registry).
#[derive(Clone)]
pub struct Family(Arc<Common>);

struct Common {
    name: Arc<str>,
    config: Config,
    clock: Clock,
    observer: Arc<dyn Observe>,
    seed: Option<u64>,
    lanes: NonZeroU32,
}

impl Builder {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            endpoint: Arc::from(""),
            config: Config::default(),
            clock: None,
            observer: Arc::new(()),
            seed: None,
            lanes: None,
        }
    }

    /// The endpoint behind the breaker, for events.
    pub fn endpoint(mut self, endpoint: impl Into<Arc<str>>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// When the circuit opens, and how it closes again: all limits at once.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// See [`Config::error_rate`].
    pub fn error_rate(mut self, share: impl Into<Option<f64>>) -> Self {
        self.config.error_rate = share.into();
        self
    }

    /// See [`Config::consecutive`].
    pub fn consecutive(mut self, failures: impl Into<Option<NonZeroU32>>) -> Self {
        self.config.consecutive = failures.into();
        self
    }

    /// See [`Config::slow`].
    pub fn slow(mut self, slow: impl Into<Option<Slow>>) -> Self {
        self.config.slow = slow.into();
        self
    }

    /// See [`Config::window`].
    pub fn window(mut self, span: impl Into<Span>) -> Self {
        self.config.window = span.into();
        self
    }

    /// See [`Config::ramp`].
    pub fn ramp(mut self, ramp: impl Into<Option<std::time::Duration>>) -> Self {
        self.config.ramp = ramp.into();
        self
    }

    /// See [`Config::abandoned`].
    pub fn abandoned(mut self, abandoned: Abandoned) -> Self {
        self.config.abandoned = abandoned;
        self
    }

    /// Who hears of transitions. Called by the thread that made one, under no lock, in the order
    /// in which threads get there.
    pub fn observer(mut self, observer: Arc<dyn Observe>) -> Self {
        self.observer = observer;
        self
    }

    /// The clock to read. Callers that pass `now` must read the same one.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The seed of all chance: jitter and ramp. Without one, each breaker has its own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How many threads may count at a time without waiting for each other; as many as the machine
    /// runs, unless set. Memory for them is taken when they do wait.
    pub fn lanes(mut self, lanes: NonZeroU32) -> Self {
        self.lanes = Some(lanes);
        self
    }

    /// The breaker, closed.
    ///
    /// # Errors
    ///
    /// A configured value that cannot work.
    pub fn build(self) -> Result<Breaker, ConfigError> {
        let endpoint = Arc::clone(&self.endpoint);
        Ok(self.family()?.breaker(endpoint))
    }

    /// What many breakers have in common, each of which guards another endpoint.
    ///
    /// # Errors
    ///
    /// A configured value that cannot work.
    pub fn family(self) -> Result<Family, ConfigError> {
        self.config.validate()?;
        Ok(Family(Arc::new(Common {
            name: self.name,
            config: self.config,
            clock: self.clock.unwrap_or_default(),
            observer: self.observer,
            seed: self.seed,
            lanes: self.lanes.unwrap_or_else(lane::count),
        })))
    }
}

impl Family {
    /// A closed breaker of this kind, for `endpoint`.
    pub fn breaker(&self, endpoint: impl Into<Arc<str>>) -> Breaker {
        let endpoint = endpoint.into();
        let common = &*self.0;
        // Breakers of one seed would end their cooldowns in step.
        let seed = match common.seed {
            Some(seed) => Random::seeded(seed).fork(&endpoint).bits(),
            None => RandomState::new().hash_one(&*endpoint),
        };
        #[expect(
            clippy::expect_used,
            reason = "the configuration was checked when the family was made"
        )]
        let engine = breaker::Breaker::new(&common.config, seed).expect("a checked configuration");
        Breaker(Arc::new(Circuit {
            engine: engine.lanes(common.lanes),
            family: self.clone(),
            endpoint,
        }))
    }

    /// The name of all of them.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    #[inline]
    pub(super) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(super) fn observer(&self) -> &dyn Observe {
        &*self.0.observer
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family")
            .field("name", &self.0.name)
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
