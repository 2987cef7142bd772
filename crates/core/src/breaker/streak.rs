//! Failures in a row, of one generation of the circuit.
//!
//! Prevents a healthy circuit from paying for the count: a success reads one word and writes only
//! when there was a failure before it. Layout: `generation:32 | failures:32`.

use crate::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Streak(AtomicU64);

impl Streak {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts a failure; returns how many there were in a row, this one included.
    pub(super) fn failed(&self, generation: u32) -> u32 {
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            let next = match unpack(seen) {
                (of, failures) if of == generation => failures.saturating_add(1),
                _ => 1,
            };
            let bits = pack(generation, next);
            match self
                .0
                .compare_exchange_weak(seen, bits, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return next,
                Err(current) => seen = current,
            }
        }
    }

    /// Ends the row.
    pub(super) fn succeeded(&self, generation: u32) {
        let seen = self.0.load(Ordering::Acquire);
        let (of, failures) = unpack(seen);
        if of == generation && failures > 0 {
            // Lost against another result only if that one came after: then it is the last word.
            let _raced = self.0.compare_exchange(
                seen,
                pack(generation, 0),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
        }
    }
}

fn pack(generation: u32, failures: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(failures)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a word")]
const fn unpack(bits: u64) -> (u32, u32) {
    ((bits >> 32) as u32, bits as u32)
}
