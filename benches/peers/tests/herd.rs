//! Many clients whose circuits opened in the same outage.
//!
//! Prevents claims in docs/comparison.md that nobody saw. Without jitter all of them come back in
//! the same moment, and the callee that had just recovered gets all their probes at once.

use std::time::Duration;

use layered::{Execute, Layer as _, Service as _};
use mainstay::breaker::Config;
use mainstay::{Breaker, Reason};
use peers::{Failure, now};
use seatbelt::breaker::Breaker as Seatbelt;
use seatbelt::{RecoveryInfo, ResilienceContext};
use tick::ClockControl;

const CLIENTS: usize = 200;
const COOLDOWN: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(50);

/// Steps of two cooldowns: enough that each client has come back once.
const STEPS: usize = 200;

// Pitfall 20: the cooldown of seatbelt 0.11 has no jitter.
#[test]
fn pitfall_20_two_hundred_clients_of_seatbelt_probe_in_the_same_moment() {
    let clock = ClockControl::new();
    let context = ResilienceContext::<(), Result<(), Failure>>::new(clock.to_clock());
    let layer = Seatbelt::layer("payment", &context)
        .recovery_with(|_, _| RecoveryInfo::retry())
        .rejected_input(|(), _| Ok(()))
        .min_throughput(1)
        .break_duration(COOLDOWN);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| layer.layer(Execute::new(async |()| Err(Failure))))
        .collect();
    // One that is rejected is given `Ok` here, so an error is a call that went through.
    let probes = || {
        let calls = clients.iter().map(|client| now(client.execute(())));
        calls.filter(Result::is_err).count()
    };
    while probes() > 0 {}
    let mut peak = 0;
    for _ in 0..STEPS {
        clock.advance(STEP);
        peak = peak.max(probes());
    }
    assert_eq!(peak, CLIENTS, "they spread now: correct docs/comparison.md");
}

// Pitfall 20.
#[tokio::test(start_paused = true)]
async fn pitfall_20_two_hundred_clients_of_ours_spread_their_probes() {
    let config = Config {
        reopen: COOLDOWN,
        ..Config::default()
    };
    let client = |seed| {
        let breaker = Breaker::builder("payment")
            .config(config.clone())
            .seed(seed);
        breaker.build().expect("a configuration that works")
    };
    let clients: Vec<Breaker> = (0..CLIENTS as u64).map(client).collect();
    let probes = || {
        let permits = clients
            .iter()
            .filter_map(|client| client.try_acquire().ok());
        permits.map(|permit| permit.failure(Reason::Error)).count()
    };
    while probes() > 0 {}
    let mut peak = 0;
    for _ in 0..STEPS {
        tokio::time::advance(STEP).await;
        peak = peak.max(probes());
    }
    assert!(peak <= CLIENTS / 10, "{peak} of {CLIENTS} in one step");
}
