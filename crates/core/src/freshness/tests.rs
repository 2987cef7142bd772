//! Claims about freshness.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> Config {
    Config {
        fresh: SECOND * 10,
        stale_while_revalidate: Some(SECOND * 5),
        stale_if_error: Some(SECOND * 60),
        negative: Some(SECOND),
        early: None,
    }
}

fn stamp(kept: Kept) -> Stamp {
    Stamp {
        stored: Instant::from_millis(100_000),
        took: SECOND,
        kept,
    }
}

fn after(age: Duration) -> Instant {
    Instant::from_millis(100_000) + age
}

#[test]
fn each_window_ends_at_its_own_instant() {
    let judge = |ms| config().judge(&stamp(Kept::Answer), after(Duration::from_millis(ms)));
    assert_eq!(judge(9_999), Freshness::Fresh);
    assert_eq!(judge(10_000), Freshness::Revalidate);
    assert_eq!(judge(14_999), Freshness::Revalidate);
    assert_eq!(judge(15_000), Freshness::IfError);
    assert_eq!(judge(69_999), Freshness::IfError);
    assert_eq!(judge(70_000), Freshness::Expired);
}

// Pitfall 45: without the bound, last year's answer is served for as long as the callee is down.
#[test]
fn stale_if_error_has_an_age_bound() {
    let answer = stamp(Kept::Answer);
    assert!(config().serves_in_need(&answer, after(Duration::from_millis(69_999))));
    assert!(!config().serves_in_need(&answer, after(SECOND * 70)));
    let strict = Config {
        stale_while_revalidate: None,
        stale_if_error: None,
        ..config()
    };
    assert!(!strict.serves_in_need(&answer, after(SECOND * 10)));
}

#[test]
fn a_refusal_has_its_own_short_life_and_is_never_served_stale() {
    let refusal = stamp(Kept::Refusal);
    assert_eq!(
        config().judge(&refusal, after(SECOND / 2)),
        Freshness::Fresh
    );
    assert_eq!(config().judge(&refusal, after(SECOND)), Freshness::Expired);
    assert!(!config().serves_in_need(&refusal, after(SECOND / 2)));
    let without = Config {
        negative: None,
        ..config()
    };
    assert_eq!(
        without.judge(&refusal, after(Duration::ZERO)),
        Freshness::Expired
    );
}

#[test]
fn a_clock_behind_the_stamp_means_just_arrived() {
    let freshness = config().judge(&stamp(Kept::Answer), Instant::ORIGIN);
    assert_eq!(freshness, Freshness::Fresh);
}

#[test]
fn values_that_cannot_work_are_refused() {
    let zero = Config {
        fresh: Duration::ZERO,
        ..config()
    };
    let endless = Config {
        stale_if_error: Some(Duration::MAX),
        ..config()
    };
    for (config, field) in [(zero, "fresh"), (endless, "stale_if_error")] {
        let Err(ConfigError::Duration { field: named, .. }) = config.validate() else {
            panic!("{config:?} is valid");
        };
        assert_eq!(named, field);
    }
    for early in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        let config = Config {
            early: Some(early),
            ..config()
        };
        assert!(config.validate().is_err(), "{early}");
    }
    assert_eq!(config().validate(), Ok(()));
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn an_exponential_draw_has_the_mean_one_and_the_median_ln_two() {
    let mut random = Random::seeded(1);
    let draws: alloc::vec::Vec<f64> = (0..100_000).map(|_| exponential(&mut random)).collect();
    let mean = draws.iter().sum::<f64>() / draws.len() as f64;
    let below = draws
        .iter()
        .filter(|&&draw| draw < core::f64::consts::LN_2)
        .count() as f64;
    assert!((mean - 1.0).abs() < 0.02, "mean {mean}, seed 1");
    assert!((below / draws.len() as f64 - 0.5).abs() < 0.01, "seed 1");
}

#[test]
fn an_early_refresh_comes_only_near_the_end_and_more_often_towards_it() {
    let early = Config {
        early: Some(1.0),
        ..config()
    };
    let share = |age: Duration| {
        let mut random = Random::seeded(2);
        let judged = (0..10_000)
            .filter(|_| {
                early.judge_early(&stamp(Kept::Answer), after(age), &mut random) == Freshness::Early
            })
            .count();
        judged as f64 / 10_000.0
    };
    // One second before the end, the last load took one second: e^-1.
    assert!((share(SECOND * 9) - 0.368).abs() < 0.02, "seed 2");
    assert!(share(SECOND * 5) < share(SECOND * 9), "seed 2");
    assert!(share(Duration::ZERO) < 0.001, "seed 2");
}

proptest! {
    #[test]
    fn an_answer_only_gets_worse_with_age(
        fresh in 1_u64..1_000, swr in proptest::option::of(1_u64..1_000),
        sie in proptest::option::of(1_u64..1_000), ages in (0_u64..4_000, 0_u64..4_000),
        refusal: bool,
    ) {
        let ms = Duration::from_millis;
        let config = Config {
            fresh: ms(fresh),
            stale_while_revalidate: swr.map(ms),
            stale_if_error: sie.map(ms),
            negative: Some(ms(fresh)),
            early: None,
        };
        let stamp = stamp(if refusal { Kept::Refusal } else { Kept::Answer });
        let (young, old) = (ages.0.min(ages.1), ages.0.max(ages.1));
        let judge = |age| config.judge(&stamp, after(ms(age)));
        prop_assert!(judge(young) <= judge(old));
        // Against the definition, written as a sum.
        let end = fresh + swr.unwrap_or(0).max(sie.unwrap_or(0));
        let expired = old >= if refusal { fresh } else { end };
        prop_assert_eq!(judge(old) == Freshness::Expired, expired);
    }
}
