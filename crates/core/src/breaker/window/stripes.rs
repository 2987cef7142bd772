//! Copies of a window's cells, one per lane, made when threads get in each other's way.
//!
//! Prevents two costs: threads that wait for one cache line with every call, and circuits by the
//! ten thousand that each hold memory for a contention they never see (Doug Lea's `LongAdder`). All
//! copies count, the first cells too: nothing moves when a window spreads.

use alloc::vec::Vec;
use core::num::NonZeroU32;
use core::sync::atomic::{AtomicU32 as Setting, Ordering::Relaxed};

use once_cell::race::OnceBox;

use super::{CELLS, Cells};
use crate::atomic::AtomicU64;
use crate::lane::Lane;

/// Most lanes: 8 KiB per circuit that is called by that many threads.
pub const LANES_MAX: u32 = 64;

/// Lost races after which a window spreads: a few microseconds under true contention, and not by
/// chance.
const LOST_MAX: u32 = 64;

#[derive(Debug)]
#[repr(C)]
pub(super) struct Stripes {
    copies: OnceBox<Vec<Stripe>>,
    /// A power of two.
    lanes: u32,
    lost: Setting,
}

/// Two lines: neighbours are fetched in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe(Cells);

impl Stripes {
    pub(super) fn new(lanes: NonZeroU32) -> Self {
        Self {
            copies: OnceBox::new(),
            lanes: lanes.get().min(LANES_MAX).next_power_of_two(),
            lost: Setting::new(0),
        }
    }

    pub(super) fn lanes(&self) -> NonZeroU32 {
        NonZeroU32::new(self.lanes).unwrap_or(NonZeroU32::MIN)
    }

    /// The cells of `lane`; `None` while all share the first ones.
    pub(super) fn of(&self, lane: Lane) -> Option<&Cells> {
        let copies = self.copies.get()?;
        // Their number is a power of two.
        copies
            .get(lane.0 as usize & (copies.len() - 1))
            .map(|stripe| &stripe.0)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Cells> {
        self.copies.get().into_iter().flatten().map(|copy| &copy.0)
    }

    /// Races were lost.
    #[cold]
    pub(super) fn contended(&self, lost: u32) {
        if lost > 0 && self.lost.fetch_add(lost, Relaxed) >= LOST_MAX {
            self.spread();
        }
    }

    pub(super) fn spread(&self) {
        if self.lanes > 1 {
            self.copies.get_or_init(|| {
                (0..self.lanes)
                    .map(|_| Stripe::new())
                    .collect::<Vec<_>>()
                    .into()
            });
        }
    }
}

impl Stripe {
    fn new() -> Self {
        Self(core::array::from_fn::<_, CELLS, _>(|_| AtomicU64::new(0)))
    }
}
