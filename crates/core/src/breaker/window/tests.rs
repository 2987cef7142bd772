//! Claims about the window, checked against an exact log of the calls.

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::time::Duration;

const TICK: u64 = 1_000;
const SPAN: Duration = Duration::from_nanos(TICK * CELLS as u64);

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn counts(failed: u64, total: u64) -> Counts {
    Counts {
        failed,
        slow: 0,
        total,
    }
}

// Pitfall 3: armeria #2761.
#[test]
fn a_record_on_the_edge_of_a_tick_belongs_to_the_new_tick() {
    let window = Window::new(SPAN);
    window.record(0, at(TICK), true);
    let last_tick_of_its_life = at(TICK * (1 + CELLS as u64) - 1);
    assert_eq!(window.counts(0, last_tick_of_its_life), counts(1, 1));
    assert_eq!(
        window.counts(0, at(TICK * (1 + CELLS as u64))),
        counts(0, 0)
    );
}

// Pitfall 3.
#[test]
fn a_pause_longer_than_the_window_forgets_everything_and_one_call_later_counts_one() {
    let window = Window::new(SPAN);
    for tick in 0..CELLS as u64 {
        window.record(0, at(tick * TICK), true);
    }
    let later = at(1_000 * TICK);
    assert_eq!(window.counts(0, later), counts(0, 0));
    assert!(!window.may_hold_failures(0, later));
    window.record(0, later, false);
    assert_eq!(window.counts(0, later), counts(0, 1));
}

#[test]
fn a_result_of_a_time_long_past_does_not_reset_a_newer_cell() {
    let window = Window::new(SPAN);
    let now = at(CELLS as u64 * TICK);
    window.record(0, now, true);
    window.record(0, at(0), false);
    assert_eq!(window.counts(0, now), counts(1, 1));
}

#[test]
fn a_caller_whose_clock_is_behind_does_not_miss_newer_calls() {
    let window = Window::new(SPAN);
    window.record(0, at(3 * TICK), true);
    assert_eq!(window.counts(0, at(TICK)), counts(1, 1));
    assert!(window.may_hold_failures(0, at(TICK)));
}

#[test]
fn a_new_generation_finds_an_empty_window_and_an_old_one_cannot_fill_it() {
    let window = Window::new(SPAN);
    let now = at(5 * TICK);
    window.record(3, now, true);
    assert_eq!(window.counts(6, now), counts(0, 0));
    window.record(6, now, false);
    window.record(3, now, true);
    assert_eq!(window.counts(6, now), counts(0, 1));
}

#[test]
fn a_cell_of_a_generation_long_gone_does_not_block_today_however_numbers_wrap() {
    for generations in 1..=300 {
        let window = Window::new(SPAN);
        window.record(0, at(0), true);
        let later = at(64 * CELLS as u64 * TICK);
        window.record(generations, later, false);
        assert_eq!(
            window.counts(generations, later),
            counts(0, 1),
            "{generations} generations later"
        );
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_full_cell_is_halved_and_keeps_its_rate() {
    let window = Window::new(SPAN);
    for call in 0..100_000 {
        window.record(0, at(0), call % 4 == 0);
    }
    let Counts { failed, total, .. } = window.counts(0, at(0));
    assert!(total >= u64::from(u16::MAX) / 4, "{total} calls left");
    let rate = failed as f64 / total as f64;
    assert!((rate - 0.25).abs() < 0.001, "rate {rate}");
}

// Pitfall 2, for the window of time.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn eight_threads_lose_no_count() {
    // Not more of them at once: cells that are full are halved.
    for _ in 0..10 {
        let window = Window::new(SPAN);
        let record = |failed| {
            for call in 0..20_000 {
                window.record(0, at(call % CELLS as u64 * TICK), failed);
            }
        };
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || record(thread % 2 == 0));
            }
        });
        let now = at((CELLS as u64 - 1) * TICK);
        assert_eq!(window.counts(0, now), counts(80_000, 160_000));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Record {
        late: u64,
        stale: bool,
        failed: bool,
    },
    NextGeneration(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let advance = prop_oneof![
        4 => 0..TICK,
        4 => (0..3_u64).prop_map(|ticks| ticks * TICK),
        1 => (0..40_u64).prop_map(|ticks| ticks * TICK),
    ];
    let late = prop_oneof![6 => Just(0), 2 => 0..3 * TICK, 1 => 0..40 * TICK];
    let step = prop_oneof![
        3 => advance.prop_map(Step::Advance),
        6 => (late, prop::bool::weighted(0.1), any::<bool>()).prop_map(|(late, stale, failed)| {
            Step::Record { late, stale, failed }
        }),
        1 => (1..4_u32).prop_map(Step::NextGeneration),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "too many steps for an interpreter")]
    fn counts_are_those_of_an_exact_log(
        steps in steps(),
        // Half of the runs cross the point where ticks wrap.
        start in prop_oneof![Just(50_u64), Just((1 << cell::TICK_BITS) - 20)],
    ) {
        let window = Window::new(SPAN);
        let mut now = start * TICK;
        let mut generation = 250_u32;
        let mut log: Vec<(u64, u32, bool)> = Vec::new();
        for step in steps {
            match step {
                Step::Advance(by) => now += by,
                Step::NextGeneration(by) => generation += by,
                Step::Record { late, stale, failed } => {
                    let of = if stale { generation - 1 } else { generation };
                    window.record(of, at(now - late), failed);
                    log.push(((now - late) / TICK, of, failed));
                },
            }
            let oldest = now / TICK - (CELLS as u64 - 1);
            let live = || log.iter().filter(|(tick, of, _)| *tick >= oldest && *of == generation);
            let failed = live().filter(|(_, _, failed)| *failed).count() as u64;
            let total = live().count() as u64;
            prop_assert_eq!(window.counts(generation, at(now)), counts(failed, total));
        }
    }
}
