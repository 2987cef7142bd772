//! Claims about the bulkhead's counts.

extern crate std;

use std::sync::atomic::{AtomicU32 as Counter, Ordering as Order};

use proptest::prelude::*;

use super::*;

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("tests use positive limits")
}

fn bulkhead(in_flight: u32, queue: u32) -> Bulkhead {
    Bulkhead::new(Limits {
        in_flight: count(in_flight),
        queue: NonZeroU32::new(queue),
    })
}

fn counts(bulkhead: &Bulkhead) -> (u32, u32) {
    let counts = bulkhead.counts();
    (counts.in_flight, counts.queued)
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
    assert_eq!(bulkhead.arrive(u32::MAX), Err(full), "nobody may wait");
    assert_eq!(bulkhead.leave(), Left::Free);
    assert_eq!(bulkhead.arrive(u32::MAX), Ok(Arrival::Entered));
}

#[test]
fn a_place_goes_to_the_call_that_waits_and_not_to_one_that_comes_later() {
    let bulkhead = bulkhead(1, 1);
    assert_eq!(bulkhead.arrive(u32::MAX), Ok(Arrival::Entered));
    assert_eq!(bulkhead.arrive(u32::MAX), Ok(Arrival::Queued));
    assert_eq!(bulkhead.leave(), Left::Owed);
    assert!(bulkhead.enter().is_err(), "the place is owed");
    assert!(bulkhead.pass_on());
    assert_eq!(counts(&bulkhead), (1, 0));
    assert_eq!(bulkhead.leave(), Left::Free);
}

#[test]
fn a_place_passed_on_to_nobody_is_free() {
    let bulkhead = bulkhead(1, 1);
    assert_eq!(bulkhead.arrive(u32::MAX), Ok(Arrival::Entered));
    assert_eq!(bulkhead.arrive(u32::MAX), Ok(Arrival::Queued));
    assert_eq!(bulkhead.leave(), Left::Owed);
    bulkhead.give_up();
    assert!(!bulkhead.pass_on(), "the call that waited went away");
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[test]
fn a_smaller_share_of_the_queue_is_full_earlier() {
    let bulkhead = bulkhead(1, 4);
    assert_eq!(bulkhead.arrive(0), Ok(Arrival::Entered));
    assert_eq!(bulkhead.arrive(1), Ok(Arrival::Queued));
    assert!(bulkhead.arrive(1).is_err());
    assert_eq!(bulkhead.arrive(2), Ok(Arrival::Queued));
}

// Pitfall 32: a bulkhead resized down while permits are out must not admit until the debt is paid
// (resilience4j lets the count go wrong when the limit changes under load).
#[test]
fn a_lower_limit_is_paid_for_by_those_who_leave() {
    let bulkhead = bulkhead(3, 1);
    for _ in 0..3 {
        assert_eq!(bulkhead.enter(), Ok(()));
    }
    assert_eq!(bulkhead.arrive(u32::MAX), Ok(Arrival::Queued));
    assert!(!bulkhead.resize(count(1)), "nobody may enter");
    assert_eq!(bulkhead.leave(), Left::Free, "the place is gone: 2 of 1");
    assert_eq!(bulkhead.leave(), Left::Free, "the place is gone: 1 of 1");
    assert_eq!(counts(&bulkhead), (1, 1));
    assert_eq!(bulkhead.leave(), Left::Owed);
    assert!(bulkhead.pass_on());
    assert_eq!(counts(&bulkhead), (1, 0));
}

#[test]
fn a_place_that_was_owed_is_gone_when_the_limit_falls_before_it_is_passed_on() {
    let bulkhead = bulkhead(2, 1);
    for _ in 0..3 {
        assert!(bulkhead.arrive(u32::MAX).is_ok());
    }
    assert_eq!(bulkhead.leave(), Left::Owed);
    assert!(!bulkhead.resize(count(1)));
    assert!(!bulkhead.pass_on(), "two would be in flight");
    assert_eq!(counts(&bulkhead), (1, 1));
}

#[test]
fn a_higher_limit_lets_as_many_through_as_it_has_room_for() {
    let bulkhead = bulkhead(1, 8);
    for _ in 0..6 {
        assert!(bulkhead.arrive(u32::MAX).is_ok());
    }
    assert_eq!(counts(&bulkhead), (1, 5));
    assert!(bulkhead.resize(count(4)));
    assert!(bulkhead.enter().is_err(), "those who wait come first");
    assert_eq!((0..9).filter(|_| bulkhead.promote()).count(), 3);
    assert_eq!(counts(&bulkhead), (4, 2));
    assert!(!bulkhead.resize(count(4)));
}

#[test]
fn limits_beyond_what_can_be_counted_are_the_highest_that_can() {
    let bulkhead = bulkhead(u32::MAX, u32::MAX);
    let limits = bulkhead.limits();
    assert_eq!(limits.in_flight.get(), IN_FLIGHT_MAX);
    assert_eq!(limits.queue.map(NonZeroU32::get), Some(QUEUE_MAX));
    bulkhead.resize_queue(None);
    assert_eq!(bulkhead.limits().queue, None);
}

#[test]
fn a_place_given_back_twice_does_not_wrap() {
    let bulkhead = bulkhead(1, 1);
    assert_eq!(bulkhead.leave(), Left::Free);
    bulkhead.give_up();
    assert_eq!(counts(&bulkhead), (0, 0));
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn eight_threads_never_exceed_a_limit() {
    let bulkhead = bulkhead(3, 2);
    let inside = Counter::new(0);
    let visit = || {
        if bulkhead.enter().is_ok() {
            assert!(inside.fetch_add(1, Order::SeqCst) < 3);
            inside.fetch_sub(1, Order::SeqCst);
            assert_eq!(bulkhead.leave(), Left::Free, "nobody waits");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..2_000).for_each(|_| visit()));
        }
    });
    assert_eq!(bulkhead.counts(), Counts::default());
}

/// What may be done to a bulkhead.
#[derive(Clone, Copy, Debug)]
enum Step {
    Enter,
    Arrive(u32),
    Leave,
    GiveUp,
    Resize(u32),
}

/// The bulkhead as plain numbers.
#[derive(Debug)]
struct Model {
    limit: u32,
    queue: u32,
    in_flight: u32,
    queued: u32,
}

impl Model {
    fn step(&mut self, step: Step) {
        match step {
            Step::Enter => {
                if self.queued == 0 && self.in_flight < self.limit {
                    self.in_flight += 1;
                }
            },
            Step::Arrive(share) => {
                if self.queued == 0 && self.in_flight < self.limit {
                    self.in_flight += 1;
                } else if self.queued < self.queue.min(share) {
                    self.queued += 1;
                }
            },
            Step::Leave => self.in_flight = self.in_flight.saturating_sub(1),
            Step::GiveUp => self.queued = self.queued.saturating_sub(1),
            Step::Resize(limit) => self.limit = limit,
        }
        while self.queued > 0 && self.in_flight < self.limit {
            self.queued -= 1;
            self.in_flight += 1;
        }
    }
}

fn apply(bulkhead: &Bulkhead, step: Step) {
    match step {
        Step::Enter => drop(bulkhead.enter()),
        Step::Arrive(share) => drop(bulkhead.arrive(share)),
        Step::Leave => {
            if bulkhead.leave() == Left::Owed {
                bulkhead.pass_on();
            }
        },
        Step::GiveUp => bulkhead.give_up(),
        Step::Resize(limit) => {
            if bulkhead.resize(count(limit)) {
                while bulkhead.promote() {}
            }
        },
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Enter),
        3 => (0_u32..6).prop_map(Step::Arrive),
        3 => Just(Step::Leave),
        1 => Just(Step::GiveUp),
        1 => (1_u32..6).prop_map(Step::Resize),
    ]
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
    fn the_counts_are_those_of_plain_numbers(
        limit in 1_u32..5,
        queue in 0_u32..5,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let bulkhead = bulkhead(limit, queue);
        let mut model = Model { limit, queue, in_flight: 0, queued: 0 };
        for step in steps {
            // A call that is in flight leaves, and one that waits gives up: nobody else can.
            let (in_flight, queued) = counts(&bulkhead);
            let possible = match step {
                Step::Leave => in_flight > 0,
                Step::GiveUp => queued > 0,
                Step::Enter | Step::Arrive(_) | Step::Resize(_) => true,
            };
            if possible {
                apply(&bulkhead, step);
                model.step(step);
            }
            prop_assert_eq!(counts(&bulkhead), (model.in_flight, model.queued), "{:?}", step);
        }
    }
}
