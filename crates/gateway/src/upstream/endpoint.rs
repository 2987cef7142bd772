//! What all workers know of one endpoint.
//!
//! Prevents a circuit that opens once per worker: health, circuit, load and counts are shared and
//! lock-free, so the next request on any worker sees what the last one learned.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_core::balance::Load;
use mainstay_core::breaker::{self, Breaker, Permit, State, Transition};
use mainstay_core::event::{Event, Observe as _};
use mainstay_core::health::{Health, Verdict};
use mainstay_core::outcome::Reason;
use mainstay_core::time::{Duration, Instant};
use mainstay_observe::Observer;
use mainstay_observe::status::{BreakerState, EndpointStatus};

use crate::clock::Clock;
use crate::config;

/// How long an endpoint is left alone before it is tried again for what it is worth, besides
/// [`EXPLORE_FACTOR`] times its latency.
const EXPLORE_AFTER: Duration = Duration::from_secs(1);
const EXPLORE_FACTOR: u32 = 20;

/// Whether the process behind an endpoint lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It lives and is ready: requests may go there.
    In,
    /// It was just started: no request may go there yet, but one may wait for it.
    Starting,
    /// It is gone or not ready, for this reason: no request may go there.
    Out(Reason),
}

/// What active probes found.
#[derive(Debug)]
pub(crate) struct Checks {
    /// The hysteresis; `None` where nothing probes.
    pub(crate) health: Option<Health>,
    /// The last result in words.
    pub(crate) detail: String,
    /// When that was.
    pub(crate) at: Option<Instant>,
}

/// One endpoint of one service.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) service: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    pub(crate) breaker: Option<Breaker>,
    pub(crate) clock: Clock,
    pub(crate) load: Load,
    pub(crate) attempts: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) failures: AtomicU64,
    /// When the last attempt began, in nanoseconds; 0 before the first.
    called_at: AtomicU64,
    in_rotation: AtomicBool,
    /// Since when a process is expected to be ready soon, in nanoseconds; 0 when none is.
    expected_at: AtomicU64,
    verdict: AtomicU8,
    changed_at: AtomicU64,
    checks: Mutex<Checks>,
    observer: Observer,
}

impl Endpoint {
    /// An endpoint of `service` nobody has called. One that is supervised is out of rotation
    /// until its supervisor says otherwise.
    pub(crate) fn new(
        service: &config::Service,
        config: &config::Endpoint,
        breaker: Option<Breaker>,
        clock: Clock,
        observer: &Observer,
    ) -> Self {
        let health = service
            .probe
            .as_ref()
            .map(|probe| Health::new(probe.hysteresis));
        Self {
            service: Arc::clone(&service.name),
            name: Arc::clone(&config.name),
            address: config.address,
            breaker,
            clock,
            load: Load::new(),
            attempts: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            called_at: AtomicU64::new(0),
            in_rotation: AtomicBool::new(!service.supervised),
            expected_at: AtomicU64::new(0),
            verdict: AtomicU8::new(Verdict::Unknown as u8),
            changed_at: AtomicU64::new(0),
            checks: Mutex::new(Checks {
                health,
                detail: String::new(),
                at: None,
            }),
            observer: observer.clone(),
        }
    }

    /// Whether requests may go there at all.
    pub(crate) fn is_in_rotation(&self) -> bool {
        self.in_rotation.load(Ordering::Acquire)
    }

    /// Whether it may be back within `window`: its process just ended and is being started again,
    /// or was just started. A process that ends before it was ready is not waited for.
    pub(crate) fn is_expected(&self, window: Duration, now: Instant) -> bool {
        let at = self.expected_at.load(Ordering::Acquire);
        at != 0 && now.since(Instant::from_nanos(at)) < window
    }

    /// What probes say, or whoever reports the process.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.verdict.load(Ordering::Acquire) {
            1 => Verdict::Healthy,
            2 => Verdict::Unhealthy,
            _ => Verdict::Unknown,
        }
    }

    /// Whether the circuit would let a call through.
    pub(crate) fn would_admit(&self, now: Instant) -> bool {
        self.breaker
            .as_ref()
            .is_none_or(|breaker| breaker.would_admit(now))
    }

    /// Whether the circuit lets calls through as probes only.
    pub(crate) fn is_on_probation(&self, now: Instant) -> bool {
        match self.breaker.as_ref().map(|breaker| breaker.state(now)) {
            Some(State::Open { .. } | State::HalfOpen | State::ForcedOpen) => true,
            // In its ramp a circuit wants fewer calls than its load would give it, not all of them.
            None | Some(State::Closed | State::Ramp { .. } | State::Disabled) => false,
        }
    }

    /// What the next call would cost here, for the balancer.
    ///
    /// An endpoint whose circuit admits probes costs nothing: the sooner one is made, the sooner
    /// the endpoint is back, and the circuit itself limits how many there are.
    ///
    /// An endpoint that lost every comparison would never be asked again, and nobody would learn
    /// that it is fast by now. So one that was not called for a while costs nothing, for one
    /// call. A slow one is asked more rarely: it gets no more than a twentieth of the time.
    pub(crate) fn cost(&self, now: Instant) -> f64 {
        let called_at = self.called_at.load(Ordering::Relaxed);
        let uncalled_for = now.since(Instant::from_nanos(called_at));
        let due = EXPLORE_AFTER + self.load.rtt(now) * EXPLORE_FACTOR;
        // With a call still out there is something to learn from that one.
        let explore = self.load.in_flight() == 0 && (called_at == 0 || uncalled_for > due);
        if explore || self.is_on_probation(now) {
            return 0.0;
        }
        self.load.cost(now)
    }

    /// An attempt begins.
    pub(crate) fn begin(&self, now: Instant) {
        self.load.begin();
        self.called_at.store(now.as_nanos(), Ordering::Relaxed);
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// The permit for one call: `Ok(None)` without a breaker.
    pub(crate) fn acquire(&self, now: Instant) -> Result<Option<Permit>, breaker::Rejected> {
        let Some(breaker) = &self.breaker else {
            return Ok(None);
        };
        let admitted = breaker.acquire(now)?;
        self.transition(admitted.transition, now);
        Ok(Some(admitted.permit))
    }

    /// Tells of a change of the circuit.
    pub(crate) fn transition(&self, transition: Option<Transition>, now: Instant) {
        let Some(transition) = transition else {
            return;
        };
        self.changed(now);
        if transition == Transition::Closed {
            // The probes' answers are what is known of it now, not the failures before.
            self.load.forget();
        }
        let service = Arc::clone(&self.service);
        let endpoint = Arc::clone(&self.name);
        self.observer.observe(match transition {
            Transition::Opened {
                reason,
                retry_after,
                ..
            } => Event::CircuitOpen {
                service,
                reason,
                endpoint,
                retry_after_ms: retry_after.map_or(0, |after| {
                    u64::try_from(after.as_millis()).unwrap_or(u64::MAX)
                }),
            },
            Transition::HalfOpened => Event::CircuitHalfOpen { service, endpoint },
            Transition::Closed => Event::CircuitClosed { service, endpoint },
        });
    }

    /// Takes the endpoint in or out of rotation; the next request on any worker obeys.
    pub(crate) fn rotate(&self, rotation: Rotation, now: Instant) {
        let wanted = rotation == Rotation::In;
        let comes_back = match rotation {
            Rotation::Starting => true,
            Rotation::Out(Reason::Exited) => self.is_in_rotation(),
            Rotation::In | Rotation::Out(_) => false,
        };
        let expected_at = if comes_back { now.as_nanos() } else { 0 };
        self.expected_at.store(expected_at, Ordering::Release);
        if wanted && !self.is_in_rotation() {
            // Another process answers now: what calls and probes knew of the old one is void.
            self.load.forget();
            let reset = self.breaker.as_ref().and_then(|breaker| breaker.reset(now));
            self.transition(reset, now);
        }
        let was = self.in_rotation.swap(wanted, Ordering::AcqRel);
        let mut checks = self.checks();
        let verdict = match (&mut checks.health, rotation) {
            (_, Rotation::Starting | Rotation::Out(_)) => Verdict::Unhealthy,
            (Some(health), Rotation::In) => {
                health.reset();
                Verdict::Unknown
            },
            (None, Rotation::In) => Verdict::Healthy,
        };
        let before = self.set_verdict(verdict);
        drop(checks);
        if was != wanted || before != verdict {
            self.changed(now);
        }
        if was != wanted {
            let (reason, detail) = match rotation {
                Rotation::In | Rotation::Starting => (Reason::Exited, "it is being started"),
                Rotation::Out(Reason::Exited) => (Reason::Exited, "its process ended"),
                Rotation::Out(reason) => (reason, "it is not ready"),
            };
            self.tell(wanted, reason, detail);
        }
    }

    /// Takes over from `old`, the same endpoint under older policies, what they do not change.
    pub(crate) fn inherit(&self, old: &Self) {
        self.in_rotation
            .store(old.is_in_rotation(), Ordering::Release);
        self.set_verdict(old.verdict());
    }

    /// Gives the circuit other limits; what it has learned stays.
    pub(crate) fn reconfigure(&self, limits: &breaker::Config) -> Result<(), breaker::ConfigError> {
        self.breaker
            .as_ref()
            .map_or(Ok(()), |breaker| breaker.reconfigure(limits))
    }

    /// Takes the result of one active probe.
    pub(crate) fn probed(&self, result: Result<(), Reason>, detail: &str, now: Instant) {
        let mut checks = self.checks();
        checks.at = Some(now);
        detail.clone_into(&mut checks.detail);
        let changed = checks
            .health
            .as_mut()
            .and_then(|health| health.probed(result.is_ok()))
            .filter(|_| self.is_in_rotation());
        if let Some(verdict) = changed {
            self.set_verdict(verdict);
            self.changed(now);
            let reason = result.err().unwrap_or(Reason::Probe);
            self.tell(verdict == Verdict::Healthy, reason, detail);
        }
    }

    fn tell(&self, healthy: bool, reason: Reason, detail: &str) {
        let service = Arc::clone(&self.service);
        let endpoint = Arc::clone(&self.name);
        self.observer.observe(if healthy {
            Event::EndpointHealthy { service, endpoint }
        } else {
            Event::EndpointUnhealthy {
                service,
                endpoint,
                reason,
                detail: detail.to_owned(),
            }
        });
    }

    fn set_verdict(&self, verdict: Verdict) -> Verdict {
        let before = self.verdict();
        let code = match verdict {
            Verdict::Unknown => 0,
            Verdict::Healthy => 1,
            Verdict::Unhealthy => 2,
        };
        self.verdict.store(code, Ordering::Release);
        before
    }

    fn changed(&self, now: Instant) {
        self.changed_at.store(now.as_nanos(), Ordering::Relaxed);
    }

    fn checks(&self) -> MutexGuard<'_, Checks> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The circuit's state.
    pub(crate) fn breaker_state(&self, now: Instant) -> BreakerState {
        match self.breaker.as_ref().map(|breaker| breaker.state(now)) {
            None | Some(State::Disabled) => BreakerState::Off,
            Some(State::Closed | State::Ramp { .. }) => BreakerState::Closed,
            Some(State::Open { .. } | State::ForcedOpen) => BreakerState::Open,
            Some(State::HalfOpen) => BreakerState::HalfOpen,
        }
    }

    /// How it is right now.
    pub(crate) fn status(&self, now: Instant) -> EndpointStatus {
        let changed_at = Instant::from_nanos(self.changed_at.load(Ordering::Relaxed));
        let (detail, at) = {
            let checks = self.checks();
            (checks.detail.clone(), checks.at)
        };
        let millis =
            |since: Instant| u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
        EndpointStatus {
            name: Arc::clone(&self.name),
            address: self.address.to_string(),
            pid: None,
            restarts: None,
            health: self.verdict(),
            breaker: self.breaker_state(now),
            since_ms: millis(changed_at),
            last_check: detail,
            last_check_ms: at.map(millis),
            in_flight: self.load.in_flight(),
            attempts: self.attempts.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            ewma_ms: self.load.rtt(now).as_secs_f64() * 1_000.0,
        }
    }
}
