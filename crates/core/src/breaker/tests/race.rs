//! Claims about threads that meet in one circuit.

use super::*;

/// Runs the work in eight threads that begin at the same time: what one does while it waits for the
/// others to wake up is no race.
pub(super) fn in_eight_threads(work: &(impl Fn() + Sync)) {
    let ready = Counter::new(0);
    let run = || {
        ready.fetch_add(1, Order::AcqRel);
        while ready.load(Order::Acquire) < 8 {
            std::thread::yield_now();
        }
        work();
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(run);
        }
    });
}

// Pitfall 9: Polly #216, resilience4j #1432, failsafe-rs and recloser let too many through.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn among_a_thousand_racing_callers_exactly_the_permitted_probes_pass() {
    for _ in 0..20 {
        let breaker = open(&config());
        let (admitted, transitions) = (Counter::new(0), Counter::new(0));
        let ask = || {
            for granted in (0..125).filter_map(|_| breaker.acquire(at(1_000)).ok()) {
                admitted.fetch_add(1, Order::Relaxed);
                let made = u32::from(granted.transition.is_some());
                transitions.fetch_add(made, Order::Relaxed);
            }
        };
        in_eight_threads(&ask);
        assert_eq!(admitted.into_inner(), 3);
        assert_eq!(transitions.into_inner(), 1);
    }
}

// Pitfall 8.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn among_racing_failures_exactly_one_opens_the_circuit() {
    let config = Config {
        reopen: COOLDOWN_MIN,
        reopen_max: COOLDOWN_MIN,
        probes: count(1),
        ..config()
    };
    let breaker = breaker(&config);
    let [time, trips, tries] = [const { Counter::new(0) }; 3];
    in_eight_threads(&|| {
        for _ in 0..100_000 {
            let now = at(u64::from(time.fetch_add(1, Order::Relaxed)));
            let Ok(granted) = breaker.acquire(now) else {
                continue;
            };
            tries.fetch_add(u32::from(granted.transition.is_some()), Order::Relaxed);
            let transition = breaker.failure(granted.permit, Reason::Reset, now);
            trips.fetch_add(u32::from(transition.is_some()), Order::Relaxed);
        }
    });
    // It opened once, and again each time that it was tried, but for a try that is under way.
    let open = matches!(breaker.word().phase, Phase::Open { .. });
    assert!(tries.load(Order::Relaxed) > 100);
    let expected = tries.into_inner() + u32::from(open);
    assert_eq!(trips.into_inner(), expected);
}
