//! State that is made anew each time a layer is applied.
//!
//! Prevents claims in docs/comparison.md that nobody saw. A router that applies its layers per
//! request, or a service that is built per connection, never opens such a circuit.

use layered::{Execute, Layer as _, Service as _};
use mainstay::{Breaker, Reason};
use peers::{Failure, now};
use seatbelt::breaker::Breaker as Seatbelt;
use seatbelt::{RecoveryInfo, ResilienceContext};
use tick::Clock;
use tower::{Service as _, ServiceExt as _, service_fn};
use tower_resilience::circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer};

const CALLS: u32 = 1_000;

// Pitfall 25: each service that a layer of tower-resilience 0.13 makes has a circuit of its own,
// unless it was built by `build_with_handle`.
#[test]
fn pitfall_25_a_layer_of_tower_resilience_applied_per_request_never_opens() {
    let layer = CircuitBreakerLayer::builder()
        .consecutive_failures(5)
        .build()
        .expect("a configuration that works");
    for _ in 0..CALLS {
        let inner = service_fn(|()| std::future::ready(Err::<(), _>(Failure)));
        let mut service = layer.layer(inner);
        let answer = now(now(service.ready()).expect("it is ready").call(()));
        assert!(
            matches!(answer, Err(CircuitBreakerError::Inner(Failure))),
            "it shares its state now: correct docs/comparison.md"
        );
    }
}

// Pitfall 25: each service that a layer of seatbelt 0.11 makes has a circuit of its own.
#[test]
fn pitfall_25_a_layer_of_seatbelt_applied_per_request_never_opens() {
    let context = ResilienceContext::<(), Result<(), &str>>::new(Clock::new_frozen());
    let layer = Seatbelt::layer("payment", &context)
        .recovery_with(|_, _| RecoveryInfo::retry())
        .rejected_input_error(|(), _| "rejected")
        .min_throughput(5);
    for _ in 0..CALLS {
        let service = layer.layer(Execute::new(|()| std::future::ready(Err("failed"))));
        assert_eq!(
            now(service.execute(())),
            Err("failed"),
            "it shares its state now: correct docs/comparison.md"
        );
    }
}

// Pitfall 25.
#[test]
fn pitfall_25_all_clones_of_ours_are_one_circuit() {
    let breaker = Breaker::builder("payment").build();
    let breaker = breaker.expect("a configuration that works");
    for _ in 0..5 {
        let per_request = breaker.clone();
        let permit = per_request.try_acquire().expect("a closed circuit");
        permit.failure(Reason::Error);
    }
    assert!(breaker.try_acquire().is_err());
}
