//! What is measured, and the thresholds that all subjects are given alike.
//!
//! Prevents a peer that is slow because it was told to do more. The names are a contract: they are
//! the cases of `mainstay.bench/v1`.

use std::time::Duration;

/// Share of failed calls that opens a circuit.
pub const FAILURE_RATE: f64 = 0.5;
/// Calls before that share counts.
pub const CALLS_MIN: u32 = 20;
/// How far back a window of time looks.
pub const WINDOW: Duration = Duration::from_secs(10);
/// How far back a window of calls looks, for peers that have no window of time that may be measured.
pub const COUNT_WINDOW: usize = 100;
/// Longer than any benchmark: a circuit that is to stay open.
pub const FOREVER: Duration = Duration::from_hours(1);

/// One kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// A call that succeeds, through a closed breaker, in the form that the peer documents first.
    BreakerClosedSuccess,
    /// The same without a future: a closure, or a permit that is taken and given back.
    BreakerClosedSuccessSync,
    /// The same as a tower service: ready, call, answer.
    BreakerClosedSuccessTower,
    /// The same, by two threads on one breaker.
    BreakerClosedSuccess2Threads,
    /// The same, by two threads with a breaker each: what two threads cost by themselves.
    BreakerClosedSuccess2Breakers,
    /// Nine calls that fail and one that succeeds, through a breaker that only all of them would open.
    BreakerClosedFailure,
    /// A call that an open circuit turns away.
    BreakerOpenRejection,
    /// The same without a future: a closure, or a permit that is asked for.
    BreakerOpenRejectionSync,
    /// A call that a half-open circuit turns away because its one probe is out.
    BreakerHalfOpenRejection,
    /// A call that succeeds, through deadline, retry with budget, breaker, bulkhead and timeout.
    PipelineSuccess,
    /// A call that a rate limit lets through.
    LimiterAcquire,
}

impl Case {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 11] = [
        Self::BreakerClosedSuccess,
        Self::BreakerClosedSuccessSync,
        Self::BreakerClosedSuccessTower,
        Self::BreakerClosedSuccess2Threads,
        Self::BreakerClosedSuccess2Breakers,
        Self::BreakerClosedFailure,
        Self::BreakerOpenRejection,
        Self::BreakerOpenRejectionSync,
        Self::BreakerHalfOpenRejection,
        Self::PipelineSuccess,
        Self::LimiterAcquire,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BreakerClosedSuccess => "breaker_closed_success",
            Self::BreakerClosedSuccessSync => "breaker_closed_success_sync",
            Self::BreakerClosedSuccessTower => "breaker_closed_success_tower",
            Self::BreakerClosedSuccess2Threads => "breaker_closed_success_2_threads",
            Self::BreakerClosedSuccess2Breakers => "breaker_closed_success_2_breakers",
            Self::BreakerClosedFailure => "breaker_closed_failure",
            Self::BreakerOpenRejection => "breaker_open_rejection",
            Self::BreakerOpenRejectionSync => "breaker_open_rejection_sync",
            Self::BreakerHalfOpenRejection => "breaker_half_open_rejection",
            Self::PipelineSuccess => "pipeline_success",
            Self::LimiterAcquire => "limiter_acquire",
        }
    }

    /// How many threads call at the same time.
    #[must_use]
    pub const fn threads(self) -> usize {
        match self {
            Self::BreakerClosedSuccess2Threads | Self::BreakerClosedSuccess2Breakers => 2,
            Self::BreakerClosedSuccess
            | Self::BreakerClosedSuccessSync
            | Self::BreakerClosedSuccessTower
            | Self::BreakerClosedFailure
            | Self::BreakerOpenRejection
            | Self::BreakerOpenRejectionSync
            | Self::BreakerHalfOpenRejection
            | Self::PipelineSuccess
            | Self::LimiterAcquire => 1,
        }
    }

    /// Whether the call numbered so fails by itself.
    #[must_use]
    pub const fn fails(self, number: u64) -> bool {
        // The first of each ten succeeds, so that no window ever holds failures only.
        matches!(self, Self::BreakerClosedFailure) && !number.is_multiple_of(10)
    }

    /// The share of failures that opens the circuit in this case.
    #[must_use]
    pub const fn failure_rate(self) -> f64 {
        if matches!(self, Self::BreakerClosedFailure) {
            1.0
        } else {
            FAILURE_RATE
        }
    }
}
