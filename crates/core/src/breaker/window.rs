//! Failures and calls of the last seconds, counted by many threads without a lock.
//!
//! Prevents two failures of counters that never forget: a million good calls that hide an outage,
//! and an old outage that opens a healthy circuit. Time is cut into ticks; the ring has a cell per
//! tick, and each cell carries the tick it counts, so that old counts expire by being read past:
//! no rotation, no lock, no task. Layout of a cell:
//!
//! ```text
//! tick:26 | generation:8 | failed:15 | total:15
//! ```
//!
//! Always holds: a newer (tick, generation) resets its own cell, an older one changes nothing, so
//! that neither a slow thread nor a result of the circuit's past reaches today's counts. The
//! generation in the cell is what empties the window when a circuit closes.

use core::time::Duration;

use crate::atomic::{AtomicU64, Ordering, fence};
use crate::time::{Instant, nanos};

/// Cells of the ring. The window reaches back between 15/16 of its length and all of it.
pub const CELLS: usize = 16;

const COUNT_BITS: u32 = 15;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const GENERATION_BITS: u32 = 8;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
const TICK_BITS: u32 = 26;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;

/// How far behind a slow thread may be and still be seen to be late: 30 days with a 10 s window.
/// Ticks turn after 16 months; all the rest of that may pass between two calls.
const TICKS_LATE_MAX: u64 = TICK_MASK / 16;

/// Marks that a failure was seen, beside the (tick, generation) at which it was.
const SEEN: u64 = 1 << 63;

/// What the window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Failed calls.
    pub failed: u64,
    /// All calls, the failed ones included.
    pub total: u64,
}

/// The window. On lines of its own: it is written with every call, its neighbours are not.
#[derive(Debug)]
#[repr(align(64))]
pub struct Window {
    cells: [AtomicU64; CELLS],
    /// When the last failure was recorded: spares a healthy endpoint the sum over all cells.
    failure: AtomicU64,
    tick_nanos: u64,
}

/// A cell, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    tag: Tag,
    failed: u64,
    total: u64,
}

/// Which tick of which generation a cell counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    tick: u64,
    generation: u64,
}

impl Window {
    /// An empty window of length `span`, at least [`CELLS`] nanoseconds.
    pub fn new(span: Duration) -> Self {
        Self {
            cells: core::array::from_fn(|_| AtomicU64::new(0)),
            failure: AtomicU64::new(0),
            tick_nanos: (nanos(span) / CELLS as u64).max(1),
        }
    }

    /// Counts one call of `generation` at `now`.
    pub fn record(&self, generation: u32, now: Instant, failed: bool) {
        let tag = self.tag(generation, now);
        if failed {
            // Before the count, so that who sees the count sees the mark.
            self.mark(tag);
        }
        let cell = self.cell(tag.tick);
        let mut seen = cell.load(Ordering::Relaxed);
        while let Some(next) = Cell::decode(seen).counting(tag, failed) {
            match cell.compare_exchange_weak(
                seen,
                next.encode(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }

    /// What the window holds of `generation` at `now`.
    pub fn counts(&self, generation: u32, now: Instant) -> Counts {
        // Two threads that record in two cells and then sum up must not both miss the other's
        // call, or neither would trip.
        fence(Ordering::SeqCst);
        let tag = self.tag(generation, now);
        let mut counts = Counts::default();
        for cell in &self.cells {
            let cell = Cell::decode(cell.load(Ordering::Acquire));
            if cell.tag.lives_at(tag) {
                counts.failed += cell.failed;
                counts.total += cell.total;
            }
        }
        counts
    }

    /// Whether the window may hold a failure of `generation` at `now`: one load.
    pub fn may_hold_failures(&self, generation: u32, now: Instant) -> bool {
        let mark = self.failure.load(Ordering::Relaxed);
        mark & SEEN != 0 && Tag::decode(mark & !SEEN).lives_at(self.tag(generation, now))
    }

    /// Remembers the newest failure. A slow thread that overwrites a newer mark costs at most that
    /// a success in the last tick of a failure's life does not sum up.
    fn mark(&self, tag: Tag) {
        let mark = SEEN | tag.encode();
        if self.failure.load(Ordering::Relaxed) != mark {
            self.failure.store(mark, Ordering::Relaxed);
        }
    }

    fn tag(&self, generation: u32, now: Instant) -> Tag {
        Tag {
            tick: (now.as_nanos() / self.tick_nanos) & TICK_MASK,
            generation: u64::from(generation) & GENERATION_MASK,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the remainder is below CELLS"
    )]
    fn cell(&self, tick: u64) -> &AtomicU64 {
        // CELLS divides the number of ticks, so that the ring has no seam where ticks wrap.
        &self.cells[(tick % CELLS as u64) as usize]
    }
}

impl Tag {
    const fn encode(self) -> u64 {
        self.tick << GENERATION_BITS | self.generation
    }

    const fn decode(bits: u64) -> Self {
        Self {
            tick: bits >> GENERATION_BITS,
            generation: bits & GENERATION_MASK,
        }
    }

    /// Whether calls of this tag are in the window that ends with `now`, or newer: of two threads
    /// that look at the same time, the one whose `now` is behind must not miss the other's call.
    const fn lives_at(self, now: Self) -> bool {
        let age = now.tick.wrapping_sub(self.tick) & TICK_MASK;
        let ahead = self.tick.wrapping_sub(now.tick) & TICK_MASK;
        self.generation == now.generation && (age < CELLS as u64 || ahead <= TICKS_LATE_MAX)
    }

    /// Whether this tag is newer than `other`. The tick decides first: cells of long ago carry
    /// generations that say nothing any more.
    const fn is_newer_than(self, other: Self) -> bool {
        if self.tick == other.tick {
            let ahead = self.generation.wrapping_sub(other.generation) & GENERATION_MASK;
            ahead != 0 && ahead <= GENERATION_MASK / 2
        } else {
            (self.tick.wrapping_sub(other.tick) & TICK_MASK) <= TICKS_LATE_MAX
        }
    }
}

impl Cell {
    const fn encode(self) -> u64 {
        self.tag.encode() << (2 * COUNT_BITS) | self.failed << COUNT_BITS | self.total
    }

    const fn decode(bits: u64) -> Self {
        Self {
            tag: Tag::decode(bits >> (2 * COUNT_BITS)),
            failed: bits >> COUNT_BITS & COUNT_MASK,
            total: bits & COUNT_MASK,
        }
    }

    /// The cell with one call more, or `None` when it already counts a newer tag.
    const fn counting(self, tag: Tag, failed: bool) -> Option<Self> {
        let (before, total) = if self.tag.encode() == tag.encode() {
            (self.failed, self.total)
        } else if self.total > 0 && self.tag.is_newer_than(tag) {
            return None;
        } else {
            (0, 0)
        };
        // A full cell is halved: the rate stays what it was, to one part in 16,383.
        let (before, total) = if total == COUNT_MASK {
            (before / 2, total / 2)
        } else {
            (before, total)
        };
        Some(Self {
            tag,
            failed: before + failed as u64,
            total: total + 1,
        })
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
