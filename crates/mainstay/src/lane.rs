//! The number of the thread that runs.
//!
//! Prevents threads that count the same thing from waiting for each other's cache line, see
//! [`mainstay_core::lane`].

use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::available_parallelism;

use mainstay_core::lane::Lane;

static NEXT: AtomicU32 = AtomicU32::new(1);

thread_local! {
    /// 0: none yet.
    static LANE: Cell<u32> = const { Cell::new(0) };
}

/// This thread's lane.
#[inline]
pub(crate) fn current() -> Lane {
    LANE.with(|lane| {
        if lane.get() == 0 {
            lane.set(next());
        }
        Lane(lane.get())
    })
}

#[cold]
fn next() -> u32 {
    // After 2^32 threads numbers repeat, which costs speed only.
    NEXT.fetch_add(1, Ordering::Relaxed).max(1)
}

/// As many lanes as threads can run at a time.
pub(crate) fn count() -> NonZeroU32 {
    available_parallelism()
        .ok()
        .and_then(|threads| NonZeroU32::try_from(threads).ok())
        .unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_lane_and_another_has_another() {
        let mine = current();
        assert_eq!(mine, current());
        let theirs = std::thread::spawn(current).join().expect("no panic");
        assert_ne!(mine, theirs);
    }
}
