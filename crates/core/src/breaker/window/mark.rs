//! The newest failure of a window of time, and which failures of its tick need no sum.
//!
//! Prevents a failure that costs three times a success: to know whether a rate is reached, sixteen
//! cells are summed up, and in a window with a thousand good calls the next failure cannot reach it.
//! Who sums up leaves word how many more failures its cell must count before one can. Layout:
//!
//! ```text
//! seen:1 | shut:1 | turn:13 | tag:34 | due:15
//! ```
//!
//! Always holds: while the cell of `tag` counts fewer failures than `due`, no rate of failures is
//! reached. Within a tick nothing expires, and further good calls only make the rate smaller. What
//! that cell does not count one by one would break it:
//!
//! - A failure of a thread whose clock is behind, or in another lane's copy, and other limits: who
//!   counted it shuts the mark, and until the next tick every failure sums up. The one that begins
//!   a tick marks it before it sums up, so a late one either sees the mark or is in the sum.
//! - A cell that is full and halved: who halved it takes `due` back, and moves `turn` on, so that a
//!   sum that began before does not bring it back. (A cell is halved every 16,384 calls; only after
//!   2^13 times that many within one sum does `turn` say the same again.)

use super::cell::{COUNT_BITS, COUNT_MASK, Tag};
use crate::atomic::{AtomicU64, Ordering};

/// A failure was seen at all.
const SEEN: u64 = 1 << 63;
/// Every failure sums up until the next tick.
const SHUT: u64 = 1 << 62;

const DUE_MASK: u64 = COUNT_MASK;
const DUE_BITS: u32 = COUNT_BITS;
const TAG_MASK: u64 = ((1 << Tag::BITS) - 1) << DUE_BITS;
const TURN: u64 = 1 << (DUE_BITS + Tag::BITS);
const TURN_MASK: u64 = SHUT - TURN;

/// One reading of the mark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen(u64);

impl Seen {
    const fn tag(self) -> Tag {
        Tag::decode((self.0 & TAG_MASK) >> DUE_BITS)
    }

    #[inline]
    const fn is_of(self, tag: Tag) -> bool {
        self.0 & (SEEN | TAG_MASK) == begun(tag)
    }

    const fn is_shut(self) -> bool {
        self.0 & SHUT != 0
    }
}

/// The word of a tick whose failures all sum up so far.
const fn begun(tag: Tag) -> u64 {
    SEEN | tag.encode() << DUE_BITS
}

/// Remembers a failure of `tag`, which is counted afterwards: who sees the count sees the mark.
#[inline]
pub(super) fn note(mark: &AtomicU64, tag: Tag) {
    let seen = mark.load(Ordering::Acquire);
    if !Seen(seen).is_of(tag) {
        begin(mark, seen, tag);
    }
}

#[cold]
fn begin(mark: &AtomicU64, mut seen: u64, tag: Tag) {
    // An older one never takes the place of a newer one.
    while seen & SEEN == 0 || !Seen(seen).is_of(tag) && !Seen(seen).tag().is_newer_than(tag) {
        match mark.compare_exchange_weak(seen, begun(tag), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(current) => seen = current,
        }
    }
}

/// Whether a failure lives in the window that ends with `now`: one load.
#[inline]
pub(super) fn holds(mark: &AtomicU64, now: Tag) -> bool {
    let mark = mark.load(Ordering::Relaxed);
    mark & SEEN != 0 && Seen(mark).tag().lives_at(now)
}

/// Whether the `nth` failure of its cell reaches no rate; the number is `None` where the mark's
/// cell did not count it. To be asked after counting it and a fence. If not, what was seen is for
/// [`spare`].
#[inline]
pub(super) fn spares(mark: &AtomicU64, tag: Tag, nth: Option<u64>) -> Result<(), Seen> {
    let seen = Seen(mark.load(Ordering::Acquire));
    match nth {
        Some(nth) if seen.is_of(tag) && !seen.is_shut() => {
            if nth < seen.0 & DUE_MASK {
                Ok(())
            } else {
                Err(seen)
            }
        },
        Some(_) | None => {
            if !seen.is_shut() {
                shut(mark);
            }
            Err(seen)
        },
    }
}

/// Lets the failures that follow pass without a sum until their cell counts `due`, if nothing was
/// changed since the mark was `seen`, which was before the sum that says so.
pub(super) fn spare(mark: &AtomicU64, seen: Seen, due: u64) {
    if !seen.is_shut() {
        let next = seen.0 & !DUE_MASK | due.min(DUE_MASK);
        // Lost against what makes it untrue, or against another that is as true.
        let _raced = mark.compare_exchange(seen.0, next, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Makes every failure sum up until the next tick.
pub(super) fn shut(mark: &AtomicU64) {
    // Not without a write: what a load sees may be older than the mark of a failure that is being
    // spared.
    mark.fetch_or(SHUT, Ordering::AcqRel);
}

/// Makes the next failure sum up.
#[cold]
pub(super) fn take_back(mark: &AtomicU64) {
    let mut seen = mark.load(Ordering::Acquire);
    while seen & SEEN != 0 {
        let turned = seen & !(DUE_MASK | TURN_MASK) | seen.wrapping_add(TURN) & TURN_MASK;
        match mark.compare_exchange_weak(seen, turned, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(current) => seen = current,
        }
    }
}
