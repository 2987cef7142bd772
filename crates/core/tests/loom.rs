//! Every interleaving of the lock-free protocols, explored by loom on the code that ships.
//!
//! Prevents races that a stress test meets once a year. Run with
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p mainstay-core --release --test loom --target-dir target/loom
//! ```
//!
//! The exploration is complete for the threads and calls of each model; it takes seconds.
#![cfg(loom)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use loom::thread;
use mainstay_core::breaker::{
    Breaker, CELLS, Config, Counts, Permit, Span, State, Transition, Window,
};
use mainstay_core::edge::Edge;
use mainstay_core::outcome::Reason;
use mainstay_core::retry::{Budget, BudgetConfig};
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

/// Opens at two failures of two calls; cells of 10 ms.
fn breaker(probes: u32) -> Arc<Breaker> {
    let config = Config {
        error_rate: Some(1.0),
        calls_min: count(2),
        consecutive: None,
        window: Span::Time(Duration::from_millis(10 * CELLS as u64)),
        reopen: Duration::from_millis(1_000),
        reopen_max: Duration::from_millis(1_000),
        probes: count(probes),
        lease: Duration::from_millis(160),
        stable_after: Duration::from_millis(10_000),
        ..Config::default()
    };
    Arc::new(Breaker::new(&config, 1).expect("valid"))
}

fn permit(breaker: &Breaker, now: Instant) -> Permit {
    breaker.acquire(now).expect("admitted").permit
}

fn fail(breaker: &Breaker, permit: Permit, now: Instant) -> Option<Transition> {
    breaker.failure(permit, Reason::Error, now)
}

/// A circuit that opened at 0 and may be probed at 1,000.
fn open(probes: u32) -> Arc<Breaker> {
    let breaker = breaker(probes);
    fail(&breaker, permit(&breaker, at(0)), at(0));
    fail(&breaker, permit(&breaker, at(0)), at(0)).expect("the second failure opens it");
    breaker
}

#[test]
fn of_two_failures_at_once_exactly_one_opens_the_circuit() {
    loom::model(|| {
        let breaker = breaker(1);
        let (a, b) = (permit(&breaker, at(0)), permit(&breaker, at(0)));
        let (a, b) = race(
            &breaker,
            |breaker| fail(breaker, a, at(5)),
            |breaker| fail(breaker, b, at(5)),
        );
        assert_eq!([a, b].iter().flatten().count(), 1);
    });
}

#[test]
fn two_failures_in_two_cells_do_not_both_miss_each_other() {
    loom::model(|| {
        let breaker = breaker(1);
        let (a, b) = (permit(&breaker, at(0)), permit(&breaker, at(0)));
        let (a, b) = race(
            &breaker,
            |breaker| fail(breaker, a, at(5)),
            |breaker| fail(breaker, b, at(15)),
        );
        assert_eq!([a, b].iter().flatten().count(), 1);
    });
}

#[test]
fn after_a_cooldown_exactly_one_caller_gets_the_one_probe_and_the_transition() {
    loom::model(|| {
        let breaker = open(1);
        let ask = |breaker: &Breaker| breaker.acquire(at(1_000)).ok();
        let (a, b) = race(&breaker, ask, ask);
        let granted: Vec<_> = [a, b].into_iter().flatten().collect();
        assert_eq!(granted.len(), 1);
        assert_eq!(granted[0].transition, Some(Transition::HalfOpened));
    });
}

#[test]
fn of_two_good_probes_exactly_the_last_one_closes() {
    loom::model(|| {
        let breaker = open(2);
        let (a, b) = (permit(&breaker, at(1_000)), permit(&breaker, at(1_000)));
        let (a, b) = race(
            &breaker,
            |breaker| breaker.success(a, at(1_000)),
            |breaker| breaker.success(b, at(1_000)),
        );
        let transitions: Vec<_> = [a, b].into_iter().flatten().collect();
        assert_eq!(transitions, [Transition::Closed]);
    });
}

#[test]
fn a_bad_probe_that_races_with_a_good_one_still_decides_once() {
    loom::model(|| {
        let breaker = open(2);
        let (a, b) = (permit(&breaker, at(1_000)), permit(&breaker, at(1_000)));
        let (a, b) = race(
            &breaker,
            |breaker| breaker.success(a, at(1_000)),
            |breaker| fail(breaker, b, at(1_000)),
        );
        // One of two is below the rate of 1: both count, and the last one closes.
        let transitions: Vec<_> = [a, b].into_iter().flatten().collect();
        assert_eq!(transitions, [Transition::Closed]);
    });
}

#[test]
fn two_bad_probes_open_the_circuit_once() {
    loom::model(|| {
        let breaker = open(2);
        let (a, b) = (permit(&breaker, at(1_000)), permit(&breaker, at(1_000)));
        let (a, b) = race(
            &breaker,
            |breaker| fail(breaker, a, at(1_000)),
            |breaker| fail(breaker, b, at(1_000)),
        );
        assert_eq!([a, b].iter().flatten().count(), 1);
        assert!(matches!(breaker.state(at(1_000)), State::Open { .. }));
    });
}

#[test]
fn a_slot_given_back_while_another_asks_admits_at_most_one() {
    loom::model(|| {
        let breaker = open(1);
        let held = permit(&breaker, at(1_000));
        let ((), admitted) = race(
            &breaker,
            |breaker| breaker.ignore(held),
            |breaker| breaker.acquire(at(1_000)).is_ok(),
        );
        let later = breaker.acquire(at(1_000)).is_ok();
        assert_eq!(u32::from(admitted) + u32::from(later), 1);
    });
}

#[test]
fn a_late_result_that_races_with_the_end_of_its_lease_counts_fully_or_not_at_all() {
    loom::model(|| {
        let breaker = open(1);
        let late = permit(&breaker, at(1_000));
        // The lease of 160 ms is over at 2,000: another caller is given the probe of the next
        // generation, while the first one's result comes in after all.
        let (closed, admitted) = race(
            &breaker,
            |breaker| breaker.success(late, at(2_000)),
            |breaker| breaker.acquire(at(2_000)).is_ok(),
        );
        assert!(admitted, "by a closed circuit, or as its next probe");
        match breaker.state(at(2_000)) {
            State::Closed => assert_eq!(closed, Some(Transition::Closed), "the result was first"),
            State::HalfOpen => assert_eq!(closed, None, "the end of the lease was first"),
            other => panic!("nothing failed: {other:?}"),
        }
    });
}

#[test]
fn a_late_result_never_counts_for_the_probes_after_its_lease() {
    loom::model(|| {
        let breaker = open(2);
        let late = permit(&breaker, at(1_000));
        let _lost = permit(&breaker, at(1_000));
        let (_, fresh) = race(
            &breaker,
            |breaker| breaker.success(late, at(2_000)),
            |breaker| permit(breaker, at(2_000)),
        );
        assert_eq!(breaker.success(fresh, at(2_000)), None, "the first of two");
        let second = permit(&breaker, at(2_000));
        let closed = Some(Transition::Closed);
        assert_eq!(breaker.success(second, at(2_000)), closed);
    });
}

#[test]
fn a_lease_that_ran_out_is_taken_over_by_one_of_two_callers() {
    loom::model(|| {
        let breaker = open(1);
        let _lost = permit(&breaker, at(1_000));
        let ask = |breaker: &Breaker| breaker.acquire(at(2_000)).is_ok();
        let (a, b) = race(&breaker, ask, ask);
        assert_ne!(a, b);
    });
}

fn counts(failed: u64, total: u64) -> Counts {
    Counts {
        failed,
        slow: 0,
        total,
    }
}

fn window() -> Arc<Window> {
    Arc::new(Window::new(Duration::from_millis(10 * CELLS as u64)))
}

#[test]
fn a_late_record_never_resets_the_newer_cell_it_shares() {
    loom::model(|| {
        let window = window();
        // The same cell, a whole window later.
        let now = at(5 + 10 * CELLS as u64);
        race(
            &window,
            |window| window.record(0, at(5), false),
            move |window| window.record(0, now, true),
        );
        assert_eq!(window.counts(0, now), counts(1, 1));
    });
}

#[test]
fn a_record_of_an_older_generation_never_resets_a_newer_one() {
    loom::model(|| {
        let window = window();
        race(
            &window,
            |window| window.record(0, at(5), false),
            |window| window.record(3, at(5), true),
        );
        assert_eq!(window.counts(3, at(5)), counts(1, 1));
    });
}

#[test]
fn two_records_in_one_cell_are_both_counted() {
    loom::model(|| {
        let window = window();
        race(
            &window,
            |window| window.record(0, at(5), false),
            |window| window.record(0, at(5), true),
        );
        assert_eq!(window.counts(0, at(5)), counts(1, 2));
    });
}

/// A ttl of 15 slots of 100 ms. A floor of 1 is one retry per ttl.
fn budget(ratio: f64, floor: u32) -> Arc<Budget> {
    let config = BudgetConfig {
        ratio,
        floor,
        ttl: Duration::from_millis(1_500),
    };
    Arc::new(Budget::new(&config).expect("valid"))
}

#[test]
fn the_last_token_is_given_to_one_of_two() {
    loom::model(|| {
        let budget = budget(0.0, 1);
        let withdraw = |budget: &Budget| budget.withdraw(at(0));
        let (a, b) = race(&budget, withdraw, withdraw);
        assert_ne!(a, b);
    });
}

#[test]
fn the_last_token_is_given_once_while_slots_turn() {
    loom::model(|| {
        let budget = budget(0.0, 1);
        // One caller is still in slot 0, the other in slot 3.
        let (a, b) = race(
            &budget,
            |budget| budget.withdraw(at(0)),
            |budget| budget.withdraw(at(300)),
        );
        assert_ne!(a, b);
        assert!(!budget.withdraw(at(300)));
    });
}

#[test]
fn no_deposit_is_lost_while_slots_turn() {
    loom::model(|| {
        let budget = budget(1.0, 0);
        budget.deposit(at(0));
        race(
            &budget,
            |budget| budget.deposit(at(0)),
            |budget| budget.deposit(at(100)),
        );
        assert_eq!(budget.tokens(at(100)), 3);
    });
}

#[test]
fn two_threads_that_turn_the_slot_together_file_it_once() {
    loom::model(|| {
        let budget = budget(1.0, 0);
        budget.deposit(at(0));
        race(
            &budget,
            |budget| budget.deposit(at(100)),
            |budget| budget.deposit(at(200)),
        );
        assert_eq!(budget.tokens(at(200)), 3);
        // The slot of the first deposit is filed under its own time: it expires with it.
        assert_eq!(budget.tokens(at(1_500)), 2);
    });
}

#[test]
fn an_episode_of_refusals_has_one_beginning_and_one_end() {
    loom::model(|| {
        let edge = Arc::new(Edge::new());
        let refuse = |edge: &Edge| edge.refused(at(0));
        let (a, b) = race(&edge, refuse, refuse);
        assert_ne!(a, b);
        let pass = |edge: &Edge| edge.passed(at(1_000));
        let (a, b) = race(&edge, pass, pass);
        assert_eq!(a.or(b), Some(2));
        assert!(a.is_none() || b.is_none());
    });
}
