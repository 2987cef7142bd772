//! When to ask a replica next.
//!
//! Prevents two failures: a replica that is up but waits a whole interval before anybody asks,
//! and replicas that are asked in step. A fresh process is asked soon and then ever less often
//! until it answers; after that, once an interval, with a tenth of jitter.

use std::time::Duration;

use mainstay_core::random::Random;
use mainstay_core::time::Instant;

/// The first gap between questions to a fresh process.
const EAGER_GAP: Duration = Duration::from_millis(10);

/// The schedule of one probe; never two of them in flight.
#[derive(Debug)]
pub(crate) struct Probing {
    every: Duration,
    gap: Duration,
    /// `None` while an answer is awaited.
    due: Option<Instant>,
}

impl Probing {
    /// Asks at once, and again soon, until [`Probing::settle`].
    pub(super) fn eager(every: Duration, now: Instant) -> Self {
        Self {
            every,
            gap: EAGER_GAP.min(every),
            due: Some(now),
        }
    }

    /// Asks once an interval, for the first time after one.
    pub(super) fn steady(every: Duration, now: Instant, random: &mut Random) -> Self {
        Self {
            every,
            gap: every,
            due: Some(now + every + random.up_to(every / 10)),
        }
    }

    /// From the next answer on, asks once an interval.
    pub(super) const fn settle(&mut self) {
        self.gap = self.every;
    }

    /// When to ask; `None` while an answer is awaited.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether to ask now. If so, an answer is awaited from now on.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }

    /// An answer came.
    pub(super) fn answered(&mut self, now: Instant, random: &mut Random) {
        self.due = Some(now + self.gap + random.up_to(self.gap / 10));
        self.gap = (self.gap * 2).min(self.every);
    }
}
