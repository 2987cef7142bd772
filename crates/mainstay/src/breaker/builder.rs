//! How a breaker is made, alone or as one of many of a kind.
//!
//! Prevents ten thousand circuits that each hold a copy of what they have in common.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;

use derive_where::derive_where;
use mainstay_core::breaker;
use mainstay_core::random::Random;

use super::{Abandoned, Breaker, Circuit, Config, ConfigError, Slow, Span};
use crate::clock::Clock;
use crate::lane;
use crate::name::Name;

/// Makes a [`Breaker`]. Its observer hears of transitions, in the order in which threads make them.
pub type Builder<O = ()> = crate::builder::Builder<Config, Extra, O>;

/// What a breaker is told besides.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    endpoint: Option<Arc<str>>,
    seed: Option<u64>,
    lanes: Option<NonZeroU32>,
}

/// What breakers of one kind have in common: name, limits, clock and observer. Each has its own
/// circuit.
///
/// For an endpoint, a tenant or a host each; see [`Registry`](crate::registry::Registry).
#[derive_where(Clone)]
pub struct Family<O = ()>(Arc<Common<O>>);

struct Common<O> {
    name: Name,
    config: Config,
    clock: Clock,
    observer: O,
    seed: Option<u64>,
    lanes: NonZeroU32,
}

impl<O> Builder<O> {
    /// The endpoint behind the breaker, for events. Empty unless set.
    pub fn endpoint(mut self, endpoint: impl Into<Arc<str>>) -> Self {
        self.extra.endpoint = Some(endpoint.into());
        self
    }

    /// [`Config::error_rate`]; `None` for no rate.
    pub fn error_rate(mut self, share: impl Into<Option<f64>>) -> Self {
        self.config.error_rate = share.into();
        self
    }

    /// [`Config::consecutive`]; `None` for no number.
    pub fn consecutive(mut self, failures: impl Into<Option<NonZeroU32>>) -> Self {
        self.config.consecutive = failures.into();
        self
    }

    /// [`Config::slow`]; `None` where no call is slow.
    pub fn slow(mut self, slow: impl Into<Option<Slow>>) -> Self {
        self.config.slow = slow.into();
        self
    }

    /// [`Config::window`]: a [`Duration`](std::time::Duration), or a [`Span`] of calls.
    pub fn window(mut self, span: impl Into<Span>) -> Self {
        self.config.window = span.into();
        self
    }

    /// [`Config::ramp`]; `None` for all calls at once.
    pub fn ramp(mut self, ramp: impl Into<Option<std::time::Duration>>) -> Self {
        self.config.ramp = ramp.into();
        self
    }

    /// [`Config::abandoned`].
    pub fn abandoned(mut self, abandoned: Abandoned) -> Self {
        self.config.abandoned = abandoned;
        self
    }

    /// The seed of all chance: jitter and ramp. Without one, each breaker has its own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.extra.seed = Some(seed);
        self
    }

    /// How many threads may count at a time without waiting for each other; as many as the machine
    /// runs, unless set. Memory for them is taken when they do wait.
    pub fn lanes(mut self, lanes: NonZeroU32) -> Self {
        self.extra.lanes = Some(lanes);
        self
    }

    /// The breaker, closed.
    ///
    /// # Errors
    ///
    /// The first of [`ConfigError`] that applies to the configuration.
    pub fn build(self) -> Result<Breaker<O>, ConfigError> {
        let endpoint = self.extra.endpoint.clone().unwrap_or_default();
        Ok(self.family()?.breaker(endpoint))
    }

    /// What many breakers have in common, each of which guards another endpoint.
    ///
    /// # Errors
    ///
    /// The first of [`ConfigError`] that applies to the configuration.
    pub fn family(self) -> Result<Family<O>, ConfigError> {
        self.config.validate()?;
        Ok(Family(Arc::new(Common {
            name: self.name,
            config: self.config,
            clock: self.clock.unwrap_or_default(),
            observer: self.observer,
            seed: self.extra.seed,
            lanes: self.extra.lanes.unwrap_or_else(lane::count),
        })))
    }
}

impl<O> Family<O> {
    /// A closed breaker of this kind, for `endpoint`. Never fails: the configuration was checked
    /// when the family was made.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, for the same reason")]
    pub fn breaker(&self, endpoint: impl Into<Arc<str>>) -> Breaker<O> {
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
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    #[inline]
    pub(super) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(super) fn observer(&self) -> &O {
        &self.0.observer
    }
}

impl<O> fmt::Debug for Family<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family")
            .field("name", &self.0.name)
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}
