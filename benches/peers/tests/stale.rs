//! Answers that come after the circuit has moved on.
//!
//! Prevents claims in docs/comparison.md that nobody saw.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use layered::{Execute, Layer as _, Service as _};
use mainstay::breaker::{Config, OwnedPermit, State};
use mainstay::{Breaker, Reason};
use peers::{Failure, now, once};
use seatbelt::breaker::{Breaker as Seatbelt, HalfOpenMode};
use seatbelt::{RecoveryInfo, ResilienceContext};
use tick::ClockControl;
use tokio::sync::oneshot;
use tower::{Service as _, ServiceExt as _, service_fn};
use tower_resilience::circuitbreaker::{CircuitBreakerLayer, CircuitState};

const COOLDOWN: Duration = Duration::from_secs(5);
/// How seatbelt turns a call away: its services have one error for both.
const REJECTED: &str = "rejected";

type Answer = Result<(), &'static str>;
/// Ends when its sender is told how.
type Call = oneshot::Receiver<Answer>;

async fn ended(call: Call) -> Answer {
    call.await.expect("the test tells each call how it ends")
}

/// A call that the test ends by hand.
fn pending() -> (oneshot::Sender<Answer>, Call) {
    oneshot::channel()
}

/// A call that has ended already.
fn over(answer: Answer) -> Call {
    let (end, call) = pending();
    end.send(answer).expect("the receiver is here");
    call
}

// Pitfall 12: seatbelt 0.11 knows a probe by its kind, not by the half-open cycle it belongs to.
#[test]
fn pitfall_12_seatbelt_closes_by_a_probe_of_an_earlier_half_open_cycle() {
    let clock = ClockControl::new();
    let context = ResilienceContext::<Call, Answer>::new(clock.to_clock());
    let service = Seatbelt::layer("payment", &context)
        .recovery_with(|answer, _| match answer {
            Ok(()) => RecoveryInfo::never(),
            Err(_) => RecoveryInfo::retry(),
        })
        .rejected_input_error(|_, _| REJECTED)
        .failure_threshold(0.5)
        .min_throughput(10)
        .break_duration(COOLDOWN)
        .half_open_mode(HalfOpenMode::quick())
        .layer(Execute::new(ended));
    let service = Arc::new(service);
    let call = |call| -> Pin<Box<dyn Future<Output = Answer>>> {
        let service = Arc::clone(&service);
        Box::pin(async move { service.execute(call).await })
    };
    for _ in 0..10 {
        now(call(over(Err("failed")))).expect_err("it fails");
    }
    assert_eq!(now(call(over(Ok(())))), Err(REJECTED), "it is open");

    // The first half-open cycle: one probe that takes its time, and one that fails.
    clock.advance(COOLDOWN * 2);
    let (end_first, first) = pending();
    let mut first = call(first);
    assert!(once(first.as_mut()).is_pending(), "a probe");
    clock.advance(COOLDOWN * 2);
    assert_eq!(now(call(over(Err("failed")))), Err("failed"), "a probe");
    assert_eq!(now(call(over(Ok(())))), Err(REJECTED), "it is open again");

    // The second cycle: its probe has no answer yet when the first cycle's probe has.
    clock.advance(COOLDOWN * 2);
    let (end_second, second) = pending();
    let mut second = call(second);
    assert!(once(second.as_mut()).is_pending(), "a probe");
    assert_eq!(now(call(over(Ok(())))), Err(REJECTED), "the probe is out");
    end_first.send(Ok(())).expect("the probe waits");
    now(first).expect("it succeeds");
    for _ in 0..100 {
        let answer = now(call(over(Ok(()))));
        assert_eq!(
            answer,
            Ok(()),
            "it ignores the first now: correct docs/comparison.md"
        );
    }
    drop((end_second, second));
}

// Pitfall 12: tower-resilience 0.13 counts any answer, whenever its call was admitted.
#[test]
fn pitfall_12_tower_resilience_closes_by_a_call_that_was_admitted_before_it_opened() {
    let (layer, handle) = CircuitBreakerLayer::builder()
        .consecutive_failures(1)
        .wait_duration_in_open(Duration::from_millis(1))
        .build_with_handle()
        .expect("a configuration that works");
    let mut service = layer.layer(service_fn(ended));
    let mut call = |call| now(service.ready()).expect("it is ready").call(call);

    let (end_old, old) = pending();
    let mut old = call(old);
    assert!(once(old.as_mut()).is_pending(), "admitted while closed");
    now(call(over(Err("failed")))).expect_err("it fails");
    assert!(handle.is_open());
    let (end_probe, mut probe) = loop {
        let (end, probe) = pending();
        let mut probe = call(probe);
        if once(probe.as_mut()).is_pending() {
            break (end, probe);
        }
    };
    assert_eq!(handle.state(), CircuitState::HalfOpen);
    end_old.send(Ok(())).expect("the call waits");
    now(old).expect("it succeeds");
    assert!(once(probe.as_mut()).is_pending(), "the probe has no answer");
    assert_eq!(
        handle.state(),
        CircuitState::Closed,
        "it ignores the old call now: correct docs/comparison.md"
    );
    drop((end_probe, probe));
}

/// Moves the clock until a probe is let through.
async fn probe(breaker: &Breaker) -> OwnedPermit {
    loop {
        tokio::time::advance(Duration::from_secs(1)).await;
        if let Ok(probe) = breaker.try_acquire_owned() {
            return probe;
        }
    }
}

// Pitfall 12: a call of the closed time, and a probe of each of two cycles.
#[tokio::test(start_paused = true)]
async fn pitfall_12_ours_ignores_calls_and_probes_of_earlier_states() {
    let config = Config {
        probes: NonZeroU32::MIN,
        ..Config::default()
    };
    let breaker = Breaker::builder("payment").config(config).build();
    let breaker = breaker.expect("a configuration that works");
    let old = breaker.try_acquire().expect("a closed circuit");
    for _ in 0..5 {
        let permit = breaker.try_acquire().expect("a closed circuit");
        permit.failure(Reason::Error);
    }
    let first = probe(&breaker).await;
    // Its lease runs out, which the engine counts in sixteenths; another probe fails.
    tokio::time::advance(Config::default().lease * 17 / 16).await;
    let another = breaker.try_acquire().expect("the lease ran out");
    another.failure(Reason::Error);
    assert!(matches!(breaker.state(), State::Open { .. }));

    let second = probe(&breaker).await;
    old.success();
    first.success();
    assert_eq!(breaker.state(), State::HalfOpen);
    second.success();
    assert_eq!(breaker.state(), State::Closed);
}

// Pitfall 18: tower-resilience 0.13 calls its listeners while it holds its lock.
#[test]
fn pitfall_18_tower_resilience_holds_its_lock_while_a_listener_runs() {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tower_resilience::circuitbreaker::{CircuitBreakerHandle, DefaultClassifier};

    let handle = Arc::new(OnceLock::<CircuitBreakerHandle<DefaultClassifier>>::new());
    let locked = Arc::new(AtomicBool::new(false));
    let (seen, asks) = (Arc::clone(&locked), Arc::clone(&handle));
    let (layer, made) = CircuitBreakerLayer::builder()
        .consecutive_failures(1)
        .on_state_transition(move |_, _| {
            let handle = asks.get().expect("set before the first call");
            // Whoever waits for this here waits for ever.
            let waits = once(std::pin::pin!(handle.metrics())).is_pending();
            seen.store(waits, Ordering::SeqCst);
        })
        .build_with_handle()
        .expect("a configuration that works");
    assert!(handle.set(made).is_ok());
    let mut service = layer.layer(service_fn(|()| std::future::ready(Err::<(), _>(Failure))));
    let _failed = now(now(service.ready()).expect("it is ready").call(()));
    assert!(
        locked.load(Ordering::SeqCst),
        "it leaves the lock first now: correct docs/comparison.md"
    );
}

// Pitfall 18.
#[test]
fn pitfall_18_an_observer_of_ours_may_ask_the_breaker() {
    use std::sync::{Mutex, OnceLock};

    use mainstay::{Event, Observe};

    #[derive(Default)]
    struct Asks {
        breaker: OnceLock<Breaker<Arc<Self>>>,
        seen: Mutex<Vec<State>>,
    }

    impl Observe for Asks {
        fn observe(&self, _: Event) {
            let breaker = self.breaker.get().expect("set before the first call");
            self.seen.lock().expect("no panic").push(breaker.state());
        }
    }

    let asks = Arc::new(Asks::default());
    let breaker = Breaker::builder("payment").observer(Arc::<Asks>::clone(&asks));
    let breaker = breaker.build().expect("a configuration that works");
    assert!(asks.breaker.set(breaker.clone()).is_ok());
    for _ in 0..5 {
        let permit = breaker.try_acquire().expect("a closed circuit");
        permit.failure(Reason::Error);
    }
    let seen = asks.seen.lock().expect("no panic");
    assert!(matches!(seen[..], [State::Open { .. }]), "{seen:?}");
}
