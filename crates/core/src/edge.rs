//! Turns a storm of refusals into two edges: one when it begins, one when it is over.
//!
//! Prevents a log with a line per refused call exactly when everything is overloaded, and a pair of
//! lines per second while a limit is touched again and again. An episode begins with the first
//! refusal and is over at the first call that passes after a quiet time without refusals. Exactly
//! one caller gets each edge. One word: `active:1 | refused:23 | last:40`, the last refusal in
//! milliseconds.

use core::time::Duration;

use crate::atomic::{AtomicU64, Ordering};
use crate::time::Instant;

/// An episode ends after this long without a refusal, a second: at most one pair of edges per
/// second.
pub const QUIET: Duration = Duration::from_secs(1);

const LAST_BITS: u32 = 40;
const LAST_MASK: u64 = (1 << LAST_BITS) - 1;
const REFUSED_MAX: u64 = (1 << 23) - 1;
const ACTIVE: u64 = 1 << 63;

/// Whether calls are being refused just now, and how many were. Shared by reference between
/// threads.
///
/// ```
/// use mainstay_core::edge::Edge;
/// use mainstay_core::time::Instant;
///
/// let edge = Edge::new();
/// let lines = (0..1_000).filter(|&ms| edge.refused(Instant::from_millis(ms))).count();
/// assert_eq!(lines, 1, "a thousand refusals, one line in the log");
/// assert_eq!(edge.passed(Instant::from_millis(1_500)), None, "it may not be over yet");
/// assert_eq!(edge.passed(Instant::from_millis(2_000)), Some(1_000));
/// ```
#[derive(Debug)]
pub struct Edge(AtomicU64);

impl Default for Edge {
    fn default() -> Self {
        Self::new()
    }
}

impl Edge {
    /// No refusals so far.
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A call was refused; `true` when that begins an episode.
    pub fn refused(&self, now: Instant) -> bool {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let refused = (refused(seen) + 1).min(REFUSED_MAX);
            let last = millis(now).max(seen & LAST_MASK);
            let next = ACTIVE | refused << LAST_BITS | last;
            match self
                .0
                .compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return seen & ACTIVE == 0,
                Err(current) => seen = current,
            }
        }
    }

    /// A call passed; the number of refusals (at most 8,388,607) when that ends an episode. One
    /// load when there is none.
    pub fn passed(&self, now: Instant) -> Option<u64> {
        let seen = self.0.load(Ordering::Relaxed);
        let quiet = Duration::from_millis(millis(now).saturating_sub(seen & LAST_MASK));
        if seen & ACTIVE == 0 || quiet < QUIET {
            return None;
        }
        // Lost: there was another refusal, or another caller ended the episode.
        self.0
            .compare_exchange(seen, seen & LAST_MASK, Ordering::Relaxed, Ordering::Relaxed)
            .ok()
            .map(refused)
    }

    /// Whether an episode is on.
    pub fn is_active(&self) -> bool {
        self.0.load(Ordering::Relaxed) & ACTIVE != 0
    }
}

const fn refused(word: u64) -> u64 {
    word >> LAST_BITS & REFUSED_MAX
}

fn millis(now: Instant) -> u64 {
    (now.as_nanos() / 1_000_000).min(LAST_MASK)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn a_storm_of_refusals_has_one_beginning_and_one_end() {
        let edge = Edge::new();
        let begins = (0..1_000).filter(|&ms| edge.refused(at(ms))).count();
        assert_eq!(begins, 1);

        assert_eq!(edge.passed(at(1_998)), None);
        assert_eq!(edge.passed(at(1_999)), Some(1_000));
        assert_eq!(edge.passed(at(9_999)), None);
        assert!(!edge.is_active());
    }

    #[test]
    fn passes_between_refusals_do_not_end_the_episode() {
        let edge = Edge::new();
        let edges = (0..10_000)
            .step_by(10)
            .filter(|&ms| edge.refused(at(ms)) | edge.passed(at(ms + 5)).is_some())
            .count();
        assert_eq!(edges, 1);
    }

    #[test]
    fn a_second_episode_counts_from_one() {
        let edge = Edge::new();
        edge.refused(at(0));
        edge.refused(at(0));
        assert_eq!(edge.passed(at(1_000)), Some(2));
        assert!(edge.refused(at(1_001)));
        assert_eq!(edge.passed(at(2_001)), Some(1));
    }
}
