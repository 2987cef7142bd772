//! A concurrency limit that finds its own value: as many calls at a time as are served without
//! queueing at the callee.
//!
//! Prevents a fixed limit that is too high on the day when the callee is slow, and too low on all
//! other days. By Little's law the right limit is throughput times latency, and both move; so the
//! limit is tried out, as TCP tries out its window (the idea and the algorithms are those of
//! Netflix's concurrency-limits, 2018; see [`Algorithm`]).
//!
//! Calls are sampled in windows, and only those that began under the present limit: what an older
//! limit did says nothing of this one, and one burst of timeouts lowers it once, as TCP counts one
//! loss per round trip. The caller that ends a window moves the limit; nobody waits for it.
//!
//! | end of a call | counts as |
//! |---|---|
//! | success, permanent refusal | a latency |
//! | timeout, throttled | a drop: the limit is too high |
//! | other failures | nothing: an error that comes at once is no low latency |
//! | ignored | nothing |
//!
//! Always holds: `min <= limit <= max`; a window whose calls used less than half of the limit never
//! raises it; one call alone never moves it.

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::bulkhead::{Bulkhead, Limits};
use crate::outcome::{Outcome, Reason};
use crate::time::{Instant, nanos};
use core::num::NonZeroU32;

mod algorithm;
mod config;

pub use algorithm::{Aimd, Algorithm, Gradient, Vegas};
use algorithm::{Phase, Sample, State};
pub use config::{AdaptiveConfig, AdaptiveConfigError, WINDOW_MAX, WINDOW_MIN};

const SUM_BITS: u32 = 44;
const SUM_MAX: u64 = (1 << SUM_BITS) - 1;
const SAMPLES_MAX: u64 = (1 << (64 - SUM_BITS)) - 1;

/// Latencies are summed up in steps of 64 ns: their sum may be 13 days.
const STEP: u64 = 64;

/// The end of a window whose caller is moving the limit just now.
const MOVING: u64 = u64::MAX;

/// A concurrency limit that adapts. Shared by reference between threads.
///
/// ```
/// use mainstay_core::limit::adaptive::{Adaptive, AdaptiveConfig};
/// use mainstay_core::outcome::{Outcome, Reason};
/// use mainstay_core::time::{Duration, Instant};
///
/// let limit = Adaptive::new(&AdaptiveConfig::default(), None, Instant::ORIGIN).unwrap();
/// let initial = limit.limit();
/// for _ in 0..initial.get() {
///     assert!(limit.permits().enter().is_ok());
/// }
/// assert!(limit.permits().enter().is_err(), "more would queue at the callee");
///
/// // A window of calls that time out says that even this was too much.
/// let now = Instant::ORIGIN + Duration::from_secs(1);
/// for _ in 0..initial.get() {
///     let _more_room = limit.record(Instant::ORIGIN, Outcome::Failure(Reason::Timeout), now);
///     let _free = limit.permits().leave();
/// }
/// assert!(limit.limit() < initial);
/// ```
#[derive(Debug)]
pub struct Adaptive {
    permits: Bulkhead,
    config: AdaptiveConfig,
    window: Window,
    memory: Memory,
}

/// What the calls of this window were like.
#[derive(Debug)]
struct Window {
    /// Calls that began before do not count.
    began: AtomicU64,
    /// When it may end; [`MOVING`] while somebody moves the limit.
    ends: AtomicU64,
    /// `samples:20 | sum:44`, so that the mean is always of the same calls.
    latencies: AtomicU64,
    drops: AtomicU32,
    in_flight_max: AtomicU32,
}

/// The algorithm's state. Written only by the caller that moves the limit.
#[derive(Debug)]
struct Memory {
    estimate: AtomicU64,
    base: AtomicU64,
    phase: AtomicU64,
}

/// What a call's end says about the limit.
enum Hint {
    Latency(u64),
    Drop,
}

impl Adaptive {
    /// A limit at its initial value, with nobody in flight. `queue` is how many may wait, at most
    /// [`QUEUE_MAX`](crate::bulkhead::QUEUE_MAX); none when `None`.
    ///
    /// # Errors
    ///
    /// As [`AdaptiveConfig::validate`].
    pub fn new(
        config: &AdaptiveConfig,
        queue: Option<NonZeroU32>,
        now: Instant,
    ) -> Result<Self, AdaptiveConfigError> {
        config.validate()?;
        let memory = Memory {
            estimate: AtomicU64::new(0),
            base: AtomicU64::new(0),
            phase: AtomicU64::new(0),
        };
        memory.store(State::new(config.initial));
        let ends = end(now, config);
        Ok(Self {
            permits: Bulkhead::new(Limits {
                in_flight: config.initial,
                queue,
            }),
            config: *config,
            window: Window {
                began: AtomicU64::new(now.as_nanos()),
                ends: AtomicU64::new(ends),
                latencies: AtomicU64::new(0),
                drops: AtomicU32::new(0),
                in_flight_max: AtomicU32::new(0),
            },
            memory,
        })
    }

    /// The places: as many in flight as the limit says.
    pub const fn permits(&self) -> &Bulkhead {
        &self.permits
    }

    /// The limit of this moment.
    pub fn limit(&self) -> NonZeroU32 {
        self.permits.limits().in_flight
    }

    /// What was configured.
    pub const fn config(&self) -> &AdaptiveConfig {
        &self.config
    }

    /// A call that was admitted at `started` ended now. Before its place is given back: it counts
    /// as in flight still.
    ///
    /// `true` says that the limit rose and that there is room for calls that wait:
    /// [`promote`](Bulkhead::promote) them.
    #[must_use = "calls that wait must be let through"]
    pub fn record(&self, started: Instant, outcome: Outcome, now: Instant) -> bool {
        let hint = match outcome {
            Outcome::Success | Outcome::Permanent => Hint::Latency(nanos(now.since(started))),
            Outcome::Failure(Reason::Timeout) | Outcome::Throttled { .. } => Hint::Drop,
            Outcome::Failure(_) | Outcome::Ignored => return false,
        };
        let in_flight = self.permits.counts().in_flight;
        self.window.add(started, in_flight, &hint)
            && self.window.close(&self.config, now)
            && self.advance(now)
    }

    /// Moves the limit. By the one caller that closed the window.
    fn advance(&self, now: Instant) -> bool {
        let sample = self.window.drain();
        let state = self.memory.load().after(&self.config, &sample);
        self.memory.store(state);
        let promote = self.permits.resize(state.limit(&self.config));
        self.window.open(now, end(now, &self.config));
        promote
    }
}

fn end(now: Instant, config: &AdaptiveConfig) -> u64 {
    (now + config.window).as_nanos().min(MOVING - 1)
}

impl Window {
    /// Adds a call; `false` when it began before the window.
    fn add(&self, started: Instant, in_flight: u32, hint: &Hint) -> bool {
        // Pairs with `open`: who sees a window's begin sees it empty.
        if started.as_nanos() < self.began.load(Ordering::Acquire) {
            return false;
        }
        // A load is cheaper than a write that changes nothing.
        if in_flight > self.in_flight_max.load(Ordering::Relaxed) {
            self.in_flight_max.fetch_max(in_flight, Ordering::Relaxed);
        }
        match hint {
            Hint::Drop => {
                self.drops.fetch_add(1, Ordering::Relaxed);
            },
            Hint::Latency(nanos) => self.add_latency(*nanos),
        }
        true
    }

    fn add_latency(&self, nanos: u64) {
        let steps = nanos / STEP;
        let mut seen = self.latencies.load(Ordering::Relaxed);
        loop {
            let (samples, sum) = (seen >> SUM_BITS, seen & SUM_MAX);
            // A window that cannot count more has seen enough.
            if samples == SAMPLES_MAX || steps > SUM_MAX - sum {
                return;
            }
            let next = (samples + 1) << SUM_BITS | (sum + steps);
            match self.latencies.compare_exchange_weak(
                seen,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }

    /// Ends the window, if it is time and it has seen enough: for one caller only.
    fn close(&self, config: &AdaptiveConfig, now: Instant) -> bool {
        let ends = self.ends.load(Ordering::Relaxed);
        if now.as_nanos() < ends || ends == MOVING {
            return false;
        }
        let drops = u64::from(self.drops.load(Ordering::Relaxed));
        let samples = self.latencies.load(Ordering::Relaxed) >> SUM_BITS;
        // The algorithm's state was stored before `ends` was: acquired with it.
        samples + drops >= u64::from(config.samples_min.get())
            && self
                .ends
                .compare_exchange(ends, MOVING, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    }

    /// What it has seen. A call that ends meanwhile counts in one window or the next.
    fn drain(&self) -> Sample {
        let latencies = self.latencies.swap(0, Ordering::Relaxed);
        let (samples, sum) = (latencies >> SUM_BITS, latencies & SUM_MAX);
        // A latency below the resolution is as good as none, but not zero: it is divided by.
        let mean = |samples: u64| ((sum * STEP) as f64 / samples as f64).max(1.0);
        Sample {
            latency: (samples > 0).then(|| mean(samples)),
            dropped: self.drops.swap(0, Ordering::Relaxed) > 0,
            in_flight: self.in_flight_max.swap(0, Ordering::Relaxed),
        }
    }

    fn open(&self, now: Instant, ends: u64) {
        self.began.store(now.as_nanos(), Ordering::Release);
        self.ends.store(ends, Ordering::Release);
    }
}

impl Memory {
    fn load(&self) -> State {
        State {
            estimate: f64::from_bits(self.estimate.load(Ordering::Relaxed)),
            base: f64::from_bits(self.base.load(Ordering::Relaxed)),
            phase: Phase::decode(self.phase.load(Ordering::Relaxed)),
        }
    }

    fn store(&self, state: State) {
        self.estimate
            .store(state.estimate.to_bits(), Ordering::Relaxed);
        self.base.store(state.base.to_bits(), Ordering::Relaxed);
        self.phase.store(state.phase.encode(), Ordering::Relaxed);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod simulation;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
