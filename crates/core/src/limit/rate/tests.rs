//! Claims about the rate limit.

extern crate std;

use std::format;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("tests use positive counts")
}

fn config(per_period: u32, period: Duration, burst: u32) -> RateConfig {
    RateConfig {
        per_period: count(per_period),
        period,
        burst: count(burst),
    }
}

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate::new(&config(per_second, Duration::from_secs(1), burst)).expect("valid")
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// How many of `calls` at `now` pass.
fn passed(rate: &Rate, calls: u32, now: Instant) -> usize {
    (0..calls).filter(|_| rate.check(now).is_ok()).count()
}

#[test]
fn a_burst_passes_at_once_and_then_one_call_per_interval() {
    let rate = rate(10, 5);
    assert_eq!(passed(&rate, 9, at(1_000)), 5);
    let retry_after = Duration::from_millis(100);
    assert_eq!(rate.check(at(1_000)), Err(Exceeded::Now { retry_after }));
    let retry_after = Duration::from_nanos(1);
    let early = Instant::from_nanos(1_099_999_999);
    assert_eq!(rate.check(early), Err(Exceeded::Now { retry_after }));
    assert_eq!(passed(&rate, 9, at(1_100)), 1);
    assert_eq!(passed(&rate, 9, at(60_000)), 5, "no more is saved up");
}

// Pitfall 35: a fixed window lets twice its limit through around its edge (resilience4j, Polly's
// fixed window, tower).
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn no_span_of_a_period_has_more_than_a_burst_and_the_rate() {
    let rate = rate(100, 100);
    let times: Vec<_> = (0..4_000)
        .filter(|&ms| (900..1_100).contains(&(ms % 2_000)))
        .flat_map(|ms| (0..5).map(move |_| ms))
        .filter(|&ms| rate.check(at(ms)).is_ok())
        .collect();
    for first in &times {
        let last = *first + 200;
        let span = times.iter().filter(|ms| (*first..=last).contains(ms));
        assert!(span.count() <= 120, "from {first} ms");
    }
}

#[test]
fn one_call_at_a_time_is_never_two() {
    let rate = rate(1, 1);
    assert_eq!(passed(&rate, 3, at(999)), 1);
    assert_eq!(passed(&rate, 3, at(1_000)), 0, "no grid of seconds");
    assert_eq!(passed(&rate, 3, at(1_998)), 0);
    assert_eq!(passed(&rate, 3, at(1_999)), 1);
}

// Pitfall 35: governor and others round the interval to whole nanoseconds.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_rate_that_does_not_divide_a_second_is_kept_to_the_call() {
    for per_second in [3, 7, 9, 11, 13] {
        let rate = rate(per_second, 2);
        let mut now = Instant::ORIGIN;
        for _ in 0..per_second * 100_000 {
            while let Err(Exceeded::Now { retry_after }) = rate.check(now) {
                now = now + retry_after;
            }
        }
        // The last call of 100,000 seconds is a burst of two before their end. Callers that wake
        // on whole nanoseconds are late by at most one in all, not by one per call.
        let expected = 100_000_000_000_000 - 2_000_000_000 / u64::from(per_second);
        assert!(
            now.as_nanos().abs_diff(expected) <= 1,
            "{per_second} per second: {}",
            now.as_nanos()
        );
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_rate_of_hundreds_of_millions_is_missed_by_little_and_never_exceeded() {
    for per_second in [7_777_777, 333_333_333, 700_000_000, 1_000_000_000] {
        let rate = rate(per_second, 1_000_000);
        let mut passed = 0_u64;
        for micros in 0..1_000 {
            let now = Instant::from_nanos(micros * 1_000);
            while rate.check(now).is_ok() {
                passed += 1;
            }
        }
        let ideal = 1_000_000 + u64::from(per_second) * 999 / 1_000_000;
        assert!(passed <= ideal + 1, "{per_second}: {passed} of {ideal}");
        assert!(
            passed * 100 >= ideal * 99,
            "{per_second}: {passed} of {ideal}"
        );
    }
}

// Pitfall 35: a clock that steps back must neither let more through nor block for ever.
#[test]
fn a_clock_that_steps_back_lets_nothing_more_through() {
    let rate = rate(10, 5);
    assert_eq!(passed(&rate, 9, at(10_000)), 5);
    assert_eq!(passed(&rate, 9, at(9_000)), 0);
    assert_eq!(passed(&rate, 9, at(0)), 0);
    assert_eq!(passed(&rate, 9, at(10_100)), 1, "as if it had not stepped");
}

// Pitfall 35: a request for more than the burst waits for ever in limiters that give a wait for it.
#[test]
fn more_than_the_burst_is_refused_for_good() {
    let rate = rate(10, 5);
    let burst = count(5);
    let never = Err(Exceeded::Never { burst });
    assert_eq!(rate.check_n(count(6), at(0)), never);
    assert_eq!(rate.check_n(count(u32::MAX), at(0)), never);
    assert_eq!(rate.check_n(count(5), at(0)), Ok(()));
}

#[test]
fn several_calls_pass_together_or_not_at_all() {
    let rate = rate(10, 5);
    assert_eq!(rate.check_n(count(3), at(0)), Ok(()));
    let retry_after = Duration::from_millis(100);
    assert_eq!(
        rate.check_n(count(3), at(0)),
        Err(Exceeded::Now { retry_after })
    );
    assert_eq!(rate.check_n(count(2), at(0)), Ok(()), "nothing was taken");
}

#[test]
fn the_ends_of_time_and_of_numbers_do_not_overflow() {
    let end = Instant::from_nanos(u64::MAX);
    let year = REFILL_MAX;
    for config in [
        config(1, year, 1),
        config(u32::MAX, year, u32::MAX / 2),
        config(u32::MAX, Duration::from_secs(5), u32::MAX),
        config(1, Duration::from_nanos(1), u32::MAX),
    ] {
        let rate = Rate::new(&config).expect("valid");
        assert_eq!(rate.check(at(0)), Ok(()));
        // What happens after 36 years is not promised, except that it is no panic.
        let _any = rate.check(end).is_ok() | rate.check_n(config.burst, end).is_ok();
        assert!(rate.bucket().wait(rate.quota(), u32::MAX, end) <= Duration::from_nanos(u64::MAX));
    }
}

#[test]
fn values_that_cannot_work_are_refused() {
    let second = Duration::from_secs(1);
    let refused = |config| Rate::new(&config).expect_err("cannot work");
    for period in [Duration::ZERO, Duration::MAX, REFILL_MAX + second] {
        assert_eq!(
            refused(config(1, period, 1)),
            RateConfigError::Period(period)
        );
    }
    let error = refused(config(1_000_000_001, second, 1));
    assert!(matches!(error, RateConfigError::TooFast { .. }), "{error}");
    let error = refused(config(1, REFILL_MAX, 2));
    assert_eq!(error, RateConfigError::Burst(count(2)));
    assert!(format!("{error}").contains("burst is 2"));
    assert!(Rate::new(&RateConfig::default()).is_ok());
}

#[test]
fn a_full_bucket_equals_a_new_one() {
    let rate = rate(10, 5);
    assert!(rate.bucket().is_full(rate.quota(), at(0)));
    assert_eq!(passed(&rate, 9, at(0)), 5);
    assert!(!rate.bucket().is_full(rate.quota(), at(499)));
    assert!(rate.bucket().is_full(rate.quota(), at(500)));
    assert_eq!(passed(&rate, 9, at(500)), 5);
}

#[test]
fn a_bucket_that_may_be_full_gives_no_answer_without_the_exact_time() {
    let rate = rate(10, 5);
    assert_eq!(passed(&rate, 5, at(0)), 5);
    let ask = |from, to| rate.bucket().check_within(rate.quota(), at(from), at(to));
    // It is full at 500: whether before or after now makes a difference to what a call leaves.
    assert_eq!(ask(490, 510), None);
    assert_eq!(ask(500, 510), None);
    assert_eq!(ask(10, 99), Some(false), "too early at the end as well");
    assert_eq!(ask(10, 101), None, "perhaps too early");
    assert_eq!(ask(100, 499), Some(true));
}

#[test]
fn a_short_burst_is_not_a_call_shorter_because_the_time_is_in_doubt() {
    let rate = Rate::new(&config(1, Duration::from_mins(1), 2)).expect("valid");
    let ask = |from, to| rate.bucket().check_within(rate.quota(), at(from), at(to));
    assert_eq!(ask(1_000, 1_020), None);
    assert_eq!(passed(&rate, 9, at(1_010)), 2);
}

#[test]
fn the_wait_is_until_the_calls_before_have_had_their_turns() {
    let rate = rate(10, 2);
    let wait = |before| rate.bucket().wait(rate.quota(), before, at(0));
    assert_eq!(wait(0), Duration::ZERO);
    assert_eq!(wait(1), Duration::ZERO);
    assert_eq!(wait(2), Duration::from_millis(100));
    assert_eq!(passed(&rate, 2, at(0)), 2);
    assert_eq!(wait(0), Duration::from_millis(100));
    assert_eq!(wait(4), Duration::from_millis(500));
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn eight_threads_take_exactly_the_burst() {
    let rate = rate(1, 1_000);
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| passed(&rate, 500, at(0))))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panics"))
            .sum()
    });
    assert_eq!(passed, 1_000);
}

/// A token bucket with fractions of 1 / (1,000,000 * `per_period`), which loses nothing.
struct Model {
    per_period: u128,
    period: u128,
    burst: u128,
    /// Calls in the bucket, times `period`.
    level: u128,
    last: u64,
}

impl Model {
    fn check(&mut self, calls: u32, now: u64) -> bool {
        let now = now.max(self.last);
        let earned = u128::from(now - self.last) * self.per_period;
        self.level = (self.level + earned).min(self.burst * self.period);
        self.last = now;
        let cost = u128::from(calls) * self.period;
        let passes = self.level >= cost;
        if passes {
            self.level -= cost;
        }
        passes
    }
}

proptest! {
    #[test]
    fn exactly_the_calls_pass_that_a_bucket_without_rounding_lets_pass(
        per_period in 1_u32..=16,
        period in 1_000_u64..10_000_000,
        burst in 1_u32..20,
        calls in prop::collection::vec((0_u64..3_000_000, 1_u32..4), 1..100),
    ) {
        let config = config(per_period, Duration::from_nanos(period), burst);
        let rate = Rate::new(&config).expect("valid");
        let mut model = Model {
            per_period: per_period.into(),
            period: period.into(),
            burst: burst.into(),
            level: u128::from(burst) * u128::from(period),
            last: 0,
        };
        let mut now = 0;
        for (gap, calls) in calls {
            now += gap;
            let passes = rate.check_n(count(calls), Instant::from_nanos(now)).is_ok();
            prop_assert_eq!(passes, model.check(calls, now), "{} calls at {}", calls, now);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
    fn an_answer_without_the_exact_time_is_the_answer_with_it(
        per_period in 100_u32..1_000,
        burst in 1_u32..10,
        calls in prop::collection::vec((0_u64..30_000_000, 1_600_000_u64..4_000_000), 1..100),
    ) {
        let config = config(per_period, Duration::from_secs(1), burst);
        let (vague, exact) = (Rate::new(&config).expect("valid"), Rate::new(&config).expect("valid"));
        let mut now = 10_000_000;
        for (gap, doubt) in calls {
            now += gap;
            let instant = Instant::from_nanos(now);
            let (from, to) = (Instant::from_nanos(now - doubt), Instant::from_nanos(now + doubt / 2));
            let answer = vague.bucket().check_within(vague.quota(), from, to);
            let answer = answer.unwrap_or_else(|| vague.check(instant).is_ok());
            prop_assert_eq!(answer, exact.check(instant).is_ok(), "at {}", now);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
    fn in_doubt_a_long_burst_lets_pass_hardly_too_few_and_never_too_many(
        per_period in 100_u32..10_000,
        calls in prop::collection::vec((0_u64..30_000_000, 0_u64..4_000_000, 0_u64..4_000_000), 1..300),
    ) {
        // A burst of a second, and at most 8 ms of doubt.
        let config = config(per_period, Duration::from_secs(1), per_period);
        let (vague, exact) = (Rate::new(&config).expect("valid"), Rate::new(&config).expect("valid"));
        let mut now = 10_000_000;
        for (gap, before, after) in calls {
            now += gap;
            let instant = Instant::from_nanos(now);
            let (from, to) = (Instant::from_nanos(now - before), Instant::from_nanos(now + after));
            let answer = vague.bucket().check_within(vague.quota(), from, to);
            if answer.unwrap_or_else(|| vague.check(instant).is_ok()) {
                prop_assert!(exact.check(instant).is_ok(), "too many at {}", now);
            }
        }
        let end = Instant::from_nanos(now + 10_000_000_000);
        let span = (end, end + Duration::from_millis(8));
        let ask = |_: &u32| vague.bucket().check_within(vague.quota(), span.0, span.1) == Some(true);
        let passed = (0..2 * per_period).take_while(ask).count();
        let burst = usize::try_from(per_period).expect("small");
        prop_assert!((burst - burst / 32 - 1..=burst).contains(&passed), "{} of {}", passed, burst);
    }
}
