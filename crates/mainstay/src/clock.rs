//! The one clock that policies read.
//!
//! Prevents time that cannot be tested, and time that jumps. It is monotonic, and virtual in a
//! test that pauses tokio's clock: a test of an hour's cooldown takes no time. That needs this
//! crate's feature `test-util`; without it the coarse clock is the kernel's, which is four times as
//! fast to read and steps every few milliseconds.

use std::time::Duration;

use mainstay_core::time::Instant;
use tokio::time;

/// Monotonic time since the clock was made, in nanoseconds.
///
/// Cheap to copy. Instants of two clocks must not be mixed: make one, and hand it on.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    // Decisions count nanoseconds from a point of our choice. It is taken when the clock is made,
    // not from a static: each test has a runtime of its own, whose paused time stands elsewhere.
    origin: time::Instant,
    coarse: coarse::Origin,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self {
            coarse: coarse::Origin::new(),
            origin: time::Instant::now(),
        }
    }

    /// This moment, by the precise clock.
    pub fn now(&self) -> Instant {
        Instant::ORIGIN + self.origin.elapsed()
    }

    /// This moment or a few milliseconds (1 to 10, as the kernel was built) before it, never after:
    /// for windows, not for latencies.
    pub fn coarse(&self) -> Instant {
        self.coarse.now(self)
    }

    /// `instant` of another clock as this one counts. Two comparisons when they are one.
    pub fn translate(&self, instant: Instant, other: &Self) -> Instant {
        if self.origin == other.origin {
            return instant;
        }
        let ahead = Instant::ORIGIN + other.origin.saturating_duration_since(self.origin);
        let behind = Instant::ORIGIN + self.origin.saturating_duration_since(other.origin);
        Instant::ORIGIN + (instant + ahead.since(Instant::ORIGIN)).since(behind)
    }

    /// `instant` as the runtime's timers want it; at most 30 years from the clock's origin, beyond
    /// which platforms may not count.
    pub fn timer(&self, instant: Instant) -> time::Instant {
        let since_origin = instant.since(Instant::ORIGIN).min(FAR_FUTURE);
        self.origin.checked_add(since_origin).unwrap_or(self.origin)
    }

    /// What [`timer`](Self::timer) was made from; the clock's origin for what is before it.
    pub fn instant(&self, timer: time::Instant) -> Instant {
        Instant::ORIGIN + timer.saturating_duration_since(self.origin)
    }
}

const FAR_FUTURE: Duration = Duration::from_hours(30 * 365 * 24);

#[cfg(all(target_os = "linux", not(any(test, feature = "test-util"))))]
mod coarse {
    use mainstay_core::time::Instant;
    use rustix::time::{ClockId, Timespec, clock_gettime};

    use super::Clock;

    const NANOS_PER_SECOND: u64 = 1_000_000_000;

    /// Where the kernel's monotonic clock stood when a [`Clock`] was made.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Origin(u64);

    impl Origin {
        pub(super) fn new() -> Self {
            Self(nanos(clock_gettime(ClockId::Monotonic)))
        }

        pub(super) fn now(self, _: &Clock) -> Instant {
            // The coarse clock stands where the fine one was at the last tick: before the origin,
            // at first.
            let now = nanos(clock_gettime(ClockId::MonotonicCoarse));
            Instant::from_nanos(now.saturating_sub(self.0))
        }
    }

    /// The monotonic clock counts from the machine's start, so that neither part is negative.
    const fn nanos(time: Timespec) -> u64 {
        time.tv_sec.cast_unsigned() * NANOS_PER_SECOND + time.tv_nsec.cast_unsigned()
    }
}

#[cfg(not(all(target_os = "linux", not(any(test, feature = "test-util")))))]
mod coarse {
    use mainstay_core::time::Instant;

    use super::Clock;

    /// There is no coarse clock here: the fine one serves.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Origin;

    impl Origin {
        pub(super) const fn new() -> Self {
            Self
        }

        #[expect(clippy::unused_self, reason = "as where there is a coarse clock")]
        pub(super) fn now(self, clock: &Clock) -> Instant {
            clock.now()
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_core::time::Deadline;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_paused_runtime_stops_the_clock() {
        let clock = Clock::new();
        assert_eq!(clock.now(), Instant::ORIGIN);
        time::advance(Duration::from_hours(1)).await;
        assert_eq!(clock.now(), Instant::from_millis(3_600_000));
    }

    #[tokio::test(start_paused = true)]
    async fn an_instant_of_another_clock_is_the_same_moment() {
        let early = Clock::new();
        time::advance(Duration::from_secs(3)).await;
        let late = Clock::new();
        time::advance(Duration::from_secs(1)).await;
        assert_eq!(late.translate(early.now(), &early), late.now());
        assert_eq!(early.translate(late.now(), &late), early.now());
        assert_eq!(early.translate(early.now(), &early), early.now());
    }

    #[tokio::test(start_paused = true)]
    async fn timers_of_an_instant_fire_at_it() {
        let clock = Clock::new();
        let later = clock.now() + Duration::from_secs(7);
        time::sleep_until(clock.timer(later)).await;
        assert_eq!(clock.now(), later);
    }

    #[tokio::test(start_paused = true)]
    async fn no_deadline_is_a_timer_in_the_far_future() {
        let clock = Clock::new();
        let never = clock.timer(Deadline::NEVER.instant());
        assert!(never > time::Instant::now() + Duration::from_hours(24 * 365 * 29));
    }

    #[tokio::test(start_paused = true)]
    async fn the_coarse_clock_is_never_ahead() {
        let clock = Clock::new();
        for _ in 0..1_000 {
            let coarse = clock.coarse();
            assert!(coarse <= clock.now());
        }
    }
}
