//! One tick of a window of time, in one word.
//!
//! Prevents a count that is of one tick and a tag of another. Layout:
//!
//! ```text
//! tick:26 | generation:8 | failed:15 | total:15
//! ```

use super::CELLS;
use crate::atomic::{AtomicU64, Ordering};

pub(super) const COUNT_BITS: u32 = 15;
pub(super) const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const GENERATION_BITS: u32 = 8;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
pub(super) const TICK_BITS: u32 = 26;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;

/// How far behind a slow thread may be and still be seen to be late: 30 days with a 10 s window.
/// Ticks turn after 16 months; all the rest of that may pass between two calls.
const TICKS_LATE_MAX: u64 = TICK_MASK / 16;

/// A cell, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) tag: Tag,
    pub(super) failed: u64,
    pub(super) total: u64,
}

/// Which tick of which generation a cell counts: `tick:26 | generation:8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Tag(u64);

/// How counting one call went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    /// Failures of the cell with this call; `None` where it counts a newer tag.
    pub(super) failed: Option<u64>,
    /// The cell was full.
    pub(super) halved: bool,
    /// How often another thread was faster.
    pub(super) lost: u32,
}

/// Counts one call in `cell`, unless that counts a newer tag.
#[inline]
pub(super) fn count(cell: &AtomicU64, tag: Tag, failed: bool) -> Tally {
    let mut tally = Tally {
        failed: None,
        halved: false,
        lost: 0,
    };
    let mut seen = cell.load(Ordering::Relaxed);
    loop {
        let plain = one_more(seen, tag, failed);
        let Some(next) = plain.or_else(|| restarted(seen, tag, failed)) else {
            return tally;
        };
        match cell.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => {
                tally.failed = Some(next >> COUNT_BITS & COUNT_MASK);
                tally.halved = plain.is_none() && Cell::decode(seen).tag == tag;
                return tally;
            },
            Err(current) => {
                seen = current;
                tally.lost += 1;
            },
        }
    }
}

/// The word with one call more where that is an addition: it counts this tag, and is not full.
#[inline]
pub(super) const fn one_more(seen: u64, tag: Tag, failed: bool) -> Option<u64> {
    if seen >> (2 * COUNT_BITS) == tag.0 && seen & COUNT_MASK != COUNT_MASK {
        Some(seen + ((failed as u64) << COUNT_BITS) + 1)
    } else {
        None
    }
}

/// The word with one call more where that is no addition; `None` when it counts a newer tag.
#[cold]
fn restarted(seen: u64, tag: Tag, failed: bool) -> Option<u64> {
    Cell::decode(seen).restarted(tag, failed).map(Cell::encode)
}

impl Tag {
    pub(super) const BITS: u32 = TICK_BITS + GENERATION_BITS;

    pub(super) const fn new(tick: u64, generation: u32) -> Self {
        Self((tick & TICK_MASK) << GENERATION_BITS | generation as u64 & GENERATION_MASK)
    }

    pub(super) const fn encode(self) -> u64 {
        self.0
    }

    pub(super) const fn decode(bits: u64) -> Self {
        Self(bits)
    }

    /// Its last bits: the same again after 2^24 ticks, 121 days with a 10 s window.
    #[expect(clippy::cast_possible_truncation, reason = "the last bits are wanted")]
    pub(super) const fn short(self) -> u32 {
        self.0 as u32
    }

    const fn tick(self) -> u64 {
        self.0 >> GENERATION_BITS
    }

    const fn generation(self) -> u64 {
        self.0 & GENERATION_MASK
    }

    /// Which cell counts it.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the remainder is below CELLS"
    )]
    pub(super) const fn place(self) -> usize {
        // CELLS divides the number of ticks, so that the ring has no seam where ticks wrap.
        (self.tick() % CELLS as u64) as usize
    }

    /// Whether calls of this tag are in the window that ends with `now`, or newer: of two threads
    /// that look at the same time, the one whose `now` is behind must not miss the other's call.
    pub(super) const fn lives_at(self, now: Self) -> bool {
        let age = now.tick().wrapping_sub(self.tick()) & TICK_MASK;
        let ahead = self.tick().wrapping_sub(now.tick()) & TICK_MASK;
        self.generation() == now.generation() && (age < CELLS as u64 || ahead <= TICKS_LATE_MAX)
    }

    /// Whether this tag is newer than `other`. The tick decides first: cells of long ago carry
    /// generations that say nothing any more.
    pub(super) const fn is_newer_than(self, other: Self) -> bool {
        if self.tick() == other.tick() {
            let ahead = self.generation().wrapping_sub(other.generation()) & GENERATION_MASK;
            ahead != 0 && ahead <= GENERATION_MASK / 2
        } else {
            (self.tick().wrapping_sub(other.tick()) & TICK_MASK) <= TICKS_LATE_MAX
        }
    }
}

impl Cell {
    const fn encode(self) -> u64 {
        self.tag.0 << (2 * COUNT_BITS) | self.failed << COUNT_BITS | self.total
    }

    pub(super) const fn decode(bits: u64) -> Self {
        Self {
            tag: Tag(bits >> (2 * COUNT_BITS)),
            failed: bits >> COUNT_BITS & COUNT_MASK,
            total: bits & COUNT_MASK,
        }
    }

    /// The cell with one call more where that is no addition: it is full, or counts another tag.
    /// `None` when that is newer.
    const fn restarted(self, tag: Tag, failed: bool) -> Option<Self> {
        let (before, total) = if self.tag.0 == tag.0 {
            // A full cell is halved: the rate stays what it was, to one part in 16,383.
            (self.failed / 2, self.total / 2)
        } else if self.total > 0 && self.tag.is_newer_than(tag) {
            return None;
        } else {
            (0, 0)
        };
        Some(Self {
            tag,
            failed: before + failed as u64,
            total: total + 1,
        })
    }
}
