//! A claim about the breaker and a clock that goes wrong.

use super::*;

// Pitfall 4: resilience4j, Polly, failsafe-go and Hystrix fail.
#[test]
fn a_clock_that_runs_backwards_neither_panics_nor_lengthens_a_cooldown() {
    let breaker = open(&config());
    let past = Breaker::new(&config(), 1).expect("valid");
    for _ in 0..10 {
        fail(&past, at(50_000));
    }
    let rejected = past.acquire(at(49_000)).expect_err("it is open");
    assert!(rejected.retry_after <= Some(millis(2_000)));
    assert!(past.acquire(at(51_000)).is_ok(), "over at the same instant");
    assert!(breaker.acquire(at(1_000)).is_ok());

    // Calls that end before they began are not slow, and a circuit that closed later than now has
    // not been calm since.
    let timed = Config {
        slow: Some(Slow {
            after: millis(100),
            rate: 0.5,
            in_flight: true,
        }),
        ..config()
    };
    let breaker = open(&timed);
    for _ in 0..3 {
        succeed(&breaker, at(50_000));
    }
    for _ in 0..10 {
        let early = permit(&breaker, at(50_000));
        assert_eq!(breaker.success(early, at(40_000)), None);
    }
    for _ in 0..10 {
        fail(&breaker, at(40_000));
    }
    assert!(breaker.acquire(at(40_000)).is_err());
    assert!(breaker.acquire(at(41_000)).is_ok(), "over after a cooldown");
}
