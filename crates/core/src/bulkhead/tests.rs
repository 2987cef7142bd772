//! Claims about the bulkhead's counts.

extern crate std;

use std::sync::atomic::{AtomicU32, Ordering as Order};

use super::*;

fn bulkhead(in_flight: u32, queue: u32) -> Bulkhead {
    Bulkhead::new(Limits {
        in_flight: NonZeroU32::new(in_flight).expect("tests use positive limits"),
        queue: NonZeroU32::new(queue),
    })
}

#[test]
fn exactly_the_limit_enters_and_a_place_given_back_is_free() {
    let bulkhead = bulkhead(2, 0);
    assert_eq!(bulkhead.enter(), Ok(()));
    assert_eq!(bulkhead.enter(), Ok(()));
    let full = Full(Counts {
        in_flight: 2,
        queued: 0,
    });
    assert_eq!(bulkhead.enter(), Err(full));
    assert_eq!(bulkhead.queue(), Err(full), "nobody may wait");
    bulkhead.leave();
    assert_eq!(bulkhead.enter(), Ok(()));
}

#[test]
fn a_promoted_call_is_counted_once() {
    let bulkhead = bulkhead(1, 1);
    assert_eq!(bulkhead.enter(), Ok(()));
    assert_eq!(bulkhead.queue(), Ok(()));
    assert!(bulkhead.promote().is_err(), "no place is free yet");
    bulkhead.leave();
    assert_eq!(bulkhead.promote(), Ok(()));
    let counts = bulkhead.counts();
    assert_eq!((counts.in_flight, counts.queued), (1, 0));
}

#[test]
fn a_place_given_back_twice_does_not_wrap() {
    let bulkhead = bulkhead(1, 1);
    bulkhead.leave();
    bulkhead.give_up();
    assert_eq!(bulkhead.counts(), Counts::default());
}

#[test]
fn eight_threads_never_exceed_a_limit() {
    let bulkhead = bulkhead(3, 2);
    let inside = AtomicU32::new(0);
    let visit = || {
        if bulkhead.enter().is_ok() {
            assert!(inside.fetch_add(1, Order::SeqCst) < 3);
            inside.fetch_sub(1, Order::SeqCst);
            bulkhead.leave();
        } else if bulkhead.queue().is_ok() {
            assert!(bulkhead.counts().queued <= 2);
            bulkhead.give_up();
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..2_000).for_each(|_| visit()));
        }
    });
    assert_eq!(bulkhead.counts(), Counts::default());
}
