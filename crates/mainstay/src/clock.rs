//! The one clock that policies read.
//!
//! Prevents time that cannot be tested, and time that jumps. It is tokio's clock, monotonic, and
//! virtual in a test that pauses it: a test of an hour's cooldown takes no time.

use std::time::Duration;

use mainstay_core::time::Instant;
use tokio::time;

/// Cheap to copy. Instants of two clocks must not be mixed: make one, and hand it on.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    // Decisions count nanoseconds from a point of our choice. It is taken when the clock is made,
    // not from a static: each test has a runtime of its own, whose paused time stands elsewhere.
    origin: time::Instant,
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
            origin: time::Instant::now(),
        }
    }

    /// This moment.
    pub fn now(&self) -> Instant {
        Instant::ORIGIN + self.origin.elapsed()
    }

    /// `instant` as the runtime's timers want it; at most 30 years from the clock's origin, beyond
    /// which platforms may not count.
    pub fn timer(&self, instant: Instant) -> time::Instant {
        let since_origin = instant.since(Instant::ORIGIN).min(FAR_FUTURE);
        self.origin.checked_add(since_origin).unwrap_or(self.origin)
    }
}

const FAR_FUTURE: Duration = Duration::from_hours(30 * 365 * 24);

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
}
