//! Every interleaving of what limits retries, and of the latencies that hedges wait for.
//!
//! Prevents a retry too many under load. Run with
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p mainstay-core --release --test loom_retry --target-dir target/loom
//! ```
#![cfg(loom)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use loom::thread;
use mainstay_core::lane::Lane;
use mainstay_core::latency::Latency;
use mainstay_core::retry::{Budget, BudgetConfig, Tokens, TokensConfig};
use mainstay_core::time::Instant;

const fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Slots of 100 ms.
fn budget(ratio: f64, floor: u32) -> Arc<Budget> {
    let config = BudgetConfig {
        ratio,
        floor,
        ttl: Duration::from_millis(1_500),
    };
    Arc::new(Budget::new(&config).expect("valid"))
}

#[test]
fn a_request_of_a_thread_pays_for_one_retry_of_all() {
    loom::model(|| {
        let budget = budget(1.0, 0);
        let theirs = Arc::clone(&budget);
        let other = thread::spawn(move || {
            theirs.deposit_in(Lane(1), at(0));
            theirs.withdraw(at(0))
        });
        let mine = budget.withdraw(at(0));
        let granted = [mine, other.join().expect("no panic")];
        assert_eq!(granted.iter().filter(|granted| **granted).count(), 1);
        assert!(!budget.withdraw(at(0)));
    });
}

#[test]
fn a_cell_that_two_threads_take_over_counts_both() {
    loom::model(|| {
        let budget = budget(1.0, 0);
        // The cell that slot 16 takes over.
        budget.deposit(at(0));
        let theirs = Arc::clone(&budget);
        let other = thread::spawn(move || theirs.deposit(at(1_600)));
        budget.deposit(at(1_600));
        other.join().expect("no panic");
        assert_eq!(budget.tokens(at(1_600)), 2);
    });
}

#[test]
fn a_late_request_never_takes_a_newer_cell_back() {
    loom::model(|| {
        let budget = budget(1.0, 0);
        let theirs = Arc::clone(&budget);
        let other = thread::spawn(move || theirs.deposit(at(0)));
        budget.deposit(at(1_600));
        other.join().expect("no panic");
        assert_eq!(budget.tokens(at(1_600)), 1);
    });
}

fn tokens(max: u32, ratio: f64) -> Arc<Tokens> {
    let config = TokensConfig {
        max: NonZeroU32::new(max).expect("positive"),
        ratio,
    };
    Arc::new(Tokens::new(&config).expect("valid"))
}

#[test]
fn no_failure_is_lost_between_two_threads() {
    loom::model(|| {
        let tokens = tokens(4, 0.1);
        let theirs = Arc::clone(&tokens);
        let other = thread::spawn(move || theirs.failure());
        tokens.failure();
        other.join().expect("no panic");
        assert!(!tokens.allows(), "2 of 4");
    });
}

#[test]
fn a_success_beside_a_failure_is_paid_back_unless_all_tokens_were_there() {
    loom::model(|| {
        let tokens = tokens(4, 0.5);
        tokens.failure();
        let theirs = Arc::clone(&tokens);
        let other = thread::spawn(move || theirs.failure());
        tokens.success();
        other.join().expect("no panic");
        assert!(tokens.allows(), "2.5 of 4, in either order");
        tokens.failure();
        assert!(!tokens.allows(), "1.5 of 4");
    });
}

#[test]
fn two_threads_that_turn_to_a_new_span_clear_it_once_and_keep_the_one_before() {
    loom::model(|| {
        let latency = Latency::new(Duration::from_millis(10)).expect("valid");
        latency.record(Duration::ZERO, at(0));
        latency.record(Duration::ZERO, at(10));
        let latency = Arc::new(latency);
        let theirs = Arc::clone(&latency);
        let other = thread::spawn(move || theirs.record(Duration::ZERO, at(20)));
        latency.record(Duration::ZERO, at(20));
        other.join().expect("no panic");
        // Span 0 is forgotten, span 1 is kept, and of span 2 nothing is lost: a thread that comes
        // while it is cleared counts in span 1.
        assert_eq!(latency.samples(at(20)), 3);
    });
}
