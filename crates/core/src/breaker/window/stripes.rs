//! Copies of a window's cells, one per lane, made when threads get in each other's way.
//!
//! Prevents two costs: threads that wait for one cache line with every call, and circuits by the
//! ten thousand that each hold memory for a contention they never see (Doug Lea's `LongAdder`). All
//! copies count, the first cells too: nothing moves when a window spreads.

use alloc::vec::Vec;

use once_cell::race::OnceBox;

use super::{CELLS, Cells};
use crate::atomic::AtomicU64;
use crate::lane::Lane;

/// Most lanes: 8 KiB per circuit that is called by that many threads.
pub const LANES_MAX: u32 = 64;

#[derive(Debug, Default)]
pub(super) struct Stripes(OnceBox<Vec<Stripe>>);

/// Two lines: neighbours are fetched in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe(Cells);

impl Stripes {
    /// The cells of `lane`; `None` while all share the first ones.
    pub(super) fn of(&self, lane: Lane) -> Option<&Cells> {
        let copies = self.0.get()?;
        // Their number is a power of two.
        copies
            .get(lane.0 as usize & (copies.len() - 1))
            .map(|stripe| &stripe.0)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Cells> {
        self.0.get().into_iter().flatten().map(|copy| &copy.0)
    }

    /// Makes so many copies, a power of two.
    pub(super) fn spread(&self, lanes: u32) {
        if lanes > 1 {
            let copies = || (0..lanes).map(|_| Stripe::new()).collect::<Vec<_>>();
            self.0.get_or_init(|| copies().into());
        }
    }
}

impl Stripe {
    fn new() -> Self {
        Self(core::array::from_fn::<_, CELLS, _>(|_| AtomicU64::new(0)))
    }
}
