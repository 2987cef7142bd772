//! What a call through a breaker allocates: nothing, in any state; through a whole pipeline:
//! nothing; and what a breaker holds.
//!
//! Prevents a protection that costs more memory the more there is to protect from.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "what surrounds the tests is a test as well"
)]

use std::future::{Future, ready};
use std::num::{NonZeroU32, NonZeroUsize};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use mainstay::breaker::{Config, Family, Slow, Span, State};
use mainstay::innermost::InnermostLayer;
use mainstay::registry::Registry;
use mainstay::{
    Breaker, Bulkhead, ConcurrencyLimit, Error, Faults, Instant, Pipeline, RateLimiter, Reason,
    Retry, RetryBudget, Throttle, rate_limit,
};
use tower::{Layer as _, Service as _, service_fn};

/// What one idle breaker of a family may hold: its engine and all that its handle adds.
const BREAKER_BYTES_MAX: u64 = 384;

/// What a registry of ten thousand hosts may hold, keys included.
const REGISTRY_BYTES_MAX: u64 = 4 << 20;

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("tests use positive counts")
}

/// Never opens by itself within a test.
fn config() -> Config {
    Config {
        error_rate: Some(1.0),
        calls_min: count(10_000),
        consecutive: None,
        reopen: Duration::from_hours(1),
        reopen_max: Duration::from_hours(1),
        lease: Duration::from_hours(1),
        ..Config::default()
    }
}

fn family(config: Config) -> Family {
    let builder = Breaker::builder("payment").config(config);
    builder.family().expect("valid")
}

/// One of each kind.
fn breakers() -> Vec<Breaker> {
    let slow = Slow {
        after: Duration::from_secs(1),
        rate: 1.0,
        in_flight: true,
    };
    let kinds = [
        config(),
        Config {
            window: Span::Calls(count(100)),
            calls_min: count(100),
            ..config()
        },
        Config {
            error_rate: None,
            consecutive: Some(count(1_000_000)),
            ..config()
        },
        Config {
            slow: Some(slow),
            ..config()
        },
    ];
    let breakers: Vec<Breaker> = kinds
        .into_iter()
        .map(|kind| family(kind).breaker("payment-1"))
        .collect();
    for breaker in &breakers {
        // What is made on first need is made by the first call.
        breaker.try_acquire().expect("closed").success();
        breaker
            .try_acquire()
            .expect("closed")
            .failure(Reason::Error);
    }
    breakers
}

/// What a call does that never waits.
fn now<F: Future>(future: F) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the test's futures are ready"),
    }
}

fn assert_none(what: &str, breaker: &Breaker, allocated: &AllocationInfo) {
    assert_eq!(allocated.count_total, 0, "{what} of {breaker:?}");
}

#[test]
fn a_call_through_a_closed_circuit_allocates_nothing_whatever_its_result() {
    for breaker in &breakers() {
        let good = measure(|| {
            for _ in 0..100 {
                assert_eq!(now(breaker.call(ready(Ok::<_, u8>(1)))), Ok(1));
                breaker.try_acquire().expect("closed").success();
                breaker.try_acquire_owned().expect("closed").success();
            }
        });
        assert_none("a success", breaker, &good);
        let bad = measure(|| {
            for _ in 0..10 {
                let failed = now(breaker.call(ready(Err::<u8, _>(1))));
                assert_eq!(failed, Err(Error::Inner(1)));
                drop(breaker.try_acquire());
                breaker.try_acquire().expect("closed").ignore();
            }
        });
        assert_none("a failure", breaker, &bad);
    }
}

#[test]
fn a_rejection_by_an_open_circuit_allocates_nothing() {
    for breaker in &breakers() {
        let now_open = Config {
            consecutive: Some(count(1)),
            ..config()
        };
        breaker.reconfigure(&now_open).expect("valid");
        breaker
            .try_acquire()
            .expect("closed")
            .failure(Reason::Error);
        assert!(matches!(breaker.state(), State::Open { .. }));
        let rejected = measure(|| {
            for _ in 0..100 {
                assert!(breaker.try_acquire().is_err());
                let answer = now(breaker.call(ready(Ok::<_, u8>(1))));
                assert!(matches!(answer, Err(Error::Rejected(_))));
            }
        });
        assert_none("a rejection", breaker, &rejected);
    }
}

#[test]
fn a_rejection_by_a_half_open_circuit_allocates_nothing() {
    let breaker = family(Config {
        consecutive: Some(count(1)),
        probes: count(1),
        ..config()
    })
    .breaker("payment-1");
    breaker
        .try_acquire()
        .expect("closed")
        .failure(Reason::Error);
    let later = Instant::from_millis(7_200_000);
    let _probe = breaker.try_acquire_at(later).expect("the cooldown is over");
    assert_eq!(breaker.state(), State::HalfOpen);
    let rejected = measure(|| {
        for _ in 0..100 {
            assert!(breaker.try_acquire_at(later).is_err());
        }
    });
    assert_none("a rejection", &breaker, &rejected);
}

#[test]
fn a_call_through_the_layer_allocates_nothing() {
    let breaker = family(config()).breaker("payment-1");
    let inner = InnermostLayer.layer(service_fn(|n: u8| ready(Ok::<_, u8>(n))));
    let mut service = breaker.layer().layer(inner);
    now(service.call(0)).expect("it passes");
    let calls = measure(|| {
        for n in 0..100 {
            assert_eq!(now(service.call(n)), Ok(n));
        }
    });
    assert_none("a call", &breaker, &calls);
}

#[test]
fn a_call_through_a_whole_pipeline_allocates_nothing() {
    let budget = RetryBudget::builder("payment").build().expect("valid");
    let throttle = Throttle::builder("payment").build().expect("valid");
    let limiter = RateLimiter::builder("payment").config(rate_limit::Config {
        burst: count(1_000),
        ..rate_limit::Config::default()
    });
    let limit = ConcurrencyLimit::builder("payment").build();
    let pipeline = Pipeline::builder("payment")
        .deadline(Duration::from_secs(3))
        .rate_limit(limiter.build().expect("valid"))
        .retry(Retry::builder(budget).build().expect("valid"))
        .breaker(family(config()).breaker("payment-1"))
        .throttle(throttle)
        .concurrency_limit(limit.expect("valid"))
        .bulkhead(Bulkhead::builder("payment").build().expect("valid"))
        .timeout(Duration::from_secs(1))
        .faults(Faults::builder("payment").build().expect("valid"))
        .build()
        .expect("valid");
    let call = || now(pipeline.call(|_| ready(Ok::<_, u8>(1))));
    // What a thread makes once.
    assert_eq!(call(), Ok(1));
    let calls = measure(|| {
        for _ in 0..100 {
            assert_eq!(call(), Ok(1));
        }
    });
    assert_eq!(calls.count_total, 0, "{calls:?}");
}

#[test]
fn an_idle_breaker_holds_at_most_its_share() {
    let family = family(Config::default());
    let endpoint: Arc<str> = Arc::from("payment-1");
    let mut made = None;
    let held = measure(|| made = Some(family.breaker(Arc::clone(&endpoint))));
    assert!(made.is_some());
    assert_eq!(held.count_total, 1, "one allocation");
    assert!(held.bytes_total <= BREAKER_BYTES_MAX, "{held:?}");
}

#[test]
fn ten_thousand_hosts_hold_at_most_four_megabytes() {
    let hosts: u32 = 10_000;
    let family = family(Config::default());
    let overflow = family.breaker("others");
    let mut registry = None;
    let held = measure(|| {
        let make = move |host: &Arc<str>| family.breaker(Arc::clone(host));
        let capacity = NonZeroUsize::new(hosts as usize).expect("positive");
        let full = Registry::builder(make, overflow).capacity(capacity).build();
        for host in 0..hosts {
            let host = std::net::Ipv4Addr::from(host).to_string();
            let breaker = full.get(&Arc::from(host));
            breaker.try_acquire().expect("closed").success();
        }
        registry = Some(full);
    });
    let registry = registry.expect("it was made");
    assert_eq!(registry.len(), hosts as usize);
    let held = held.bytes_current.unsigned_abs();
    assert!(held <= REGISTRY_BYTES_MAX, "{held} bytes");
}
