//! What all workers share of one service.
//!
//! Prevents a change of configuration that is half in force: policies and endpoints form one
//! [`Plan`], which is swapped as a whole; what endpoints have learned moves on to the next plan.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mainstay::{Bulkhead, RetryBudget};
use mainstay_core::balance::pick;
use mainstay_core::breaker::{self, Breaker, Slow};
use mainstay_core::edge::Edge;
use mainstay_core::event::{Event, Observe as _};
use mainstay_core::health::Verdict;
use mainstay_core::outcome::Reason;
use mainstay_core::random::Random;
use mainstay_core::retry::{Backoff, BackoffConfig, BudgetConfig, RETRY_AFTER_MAX, Retry};
use mainstay_core::time::{Duration, Instant};
use mainstay_observe::Observer;
use mainstay_observe::status::ServiceStatus;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{self, Fallback, ServerErrors};
use crate::forward::Identity;
use crate::latency::Summary;
use crate::tally::Tally;
use crate::upstream::endpoint::{Endpoint, Rotation};

/// The time over which the retry budget counts.
const BUDGET_TTL: Duration = Duration::from_secs(10);

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Arc<str>,
    pub(crate) listen: std::net::SocketAddr,
    pub(crate) identity: Identity,
    pub(crate) clock: Clock,
    pub(crate) observer: Observer,
    pub(crate) cache: Arc<Cache>,
    /// One per worker.
    pub(crate) tallies: Box<[Tally]>,
    fallback_edge: Edge,
    plan: Mutex<Arc<Plan>>,
    version: AtomicU64,
}

/// Policies and endpoints that are in force together.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) config: config::Service,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) retry: Option<RetryPlan>,
    pub(crate) bulkhead: Option<Bulkhead<Observer>>,
    /// What the circuits obey, valid.
    limits: Option<breaker::Config>,
    /// The longest time that a stale answer is allowed for, if any is.
    pub(crate) stale: Option<Duration>,
}

/// How failed attempts are tried again.
#[derive(Clone, Debug)]
pub(crate) struct RetryPlan {
    pub(crate) retry: Retry,
    pub(crate) budget: RetryBudget<Observer>,
    pub(crate) on_status: ServerErrors,
    pub(crate) replay_bytes_max: usize,
}

/// Why no endpoint can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoChoice {
    /// None is in rotation.
    NoEndpoint,
    /// All circuits are open.
    CircuitOpen {
        /// When the first may let a call through.
        retry_after: Duration,
    },
}

impl Plan {
    /// The plan for `config`; endpoints that `old` knows under the same name and address, with the
    /// same probe, are taken over with all they know. Their circuits get other limits with
    /// [`Service::replace`], when it is sure that nothing in the configuration is wrong.
    pub(crate) fn new(
        config: &config::Service,
        old: Option<&Self>,
        workers: usize,
        clock: Clock,
        observer: &Observer,
    ) -> Result<Self, String> {
        let limits = config.breaker.as_ref().map(|breaker| {
            let limits = breaker_limits(config, breaker);
            let valid = limits.validate();
            valid
                .map(|()| limits)
                .map_err(|error| format!("breaker: {error}"))
        });
        let limits = limits.transpose()?;
        let mut endpoints = Vec::with_capacity(config.endpoints.len());
        for endpoint in &config.endpoints {
            let known = old.and_then(|old| old.known(config, endpoint));
            if let Some(known) = known {
                endpoints.push(known);
                continue;
            }
            let breaker = limits
                .as_ref()
                .map(|limits| new_breaker(limits, &endpoint.name, workers));
            let breaker = breaker.transpose()?;
            let endpoint = Endpoint::new(config, endpoint, breaker, clock, observer);
            endpoints.push(Arc::new(endpoint));
        }
        let new_retry = |retry| {
            let budget = match old.and_then(|old| old.budget_for(retry)) {
                Some(budget) => budget,
                None => new_budget(&config.name, retry, clock, observer)?,
            };
            RetryPlan::new(retry, budget)
        };
        Ok(Self {
            endpoints,
            retry: config.retry.as_ref().map(new_retry).transpose()?,
            bulkhead: match old.filter(|old| same(&old.config.bulkhead, &config.bulkhead)) {
                Some(old) => old.bulkhead.clone(),
                None => config
                    .bulkhead
                    .map(|limits| new_bulkhead(config, limits, clock, observer))
                    .transpose()?,
            },
            stale: config
                .fallback
                .iter()
                .filter_map(|fallback| match fallback {
                    Fallback::Stale(stale) => Some(*stale),
                    Fallback::Static { .. } => None,
                })
                .max(),
            limits,
            config: config.clone(),
        })
    }

    /// Gives circuits that were taken over the limits of this plan.
    fn limit_circuits(&self) {
        let Some(limits) = &self.limits else {
            return;
        };
        for endpoint in &self.endpoints {
            let taken = endpoint.reconfigure(limits);
            debug_assert!(taken.is_ok(), "the limits of a plan are valid");
        }
    }

    /// The longest time that a circuit may stay open for one opening.
    pub(crate) fn cooldown_max(&self) -> Duration {
        let limits = self.limits.as_ref();
        limits.map_or(Duration::ZERO, |limits| limits.reopen_max)
    }

    /// The budget, if it is the one that `wanted` asks for: what it has spent stays spent.
    fn budget_for(&self, wanted: &config::Retry) -> Option<RetryBudget<Observer>> {
        let numbers = |retry: &config::Retry| (retry.budget_ratio.to_bits(), retry.budget_floor);
        let unchanged = numbers(self.config.retry.as_ref()?) == numbers(wanted);
        let plan = self.retry.as_ref().filter(|_| unchanged)?;
        Some(plan.budget.clone())
    }

    fn known(&self, config: &config::Service, wanted: &config::Endpoint) -> Option<Arc<Endpoint>> {
        let unchanged = self.config.breaker.is_some() == config.breaker.is_some()
            && same(&self.config.probe, &config.probe);
        self.endpoints
            .iter()
            .find(|old| unchanged && old.name == wanted.name && old.address == wanted.address)
            .cloned()
    }

    /// The endpoint for the next attempt: by load among those that are in rotation, not unhealthy
    /// and whose circuit lets a call through. One that was tried, or that would use the request as
    /// a probe when it cannot be tried again, only when there is no other.
    ///
    /// When probes find all of them unhealthy, probes are not believed: at least one endpoint
    /// stays in rotation. A dead process stays out in any case.
    pub(crate) fn choose(
        &self,
        wish: Wish,
        now: Instant,
        random: &mut Random,
    ) -> Result<usize, NoChoice> {
        let any_healthy = self
            .endpoints
            .iter()
            .any(|one| one.is_in_rotation() && one.verdict() != Verdict::Unhealthy);
        let usable = |index: usize| {
            let one = &self.endpoints[index];
            one.is_in_rotation() && (!any_healthy || one.verdict() != Verdict::Unhealthy)
        };
        let eligible = |index: usize| usable(index) && self.endpoints[index].would_admit(now);
        let cost = |index: usize| self.endpoints[index].cost(now);
        let count = self.endpoints.len();
        let fresh = |index: usize| eligible(index) && !wish.tried.has(index);
        let spared = |index: usize| !wish.may_probe && self.endpoints[index].is_on_probation(now);
        let mut best = pick(count, random, |index| fresh(index) && !spared(index), cost);
        if best.is_none() && !wish.may_probe {
            best = pick(count, random, fresh, cost);
        }
        if best.is_none() && !wish.tried.is_empty() {
            best = pick(count, random, eligible, cost);
        }
        best.ok_or_else(|| self.no_choice(usable, now))
    }

    /// Whether an endpoint may be in rotation within `window`.
    pub(crate) fn expects_endpoint(&self, window: Duration, now: Instant) -> bool {
        self.endpoints
            .iter()
            .any(|one| one.is_expected(window, now))
    }

    fn no_choice(&self, usable: impl Fn(usize) -> bool, now: Instant) -> NoChoice {
        (0..self.endpoints.len())
            .filter(|index| usable(*index))
            .filter_map(|index| {
                let breaker = self.endpoints[index].breaker.as_ref()?;
                match breaker.state(now) {
                    breaker::State::Open { retry_after } => Some(retry_after),
                    breaker::State::ForcedOpen => None,
                    breaker::State::Closed
                    | breaker::State::Ramp { .. }
                    | breaker::State::HalfOpen
                    | breaker::State::Disabled => Some(Duration::ZERO),
                }
            })
            .min()
            .map_or(NoChoice::NoEndpoint, |retry_after| NoChoice::CircuitOpen {
                retry_after,
            })
    }
}

/// What the balancer has to know of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// Endpoints that failed it already.
    pub(crate) tried: Tried,
    /// Whether it can be tried again elsewhere, so that a failing endpoint may be tested with it.
    pub(crate) may_probe: bool,
}

/// Whether two policies are the same; they have no notion of equality but their text.
fn same<T: std::fmt::Debug>(one: &T, other: &T) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

/// The endpoints that a request has tried. Those beyond the 64th are not remembered: a retry may
/// then meet one of them again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tried(u64);

impl Tried {
    /// Remembers the endpoint at `index`.
    pub(crate) const fn add(&mut self, index: usize) {
        if index < 64 {
            self.0 |= 1 << index;
        }
    }

    /// Whether the endpoint at `index` is remembered.
    pub(crate) const fn has(self, index: usize) -> bool {
        index < 64 && self.0 & 1 << index != 0
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl RetryPlan {
    fn new(config: &config::Retry, budget: RetryBudget<Observer>) -> Result<Self, String> {
        let backoff = Backoff::new(&BackoffConfig {
            base: config.backoff_min,
            max: config.backoff_max,
            ..BackoffConfig::default()
        });
        Ok(Self {
            retry: Retry {
                attempts: config.attempts,
                backoff: backoff.map_err(|error| format!("retry: {error}"))?,
                // The deadline of the call is what ends a wait here.
                retry_after_max: RETRY_AFTER_MAX,
            },
            budget,
            on_status: config.on_status,
            replay_bytes_max: config.replay_bytes_max,
        })
    }
}

fn new_budget(
    service: &Arc<str>,
    config: &config::Retry,
    clock: Clock,
    observer: &Observer,
) -> Result<RetryBudget<Observer>, String> {
    RetryBudget::builder(Arc::clone(service))
        .config(BudgetConfig {
            ratio: config.budget_ratio,
            floor: config.budget_floor,
            ttl: BUDGET_TTL,
        })
        .observer(observer.clone())
        .clock(clock.policies())
        .build()
        .map_err(|error| format!("retry budget: {error}"))
}

fn new_bulkhead(
    service: &config::Service,
    limits: config::Bulkhead,
    clock: Clock,
    observer: &Observer,
) -> Result<Bulkhead<Observer>, String> {
    Bulkhead::builder(Arc::clone(&service.name))
        .config(mainstay::bulkhead::Config {
            in_flight: limits.in_flight,
            queue: limits.queue,
            queue_wait: limits.queue_wait,
        })
        .observer(observer.clone())
        .clock(clock.policies())
        .build()
        .map_err(|error| format!("bulkhead: {error}"))
}

/// The limits of a service's circuits, as the gateway can keep them.
fn breaker_limits(service: &config::Service, breaker: &breaker::Config) -> breaker::Config {
    breaker::Config {
        // A probe is settled at the latest with its attempt and a second of its body.
        lease: service.timeout.attempt + Duration::from_secs(2),
        // A call in flight may be one whose body a slow client reads.
        slow: breaker.slow.map(|slow| Slow {
            in_flight: false,
            ..slow
        }),
        ..breaker.clone()
    }
}

fn new_breaker(limits: &breaker::Config, name: &str, workers: usize) -> Result<Breaker, String> {
    // Cooldowns must not end in step: each endpoint draws from its own seed.
    let seed = Random::seeded(u64::from(std::process::id()))
        .fork(name)
        .bits();
    let lanes = u32::try_from(workers).ok().and_then(NonZeroU32::new);
    Breaker::new(limits, seed)
        .map(|breaker| breaker.lanes(lanes.unwrap_or(NonZeroU32::MIN)))
        .map_err(|error| format!("breaker: {error}"))
}

impl Service {
    /// A service that listens on `listen`.
    pub(crate) fn new(
        config: &config::Service,
        listen: std::net::SocketAddr,
        workers: usize,
        clock: Clock,
        observer: &Observer,
    ) -> Result<Self, String> {
        Ok(Self {
            name: Arc::clone(&config.name),
            listen,
            identity: Identity::new(observer.node(), &config.name),
            clock,
            observer: observer.clone(),
            cache: Arc::new(Cache::new()),
            tallies: (0..workers).map(|_| Tally::new()).collect(),
            fallback_edge: Edge::new(),
            plan: Mutex::new(Arc::new(Plan::new(config, None, workers, clock, observer)?)),
            version: AtomicU64::new(1),
        })
    }

    /// Changes with every plan.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The plan in force.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts `plan` in force. Who is in rotation is not the plan's to say and stays as it is.
    pub(crate) fn replace(&self, plan: Plan) {
        let mut current = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        for endpoint in &plan.endpoints {
            let old = current
                .endpoints
                .iter()
                .find(|old| old.name == endpoint.name);
            if let Some(old) = old.filter(|old| !Arc::ptr_eq(old, endpoint)) {
                endpoint.inherit(old);
            }
        }
        plan.limit_circuits();
        *current = Arc::new(plan);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes the endpoint called `name` in or out of rotation; whether there is one. The plan is
    /// held meanwhile, so that the next one cannot miss it.
    pub(crate) fn rotate(&self, name: &str, rotation: Rotation) -> bool {
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = plan.endpoints.iter().find(|one| *one.name == *name);
        if let Some(endpoint) = endpoint {
            endpoint.rotate(rotation, self.clock.now());
        }
        endpoint.is_some()
    }

    /// An answer came from a fallback.
    pub(crate) fn fell_back(&self, reason: Reason, now: Instant) {
        if self.fallback_edge.refused(now) {
            let service = Arc::clone(&self.name);
            self.observer
                .observe(Event::FallbackStarted { service, reason });
        }
    }

    /// An answer was fresh. The episode of fallbacks ends with the first of these after a second
    /// without a fallback.
    pub(crate) fn was_fresh(&self, now: Instant) {
        if let Some(served) = self.fallback_edge.passed(now) {
            let service = Arc::clone(&self.name);
            self.observer
                .observe(Event::FallbackEnded { service, served });
        }
    }

    /// The sum of `count` over all workers.
    pub(crate) fn sum(&self, count: impl Fn(&Tally) -> u64) -> u64 {
        self.tallies.iter().map(count).sum()
    }

    /// Requests in flight on all workers.
    pub(crate) fn in_flight(&self) -> u32 {
        let load = |tally: &Tally| u64::from(tally.in_flight.load(Ordering::Relaxed));
        u32::try_from(self.sum(load)).unwrap_or(u32::MAX)
    }

    /// How it is right now.
    pub(crate) fn status(&self) -> ServiceStatus {
        let now = self.clock.now();
        let plan = self.plan();
        let mut summary = Summary::new(now.since(Instant::ORIGIN));
        for tally in &self.tallies {
            tally.latency.add_to(&mut summary, now);
        }
        let relaxed = Ordering::Relaxed;
        ServiceStatus {
            name: Arc::clone(&self.name),
            listen: self.listen.to_string(),
            rate: summary.rate(),
            success: summary.success(),
            p50_ms: summary.percentile_ms(0.5),
            p99_ms: summary.percentile_ms(0.99),
            in_flight: self.in_flight(),
            queued: plan.bulkhead.as_ref().map_or(0, Bulkhead::queued),
            requests: self.sum(Tally::requests),
            attempts: self.sum(|tally| tally.attempts.load(relaxed)),
            fallbacks: self.sum(|tally| tally.stale.load(relaxed) + tally.fixed.load(relaxed)),
            retry_budget: plan.retry.as_ref().map_or(0.0, |plan| plan.budget.level()),
            endpoints: plan.endpoints.iter().map(|one| one.status(now)).collect(),
        }
    }
}
