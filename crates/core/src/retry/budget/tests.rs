//! Claims about the budget, checked against an exact log.

extern crate std;

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64 as Counter, Ordering as Order};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// 15 slots of 100 ms.
const TTL: Duration = Duration::from_millis(1_500);
const SLOT_MS: u64 = 100;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn budget(ratio: f64, floor: u32) -> Budget {
    Budget::new(&BudgetConfig {
        ratio,
        floor,
        ttl: TTL,
    })
    .expect("the test's configuration is valid")
}

/// Withdraws until there is nothing left; how often that worked.
fn drain(budget: &Budget, now: Instant) -> usize {
    (0..1_000_000).take_while(|_| budget.withdraw(now)).count()
}

#[test]
fn values_that_cannot_work_are_refused() {
    let new = |ratio, floor, ttl| Budget::new(&BudgetConfig { ratio, floor, ttl }).map(drop);
    for ratio in [f64::NAN, f64::INFINITY, -0.1, 10.1] {
        assert!(matches!(
            new(ratio, 1, TTL),
            Err(BudgetConfigError::Ratio(_))
        ));
    }
    assert_eq!(
        new(0.2, 1, Duration::ZERO),
        Err(BudgetConfigError::Ttl(Duration::ZERO))
    );
    assert_eq!(
        new(0.2, 1, Duration::MAX),
        Err(BudgetConfigError::Ttl(Duration::MAX))
    );
    assert_eq!(new(0.0, 0, TTL), Err(BudgetConfigError::Nothing));
    assert_eq!(new(0.0, u32::MAX, TTL_MAX), Ok(()));
}

#[test]
fn the_floor_is_there_from_the_start_and_comes_back_after_the_ttl() {
    let budget = budget(0.2, 10);
    assert_eq!(drain(&budget, at(0)), 15, "10 per second over 1.5 s");
    assert_eq!(
        drain(&budget, at(1_500)),
        0,
        "retries count for at least a ttl"
    );
    assert_eq!(drain(&budget, at(1_600)), 15);
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn the_default_is_a_fifth_of_the_requests_and_ten_per_second_over_ten_seconds() {
    let budget = Budget::new(&BudgetConfig::default()).expect("valid");
    for request in 0..1_000 {
        budget.deposit(at(request));
    }
    assert_eq!(drain(&budget, at(1_000)), 200 + 100);
}

// Pitfall 26: TpsBudget drops the fraction at each step.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn fractions_of_a_retry_add_up() {
    let budget = budget(0.3, 0);
    let mut granted = 0;
    for request in 1..=100 {
        budget.deposit(at(0));
        granted += drain(&budget, at(0));
        assert_eq!(granted, request * 3 / 10, "after {request} requests");
    }
}

// Pitfall 26: what was not used is not saved up.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn requests_are_not_saved_up_beyond_the_ttl() {
    let budget = budget(1.0, 0);
    for request in 0..10_000 {
        budget.deposit(at(request));
    }
    assert_eq!(
        drain(&budget, at(10_000)),
        1_400,
        "those of the last 14 slots"
    );
    for request in 20_000..20_010 {
        budget.deposit(at(request));
    }
    assert_eq!(drain(&budget, at(30_000)), 0, "idle since long ago");
}

#[test]
fn the_level_falls_from_one_to_zero() {
    let budget = budget(0.0, 10);
    assert!((budget.level(at(0)) - 1.0).abs() < f64::EPSILON);
    for _ in 0..12 {
        assert!(budget.withdraw(at(0)));
    }
    assert!((budget.level(at(0)) - 0.2).abs() < 1e-9);
    assert_eq!(budget.tokens(at(0)), 3);
    drain(&budget, at(0));
    assert!(budget.level(at(0)) < f64::EPSILON);
}

#[test]
fn a_thread_whose_clock_is_behind_spends_nothing_of_later_requests() {
    let budget = budget(1.0, 0);
    budget.deposit(at(1_000));
    budget.deposit(at(500));
    assert_eq!(drain(&budget, at(500)), 1);
    assert_eq!(drain(&budget, at(1_000)), 1);
    budget.deposit(at(500));
    assert_eq!(drain(&budget, at(500)), 1, "late, and still within the ttl");
}

#[test]
fn a_request_that_is_late_by_a_whole_round_takes_no_newer_cell() {
    let budget = budget(1.0, 0);
    budget.deposit(at(16 * SLOT_MS));
    budget.deposit(at(0));
    assert_eq!(drain(&budget, at(16 * SLOT_MS)), 1);
}

#[test]
fn requests_of_all_lanes_are_added_up() {
    let budget = budget(1.0, 0);
    for lane in 0..100 {
        budget.deposit_in(Lane(lane), at(u64::from(lane)));
    }
    assert_eq!(drain(&budget, at(200)), 100);
}

#[test]
fn a_budget_made_late_in_the_life_of_a_clock_works_and_wraps() {
    for start in [1_u64 << 31, (1 << 32) - 3, (1 << 32) + 5, 1 << 35] {
        let budget = budget(1.0, 0);
        let mut now = start * SLOT_MS;
        for _ in 0..40 {
            budget.deposit(at(now));
            now += SLOT_MS;
        }
        assert_eq!(drain(&budget, at(now)), 14, "from slot {start} on");
    }
}

#[test]
fn a_full_slot_stops_counting_and_never_overflows() {
    let budget = budget(10.0, u32::MAX);
    let full = Slot {
        number: 0,
        count: COUNT_MAX - 1,
    };
    budget.stripes[0].0[0].store(full.encode(), Ordering::Relaxed);
    budget.word.store(full.encode(), Ordering::Relaxed);
    for _ in 0..3 {
        budget.deposit(at(0));
    }
    assert_eq!(drain(&budget, at(0)), 1);
    let cell = budget.stripes[0].0[0].load(Ordering::Relaxed);
    assert_eq!(Slot::decode(cell).count, COUNT_MAX);
    budget.deposit(at(SLOT_MS));
    assert!(budget.withdraw(at(SLOT_MS)), "the next slot counts again");
}

// Pitfall 26: failsafe-go checks first and adds later, which overshoots.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn sixty_four_threads_never_overdraw_it() {
    let budget = budget(0.5, 100);
    let (granted, millis) = (Counter::new(0), Counter::new(0));
    let call = |lane| {
        // Slots turn all the time, and threads see that in different order.
        let now = at(millis.fetch_add(1, Order::Relaxed) / 16);
        budget.deposit_in(lane, now);
        let retries = (0..3).filter(|_| budget.withdraw(now)).count();
        granted.fetch_add(retries as u64, Order::Relaxed);
    };
    std::thread::scope(|scope| {
        let call = &call;
        for lane in 0..64 {
            scope.spawn(move || (0..200).for_each(|_| call(Lane(lane))));
        }
    });
    // All of it lies within one ttl, so the two sums are exact.
    let left = drain(&budget, at(800)) as u64;
    assert_eq!(granted.into_inner() + left, 64 * 200 / 2 + 150);

    // Above, requests that follow make good for a retry too many. Here nothing follows the last.
    for _ in 0..100 {
        assert_eq!(drained_by_sixty_four_threads(&self::budget(0.0, 100)), 150);
    }
}

/// How many retries 64 threads get out of a budget, that begin at the same time.
fn drained_by_sixty_four_threads(budget: &Budget) -> u64 {
    let (ready, granted) = (Counter::new(0), Counter::new(0));
    let drain_together = || {
        ready.fetch_add(1, Order::AcqRel);
        while ready.load(Order::Acquire) < 64 {
            std::thread::yield_now();
        }
        granted.fetch_add(drain(budget, at(0)) as u64, Order::Relaxed);
    };
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(drain_together);
        }
    });
    granted.into_inner()
}

// Pitfall 26: the same in every ttl of many.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn sixty_four_threads_keep_to_the_bound_in_every_ttl() {
    const ROUNDS: usize = 40;
    let budget = budget(0.5, 20);
    let (requests, retries) = (
        [const { Counter::new(0) }; ROUNDS],
        [const { Counter::new(0) }; ROUNDS],
    );
    let barrier = Barrier::new(64);
    // A round is a slot: all threads are in the same, so that what belongs to a ttl is exact.
    let caller = |thread: u32| {
        for round in 0..ROUNDS {
            barrier.wait();
            let now = at(round as u64 * SLOT_MS + u64::from(thread));
            // Loads differ, so that in some rounds there is more to spend than in others.
            for _ in 0..(round + 1) % 7 {
                requests[round].fetch_add(1, Order::Relaxed);
                budget.deposit_in(Lane(thread), now);
                let granted = (0..2).filter(|_| budget.withdraw(now)).count();
                retries[round].fetch_add(granted as u64, Order::Relaxed);
            }
            barrier.wait();
        }
    };
    std::thread::scope(|scope| {
        let caller = &caller;
        for thread in 0..64 {
            scope.spawn(move || caller(thread));
        }
    });
    for end in 0..ROUNDS {
        let ttl = end.saturating_sub(14)..=end;
        let sum = |counts: &[Counter; ROUNDS]| -> u64 {
            counts[ttl.clone()]
                .iter()
                .map(|count| count.load(Order::Relaxed))
                .sum()
        };
        let (requests, retries) = (sum(&requests), sum(&retries));
        assert!(
            retries * 2 <= requests + 60,
            "{retries} for {requests} at {end}"
        );
        assert!(retries > 0);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Deposit(u32),
    Withdraw,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let advance = prop_oneof![
        5 => 0..50_u64,
        3 => (0..4_u64).prop_map(|slots| slots * SLOT_MS),
        1 => 0..4_000_u64,
    ];
    let step = prop_oneof![
        2 => advance.prop_map(Step::Advance),
        4 => any::<u32>().prop_map(Step::Deposit),
        6 => Just(Step::Withdraw),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
    fn it_grants_what_an_exact_log_grants_and_keeps_to_its_bound_in_every_ttl(
        // Tenths, so that the model's arithmetic is exact.
        ratio_tenths in 0..20_u64,
        floor in 1..6_u32,
        steps in steps(),
    ) {
        let budget = budget(ratio_tenths as f64 / 10.0, floor);
        let floor_tenths = u64::from(floor) * 15;
        let mut now = 7_u64;
        let (mut requests, mut retries) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Advance(by) => now += by,
                Step::Deposit(lane) => {
                    budget.deposit_in(Lane(lane), at(now));
                    requests.push(now);
                },
                Step::Withdraw => {
                    let since = |log: &Vec<u64>, slots: u64| {
                        let live = |then: &&u64| now / SLOT_MS - **then / SLOT_MS < slots;
                        log.iter().filter(live).count() as u64
                    };
                    let allowed = floor_tenths + ratio_tenths * since(&requests, 15);
                    let expected = (since(&retries, 16) + 1) * 10 <= allowed;
                    prop_assert_eq!(budget.withdraw(at(now)), expected);
                    if expected {
                        retries.push(now);
                    }
                },
            }
        }
        // The promise itself, in exact time: any ttl, wherever it ends.
        for end in &retries {
            let in_ttl = |log: &Vec<u64>| {
                log.iter().filter(|then| **then <= *end && end - **then < 1_500).count() as u64
            };
            prop_assert!(in_ttl(&retries) * 10 <= floor_tenths + ratio_tenths * in_ttl(&requests));
        }
    }
}
