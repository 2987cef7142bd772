//! Every interleaving of an endpoint's counters, explored by loom on the code that ships.
//!
//! Prevents calls that are counted twice or never, and a streak that two callers act on. Run with
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p mainstay-core --release --test loom_outlier --target-dir target/loom
//! ```
#![cfg(loom)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use loom::thread;
use mainstay_core::outcome::{Outcome, Reason};
use mainstay_core::outlier::{Cell, Config, Decision, Outliers};
use mainstay_core::time::Instant;

const FAILED: Outcome = Outcome::Failure(Reason::Reset);
const RTT: Duration = Duration::from_micros(1);
const NOW: Instant = Instant::from_millis(1);

fn config() -> Config {
    Config {
        consecutive: NonZeroU32::new(2),
        ..Config::default()
    }
}

#[test]
fn exactly_one_of_two_callers_hears_that_the_streak_is_long_enough() {
    loom::model(|| {
        let cell = Arc::new(Cell::new(&config()));
        let theirs = Arc::clone(&cell);
        let other = thread::spawn(move || theirs.record(FAILED, RTT, NOW));
        let mine = cell.record(FAILED, RTT, NOW);
        let theirs = other.join().expect("the other thread does not panic");
        assert!(mine ^ theirs);
        assert_eq!(cell.streak(), 2);
    });
}

#[test]
fn what_an_evaluator_takes_was_counted_exactly_once() {
    loom::model(|| {
        let config = Config {
            consecutive: None,
            latency_ratio: None,
            calls_min: NonZeroU32::MIN,
            deviations: 0.1,
            ..config()
        };
        let cells = [Arc::new(Cell::new(&config)), Arc::new(Cell::new(&config))];
        let mut outliers = Outliers::new(&config, 2, 1, NOW).expect("valid");
        let theirs = Arc::clone(&cells[0]);
        let other = thread::spawn(move || {
            theirs.record(FAILED, RTT, NOW);
        });
        cells[1].record(Outcome::Success, RTT, NOW);
        let borrowed = [&*cells[0], &*cells[1]];
        let first = outliers.evaluate(&borrowed, NOW);
        other.join().expect("the other thread does not panic");
        let second = outliers.evaluate(&borrowed, NOW);
        // The failure is seen by one evaluation: the one after it was counted.
        let ejected = |decisions: &[Decision]| decisions.len() == 1;
        assert!(ejected(&first) ^ ejected(&second), "{first:?} {second:?}");
    });
}

#[test]
fn an_endpoint_that_is_ejected_while_it_is_called_stays_ejected() {
    loom::model(|| {
        let cells = [
            Arc::new(Cell::new(&config())),
            Arc::new(Cell::new(&config())),
        ];
        let mut outliers = Outliers::new(&config(), 2, 1, NOW).expect("valid");
        cells[1].record(Outcome::Success, RTT, NOW);
        cells[0].record(FAILED, RTT, NOW);
        cells[0].record(FAILED, RTT, NOW);
        let theirs = Arc::clone(&cells[0]);
        let other = thread::spawn(move || theirs.record(FAILED, RTT, NOW));
        let borrowed = [&*cells[0], &*cells[1]];
        let decisions = outliers.evaluate(&borrowed, NOW);
        other.join().expect("the other thread does not panic");
        assert!(matches!(
            decisions[..],
            [Decision::Ejected { endpoint: 0, .. }]
        ));
        assert!(cells[0].is_ejected(NOW));
        // What was on its way is at most one failure, and no streak.
        assert!(cells[0].streak() <= 1);
    });
}
