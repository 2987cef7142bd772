//! Claims about fault injection.

use alloc::vec::Vec;

use super::*;

fn mixed() -> Config {
    Config {
        error: 0.1,
        latency: 0.2,
        latency_min: Duration::from_millis(5),
        latency_max: Duration::from_millis(9),
        hang: 0.05,
        reject: 0.15,
        wrong: 0.25,
    }
}

fn faults(seed: u64, calls: usize) -> Vec<Option<Fault>> {
    let injector = Injector::new(mixed(), seed).expect("valid");
    injector.enable();
    (0..calls).map(|_| injector.decide()).collect()
}

#[test]
fn the_same_seed_breaks_the_same_calls() {
    assert_eq!(faults(7, 500), faults(7, 500));
    assert_ne!(faults(7, 500), faults(8, 500));
}

#[test]
#[cfg_attr(miri, ignore = "too many steps for an interpreter")]
fn each_fault_gets_its_share() {
    let drawn = faults(1, 100_000);
    let share = |wanted: fn(&Fault) -> bool| {
        drawn.iter().flatten().filter(|fault| wanted(fault)).count() as f64 / 100_000.0
    };
    for (got, wanted) in [
        (share(|fault| *fault == Fault::Error), 0.1),
        (share(|fault| matches!(fault, Fault::Latency(_))), 0.2),
        (share(|fault| *fault == Fault::Hang), 0.05),
        (share(|fault| *fault == Fault::Reject), 0.15),
        (share(|fault| *fault == Fault::Wrong), 0.25),
    ] {
        assert!((got - wanted).abs() < 0.01, "{got} for {wanted}, seed 1");
    }
}

#[test]
fn a_delay_stays_within_its_bounds() {
    let range = Duration::from_millis(5)..=Duration::from_millis(9);
    for fault in faults(3, 10_000).into_iter().flatten() {
        if let Fault::Latency(delay) = fault {
            assert!(range.contains(&delay), "{delay:?}, seed 3");
        }
    }
}

#[test]
fn while_it_is_off_nothing_breaks_and_nothing_is_drawn() {
    let injector = Injector::new(mixed(), 7).expect("valid");
    assert!((0..1_000).all(|_| injector.decide().is_none()));
    injector.enable();
    let drawn: Vec<_> = (0..500).map(|_| injector.decide()).collect();
    assert_eq!(drawn, faults(7, 500));
    injector.disable();
    assert!(!injector.is_enabled());
    assert!((0..1_000).all(|_| injector.decide().is_none()));
}

#[test]
fn all_and_nothing_are_exact() {
    let all = Config {
        error: 1.0,
        ..Config::default()
    };
    let injector = Injector::new(all, 1).expect("valid");
    injector.enable();
    assert!((0..10_000).all(|_| injector.decide() == Some(Fault::Error)));
    let none = Injector::new(Config::default(), 1).expect("valid");
    none.enable();
    assert!((0..10_000).all(|_| none.decide().is_none()));
}

#[test]
fn values_that_cannot_work_are_refused() {
    for error in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        let config = Config { error, ..mixed() };
        let refused = config.validate();
        assert!(
            matches!(refused, Err(ConfigError::Share { field: "error", .. })),
            "{refused:?}"
        );
    }
    let too_much = Config {
        error: 0.6,
        hang: 0.5,
        ..Config::default()
    };
    assert!(matches!(too_much.validate(), Err(ConfigError::Sum(_))));
    let reversed = Config {
        latency_max: Duration::ZERO,
        ..mixed()
    };
    assert!(matches!(
        reversed.validate(),
        Err(ConfigError::Latency { .. })
    ));
}
