//! Claims about retries.

use super::*;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn retry() -> Retry {
    Retry {
        attempts: NonZeroU32::new(3).expect("3 is positive"),
        backoff: backoff(Growth::Exponential { factor: 2.0 }, Jitter::Full),
        retry_after_max: RETRY_AFTER_MAX,
    }
}

fn backoff(growth: Growth, jitter: Jitter) -> Backoff {
    Backoff::new(&BackoffConfig {
        growth,
        base: millis(10),
        max: millis(1_000),
        jitter,
    })
    .expect("valid")
}

fn failed() -> Failed {
    Failed {
        attempts_used: 1,
        sent: Sent::Maybe,
        idempotent: true,
        retry_after: None,
        waited: Duration::ZERO,
        deadline: Deadline::at(at(1_000)),
    }
}

fn budget() -> Budget {
    Budget::new(&BudgetConfig::default()).expect("the default works")
}

fn decide(failed: &Failed, now: Instant) -> Decision {
    retry().decide(failed, &budget(), now, &mut Random::seeded(3))
}

#[test]
fn each_growth_reaches_its_cap() {
    let bounds = |growth| {
        let backoff = backoff(growth, Jitter::None);
        [1, 2, 3, 8, 200, u32::MAX].map(|used| backoff.bound(used, Duration::ZERO).as_millis())
    };
    assert_eq!(bounds(Growth::Constant), [10; 6]);
    assert_eq!(bounds(Growth::Linear), [10, 20, 30, 80, 1_000, 1_000]);
    let factor = |factor| Growth::Exponential { factor };
    assert_eq!(bounds(factor(2.0)), [10, 20, 40, 1_000, 1_000, 1_000]);
    assert_eq!(bounds(factor(1.5)), [10, 15, 22, 170, 1_000, 1_000]);
    assert_eq!(bounds(factor(1.0)), [10; 6]);
    assert_eq!(
        bounds(factor(f64::MAX)),
        [10, 1_000, 1_000, 1_000, 1_000, 1_000]
    );
}

#[test]
fn the_default_backoff_is_a_valid_one() {
    let checked = Backoff::new(&BackoffConfig::default());
    assert_eq!(checked, Ok(Backoff::default()));
}

#[test]
fn decorrelated_waits_grow_from_the_wait_before_and_stay_within_their_ends() {
    let backoff = backoff(Growth::Decorrelated, Jitter::None);
    let mut random = Random::seeded(7);
    let mut waited = Duration::ZERO;
    let mut longest = waited;
    for attempts_used in 1..1_000 {
        let bound = (waited.max(millis(10)) * 3).min(millis(1_000));
        waited = backoff.after(attempts_used, waited, &mut random);
        assert!(waited >= millis(10) && waited <= bound, "{waited:?}");
        longest = longest.max(waited);
    }
    assert!(longest > millis(900), "{longest:?}");
}

// Pitfall 31: Polly (issue 2163) overflows when the attempts are many.
#[test]
fn no_attempt_number_no_factor_and_no_duration_overflows_a_backoff() {
    let attempts = [0, 1, 2, 63, 64, 65, 1_024, u32::MAX - 1, u32::MAX];
    let growths = [
        Growth::Constant,
        Growth::Linear,
        Growth::Exponential { factor: 1.0 },
        Growth::Exponential { factor: f64::MAX },
        Growth::Decorrelated,
    ];
    for growth in growths {
        for jitter in [Jitter::None, Jitter::Full, Jitter::Equal] {
            let config = BackoffConfig {
                growth,
                base: Duration::from_nanos(1),
                max: BACKOFF_MAX,
                jitter,
            };
            let backoff = Backoff::new(&config).expect("valid");
            let mut random = Random::seeded(1);
            for used in attempts {
                let wait = backoff.after(used, Duration::MAX, &mut random);
                assert!(wait <= BACKOFF_MAX, "{growth:?} {jitter:?} {used}");
            }
        }
    }
    for factor in [f64::INFINITY, f64::NAN, -2.0, 0.0, 0.99] {
        let config = BackoffConfig {
            growth: Growth::Exponential { factor },
            ..BackoffConfig::default()
        };
        let error = Backoff::new(&config).expect_err("no such growth");
        assert!(matches!(error, BackoffConfigError::Factor(_)), "{factor}");
    }
    let of = |base, max| {
        Backoff::new(&BackoffConfig {
            base,
            max,
            ..BackoffConfig::default()
        })
    };
    assert_eq!(
        of(millis(1), Duration::MAX),
        Err(BackoffConfigError::Max {
            base: millis(1),
            max: Duration::MAX
        })
    );
    assert!(of(Duration::MAX, Duration::MAX).is_err());
    assert!(of(millis(2), millis(1)).is_err());
    assert_eq!(of(Duration::ZERO, millis(1)), Err(BackoffConfigError::Base));
}

#[test]
fn jitter_uses_its_whole_range_and_never_leaves_it() {
    for (jitter, low) in [(Jitter::Full, 0), (Jitter::Equal, 40), (Jitter::None, 80)] {
        let backoff = backoff(Growth::Exponential { factor: 2.0 }, jitter);
        let mut random = Random::seeded(1);
        let waits: alloc::vec::Vec<_> = (0..1_000)
            .map(|_| backoff.after(4, Duration::ZERO, &mut random))
            .collect();
        let range = millis(low)..=millis(80);
        assert!(waits.iter().all(|wait| range.contains(wait)), "{jitter:?}");
        assert!(
            waits
                .iter()
                .any(|wait| *wait < millis(low + 8) || low == 80)
        );
        assert!(waits.iter().any(|wait| *wait > millis(72)), "{jitter:?}");
    }
}

#[test]
fn attempts_are_counted_with_the_first() {
    for (attempts_used, again) in [(1, true), (2, true), (3, false), (u32::MAX, false)] {
        let decision = decide(
            &Failed {
                attempts_used,
                ..failed()
            },
            at(0),
        );
        assert_eq!(
            matches!(decision, Decision::Retry { .. }),
            again,
            "after {attempts_used}"
        );
    }
}

#[test]
fn what_may_have_had_an_effect_is_tried_again_only_if_it_is_idempotent() {
    let decide = |sent, idempotent| {
        let failed = Failed {
            sent,
            idempotent,
            ..failed()
        };
        matches!(decide(&failed, at(0)), Decision::Retry { .. })
    };
    assert!(decide(Sent::Never, false));
    assert!(decide(Sent::Never, true));
    assert!(decide(Sent::Maybe, true));
    assert!(!decide(Sent::Maybe, false));
}

#[test]
fn a_backoff_that_would_reach_the_deadline_gives_up_at_once() {
    let wish = Failed {
        retry_after: Some(millis(900)),
        ..failed()
    };
    assert!(matches!(decide(&wish, at(0)), Decision::Retry { .. }));
    let give_up = Decision::GiveUp(GiveUpReason::Deadline);
    assert_eq!(decide(&wish, at(100)), give_up);
    assert_eq!(decide(&wish, at(1_000)), give_up, "the deadline itself");
    assert_eq!(decide(&wish, at(5_000)), give_up, "long past it");
    let endless = Failed {
        retry_after: Some(Duration::MAX),
        ..failed()
    };
    assert_eq!(
        decide(&endless, at(0)),
        Decision::GiveUp(GiveUpReason::RetryAfter)
    );
}

#[test]
fn a_wish_beyond_its_limit_is_not_shortened_but_ends_the_call() {
    let decide = |wish| {
        let failed = Failed {
            retry_after: Some(wish),
            deadline: Deadline::NEVER,
            ..failed()
        };
        decide(&failed, at(0))
    };
    assert!(matches!(decide(RETRY_AFTER_MAX), Decision::Retry { .. }));
    let too_long = RETRY_AFTER_MAX + Duration::from_nanos(1);
    assert_eq!(decide(too_long), Decision::GiveUp(GiveUpReason::RetryAfter));
}

// Pitfall 28: dotnet/extensions (issue 7001) comes up to 11 ms too early, with jitter taken off.
#[test]
fn the_wish_of_the_callee_is_never_undercut() {
    let wish = Failed {
        retry_after: Some(millis(100)),
        ..failed()
    };
    let budget = budget();
    let mut random = Random::seeded(5);
    for _ in 0..50 {
        let Decision::Retry { after, .. } = retry().decide(&wish, &budget, at(0), &mut random)
        else {
            panic!("the budget has room for fifty");
        };
        assert!(after >= millis(100) && after <= millis(110), "{after:?}");
    }
}

#[test]
fn the_budget_is_charged_for_retries_only_and_bounds_them() {
    let budget = budget();
    let mut random = Random::seeded(5);
    let mut decide = |failed: &Failed| retry().decide(failed, &budget, at(0), &mut random);
    let unsafe_call = Failed {
        idempotent: false,
        ..failed()
    };
    for _ in 0..1_000 {
        decide(&unsafe_call);
    }
    for _ in 0..100 {
        assert!(matches!(decide(&failed()), Decision::Retry { .. }));
    }
    assert_eq!(decide(&failed()), Decision::GiveUp(GiveUpReason::Budget));
}
