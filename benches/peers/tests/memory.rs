//! Memory that each call takes, for a moment or for good.
//!
//! Prevents claims in docs/comparison.md that nobody saw. One test, as others in the same process
//! would be counted with it.

use std::alloc::System;
use std::time::Duration;

use mainstay::Breaker;
use peers::{Case, Failure, allocated_per_call, now, subjects};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};
use tower_resilience::circuitbreaker::{CircuitBreakerLayer, SlidingWindowType};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CALLS: usize = 5_000;
/// More than a window of counters needs, far less than one record per call.
const WINDOW_BYTES_MAX: usize = 4_096;

// Pitfall 47: tower-resilience 0.13 allocates in each call, ours in none.
// Beside the list: its window of time keeps a record of each call.
#[test]
fn pitfall_47_tower_resilience_allocates_per_call_and_keeps_a_record_of_each() {
    for subject in subjects() {
        let bytes = allocated_per_call(&mut subject.start());
        let case = subject.case.name();
        match subject.name {
            "mainstay" => assert!(bytes < 1.0, "{case}: {bytes} B"),
            "tower-resilience" => assert!(
                bytes > 100.0,
                "{case}: {bytes} B: less now, correct docs/comparison.md"
            ),
            _ => {},
        }
    }
    assert!(
        subjects()
            .iter()
            .any(|one| one.case == Case::PipelineSuccess)
    );

    let window = Duration::from_hours(1);
    let layer = CircuitBreakerLayer::builder()
        .sliding_window_type(SlidingWindowType::TimeBased)
        .sliding_window_duration(window)
        .build()
        .expect("a configuration that works");
    let mut service = layer.layer(service_fn(|()| std::future::ready(Ok::<(), Failure>(()))));
    let kept = kept(|| {
        now(now(service.ready()).expect("it is ready").call(())).expect("it succeeds");
    });
    assert!(
        kept > CALLS * 16,
        "{kept} B: bounded now, correct docs/comparison.md"
    );

    let config = mainstay::breaker::Config {
        window: window.into(),
        ..mainstay::breaker::Config::default()
    };
    let breaker = Breaker::builder("payment").config(config).build();
    let breaker = breaker.expect("a configuration that works");
    let kept = self::kept(|| breaker.try_acquire().expect("a closed circuit").success());
    assert!(kept < WINDOW_BYTES_MAX, "{kept} B");
}

/// Bytes that so many calls leave behind.
fn kept(mut call: impl FnMut()) -> usize {
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    (0..CALLS).for_each(|_| call());
    let change = region.change();
    change.bytes_allocated - change.bytes_deallocated
}
