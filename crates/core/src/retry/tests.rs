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
        backoff: Backoff {
            min: millis(10),
            max: millis(1_000),
        },
    }
}

fn failed() -> Failed {
    Failed {
        attempts_used: 1,
        sent: Sent::Maybe,
        idempotent: true,
        retry_after: None,
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
fn backoff_doubles_to_its_cap_without_overflow() {
    let backoff = retry().backoff;
    assert_eq!(backoff.bound(1), millis(10));
    assert_eq!(backoff.bound(2), millis(20));
    assert_eq!(backoff.bound(8), millis(1_000));
    assert_eq!(backoff.bound(u32::MAX), millis(1_000));
    let endless = Backoff {
        min: Duration::MAX,
        max: Duration::MAX,
    };
    assert_eq!(endless.bound(u32::MAX), Duration::MAX);
    assert!(endless.after(u32::MAX, &mut Random::seeded(1)) <= Duration::MAX);
    assert_eq!(backoff.bound(0), millis(10));
}

#[test]
fn jitter_uses_the_whole_range_and_never_leaves_it() {
    let backoff = retry().backoff;
    let mut random = Random::seeded(1);
    let waits: alloc::vec::Vec<_> = (0..1_000).map(|_| backoff.after(4, &mut random)).collect();
    assert!(waits.iter().all(|wait| *wait <= millis(80)));
    assert!(waits.iter().any(|wait| *wait < millis(8)));
    assert!(waits.iter().any(|wait| *wait > millis(72)));
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
    assert_eq!(decide(&endless, at(0)), give_up);
}

#[test]
fn the_wish_of_the_callee_is_never_undercut() {
    let wish = Failed {
        retry_after: Some(millis(100)),
        ..failed()
    };
    let budget = budget();
    let mut random = Random::seeded(5);
    for _ in 0..50 {
        let Decision::Retry { after } = retry().decide(&wish, &budget, at(0), &mut random) else {
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
