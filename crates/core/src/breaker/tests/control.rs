//! Claims about the ramp, the callee's wishes, the hands on the circuit, and limits that change.

use super::*;

fn cooldown(breaker: &Breaker, now: Instant) -> Duration {
    let State::Open { retry_after } = breaker.state(now) else {
        panic!("it is open: {:?}", breaker.state(now));
    };
    retry_after
}

fn ramped() -> Breaker {
    let breaker = open(&Config {
        ramp: Some(millis(1_000)),
        reopen: millis(100),
        ..config()
    });
    for _ in 0..3 {
        succeed(&breaker, at(1_000));
    }
    breaker
}

fn passes_of_a_thousand(breaker: &Breaker, now: Instant) -> usize {
    (0..1_000)
        .filter_map(|_| breaker.acquire(now).ok())
        .map(|admitted| breaker.ignore(admitted.permit))
        .count()
}

// resilience4j #985: all traffic slams back at once.
#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn after_recovery_calls_come_back_little_by_little_and_the_ramp_ends_by_itself() {
    let breaker = ramped();
    assert_eq!(breaker.state(at(1_000)), State::Ramp { share: RAMP_FLOOR });
    let shares = [1_000, 1_500, 1_900].map(|now| passes_of_a_thousand(&breaker, at(now)));
    assert!((50..150).contains(&shares[0]), "seed 7: {shares:?}");
    assert!((490..610).contains(&shares[1]), "seed 7: {shares:?}");
    assert!((860..950).contains(&shares[2]), "seed 7: {shares:?}");
    assert_eq!(breaker.state(at(2_000)), State::Closed);
    assert_eq!(passes_of_a_thousand(&breaker, at(2_000)), 1_000);
    assert_eq!(
        breaker.state(at(1_500)),
        State::Closed,
        "it is over for all"
    );
}

#[test]
fn failures_in_the_ramp_open_the_circuit_for_longer_than_before() {
    let breaker = ramped();
    let mut transition = None;
    while transition.is_none() {
        if let Ok(admitted) = breaker.acquire(at(1_500)) {
            transition = breaker.failure(admitted.permit, Reason::Status, at(1_500));
        }
    }
    assert!(
        matches!(transition, Some(Transition::Opened { cooldowns: 2, .. })),
        "{transition:?}"
    );
}

#[test]
fn results_of_the_ramp_count_on_after_it() {
    let breaker = ramped();
    let early = loop {
        if let Ok(admitted) = breaker.acquire(at(1_500)) {
            break admitted.permit;
        }
    };
    succeed(&breaker, at(2_500));
    assert_eq!(breaker.failure(early, Reason::Reset, at(2_600)), None);
    assert_eq!(breaker.counts(at(2_600)).failed, 1);
    assert_eq!(breaker.stale_total(), 0);
}

fn throttle(breaker: &Breaker, wish: u64, now: Instant) -> Option<Transition> {
    let wish = Some(millis(wish));
    breaker.throttled(permit(breaker, now), wish, now)
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn a_circuit_stays_open_as_long_as_the_callee_asked_and_never_a_moment_less() {
    for seed in 0..200 {
        let breaker = Breaker::new(&config(), seed).expect("valid");
        throttle(&breaker, 30_000, at(0));
        // The wish is older than what opens it.
        for _ in 0..9 {
            fail(&breaker, at(10));
        }
        let open = cooldown(&breaker, at(10));
        assert!(open >= millis(29_990), "seed {seed}: {open:?}");
        assert!(open <= millis(30_500), "seed {seed}: {open:?}");
    }
}

#[test]
fn a_wish_shorter_than_the_cooldown_does_not_shorten_it() {
    let breaker = breaker(&config());
    for _ in 0..10 {
        throttle(&breaker, 1, at(0));
    }
    assert!(cooldown(&breaker, at(0)) >= millis(500));
}

#[test]
fn an_open_circuit_that_hears_a_later_wish_stays_open_for_longer_up_to_the_cap() {
    let breaker = breaker(&config());
    let late: Vec<Permit> = (0..2).map(|_| permit(&breaker, at(0))).collect();
    for _ in 0..10 {
        fail(&breaker, at(0));
    }
    let mut late = late.into_iter();
    let mut hear = |wish| {
        let late = late.next().expect("there are two");
        assert_eq!(breaker.throttled(late, Some(wish), at(5)), None);
    };
    hear(millis(60_000));
    let extended = cooldown(&breaker, at(5));
    assert!(extended >= millis(60_000) && extended <= millis(60_501));
    hear(Duration::MAX);
    let extended = cooldown(&breaker, at(5));
    assert!(extended >= RETRY_AFTER_MAX);
    assert!(extended <= RETRY_AFTER_MAX + millis(501));
}

#[test]
fn a_wish_of_an_earlier_generation_is_not_heard() {
    let breaker = breaker(&config());
    let late = permit(&breaker, at(0));
    for _ in 0..10 {
        fail(&breaker, at(0));
    }
    for _ in 0..3 {
        succeed(&breaker, at(1_000));
    }
    for _ in 0..10 {
        fail(&breaker, at(1_000));
    }
    let before = cooldown(&breaker, at(1_000));
    breaker.throttled(late, Some(millis(60_000)), at(1_000));
    assert_eq!(cooldown(&breaker, at(1_000)), before);
}

// Pitfall 17: a timer ends a forced state (failsafe-go, tower-resilience).
#[test]
fn a_circuit_opened_by_hand_stays_open_whatever_time_it_is() {
    let breaker = breaker(&config());
    let late = permit(&breaker, at(0));
    assert_eq!(
        breaker.force_open(),
        Some(Transition::Opened {
            reason: Reason::Forced,
            retry_after: None,
            cooldowns: 0
        })
    );
    assert_eq!(breaker.force_open(), None, "told once");
    assert_eq!(breaker.success(late, at(1)), None);
    for now in [0, 1_000, 1_000_000_000].map(at) {
        let rejected = breaker.acquire(now).expect_err("forced");
        assert_eq!(rejected.retry_after, None);
        assert!(!breaker.would_admit(now));
        assert_eq!(breaker.state(now), State::ForcedOpen);
    }
    assert_eq!(breaker.reset(at(2)), None);
    assert_eq!(breaker.mode(), Mode::ForcedOpen, "a reset is no auto");
    assert_eq!(breaker.auto(at(3)), Some(Transition::Closed));
    assert_eq!(breaker.state(at(3)), State::Closed);
}

#[test]
fn a_disabled_circuit_lets_all_calls_pass_and_counts_nothing() {
    let breaker = open(&config());
    assert_eq!(breaker.disable(), Some(Transition::Closed));
    for _ in 0..1_000 {
        assert_eq!(fail(&breaker, at(0)), None);
    }
    assert_eq!(breaker.counts(at(0)), Counts::default());
    assert_eq!(breaker.stale_total(), 0);
    assert_eq!(breaker.auto(at(0)), None, "calls passed before as well");
    assert_eq!(breaker.state(at(0)), State::Closed);
}

#[test]
fn in_the_shadow_the_circuit_changes_its_state_and_rejects_nothing() {
    let breaker = breaker(&config());
    assert_eq!(breaker.shadow(at(0)), None);
    let opens = (0..100).filter(|_| opened(fail(&breaker, at(0)))).count();
    assert_eq!(opens, 1);
    assert_eq!(breaker.shadowed_total(), 90);
    assert_eq!(breaker.stale_total(), 0, "shadow calls have no generation");
    assert!(matches!(breaker.state(at(0)), State::Open { .. }));
    assert!(breaker.would_admit(at(0)));
    // Of many at once, three are probes and close it, whatever becomes of the others.
    let calls: Vec<Permit> = (0..10).map(|_| permit(&breaker, at(1_000))).collect();
    let mut calls = calls.into_iter();
    let probes: Vec<Permit> = calls.by_ref().take(3).collect();
    for shadowed in calls {
        assert_eq!(breaker.failure(shadowed, Reason::Reset, at(1_000)), None);
    }
    let closes = probes
        .into_iter()
        .filter_map(|probe| breaker.success(probe, at(1_000)))
        .count();
    assert_eq!((closes, breaker.shadowed_total()), (1, 97));
}

#[test]
fn back_from_the_shadow_an_open_circuit_rejects() {
    let breaker = breaker(&config());
    breaker.shadow(at(0));
    for _ in 0..10 {
        fail(&breaker, at(0));
    }
    assert_eq!(breaker.auto(at(0)), None);
    assert!(breaker.acquire(at(0)).is_err());
}

// Pitfall 17: Polly and resilience4j rebuild the breaker (#299, #975, #2181).
#[test]
fn other_limits_keep_state_counts_and_cooldowns() {
    let breaker = breaker(&config());
    let early = permit(&breaker, at(0));
    for _ in 0..5 {
        fail(&breaker, at(0));
    }
    let stricter = Config {
        calls_min: count(7),
        reopen: millis(5_000),
        reopen_max: millis(5_000),
        ..config()
    };
    breaker.reconfigure(&stricter).expect("valid");
    assert_eq!(breaker.counts(at(0)).failed, 5);
    assert_eq!(breaker.failure(early, Reason::Reset, at(0)), None);
    assert!(opened(fail(&breaker, at(0))), "the seventh");
    let left = cooldown(&breaker, at(0));
    assert!(left >= millis(2_500), "{left:?}");
    breaker.reconfigure(&config()).expect("valid");
    assert_eq!(
        cooldown(&breaker, at(0)),
        left,
        "one that began keeps its end"
    );
}

#[test]
fn another_window_begins_anew_and_makes_no_old_result_count() {
    let spans = [
        Span::Time(millis(160)),
        Span::Time(millis(160_000)),
        Span::Calls(count(50)),
    ];
    for window in spans {
        let breaker = breaker(&config());
        let early = permit(&breaker, at(50_000));
        for _ in 0..5 {
            fail(&breaker, at(50_000));
        }
        let other = Config { window, ..config() };
        breaker.reconfigure(&other).expect("valid");
        assert_eq!(breaker.failure(early, Reason::Reset, at(50_001)), None);
        assert_eq!(breaker.counts(at(50_001)), Counts::default());
        let trips: Vec<bool> = (0..10)
            .map(|_| opened(fail(&breaker, at(50_001))))
            .collect();
        assert_eq!(trips.iter().position(|&trip| trip), Some(9), "{window:?}");
    }
}

#[test]
fn limits_that_cannot_work_change_nothing() {
    let breaker = breaker(&config());
    let wrong = Config {
        error_rate: None,
        ..config()
    };
    assert_eq!(breaker.reconfigure(&wrong), Err(ConfigError::NeverOpens));
    let trips = (0..10).filter(|_| opened(fail(&breaker, at(0)))).count();
    assert_eq!(trips, 1);
}

#[test]
fn a_circuit_may_be_forgotten_when_it_knows_nothing() {
    let breaker = breaker(&config());
    assert!(breaker.is_forgettable(at(0)));
    succeed(&breaker, at(0));
    assert!(!breaker.is_forgettable(at(0)), "the window holds a call");
    assert!(breaker.is_forgettable(at(2_000)));
    for _ in 0..10 {
        fail(&breaker, at(2_000));
    }
    assert!(
        !breaker.is_forgettable(at(900_000)),
        "open, and never asked"
    );
    for _ in 0..3 {
        succeed(&breaker, at(900_000));
    }
    assert!(
        !breaker.is_forgettable(at(902_000)),
        "its cooldowns still count"
    );
    assert!(breaker.is_forgettable(at(910_000)));
    breaker.force_open();
    assert!(!breaker.is_forgettable(at(910_000)));
}

#[test]
fn the_rate_of_bad_probes_may_differ_from_the_opening_one() {
    let strict = open(&Config {
        probe_rate: Some(0.01),
        ..config()
    });
    assert!(opened(fail(&strict, at(1_000))), "one bad probe is enough");
    let lenient = open(&Config {
        probe_rate: Some(1.0),
        ..config()
    });
    assert_eq!(fail(&lenient, at(1_000)), None);
    assert_eq!(fail(&lenient, at(1_000)), None);
    assert_eq!(succeed(&lenient, at(1_000)), Some(Transition::Closed));
}

#[test]
fn failures_in_a_row_alone_count_nothing_else() {
    let breaker = breaker(&Config {
        error_rate: None,
        consecutive: Some(count(5)),
        ..config()
    });
    for _ in 0..4 {
        fail(&breaker, at(0));
    }
    let healthy = breaker.acquire_untimed().expect("closed");
    assert_eq!(breaker.success_uncounted(healthy), Ok(()));
    assert_eq!(breaker.counts(at(0)), Counts::default());
    for _ in 0..4 {
        assert_eq!(fail(&breaker, at(0)), None);
    }
    assert!(opened(fail(&breaker, at(0))));
    assert_eq!(breaker.acquire_untimed(), None);
}

#[test]
fn calls_that_are_dropped_may_count_as_failures_or_as_nothing() {
    let failing = breaker(&Config {
        abandoned: Abandoned::Failure,
        ..config()
    });
    succeed(&failing, at(0));
    let trip = (0..20).position(|_| {
        let dropped = permit(&failing, at(0));
        opened(failing.abandon(dropped, at(0)))
    });
    assert_eq!(trip, Some(8));
    let ignoring = breaker(&Config {
        abandoned: Abandoned::Ignore,
        ..config()
    });
    for _ in 0..1_000 {
        assert_eq!(ignoring.abandon(permit(&ignoring, at(0)), at(0)), None);
    }
}

// Pitfall 15: a window of calls always holds the last answers.
#[test]
fn calls_that_are_all_dropped_open_every_kind_of_circuit() {
    let kinds = [
        Config {
            window: Span::Calls(count(20)),
            ..config()
        },
        Config {
            error_rate: None,
            consecutive: Some(count(5)),
            ..config()
        },
        config(),
    ];
    for kind in kinds {
        let breaker = breaker(&kind);
        succeed(&breaker, at(0));
        let trip = (0..20).position(|_| {
            let dropped = permit(&breaker, at(5_000));
            opened(breaker.abandon(dropped, at(5_000)))
        });
        assert_eq!(trip, Some(9), "{kind:?}");
    }
}

#[test]
fn a_window_that_spread_over_lanes_counts_what_came_before_and_after() {
    let window = Window::new(millis(1_600)).lanes(count(5));
    window.record(0, at(0), true);
    window.spread();
    for lane in (0..16).map(Lane) {
        window.record(0, At { now: at(0), lane }, lane.0 % 2 == 0);
    }
    let counts = window.counts(0, at(0));
    assert_eq!((counts.failed, counts.total), (9, 17));
    assert_eq!(window.counts(0, at(1_600)), Counts::default());
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn eight_threads_lose_no_call_while_the_window_spreads() {
    let window = Window::new(millis(1_600)).lanes(count(4));
    let next = Counter::new(0);
    in_eight_threads(&|| {
        let lane = Lane(next.fetch_add(1, Order::Relaxed));
        for call in 0..20_000 {
            window.record(
                0,
                At {
                    now: at(call % 1_600),
                    lane,
                },
                call % 4 == 0,
            );
        }
    });
    let counts = window.counts(0, at(1_599));
    assert_eq!((counts.failed, counts.total), (40_000, 160_000));
}
