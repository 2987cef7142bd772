//! What a call writes: cache lines that other threads lose.

use super::*;
use crate::atomic::writes;

#[test]
fn a_healthy_call_through_a_circuit_that_counts_in_a_row_only_writes_nothing() {
    let in_a_row = Config {
        error_rate: None,
        slow: None,
        consecutive: Some(count(5)),
        ..config()
    };
    let healthy = |breaker: &Breaker| {
        let before = writes();
        for millis in 0..10_000 {
            succeed(breaker, at(millis));
        }
        writes() - before
    };
    let plain = breaker(&in_a_row);
    assert_eq!(healthy(&plain), 0);
    fail(&plain, at(10_000));
    assert_eq!(healthy(&plain), 1, "the one that ends the row");
    assert_eq!(healthy(&plain), 0);
    let counting = breaker(&config());
    assert!(healthy(&counting) >= 10_000, "a rate has to be counted");
}
