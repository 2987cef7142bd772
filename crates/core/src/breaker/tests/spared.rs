//! Claims about failures that make no sum, checked against one that always sums up.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TICK: u64 = 100;
const TICKS: u64 = CELLS as u64;
/// Calls of a tick after which its counts are halved.
const FULL: u64 = 32_767;

/// The window with nothing clever in it: failures and calls by tick.
#[derive(Default)]
struct Sums(BTreeMap<u64, (u64, u64)>);

impl Sums {
    fn record(&mut self, at: u64, failed: bool) {
        let tick = at / TICK;
        let newer = self.0.range(tick + 1..);
        if newer
            .clone()
            .any(|(other, _)| (other - tick).is_multiple_of(TICKS))
        {
            // Its cell is another tick's by now.
            return;
        }
        self.0
            .retain(|other, _| *other >= tick || !(tick - other).is_multiple_of(TICKS));
        let (bad, all) = self.0.entry(tick).or_default();
        if *all == FULL {
            (*bad, *all) = (*bad / 2, *all / 2);
        }
        *bad += u64::from(failed);
        *all += 1;
    }

    /// Whether the rate is reached, as it looks at this time.
    fn reach(&self, config: &Config, at: u64) -> bool {
        let tick = at / TICK;
        let live = self.0.range((tick + 1).saturating_sub(TICKS)..);
        let (bad, all) = live.fold((0, 0), |sum, (_, cell)| (sum.0 + cell.0, sum.1 + cell.1));
        let rate = config.error_rate.expect("there is a rate");
        bad > 0 && all >= u64::from(config.calls_min.get()) && bad as f64 / all as f64 >= rate
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_tick_with_too_many_calls_to_count_opens_at_its_rate() {
    let config = config_of(0.5);
    let breaker = breaker(&config);
    let mut sums = Sums::default();
    // The cell is full in the midst of the good calls, after its failures were spared.
    let calls = [
        (20_000, false),
        (5_000, true),
        (20_000, false),
        (40_000, true),
    ];
    for (calls, failed) in calls {
        for _ in 0..calls {
            sums.record(0, failed);
            let got = if failed {
                fail(&breaker, at(0))
            } else {
                succeed(&breaker, at(0))
            };
            assert_eq!(opened(got), sums.reach(&config, 0));
            if opened(got) {
                return;
            }
        }
    }
    panic!("it has to open");
}

#[test]
fn failures_of_two_lanes_count_together_and_none_is_spared_by_its_own_lane() {
    let breaker = breaker(&config_of(0.5)).lanes(count(2));
    breaker.calls.spread();
    for _ in 0..4 {
        succeed(&breaker, at(0));
    }
    let results = (0..4).map(|lane| {
        let at = At {
            now: at(0),
            lane: Lane(lane),
        };
        opened(breaker.failure(permit(&breaker, at.now), Reason::Error, at))
    });
    assert_eq!(results.collect::<Vec<_>>(), [false, false, false, true]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Good(u32),
    Bad,
    /// Of a thread whose clock is behind.
    LateBad(u64),
    Advance(u64),
    Rate(f64),
}

/// Exact in binary.
pub(super) fn rates() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.25), Just(0.5), Just(0.75), Just(1.0)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let good = prop_oneof![5 => 1..4_u32, 1 => 10..100_u32];
    let advance = prop_oneof![6 => 0..TICK, 2 => TICK..4 * TICK, 1 => 0..40 * TICK];
    let step = prop_oneof![
        8 => good.prop_map(Step::Good),
        24 => Just(Step::Bad),
        1 => (0..20 * TICK).prop_map(Step::LateBad),
        6 => advance.prop_map(Step::Advance),
        1 => rates().prop_map(Step::Rate),
    ];
    prop::collection::vec(step, 0..200)
}

fn config_of(error_rate: f64) -> Config {
    Config {
        error_rate: Some(error_rate),
        calls_min: count(5),
        window: Span::Time(millis(TICK * TICKS)),
        ..config()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
    fn the_failure_that_reaches_the_rate_opens_however_many_before_it_made_no_sum(
        rate in rates(),
        steps in steps(),
    ) {
        let mut config = config_of(rate);
        let breaker = breaker(&config);
        let mut sums = Sums::default();
        let mut now = 50 * TICK;
        // A late failure, or another rate, is judged where it happens: good calls do not look again.
        let mut good_calls_judge = true;
        for step in steps {
            let (calls, failed, when) = match step {
                Step::Advance(by) => {
                    good_calls_judge |= now / TICK != (now + by) / TICK;
                    now += by;
                    continue;
                },
                Step::Rate(rate) => {
                    config = config_of(rate);
                    breaker.reconfigure(&config).expect("valid");
                    good_calls_judge = false;
                    continue;
                },
                Step::Good(calls) => (calls, false, now),
                Step::Bad => (1, true, now),
                Step::LateBad(by) => {
                    good_calls_judge = false;
                    (1, true, now - by)
                },
            };
            for _ in 0..calls {
                sums.record(when, failed);
                let got = if failed {
                    fail(&breaker, at(when))
                } else {
                    succeed(&breaker, at(when))
                };
                let reached = sums.reach(&config, when);
                prop_assert!(reached || !opened(got), "opened below the rate");
                if failed || good_calls_judge {
                    prop_assert_eq!(opened(got), reached);
                }
                if opened(got) {
                    return Ok(());
                }
            }
        }
    }
}
