//! Failures and calls of the last seconds, or of the last calls, counted by many threads without a
//! lock.
//!
//! Prevents two failures of counters that never forget: a million good calls that hide an outage,
//! and an old outage that opens a healthy circuit. The same sixteen words serve two kinds of
//! window. A window of time has a cell per tick, which carries the tick that it counts: old counts
//! expire by being read past, without rotation, lock or task. A window of calls is a ring of one
//! bit per call ([`ring`]). Under contention a window of time spreads over a copy of its cells per
//! lane ([`stripes`]), which all count.
//!
//! Always holds: a newer (tick, generation) resets its own cell, an older one changes nothing, so
//! that neither a slow thread nor a result of the circuit's past reaches today's counts. The
//! generation in the cell is what empties the window when a circuit closes.

use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32 as Setting, AtomicU64 as Setting64};

use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::time::{Instant, nanos};

use super::At;
use super::config::Span;

mod cell;
mod mark;
mod ring;
mod stripes;

pub(super) use ring::{CALLS_MAX, Place};

use cell::Cell;
pub(super) use cell::Tag;
pub use stripes::LANES_MAX;
use stripes::Stripes;

/// Cells of the ring. A window of time reaches back between 15/16 of its length and all of it.
pub const CELLS: usize = 16;

/// The cells of one window, or of one stripe of it.
type Cells = [AtomicU64; CELLS];

/// No tick was judged. (The one that looks like it is summed up more than once.)
const NEVER: u32 = u32::MAX;

/// Lost races after which a window spreads: a few microseconds under true contention, and not by
/// chance.
const LOST_MAX: u32 = 64;

/// What the window holds. Where more than 32,767 calls come in a sixteenth of a window of time, its
/// counts are halved: they are too small then, and their shares are right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Failed calls.
    pub failed: u64,
    /// Slow calls, failed or not.
    pub slow: u64,
    /// All calls.
    pub total: u64,
}

impl Counts {
    /// Adds the cells that live at `now`.
    #[inline]
    fn add(&mut self, cells: &Cells, now: Tag) {
        for cell in cells {
            let cell = Cell::decode(cell.load(Ordering::Acquire));
            if cell.tag.lives_at(now) {
                self.failed += cell.failed;
                self.total += cell.total;
            }
        }
    }
}

/// The window.
///
/// What is written with every call comes last, so that it lies away from what is only read.
#[derive(Debug)]
#[repr(C)]
pub struct Window {
    shape: Shape,
    stripes: Stripes,
    /// Window of time: the newest failure ([`mark`]). Window of calls: the ring's head.
    head: AtomicU64,
    /// The tick whose sum was judged, its last bits: at most one success per tick sums up.
    judged: AtomicU32,
    /// Races that were lost for a cell.
    lost: Setting,
    cells: Cells,
}

/// Of which kind a window is, and how long.
#[derive(Debug)]
#[repr(C)]
struct Shape {
    /// 2^64 / nanoseconds of a tick: a multiplication gives the tick, where a division would take
    /// a third of the time that a call may cost.
    ticks_per_nano: Setting64,
    /// Calls of the ring; 0 for a window of time.
    calls: Setting,
    /// Lanes to spread over: a power of two.
    lanes: u32,
}

/// A call as it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// In the window of time, as the `nth` failure of the cell that the mark speaks of; `None` where
    /// another one counted it.
    InTime { tag: Tag, nth: Option<u64> },
    /// In the ring.
    InRing(Place),
    /// Not at all: it came after its time.
    Late,
}

impl Counted {
    /// Whether the ring holds so many calls with this one. It decides then; from then on a success
    /// takes the place of another call, and the rate does not rise.
    #[inline]
    pub(super) fn completes(self, calls_min: u32) -> bool {
        match self {
            Self::InRing(place) => place.filled == calls_min && place.is_last(),
            Self::InTime { .. } | Self::Late => false,
        }
    }
}

/// A failure that made a sum, as the `nth` of its cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unspared {
    seen: mark::Seen,
    nth: u64,
}

impl Window {
    /// An empty window, of at least [`CELLS`] nanoseconds, or of at least one call and at most
    /// [`WINDOW_CALLS_MAX`](super::WINDOW_CALLS_MAX). What is outside counts as the nearest that
    /// works.
    pub fn new(span: impl Into<Span>) -> Self {
        Self {
            shape: Shape::new(span.into()),
            stripes: Stripes::default(),
            head: AtomicU64::new(0),
            judged: AtomicU32::new(NEVER),
            lost: Setting::new(0),
            cells: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Under contention, spreads over so many lanes (rounded up to a power of two, at most
    /// [`LANES_MAX`]).
    #[must_use]
    pub fn lanes(mut self, lanes: NonZeroU32) -> Self {
        self.shape.lanes = lanes.get().min(LANES_MAX).next_power_of_two();
        self
    }

    /// Spreads over the lanes now, without waiting for contention.
    pub fn spread(&self) {
        self.stripes.spread(self.shape.lanes);
    }

    /// Counts one call of `generation`. One of an older generation changes nothing, nor does one
    /// that is older than the window.
    pub fn record(&self, generation: u32, at: impl Into<At>, failed: bool) {
        self.count(generation, at.into(), failed);
    }

    /// Counts one call of `generation`, and says where.
    pub(super) fn count(&self, generation: u32, at: At, failed: bool) -> Counted {
        if let Some(counted) = self.count_in_ring(generation, failed) {
            return counted;
        }
        let tag = self.shape.tag(generation, at.now);
        if failed {
            mark::note(&self.head, tag);
        }
        let stripe = self.stripes.of(at.lane);
        let tally = cell::count(&stripe.unwrap_or(&self.cells)[tag.place()], tag, failed);
        if tally.lost > 0 {
            self.contended(tally.lost);
        }
        if tally.halved {
            mark::take_back(&self.head);
        }
        let nth = tally.failed.filter(|_| stripe.is_none());
        Counted::InTime { tag, nth }
    }

    /// Counts one call of `generation` in a window of calls; `None` where it is one of time.
    #[inline]
    pub(super) fn count_in_ring(&self, generation: u32, failed: bool) -> Option<Counted> {
        let calls = self.shape.calls()?;
        let Some(place) = ring::advance(&self.head, generation, calls) else {
            return Some(Counted::Late);
        };
        ring::put(&self.cells, &self.head, place, failed);
        Some(Counted::InRing(place))
    }

    /// Counts a good call of `generation` where that is one addition in a window of time, and
    /// nobody else is faster: the way of nearly every call.
    #[inline]
    pub(super) fn count_plainly(&self, generation: u32, at: At) -> Option<Tag> {
        if self.is_ring() {
            return None;
        }
        let tag = self.shape.tag(generation, at.now);
        let cell = &self.stripes.of(at.lane).unwrap_or(&self.cells)[tag.place()];
        let seen = cell.load(Ordering::Relaxed);
        let next = cell::one_more(seen, tag, false)?;
        if cell
            .compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            self.contended(1);
            return None;
        }
        Some(tag)
    }

    /// Whether the failure that was counted so cannot have reached a rate. If not, a sum has to be
    /// made; what is returned is for [`spare`](Self::spare).
    #[inline]
    pub(super) fn spares(&self, counted: Counted) -> Result<(), Option<Unspared>> {
        let Counted::InTime { tag, nth } = counted else {
            return Err(None);
        };
        // Between the count and the look at the mark, as others mark before they sum up.
        fence(Ordering::SeqCst);
        let spared = mark::spares(&self.head, tag, nth);
        spared.map_err(|seen| nth.map(|nth| Unspared { seen, nth }))
    }

    /// Spares the failures of the cell that follow until there are `more`.
    pub(super) fn spare(&self, unspared: &Unspared, more: u64) {
        mark::spare(&self.head, unspared.seen, unspared.nth + more);
    }

    /// Spares no failure until the next tick.
    pub(super) fn spare_none(&self) {
        if !self.is_ring() {
            mark::shut(&self.head);
        }
    }

    /// Counts beside another window what was counted there.
    pub(super) fn count_beside(&self, head: &Self, counted: Counted, at: At, slow: bool) {
        match counted {
            Counted::InTime { tag, nth: _ } if slow => {
                mark::note(&self.head, tag);
                let cells = self.stripes.of(at.lane).unwrap_or(&self.cells);
                let tally = cell::count(&cells[tag.place()], tag, true);
                self.contended(tally.lost);
            },
            Counted::InRing(place) => ring::put(&self.cells, &head.head, place, slow),
            Counted::InTime { .. } | Counted::Late => {},
        }
    }

    /// What the window holds of `generation` at `now`.
    pub fn counts(&self, generation: u32, now: Instant) -> Counts {
        // Two threads that record in two cells and then sum up must not both miss the other's
        // call, or neither would trip.
        fence(Ordering::SeqCst);
        if let Some(calls) = self.shape.calls() {
            let total = ring::filled(&self.head, generation, calls);
            let failed = ring::bad(&self.cells, generation, total);
            return Counts {
                failed,
                slow: 0,
                total: u64::from(total),
            };
        }
        let tag = self.shape.tag(generation, now);
        let mut counts = Counts::default();
        // Stripe by stripe: a failure pays for this loop, and the compiler knows the length of one.
        for cells in self.all_stripes() {
            counts.add(cells, tag);
        }
        counts
    }

    /// What this window holds of the calls that were counted in `head`.
    pub(super) fn bad_beside(&self, head: &Self, generation: u32, now: Instant) -> u64 {
        match self.shape.calls() {
            None => self.counts(generation, now).failed,
            Some(calls) => {
                let filled = ring::filled(&head.head, generation, calls);
                ring::bad(&self.cells, generation, filled)
            },
        }
    }

    /// Whether it is one of calls.
    pub(super) fn is_ring(&self) -> bool {
        self.shape.calls().is_some()
    }

    /// Whether the window may hold a failure of `generation` at `now`: one load.
    pub fn may_hold_failures(&self, generation: u32, now: Instant) -> bool {
        self.holds_mark(self.shape.tag(generation, now))
    }

    /// Whether a failure of the window that ends with `tag` was marked.
    pub(super) fn holds_mark(&self, tag: Tag) -> bool {
        mark::holds(&self.head, tag)
    }

    /// Whether the sum was judged in this tick already, when there were enough calls to decide:
    /// further successes only make the rate smaller.
    pub(super) fn was_judged(&self, tag: Tag) -> bool {
        self.judged.load(Ordering::Relaxed) == tag.short()
    }

    /// Remembers that the sum was judged.
    pub(super) fn judged(&self, tag: Tag) {
        self.judged.store(tag.short(), Ordering::Relaxed);
    }

    /// Whether the window is of this kind and length.
    pub(super) fn spans(&self, span: Span) -> bool {
        self.shape.read() == Shape::new(span).read()
    }

    /// Makes the window one of another kind or length, and empties it.
    ///
    /// A result that comes in meanwhile may be lost, or in a window that became longer leave a
    /// cell that seems newer than it is: one of sixteen, until its time comes.
    pub(super) fn reshape(&self, span: Span) {
        self.shape.set(&Shape::new(span));
        self.head.store(0, Ordering::Relaxed);
        self.judged.store(NEVER, Ordering::Relaxed);
        for cell in self.all_stripes().flatten() {
            cell.store(0, Ordering::Relaxed);
        }
    }

    /// Another empty window of this kind, length and number of lanes.
    pub(super) fn another(&self) -> Self {
        let (ticks_per_nano, calls) = self.shape.read();
        Self {
            shape: Shape {
                ticks_per_nano: Setting64::new(ticks_per_nano),
                calls: Setting::new(calls),
                lanes: self.shape.lanes,
            },
            ..Self::new(Span::Calls(NonZeroU32::MIN))
        }
    }

    fn all_stripes(&self) -> impl Iterator<Item = &Cells> {
        core::iter::once(&self.cells).chain(self.stripes.all())
    }

    /// Races for a cell were lost.
    #[cold]
    fn contended(&self, lost: u32) {
        if self.lost.fetch_add(lost, Ordering::Relaxed) >= LOST_MAX {
            self.spread();
        }
    }
}

impl Shape {
    fn new(span: Span) -> Self {
        let (tick_nanos, calls) = match span {
            Span::Time(time) => (nanos(time) / CELLS as u64, 0),
            Span::Calls(calls) => (u64::MAX, calls.get().min(CALLS_MAX)),
        };
        Self {
            ticks_per_nano: Setting64::new(per_nano(tick_nanos)),
            calls: Setting::new(calls),
            lanes: 1,
        }
    }

    fn calls(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.calls.load(Ordering::Relaxed))
    }

    fn read(&self) -> (u64, u32) {
        let calls = self.calls.load(Ordering::Relaxed);
        (self.ticks_per_nano.load(Ordering::Relaxed), calls)
    }

    fn set(&self, other: &Self) {
        let (ticks_per_nano, calls) = other.read();
        self.ticks_per_nano.store(ticks_per_nano, Ordering::Relaxed);
        self.calls.store(calls, Ordering::Relaxed);
    }

    fn tag(&self, generation: u32, now: Instant) -> Tag {
        let tick = ticks(now, self.ticks_per_nano.load(Ordering::Relaxed));
        Tag::new(tick, generation)
    }
}

/// What [`ticks`] multiplies by, for ticks of so many nanoseconds, at least two.
pub(super) const fn per_nano(tick_nanos: u64) -> u64 {
    let tick_nanos = if tick_nanos < 2 { 2 } else { tick_nanos };
    u64::MAX / tick_nanos + 1
}

/// The tick of `now`. Rounding makes a tick begin early by at most one part in 2^14 of a tick in
/// the first 13 days, which no window can tell.
pub(super) const fn ticks(now: Instant, per_nano: u64) -> u64 {
    ((now.as_nanos() as u128 * per_nano as u128) >> 64) as u64
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
