//! Failures in a row, and abandoned calls in a row, of one generation of the circuit.
//!
//! Prevents a healthy circuit from paying for the counts: a success reads one word and writes only
//! when there was a failure or an abandoned call before it. Layout:
//! `generation:20 | failures:22 | abandoned:22`.

use crate::atomic::{AtomicU64, Ordering};

const COUNT_BITS: u32 = 22;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

#[derive(Debug)]
pub(super) struct Streak(AtomicU64);

/// The word, unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    generation: u64,
    failures: u64,
    abandoned: u64,
}

impl Streak {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Counts a failure, which is an answer; returns how many there were in a row, this one
    /// included.
    pub(super) fn failed(&self, generation: u32) -> u32 {
        let row = self.update(generation, |row| Row {
            failures: (row.failures + 1).min(COUNT_MASK),
            abandoned: 0,
            ..row
        });
        narrow(row.failures)
    }

    /// Counts an abandoned call; returns how many there were in a row, this one included.
    pub(super) fn abandoned(&self, generation: u32) -> u32 {
        let row = self.update(generation, |row| Row {
            abandoned: (row.abandoned + 1).min(COUNT_MASK),
            ..row
        });
        narrow(row.abandoned)
    }

    /// Ends both rows.
    pub(super) fn succeeded(&self, generation: u32) {
        let seen = self.0.load(Ordering::Acquire);
        if seen & (COUNT_MASK << COUNT_BITS | COUNT_MASK) == 0 {
            return;
        }
        let row = Row::decode(seen);
        if row.generation == u64::from(generation) {
            let ended = Row {
                generation: row.generation,
                ..Row::default()
            };
            // Lost against another result only if that one came after: then it is the last word.
            let _raced =
                self.0
                    .compare_exchange(seen, ended.encode(), Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Whether no row is on.
    pub(super) fn is_empty(&self, generation: u32) -> bool {
        let row = Row::decode(self.0.load(Ordering::Acquire));
        row.generation != u64::from(generation) || (row.failures, row.abandoned) == (0, 0)
    }

    fn update(&self, generation: u32, count: impl Fn(Row) -> Row) -> Row {
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            let row = Row::decode(seen);
            let mine = Row {
                generation: u64::from(generation),
                ..Row::default()
            };
            let next = count(if row.generation == mine.generation {
                row
            } else {
                mine
            });
            match self.0.compare_exchange_weak(
                seen,
                next.encode(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return next,
                Err(current) => seen = current,
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "22 bits of a word")]
const fn narrow(count: u64) -> u32 {
    count as u32
}

impl Row {
    const fn encode(self) -> u64 {
        self.generation << (2 * COUNT_BITS) | self.failures << COUNT_BITS | self.abandoned
    }

    const fn decode(bits: u64) -> Self {
        Self {
            generation: bits >> (2 * COUNT_BITS),
            failures: bits >> COUNT_BITS & COUNT_MASK,
            abandoned: bits & COUNT_MASK,
        }
    }
}
