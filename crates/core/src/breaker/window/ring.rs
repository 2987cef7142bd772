//! The window of the last calls: one bit per call, set when it was bad.
//!
//! Prevents a count that drifts away from what it counts: there is no counter of failures, the
//! bits are counted where a decision needs the number. The head, `generation:20 | filled:12 |
//! slot:12`, gives each call a slot of its own; a cell is `generation:4 | bits:60`.
//!
//! Always holds: a bit counts only when its slot was given out in this generation, and each call
//! writes its bit, good or bad. Between taking the slot and writing it, the slot says what it said
//! before: the call that fell out of the window, or good.

use core::num::NonZeroU32;

use super::super::word::GENERATION_BITS;
use super::{CELLS, Cells};
use crate::atomic::{AtomicU64, Ordering};

/// Bits of a cell.
const BITS: u32 = 60;
const BITS_MASK: u64 = (1 << BITS) - 1;

/// Calls that all cells hold.
pub(in super::super) const CALLS_MAX: u32 = 960;

const _: () = assert!(CALLS_MAX as usize == CELLS * BITS as usize);

const PLACE_BITS: u32 = 12;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;
const SHORT_MASK: u64 = 0xf;

/// The slot of one call, and how many are filled with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Place {
    generation: u32,
    slot: u32,
    pub(in super::super) filled: u32,
}

/// Takes the next slot; `None` for a call of an older generation.
#[inline]
pub(super) fn advance(head: &AtomicU64, generation: u32, calls: NonZeroU32) -> Option<Place> {
    let mut seen = head.load(Ordering::Acquire);
    loop {
        let last = Place::decode(seen);
        let next = if last.generation == generation {
            last.next(calls)
        } else if is_newer(last.generation, generation) && last.filled > 0 {
            return None;
        } else {
            Place {
                generation,
                slot: 0,
                filled: 1,
            }
        };
        match head.compare_exchange_weak(seen, next.encode(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(next),
            Err(current) => seen = current,
        }
    }
}

/// Writes the bit of a slot, unless the ring is of a newer generation by now.
#[inline]
pub(super) fn put(cells: &Cells, head: &AtomicU64, place: Place, bad: bool) {
    let cell = &cells[(place.slot / BITS) as usize];
    let bit = 1 << (place.slot % BITS);
    let short = u64::from(place.generation) & SHORT_MASK;
    let mut seen = cell.load(Ordering::Acquire);
    while Place::decode(head.load(Ordering::Acquire)).generation == place.generation {
        // What another generation left says nothing.
        let bits = if seen >> BITS == short {
            seen & BITS_MASK
        } else {
            0
        };
        let bits = if bad { bits | bit } else { bits & !bit };
        let next = short << BITS | bits;
        if next == seen {
            return;
        }
        match cell.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(current) => seen = current,
        }
    }
}

/// How many slots are filled, of `calls`.
pub(super) fn filled(head: &AtomicU64, generation: u32, calls: NonZeroU32) -> u32 {
    let last = Place::decode(head.load(Ordering::Acquire));
    if last.generation == generation {
        last.filled.min(calls.get())
    } else {
        0
    }
}

/// How many of the first `filled` slots are bad.
pub(super) fn bad(cells: &Cells, generation: u32, filled: u32) -> u64 {
    let short = u64::from(generation) & SHORT_MASK;
    let mut left = filled;
    let mut bad = 0;
    for cell in cells {
        if left == 0 {
            break;
        }
        let here = left.min(BITS);
        let cell = cell.load(Ordering::Acquire);
        if cell >> BITS == short {
            bad += (cell & (BITS_MASK >> (BITS - here))).count_ones();
        }
        left -= here;
    }
    u64::from(bad)
}

const fn is_newer(one: u32, other: u32) -> bool {
    let ahead = one.wrapping_sub(other) & GENERATION_MASK;
    ahead != 0 && ahead <= GENERATION_MASK / 2
}

impl Place {
    /// Whether no filled slot comes after it: when the ring was filled so far, and once per turn.
    pub(in super::super) const fn is_last(self) -> bool {
        self.slot + 1 == self.filled
    }

    /// The slot after this one.
    fn next(self, calls: NonZeroU32) -> Self {
        let slot = self.slot + 1;
        Self {
            slot: if slot >= calls.get() || self.filled == 0 {
                0
            } else {
                slot
            },
            filled: (self.filled + 1).min(calls.get()),
            ..self
        }
    }

    const fn encode(self) -> u64 {
        (self.generation as u64) << (2 * PLACE_BITS)
            | (self.filled as u64) << PLACE_BITS
            | self.slot as u64
    }

    #[expect(clippy::cast_possible_truncation, reason = "fields of a word")]
    const fn decode(bits: u64) -> Self {
        Self {
            generation: (bits >> (2 * PLACE_BITS) & GENERATION_MASK as u64) as u32,
            filled: (bits >> PLACE_BITS & PLACE_MASK) as u32,
            slot: (bits & PLACE_MASK) as u32,
        }
    }
}
