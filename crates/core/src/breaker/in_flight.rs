//! Calls in flight by the time they started: how many have been out for too long.
//!
//! Prevents an outage that nobody sees until the first timeouts: a callee that hangs gives no
//! results at all. Time is cut into ticks of a quarter of the limit. A cell counts the calls that
//! started in its tick and are still out; what is left of it when its place is needed again has
//! been out for more than the limit, and moves on to one count of overdue calls.
//!
//! Always holds: each call is counted in exactly one place, so that the count returns to zero;
//! between the two steps of a move it may be too small for a moment, never for longer. A generation
//! begins with nothing: calls of an older one do not count, and permits that were lost are
//! forgotten with it. (A thread that stalls between reading the state and counting its call, for
//! as long as the circuit takes to open and to close, may miscount one call of the new generation.)

use core::sync::atomic::{AtomicU64 as Setting64, Ordering::Relaxed};
use core::time::Duration;

use crate::atomic::{AtomicU64, Ordering};
use crate::time::{Instant, nanos};

/// Ticks of a limit.
const TICKS: u64 = 4;

/// Starts of so many ticks are told apart: more than `TICKS + 1`, so that what loses its cell is
/// overdue.
const CELLS: usize = 8;

const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const GENERATION_BITS: u32 = 12;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
const TICK_BITS: u32 = 28;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;

/// Layout of a cell: `tick:28 | generation:12 | count:24`.
#[derive(Debug)]
pub(super) struct InFlight {
    tick_nanos: Setting64,
    /// The tick that was judged last.
    judged: AtomicU64,
    /// `generation:32 | count:32`; below zero between the two steps of a move.
    overdue: AtomicU64,
    cells: [AtomicU64; CELLS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    tick: u64,
    generation: u64,
    count: u64,
}

impl InFlight {
    pub(super) fn new(after: Duration) -> Self {
        Self {
            tick_nanos: Setting64::new(tick_nanos(after)),
            judged: AtomicU64::new(u64::MAX),
            overdue: AtomicU64::new(0),
            cells: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Takes another limit; only calls of a later generation may be counted from then on.
    pub(super) fn set(&self, after: Duration) {
        self.tick_nanos.store(tick_nanos(after), Relaxed);
    }

    /// A call begins; returns when it counts as begun, which is a little later than `now` when
    /// another thread is ahead.
    pub(super) fn begin(&self, generation: u32, now: Instant) -> Instant {
        let mut tick = self.tick(now);
        let mut started = now;
        let mut seen = self.cell(tick).load(Ordering::Acquire);
        loop {
            let cell = Cell::decode(seen);
            let mine = Cell::first(tick, generation);
            let ahead = cell.tick.wrapping_sub(mine.tick) & TICK_MASK;
            if cell.generation == mine.generation && ahead != 0 && ahead <= TICK_MASK / 2 {
                tick += ahead;
                started = Instant::from_nanos(tick.saturating_mul(self.tick_nanos.load(Relaxed)));
                continue;
            }
            let same = (cell.tick, cell.generation) == (mine.tick, mine.generation);
            let next = if same { cell.plus_one() } else { mine };
            match self.cell(tick).compare_exchange_weak(
                seen,
                next.encode(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) if !same && cell.generation == mine.generation => {
                    self.add_overdue(generation, cell.narrow());
                    return started;
                },
                Ok(_) => return started,
                Err(current) => seen = current,
            }
        }
    }

    /// The call that counts as begun at `started` is over.
    pub(super) fn end(&self, generation: u32, started: Instant) {
        let tick = self.tick(started);
        let mine = Cell::first(tick, generation);
        let mut seen = self.cell(tick).load(Ordering::Acquire);
        loop {
            let cell = Cell::decode(seen);
            let same = (cell.tick, cell.generation) == (mine.tick, mine.generation);
            if !same || cell.count == 0 {
                self.add_overdue(generation, u32::MAX);
                return;
            }
            let next = Cell {
                count: cell.count - 1,
                ..cell
            };
            match self.cell(tick).compare_exchange_weak(
                seen,
                next.encode(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }

    /// How many calls of `generation` have been out for longer than the limit.
    pub(super) fn overdue(&self, generation: u32, now: Instant) -> u64 {
        let now = Cell::first(self.tick(now), generation);
        let live: u64 = self
            .cells
            .iter()
            .map(|cell| Cell::decode(cell.load(Ordering::Acquire)))
            .filter(|cell| cell.generation == now.generation)
            .filter(|cell| {
                let age = now.tick.wrapping_sub(cell.tick) & TICK_MASK;
                age > TICKS && age <= TICK_MASK / 2
            })
            .map(|cell| cell.count)
            .sum();
        let (of, moved) = unpack(self.overdue.load(Ordering::Acquire));
        let moved = if of == generation {
            moved.cast_signed().max(0).unsigned_abs()
        } else {
            0
        };
        live + u64::from(moved)
    }

    /// Whether the tick of `now` was not judged yet; `true` for one caller.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let tick = self.tick(now);
        let seen = self.judged.load(Relaxed);
        seen != tick
            && self
                .judged
                .compare_exchange(seen, tick, Relaxed, Relaxed)
                .is_ok()
    }

    /// Adds `count`, modulo 2^32, to the overdue calls of `generation`.
    fn add_overdue(&self, generation: u32, count: u32) {
        let mut seen = self.overdue.load(Ordering::Acquire);
        loop {
            let (of, before) = unpack(seen);
            let before = if of == generation { before } else { 0 };
            let next = u64::from(generation) << 32 | u64::from(before.wrapping_add(count));
            match self.overdue.compare_exchange_weak(
                seen,
                next,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return,
                Err(current) => seen = current,
            }
        }
    }

    fn tick(&self, now: Instant) -> u64 {
        now.as_nanos() / self.tick_nanos.load(Relaxed)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the remainder is below CELLS"
    )]
    fn cell(&self, tick: u64) -> &AtomicU64 {
        &self.cells[(tick % CELLS as u64) as usize]
    }
}

fn tick_nanos(after: Duration) -> u64 {
    (nanos(after) / TICKS).max(1)
}

#[expect(clippy::cast_possible_truncation, reason = "the two halves of a word")]
const fn unpack(bits: u64) -> (u32, u32) {
    ((bits >> 32) as u32, bits as u32)
}

impl Cell {
    /// The cell with the first call of a tick.
    const fn first(tick: u64, generation: u32) -> Self {
        Self {
            tick: tick & TICK_MASK,
            generation: generation as u64 & GENERATION_MASK,
            count: 1,
        }
    }

    const fn plus_one(self) -> Self {
        Self {
            count: if self.count < COUNT_MASK {
                self.count + 1
            } else {
                COUNT_MASK
            },
            ..self
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "24 bits of a word")]
    const fn narrow(self) -> u32 {
        self.count as u32
    }

    const fn encode(self) -> u64 {
        self.tick << (GENERATION_BITS + COUNT_BITS) | self.generation << COUNT_BITS | self.count
    }

    const fn decode(bits: u64) -> Self {
        Self {
            tick: bits >> (GENERATION_BITS + COUNT_BITS),
            generation: bits >> COUNT_BITS & GENERATION_MASK,
            count: bits & COUNT_MASK,
        }
    }
}
