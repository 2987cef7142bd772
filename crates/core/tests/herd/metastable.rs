//! A stall of ten seconds, and the minute after it.

use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use mainstay_core::breaker::Config;
use mainstay_core::retry::BudgetConfig;

use crate::client::{Again, Policy};
use crate::engine::Waits;
use crate::service::Capacity;
use crate::simulation::{SECOND, Second, Setting, Simulation};

const SEEDS: Range<u64> = 1..4;

/// In seconds.
const STALL: Range<usize> = 10..20;
const END: usize = 80;

/// Attempts per request that protected clients may send.
const ATTEMPTS_MAX: f64 = 1.10;

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("positive")
}

/// Ten workers of twenty milliseconds: five hundred requests a second.
fn capacity(queue: Option<NonZeroU32>) -> Capacity {
    Capacity {
        workers: count(10),
        work: SECOND / 50,
        door: 0,
        queue,
        stall: STALL.start as u64 * SECOND..STALL.end as u64 * SECOND,
    }
}

fn setting(seed: u64, load: f64, queue: Option<NonZeroU32>, policy: Policy) -> Setting {
    Setting {
        seed,
        clients: 1_000,
        load,
        capacity: capacity(queue),
        policy,
        timeout: Duration::from_secs(1),
        deadline: Duration::from_secs(4),
        seconds: END,
    }
}

/// Three attempts, 100 ms apart: what people write.
fn naive() -> Policy {
    Policy {
        attempts: count(3),
        again: Again::Always(Duration::from_millis(100)),
        breaker: None,
    }
}

/// Three attempts as well, for those whom the budget and the breaker let try.
fn protected() -> Policy {
    Policy {
        attempts: count(3),
        again: Again::Budgeted(
            Waits {
                min: Duration::from_millis(200),
                max: Duration::from_secs(1),
            },
            // A client sends less than one request a second: a floor per second would be a floor
            // per client, a thousand times the one that is meant.
            BudgetConfig {
                ratio: 0.1,
                floor: 0,
                ttl: Duration::from_mins(1),
            },
        ),
        breaker: Some(Config {
            consecutive: Some(count(2)),
            reopen: Duration::from_millis(500),
            reopen_max: Duration::from_secs(2),
            ..Config::default()
        }),
    }
}

/// What the service can work off in a tenth of a second.
const BOUNDED: Option<NonZeroU32> = NonZeroU32::new(50);

fn attempts_per_request(seconds: &[Second]) -> f64 {
    let sum = |of: fn(&Second) -> u32| f64::from(seconds.iter().map(of).sum::<u32>());
    sum(|second| second.attempts) / sum(|second| second.first)
}

/// The first second after the stall from which on nearly all users are answered, to the end.
fn back_after(seconds: &[Second]) -> Option<usize> {
    let after = &seconds[STALL.end..];
    let down = after.iter().rposition(|second| second.goodput() < 0.99);
    let back = down.map_or(0, |last| last + 1);
    (back < after.len()).then_some(back)
}

fn assert_healthy_before(seconds: &[Second], context: &str) {
    let before = &seconds[..STALL.start - 2];
    assert!(
        before.iter().all(|second| second.goodput() > 0.999),
        "{context}: {before:?}"
    );
}

#[test]
fn naive_clients_keep_the_service_down_long_after_the_stall_is_over() {
    for seed in SEEDS {
        for load in [0.70, 0.85] {
            let seconds = Simulation::run(&setting(seed, load, None, naive()));
            let context = format!("seed {seed}, load {load}");
            assert_healthy_before(&seconds, &context);
            let after = &seconds[STALL.end..];
            assert!(
                after.iter().all(|second| second.goodput() < 0.01),
                "{context}: {after:?}"
            );
            // It is not idle: each second it works off what it can, for clients that have left.
            let busy = after[..END - STALL.end - 1].iter();
            let wasted = busy.map(|second| second.wasted).min();
            assert!(
                wasted.is_some_and(|wasted| wasted > 475),
                "{context}: {wasted:?}"
            );
        }
    }
}

// Pitfall 46: no peer shows what its policy does to a service that recovers.
#[test]
fn protected_clients_have_their_answers_back_within_three_seconds() {
    for seed in SEEDS {
        for load in [0.70, 0.85] {
            let seconds = Simulation::run(&setting(seed, load, BOUNDED, protected()));
            let context = format!("seed {seed}, load {load}");
            assert_healthy_before(&seconds, &context);
            let back = back_after(&seconds);
            assert!(back.is_some_and(|back| back <= 3), "{context}: {back:?}");
            let attempts = attempts_per_request(&seconds);
            assert!(attempts <= ATTEMPTS_MAX, "{context}: {attempts}");
            // In the stall alone it is a little more: the budget also counts the minute before.
            let attempts = attempts_per_request(&seconds[STALL]);
            assert!(attempts <= ATTEMPTS_MAX + 0.05, "{context}: {attempts}");
        }
    }
}

#[test]
fn the_collapse_needs_attempts_times_load_above_the_capacity() {
    // The same naive clients at a fifth of the capacity: three attempts each make 60 %.
    for seed in SEEDS {
        let seconds = Simulation::run(&setting(seed, 0.2, None, naive()));
        let back = back_after(&seconds);
        assert!(
            back.is_some_and(|back| (3..30).contains(&back)),
            "seed {seed}: {back:?}"
        );
    }
}

#[test]
fn a_bounded_queue_makes_the_return_quick_and_the_budget_keeps_the_load_low() {
    for seed in SEEDS {
        let run = |queue, policy| Simulation::run(&setting(seed, 0.7, queue, policy));
        // Clients alone: the load no longer feeds on itself, but the queue is still worked off for
        // those who left.
        let clients_only = run(None, protected());
        let back = back_after(&clients_only);
        assert!(
            back.is_some_and(|back| (4..45).contains(&back)),
            "seed {seed}: {back:?}"
        );
        // The bound alone: back at once, and three times the load as long as the outage lasts.
        let bound_only = run(BOUNDED, naive());
        let back = back_after(&bound_only);
        assert!(back.is_some_and(|back| back <= 3), "seed {seed}: {back:?}");
        let attempts = attempts_per_request(&bound_only[STALL]);
        assert!(attempts > 2.5, "seed {seed}: {attempts}");
    }
}

/// A millisecond to read and refuse: a twentieth of the work, and a thousand a second.
const DOOR: u64 = SECOND / 1_000;

#[test]
fn where_a_refusal_costs_a_twentieth_the_bound_alone_does_not_bring_naive_clients_back() {
    for seed in SEEDS {
        let run = |policy| {
            let mut costly = setting(seed, 0.85, BOUNDED, policy);
            costly.capacity.door = DOOR;
            Simulation::run(&costly)
        };
        // The door has a queue of its own, of all that knocks again.
        let bound_only = run(naive());
        assert_healthy_before(&bound_only, &format!("seed {seed}"));
        assert_eq!(back_after(&bound_only), None, "seed {seed}");
        // Protected clients knock little enough: what came in the stall is refused first.
        let back = back_after(&run(protected()));
        assert!(back.is_some_and(|back| back <= 10), "seed {seed}: {back:?}");
    }
}

#[test]
fn each_protection_alone_and_together() {
    // Prints the table of `main.rs`: run with `--nocapture`.
    let with = |budget: bool, breaker: bool| Policy {
        again: if budget {
            protected().again
        } else {
            naive().again
        },
        breaker: protected().breaker.filter(|_| breaker),
        ..naive()
    };
    let rows = [
        ("none", with(false, false), None),
        ("breaker", with(false, true), None),
        ("budget", with(true, false), None),
        ("breaker and budget", with(true, true), None),
        ("bounded queue", with(false, false), BOUNDED),
        ("bounded queue and budget", with(true, false), BOUNDED),
        ("all", with(true, true), BOUNDED),
    ];
    let figures = rows.map(|(name, policy, queue)| {
        let seconds = Simulation::run(&setting(1, 0.7, queue, policy));
        let back = back_after(&seconds);
        let attempts = attempts_per_request(&seconds[STALL]);
        let shown = back.map_or_else(|| String::from("never"), |back| format!("{back} s"));
        println!("//! | {name} | {shown} | {attempts:.2} |");
        (back.unwrap_or(usize::MAX), attempts)
    });
    let [none, _, budget, clients, _, _, all] = figures;
    assert_eq!(none.0, usize::MAX);
    assert!(all.0 < clients.0 && clients.0 < budget.0, "{figures:?}");
    assert!(all.1 < ATTEMPTS_MAX && none.1 > 2.0, "{figures:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| Simulation::run(&setting(seed, 0.85, BOUNDED, protected()));
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
