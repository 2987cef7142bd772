//! What one worker counts of one service.
//!
//! Prevents counters that workers fight over: each worker has its own, and whoever asks adds them
//! up. Numbers only grow.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use mainstay_core::time::{Duration, Instant};

use crate::latency::Latency;

/// Upper bounds of the duration histogram, in seconds.
pub(crate) const DURATION_BOUNDS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Why a retry was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// All attempts are used.
    Attempts,
    /// It could have had an effect twice.
    Unsafe,
    /// No time is left.
    Deadline,
    /// The budget is used up.
    Budget,
    /// The body was not kept.
    Body,
}

impl Denied {
    /// All reasons, in the order of their declaration.
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Attempts, "attempts"),
        (Self::Unsafe, "unsafe"),
        (Self::Deadline, "deadline"),
        (Self::Budget, "budget"),
        (Self::Body, "body"),
    ];
}

/// One worker's counts of one service.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Answers by class: 1xx to 5xx.
    classes: [AtomicU64; 5],
    /// Answers by duration, and beyond the last bound.
    durations: [AtomicU64; DURATION_BOUNDS.len() + 1],
    duration_nanos: AtomicU64,
    /// Attempts at endpoints.
    pub(crate) attempts: AtomicU64,
    /// Attempts that were not a request's first.
    pub(crate) retries: AtomicU64,
    denied: [AtomicU64; Denied::ALL.len()],
    /// Stale answers.
    pub(crate) stale: AtomicU64,
    /// Static answers.
    pub(crate) fixed: AtomicU64,
    /// Requests whose code panicked.
    pub(crate) panics: AtomicU64,
    /// Requests in flight.
    pub(crate) in_flight: AtomicU32,
    /// Connections to endpoints in use, as of the last sweep.
    pub(crate) pool_open: AtomicU64,
    /// Idle connections to endpoints, as of the last sweep.
    pub(crate) pool_idle: AtomicU64,
    /// The last ten seconds.
    pub(crate) latency: Latency,
}

impl Tally {
    /// Nothing counted.
    pub(crate) fn new() -> Self {
        Self {
            classes: Default::default(),
            durations: Default::default(),
            duration_nanos: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            denied: Default::default(),
            stale: AtomicU64::new(0),
            fixed: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            pool_open: AtomicU64::new(0),
            pool_idle: AtomicU64::new(0),
            latency: Latency::new(),
        }
    }

    /// Counts one answer.
    pub(crate) fn answered(&self, status: http::StatusCode, took: Duration, now: Instant) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        add(&self.classes[class], 1);
        let seconds = took.as_secs_f64();
        let bucket = DURATION_BOUNDS
            .iter()
            .take_while(|bound| seconds > **bound)
            .count();
        add(&self.durations[bucket], 1);
        add(
            &self.duration_nanos,
            u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
        );
        self.latency.record(took, class < 4, now);
    }

    /// Counts a retry that was not made.
    pub(crate) fn denied(&self, why: Denied) {
        add(&self.denied[why as usize], 1);
    }

    /// Answers so far.
    pub(crate) fn requests(&self) -> u64 {
        self.classes
            .iter()
            .map(|class| class.load(Ordering::Relaxed))
            .sum()
    }

    /// Answers so far by class.
    pub(crate) fn classes(&self) -> [u64; 5] {
        self.classes
            .each_ref()
            .map(|class| class.load(Ordering::Relaxed))
    }

    /// Retries not made so far by reason.
    pub(crate) fn denials(&self) -> [u64; Denied::ALL.len()] {
        self.denied
            .each_ref()
            .map(|denied| denied.load(Ordering::Relaxed))
    }

    /// Answers by duration, and the sum of the durations in seconds.
    pub(crate) fn durations(&self) -> ([u64; DURATION_BOUNDS.len() + 1], f64) {
        let counts = self
            .durations
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let nanos = self.duration_nanos.load(Ordering::Relaxed);
        (counts, Duration::from_nanos(nanos).as_secs_f64())
    }
}

/// One thread writes: no locked instruction is needed.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    let before = counter.load(Ordering::Relaxed);
    counter.store(before.wrapping_add(count), Ordering::Relaxed);
}
