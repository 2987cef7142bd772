//! Points in time that somebody else read from a clock.
//!
//! Prevents the failures of wall time: an `Instant` is monotonic nanoseconds since an origin that
//! the clock's owner chose, so a stepped clock can neither hold a circuit open for ever nor make
//! a subtraction panic. All arithmetic saturates.

use core::ops::Add;
pub use core::time::Duration;

/// A point in monotonic time: nanoseconds since the origin of the clock that was read.
///
/// Instants of two clocks must not be mixed; one process reads one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin of the clock.
    pub const ORIGIN: Self = Self(0);

    /// The instant `nanos` nanoseconds after the origin; 2^64 ns are 584 years.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant `millis` milliseconds after the origin; what does not fit is the last there is.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that passed since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

/// A duration in nanoseconds, cut off at `u64::MAX` (584 years).
pub const fn nanos(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(duration.subsec_nanos() as u64)
}

/// The point after which nobody waits for an answer any more; `Deadline::NEVER` when all may wait.
///
/// Absolute, so that queueing and backoff use it up by themselves (gRPC's meaning of the word).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// No deadline: later than all others.
    pub const NEVER: Self = Self(Instant(u64::MAX));

    /// The deadline `total` after `now`. A `total` of zero has passed already.
    pub fn after(now: Instant, total: Duration) -> Self {
        Self(now + total)
    }

    /// The deadline at `instant`.
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// The instant itself.
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// What is left at `now`, or `None` once it has passed.
    pub fn remaining(self, now: Instant) -> Option<Duration> {
        (now < self.0).then(|| self.0.since(now))
    }

    /// The earlier of two deadlines: a nested deadline can only shorten.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_runs_backwards_measures_zero() {
        let elapsed = Instant::from_millis(1).since(Instant::from_millis(2));
        assert_eq!(elapsed, Duration::ZERO);
    }

    #[test]
    fn a_deadline_beyond_the_end_of_time_is_no_deadline() {
        let deadline = Deadline::after(Instant::from_millis(1), Duration::MAX);
        assert_eq!(deadline, Deadline::NEVER);
    }

    #[test]
    fn a_deadline_has_nothing_left_at_its_own_instant() {
        let deadline = Deadline::after(Instant::from_millis(5), Duration::from_millis(10));
        assert_eq!(deadline.remaining(Instant::from_millis(15)), None);
        assert_eq!(
            deadline.remaining(Instant::from_millis(14)),
            Some(Duration::from_millis(1))
        );
    }
}
