//! The configuration as the engine reads it: numbers that may change while calls run.
//!
//! Prevents a reload that forgets what the circuit knows. Each limit is an atomic of its own, read
//! and written relaxed: a decision that is made while they change may mix old and new ones, which
//! does no more harm than a decision a moment earlier or later. They are no part of any protocol,
//! so they are `core`'s atomics even where a model checker drives the others.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use core::time::Duration;

use super::config::{Abandoned, Config, parts_per_million};
use super::window::Counts;
use super::word::Lease;
use crate::time::nanos;

/// Calls are counted in the window: there is a rate to reach.
const COUNTED: u32 = 1;
/// Calls may be slow.
const SLOW: u32 = 1 << 1;
/// Calls in flight may be slow.
const IN_FLIGHT: u32 = 1 << 2;
/// Abandoned calls count as failures.
const ABANDONED_FAIL: u32 = 1 << 3;
/// Abandoned calls count when all are.
const ABANDONED_IF_ALL: u32 = 1 << 4;

const PROBES_BITS: u32 = 16;

/// A rate of 1.
const ALL_PPM: u64 = 1_000_000;

#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Limits {
    /// One load tells a healthy call what it need not do.
    flags: AtomicU32,
    /// 0: off.
    consecutive: AtomicU32,
    slow_after_nanos: AtomicU64,
    /// 0: off.
    error_rate_ppm: AtomicU32,
    slow_rate_ppm: AtomicU32,
    calls_min: AtomicU32,
    /// `bad:16 | all:16`.
    probes: AtomicU32,
    lease_tick_nanos: AtomicU64,
    reopen_ms: AtomicU32,
    reopen_max_ms: AtomicU32,
    stable_after_ms: AtomicU32,
    /// 0: off.
    ramp_ms: AtomicU32,
}

/// What a healthy call has to do, read at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flags(u32);

impl Flags {
    pub(super) const fn counted(self) -> bool {
        self.0 & COUNTED != 0
    }

    pub(super) const fn slow(self) -> bool {
        self.0 & SLOW != 0
    }

    pub(super) const fn in_flight(self) -> bool {
        self.0 & IN_FLIGHT != 0
    }
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        let limits = Self::default();
        limits.set(config);
        limits
    }

    /// Takes over a valid configuration.
    pub(super) fn set(&self, config: &Config) {
        let slow = config.slow;
        let ppm = |rate: Option<f64>| rate.map_or(0, parts_per_million);
        self.consecutive.store(consecutive(config), Relaxed);
        let slow_after = slow.map_or(0, |slow| nanos(slow.after));
        self.slow_after_nanos.store(slow_after, Relaxed);
        self.error_rate_ppm.store(ppm(config.error_rate), Relaxed);
        self.slow_rate_ppm
            .store(ppm(slow.map(|slow| slow.rate)), Relaxed);
        self.calls_min.store(config.calls_min.get(), Relaxed);
        let probes = probes_bad(config) << PROBES_BITS | config.probes.get();
        self.probes.store(probes, Relaxed);
        let lease = Lease::new(config.lease);
        self.lease_tick_nanos.store(lease.tick_nanos, Relaxed);
        self.reopen_ms.store(millis(config.reopen), Relaxed);
        self.reopen_max_ms.store(millis(config.reopen_max), Relaxed);
        self.stable_after_ms
            .store(millis(config.stable_after), Relaxed);
        self.ramp_ms.store(config.ramp.map_or(0, millis), Relaxed);
        self.flags.store(flags(config), Relaxed);
    }

    pub(super) fn flags(&self) -> Flags {
        Flags(self.flags.load(Relaxed))
    }

    pub(super) fn abandoned(&self) -> Abandoned {
        match self.flags.load(Relaxed) & (ABANDONED_FAIL | ABANDONED_IF_ALL) {
            ABANDONED_FAIL => Abandoned::Failure,
            ABANDONED_IF_ALL => Abandoned::FailureIfAll,
            _ => Abandoned::Ignore,
        }
    }

    pub(super) fn consecutive(&self) -> Option<u32> {
        optional(&self.consecutive)
    }

    pub(super) fn error_rate_ppm(&self) -> Option<u32> {
        optional(&self.error_rate_ppm)
    }

    pub(super) fn slow_rate_ppm(&self) -> Option<u32> {
        optional(&self.slow_rate_ppm)
    }

    /// How many failures more reach the rate of failures, which `counts` do not reach, whatever
    /// else is counted meanwhile; 0 where that cannot be said.
    pub(super) fn failures_left(&self, counts: Counts) -> u64 {
        let Counts { failed, total, .. } = counts;
        let (calls_min, ppm) = (self.calls_min(), self.error_rate_ppm.load(Relaxed));
        if total < u64::from(calls_min) {
            // Good calls complete them too.
            return 0;
        }
        // The smallest number for which (failed + number) / (total + number) is the rate.
        let missing = (total * u64::from(ppm)).saturating_sub(failed * ALL_PPM);
        match ALL_PPM - u64::from(ppm).min(ALL_PPM) {
            // As long as there is one good call, no number of failures is all of them.
            0 => u64::from(u32::MAX),
            good => missing.div_ceil(good),
        }
    }

    /// Whether a call that took so long was slow.
    pub(super) fn is_slow(&self, took: Duration) -> bool {
        let after = self.slow_after_nanos.load(Relaxed);
        after > 0 && nanos(took) > after
    }

    /// After how long a call is slow.
    pub(super) fn slow_after(&self) -> Option<Duration> {
        let after = self.slow_after_nanos.load(Relaxed);
        (after > 0).then(|| Duration::from_nanos(after))
    }

    pub(super) fn calls_min(&self) -> u32 {
        self.calls_min.load(Relaxed)
    }

    /// Probes at a time.
    pub(super) fn probes(&self) -> u32 {
        self.probes.load(Relaxed) & ((1 << PROBES_BITS) - 1)
    }

    /// Bad probes that open the circuit again.
    pub(super) fn probes_bad(&self) -> u32 {
        self.probes.load(Relaxed) >> PROBES_BITS
    }

    pub(super) fn lease(&self) -> Lease {
        Lease {
            tick_nanos: self.lease_tick_nanos.load(Relaxed),
        }
    }

    pub(super) fn reopen(&self) -> Duration {
        duration(&self.reopen_ms)
    }

    pub(super) fn reopen_max(&self) -> Duration {
        duration(&self.reopen_max_ms)
    }

    pub(super) fn stable_after(&self) -> Duration {
        duration(&self.stable_after_ms)
    }

    pub(super) fn ramp(&self) -> Option<Duration> {
        optional(&self.ramp_ms).map(|ms| Duration::from_millis(u64::from(ms)))
    }
}

fn flags(config: &Config) -> u32 {
    let mut flags = match config.abandoned {
        Abandoned::Ignore => 0,
        Abandoned::Failure => ABANDONED_FAIL,
        Abandoned::FailureIfAll => ABANDONED_IF_ALL,
    };
    if config.error_rate.is_some() || config.slow.is_some() {
        flags |= COUNTED;
    }
    if let Some(slow) = config.slow {
        flags |= SLOW;
        flags |= if slow.in_flight { IN_FLIGHT } else { 0 };
    }
    flags
}

fn consecutive(config: &Config) -> u32 {
    config.consecutive.map_or(0, core::num::NonZeroU32::get)
}

/// At least one: no rate is reached by good probes alone.
fn probes_bad(config: &Config) -> u32 {
    let probes = config.probes.get();
    let by_rate = |rate| {
        let bad = (u64::from(probes) * u64::from(parts_per_million(rate))).div_ceil(1_000_000);
        u32::try_from(bad).unwrap_or(probes).max(1)
    };
    let in_a_row = config.consecutive.map(core::num::NonZeroU32::get);
    let slow_rate = config.slow.map(|slow| slow.rate);
    let opening = config.error_rate.or(slow_rate);
    match (config.probe_rate, opening, in_a_row) {
        (Some(rate), _, _) | (None, Some(rate), None) => by_rate(rate),
        (None, Some(rate), Some(in_a_row)) => by_rate(rate).min(in_a_row),
        (None, None, Some(in_a_row)) => in_a_row.min(probes),
        (None, None, None) => 1,
    }
}

/// Rounded up: a limit never ends early. At most a month, which fits.
fn millis(duration: Duration) -> u32 {
    u32::try_from(nanos(duration).div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

fn duration(millis: &AtomicU32) -> Duration {
    Duration::from_millis(u64::from(millis.load(Relaxed)))
}

fn optional(limit: &AtomicU32) -> Option<u32> {
    match limit.load(Relaxed) {
        0 => None,
        limit => Some(limit),
    }
}
