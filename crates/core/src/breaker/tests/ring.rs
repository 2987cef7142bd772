//! Claims about the window of the last calls, checked against an exact log.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn ring(calls: u32) -> Window {
    Window::new(Span::Calls(count(calls)))
}

fn bad(window: &Window, generation: u32) -> (u64, u64) {
    let counts = window.counts(generation, at(0));
    (counts.failed, counts.total)
}

// Pitfall 2: resilience4j #1262 forgot one counter; here there is none to forget.
#[test]
fn the_ring_forgets_exactly_the_oldest_call() {
    let window = ring(3);
    for failed in [true, false, false] {
        window.record(0, at(0), failed);
    }
    assert_eq!(bad(&window, 0), (1, 3));
    window.record(0, at(0), false);
    assert_eq!(bad(&window, 0), (0, 3));
}

// Pitfall 5: tower-resilience ignores it, recloser decides one call late.
#[test]
fn a_good_call_needs_the_time_only_when_it_completes_calls_min() {
    let breaker = breaker(&Config {
        window: Span::Calls(count(4)),
        calls_min: count(4),
        ..config()
    });
    fail(&breaker, at(0));
    fail(&breaker, at(0));
    let untimed = |breaker: &Breaker| {
        let permit = breaker.acquire_untimed().expect("closed");
        breaker.success_untimed(permit)
    };
    assert_eq!(untimed(&breaker), Ok(()));
    let counted = untimed(&breaker).expect_err("half of four calls failed");
    assert_eq!(breaker.counts(at(0)).total, 4);
    assert!(opened(breaker.success(counted, at(0))));
}

#[test]
fn calls_min_below_the_ring_decides_at_exactly_calls_min() {
    let breaker = breaker(&Config {
        window: Span::Calls(count(100)),
        ..config()
    });
    let trips: Vec<bool> = (0..10).map(|_| opened(fail(&breaker, at(0)))).collect();
    assert_eq!(trips.iter().position(|&trip| trip), Some(9));
}

// Pitfall 1: counters that never forget hide it (tower-resilience).
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_million_good_calls_do_not_hide_an_outage_from_the_ring() {
    let breaker = breaker(&Config {
        window: Span::Calls(count(100)),
        ..config()
    });
    for _ in 0..1_000_000 {
        succeed(&breaker, at(0));
    }
    let trip = (0..100).position(|call| {
        if call % 5 < 2 {
            opened(succeed(&breaker, at(0)))
        } else {
            opened(fail(&breaker, at(0)))
        }
    });
    // 50 of the last 100 are bad with the 84th call, of which three in five are.
    assert_eq!(trip, Some(83));
}

#[test]
fn a_new_generation_finds_an_empty_ring_and_an_old_one_cannot_fill_it() {
    let window = ring(10);
    for _ in 0..10 {
        window.record(3, at(0), true);
    }
    assert_eq!(bad(&window, 6), (0, 0));
    window.record(6, at(0), false);
    window.record(3, at(0), true);
    assert_eq!(bad(&window, 6), (0, 1));
}

// Pitfall 2: under eight threads the sum is the bits.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn eight_threads_lose_no_call_of_the_ring() {
    for calls in [7, 60, 61, 100, WINDOW_CALLS_MAX] {
        let window = ring(calls);
        in_eight_threads(&|| {
            for call in 0..2_000 {
                window.record(0, at(0), call % 2 == 0);
            }
        });
        for _ in 0..calls {
            window.record(0, at(0), true);
        }
        assert_eq!(bad(&window, 0), (u64::from(calls), u64::from(calls)));
        for _ in 0..calls {
            window.record(0, at(0), false);
        }
        assert_eq!(bad(&window, 0), (0, u64::from(calls)));
    }
    // Turns in which each slot is written once: no later call makes good what one has lost.
    let window = ring(WINDOW_CALLS_MAX);
    for failed in [true, false].repeat(100) {
        in_eight_threads(&|| {
            for _ in 0..WINDOW_CALLS_MAX / 8 {
                window.record(0, at(0), failed);
            }
        });
        let expected = u64::from(WINDOW_CALLS_MAX) * u64::from(failed);
        assert_eq!(bad(&window, 0).0, expected);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Record(bool),
    Stale(bool),
    NextGeneration(u32),
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
    fn the_ring_holds_the_last_calls_of_its_generation(
        calls in prop_oneof![Just(1_u32), Just(60), Just(61), Just(WINDOW_CALLS_MAX), 1..200_u32],
        steps in prop::collection::vec(
            prop_oneof![
                20 => any::<bool>().prop_map(Step::Record),
                2 => any::<bool>().prop_map(Step::Stale),
                1 => (1..40_u32).prop_map(Step::NextGeneration),
            ],
            0..600,
        ),
    ) {
        let window = ring(calls);
        let mut generation = 524_200_u32;
        let mut log: VecDeque<bool> = VecDeque::new();
        window.record(generation, at(0), true);
        log.push_back(true);
        for step in steps {
            match step {
                Step::Record(failed) => {
                    window.record(generation, at(0), failed);
                    log.push_back(failed);
                    if log.len() > calls as usize {
                        log.pop_front();
                    }
                },
                // One that came late changes nothing once a newer call was counted.
                Step::Stale(failed) if !log.is_empty() => {
                    window.record((generation + 524_287) % 524_288, at(0), failed);
                },
                Step::Stale(_) => {},
                Step::NextGeneration(by) => {
                    generation = (generation + by) % 524_288;
                    log.clear();
                },
            }
            let failed = log.iter().filter(|&&failed| failed).count() as u64;
            prop_assert_eq!(bad(&window, generation), (failed, log.len() as u64));
        }
    }
}
