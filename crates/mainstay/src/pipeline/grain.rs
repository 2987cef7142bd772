//! How exactly a pipeline reads the time of a call.
//!
//! Prevents a call from paying for two precise clock reads that nobody needs: they are a third of
//! what a whole pipeline costs. Always holds: what is decided near a limit is decided by the
//! precise clock, and the coarse one is never ahead of it.

use std::time::Duration;

use mainstay_core::outcome::Outcome;
use mainstay_core::time::{Deadline, Instant};

use crate::clock::Clock;

/// The shortest limit that may be counted from the coarse clock, whose step of at most 10 ms is a
/// fiftieth of it. It is also how near a deadline from outside may be.
pub(super) const COARSE_FROM: Duration = Duration::from_millis(500);

/// Which clock is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grain {
    /// The precise one, always: nobody knows what the stages need.
    Exact,
    /// The precise one, except when a good answer came: nobody asks for its time.
    ShortLimits,
    /// The coarse one, except after waits, for failures and near a deadline.
    LongLimits,
}

impl Grain {
    /// That of a canonical pipeline with these limits; those that are `None` are no limits.
    pub(super) fn of(limits: impl IntoIterator<Item = Option<Duration>>) -> Self {
        if limits
            .into_iter()
            .flatten()
            .all(|limit| limit >= COARSE_FROM)
        {
            Self::LongLimits
        } else {
            Self::ShortLimits
        }
    }

    /// When a call begins whose caller waits until `deadline`.
    pub(super) fn start(self, clock: &Clock, deadline: Deadline) -> Instant {
        if self == Self::LongLimits {
            let now = clock.coarse();
            if is_far(deadline, now) {
                return now;
            }
        }
        clock.now()
    }

    /// When a call ended so.
    pub(super) fn end(self, clock: &Clock, outcome: Outcome) -> Instant {
        match (self, outcome) {
            (Self::LongLimits | Self::ShortLimits, Outcome::Success | Outcome::Permanent) => {
                clock.coarse()
            },
            // Whether there is time for another attempt is decided by it.
            (_, Outcome::Failure(_) | Outcome::Throttled { .. } | Outcome::Ignored)
            | (Self::Exact, _) => clock.now(),
        }
    }
}

/// Whether a step of the coarse clock does not matter.
fn is_far(deadline: Deadline, now: Instant) -> bool {
    deadline.instant().since(now) >= COARSE_FROM
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_deadline_is_looked_at_with_the_precise_clock() {
        let now = Instant::from_millis(1_000);
        assert!(is_far(Deadline::NEVER, now));
        assert!(is_far(Deadline::after(now, COARSE_FROM), now));
        assert!(!is_far(Deadline::at(Instant::from_millis(1_499)), now));
        assert!(!is_far(Deadline::at(Instant::ORIGIN), now), "it has passed");
    }

    #[test]
    fn only_a_pipeline_whose_limits_are_all_long_reads_the_coarse_clock() {
        let short = Some(Duration::from_millis(499));
        assert_eq!(Grain::of([None, None]), Grain::LongLimits);
        assert_eq!(Grain::of([Some(COARSE_FROM), None]), Grain::LongLimits);
        assert_eq!(Grain::of([Some(COARSE_FROM), short]), Grain::ShortLimits);
    }
}
