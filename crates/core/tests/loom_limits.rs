//! Every interleaving of the limits' lock-free protocols, explored by loom on the code that ships.
//!
//! Prevents races that a stress test meets once a year. Run with
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p mainstay-core --release --test loom_limits --target-dir target/loom
//! ```
//!
//! The exploration is complete for the threads and calls of each model; it takes seconds.
#![cfg(loom)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use loom::sync::Mutex;
use loom::thread;
use mainstay_core::bulkhead::{Arrival, Bulkhead, Left, Limits};
use mainstay_core::limit::adaptive::{Adaptive, AdaptiveConfig};
use mainstay_core::limit::rate::{Rate, RateConfig};
use mainstay_core::limit::throttle::{Counts, Throttle, ThrottleConfig};
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::time::Instant;

/// Runs `left` here and `right` in another thread; returns both results.
fn race<S: Send + Sync + 'static, L, R: Send + 'static>(
    shared: &Arc<S>,
    left: impl FnOnce(&S) -> L,
    right: impl FnOnce(&S) -> R + Send + 'static,
) -> (L, R) {
    let theirs = Arc::clone(shared);
    let other = thread::spawn(move || right(&theirs));
    let left = left(shared);
    (left, other.join().expect("the other thread does not panic"))
}

const fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("positive")
}

/// One call per second, and two at once.
fn rate() -> Arc<Rate> {
    let rate = Rate::new(&RateConfig {
        per_period: count(1),
        period: Duration::from_secs(1),
        burst: count(2),
    });
    Arc::new(rate.expect("valid"))
}

#[test]
fn the_last_call_of_a_burst_is_given_to_one_of_two() {
    loom::model(|| {
        let rate = rate();
        assert!(rate.check(at(0)).is_ok());
        let (a, b) = race(
            &rate,
            |rate| rate.check(at(0)).is_ok(),
            |rate| rate.check(at(1)).is_ok(),
        );
        assert_ne!(a, b);
    });
}

#[test]
fn an_answer_without_the_exact_time_takes_the_last_call_from_no_other() {
    loom::model(|| {
        let rate = rate();
        assert!(rate.check(at(1_000)).is_ok());
        let (a, b) = race(
            &rate,
            |rate| rate.bucket().check_within(rate.quota(), at(995), at(1_005)),
            |rate| rate.check(at(1_000)).is_ok(),
        );
        assert!(a == Some(true) || b, "somebody gets it");
        assert!(a != Some(true) || !b, "not both");
    });
}

/// A bulkhead and its queue, as the shell keeps it: numbers for calls.
struct Gate {
    counts: Bulkhead,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    waiting: Vec<u8>,
    called: Vec<u8>,
}

impl Gate {
    fn new(in_flight: u32) -> Arc<Self> {
        Arc::new(Self {
            counts: Bulkhead::new(Limits {
                in_flight: count(in_flight),
                queue: Some(count(4)),
            }),
            line: Mutex::new(Line::default()),
        })
    }

    /// Whether `call` entered at once.
    fn arrive(&self, call: u8) -> bool {
        let mut line = self.line.lock().expect("no panics");
        match self.counts.arrive(u32::MAX).expect("there is room") {
            Arrival::Entered => true,
            Arrival::Queued => {
                line.waiting.push(call);
                false
            },
        }
    }

    fn leave(&self) {
        if self.counts.leave() == Left::Owed {
            let mut line = self.line.lock().expect("no panics");
            if self.counts.pass_on() {
                line.call();
            }
        }
    }

    /// `call` goes away; if it was called, it hands its place on.
    fn go_away(&self, call: u8) {
        let mut line = self.line.lock().expect("no panics");
        if let Some(index) = line.waiting.iter().position(|&other| other == call) {
            line.waiting.remove(index);
            self.counts.give_up();
        } else {
            drop(line);
            self.leave();
        }
    }

    fn resize(&self, in_flight: u32) {
        while self.counts.resize(count(in_flight)) {
            let mut line = self.line.lock().expect("no panics");
            while self.counts.promote() {
                line.call();
            }
        }
    }

    /// In flight, waiting, and the calls that were called.
    fn seen(&self) -> (u32, u32, Vec<u8>) {
        let line = self.line.lock().expect("no panics");
        let counts = self.counts.counts();
        assert_eq!(counts.queued as usize, line.waiting.len());
        let room = counts.in_flight < self.counts.limits().in_flight.get();
        assert!(!room || counts.queued == 0, "nobody is forgotten");
        (counts.in_flight, counts.queued, line.called.clone())
    }
}

impl Line {
    fn call(&mut self) {
        let call = self.waiting.remove(0);
        self.called.push(call);
    }
}

#[test]
fn a_bulkhead_of_one_place_lets_one_of_two_in_and_one_wait() {
    loom::model(|| {
        let gate = Gate::new(1);
        let (a, b) = race(&gate, |gate| gate.arrive(0), |gate| gate.arrive(1));
        assert_ne!(a, b);
        assert_eq!(gate.seen(), (1, 1, vec![]));
    });
}

#[test]
fn a_call_that_arrives_while_another_leaves_is_in_or_is_called() {
    loom::model(|| {
        let gate = Gate::new(1);
        assert!(gate.counts.enter().is_ok());
        let ((), entered) = race(&gate, Gate::leave, |gate| gate.arrive(1));
        let (in_flight, queued, called) = gate.seen();
        assert_eq!((in_flight, queued), (1, 0));
        assert_eq!(entered, called.is_empty());
    });
}

#[test]
fn a_call_that_does_not_wait_never_takes_the_place_of_one_that_does() {
    loom::model(|| {
        let gate = Gate::new(1);
        assert!(gate.counts.enter().is_ok());
        assert!(!gate.arrive(1));
        let ((), jumped) = race(&gate, Gate::leave, |gate| gate.counts.enter().is_ok());
        assert!(!jumped);
        assert_eq!(gate.seen(), (1, 0, vec![1]));
    });
}

#[test]
fn a_call_that_goes_away_in_the_moment_it_is_called_hands_its_place_on() {
    loom::model(|| {
        let gate = Gate::new(1);
        assert!(gate.counts.enter().is_ok());
        assert!(!gate.arrive(1));
        assert!(!gate.arrive(2));
        race(&gate, Gate::leave, |gate| gate.go_away(1));
        let (in_flight, queued, called) = gate.seen();
        assert_eq!((in_flight, queued), (1, 0));
        assert_eq!(called.last(), Some(&2));
    });
}

#[test]
fn two_that_leave_call_two() {
    loom::model(|| {
        let gate = Gate::new(2);
        assert!(gate.counts.enter().is_ok() && gate.counts.enter().is_ok());
        assert!(!gate.arrive(1) && !gate.arrive(2));
        race(&gate, Gate::leave, Gate::leave);
        assert_eq!(gate.seen(), (2, 0, vec![1, 2]));
    });
}

#[test]
fn a_limit_that_rises_while_a_call_arrives_forgets_nobody() {
    loom::model(|| {
        let gate = Gate::new(1);
        assert!(gate.counts.enter().is_ok());
        race(&gate, |gate| gate.resize(2), |gate| gate.arrive(1));
        let (in_flight, queued, _) = gate.seen();
        assert_eq!((in_flight, queued), (2, 0));
    });
}

#[test]
fn a_limit_that_falls_while_a_call_leaves_is_paid_for() {
    loom::model(|| {
        let gate = Gate::new(2);
        assert!(gate.counts.enter().is_ok() && gate.counts.enter().is_ok());
        assert!(!gate.arrive(1));
        race(&gate, |gate| gate.resize(1), Gate::leave);
        let (in_flight, queued, called) = gate.seen();
        // Called before the limit fell, or not yet.
        assert_eq!(in_flight + queued, 2);
        assert_eq!(called.len(), 1 - queued as usize);
        gate.leave();
        let (in_flight, queued, called) = gate.seen();
        assert_eq!((in_flight, queued, called), (1, 0, vec![1]));
    });
}

#[test]
fn nobody_enters_above_a_limit_that_fell() {
    loom::model(|| {
        let gate = Gate::new(2);
        assert!(gate.counts.enter().is_ok());
        race(
            &gate,
            |gate| gate.resize(1),
            |gate| gate.counts.enter().is_ok(),
        );
        assert!(gate.counts.enter().is_err());
    });
}

#[test]
fn of_two_calls_that_end_a_window_one_moves_the_limit() {
    loom::model(|| {
        let config = AdaptiveConfig {
            samples_min: count(2),
            ..AdaptiveConfig::default()
        };
        let limit = Adaptive::new(&config, None, at(0)).expect("valid");
        let drop = Outcome::Failure(Reason::Timeout);
        assert!(!limit.record(at(999), drop, at(999)), "one call is too few");
        let limit = Arc::new(limit);
        let record = move |limit: &Adaptive| limit.record(at(1_000), drop, at(1_000));
        race(&limit, record, record);
        assert_eq!(limit.limit(), count(10), "halved, and not lowered again");
    });
}

#[test]
fn a_limit_that_moves_counts_every_call_in_flight() {
    loom::model(|| {
        let config = AdaptiveConfig {
            samples_min: count(1),
            ..AdaptiveConfig::default()
        };
        let limit = Arc::new(Adaptive::new(&config, None, at(0)).expect("valid"));
        assert!(limit.permits().enter().is_ok());
        let drop = Outcome::Failure(Reason::Timeout);
        race(
            &limit,
            move |limit| {
                let _nobody_waits = limit.record(at(999), drop, at(1_000));
                assert_eq!(limit.permits().leave(), Left::Free);
            },
            |limit| assert!(limit.permits().enter().is_ok()),
        );
        assert_eq!(limit.limit(), count(10));
        assert_eq!(limit.permits().counts().in_flight, 1);
    });
}

#[test]
fn a_late_call_never_empties_the_newer_cell_it_shares() {
    loom::model(|| {
        let config = ThrottleConfig {
            window: Duration::from_secs(1),
            ..ThrottleConfig::default()
        };
        let throttle = Arc::new(Throttle::new(&config).expect("valid"));
        race(
            &throttle,
            |throttle| throttle.record(false, at(50)),
            |throttle| throttle.record(true, at(1_050)),
        );
        let (requests, accepts) = (1, 1);
        assert_eq!(throttle.counts(at(1_050)), Counts { requests, accepts });
    });
}
