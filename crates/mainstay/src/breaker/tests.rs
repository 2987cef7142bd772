//! Claims about the asynchronous half of the breaker, in virtual time.

use std::cell::Cell;
use std::future::pending;
use std::mem::ManuallyDrop;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use mainstay_core::event::Observe;
use mainstay_core::outcome::{Outcome, Reason};
use tokio::task::JoinSet;
use tokio::time::{advance, timeout};

use super::*;
use crate::classify::Nested;
use crate::heard::Heard;

mod layer;

const SECOND: Duration = Duration::from_secs(1);

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("tests use positive counts")
}

/// Opens at two failures of two, for at most a second; one probe with a lease of a second.
fn config() -> Config {
    Config {
        calls_min: count(2),
        consecutive: None,
        reopen: SECOND,
        reopen_max: SECOND,
        probes: count(1),
        lease: SECOND,
        ..Config::default()
    }
}

fn breaker<O: Observe>(observer: O) -> Breaker<O> {
    Breaker::builder("payment")
        .endpoint("payment-1")
        .config(config())
        .observer(observer)
        .seed(7)
        .build()
        .expect("the test's configuration is valid")
}

async fn fail(breaker: &Breaker<impl Observe>) {
    let result = breaker.call(async { Err::<(), _>("reset") }).await;
    assert_eq!(result, Err(Error::Inner("reset")));
}

async fn succeed(breaker: &Breaker<impl Observe>) {
    let result = breaker.call(async { Ok::<_, &str>("paid") }).await;
    assert_eq!(result, Ok("paid"));
}

/// A circuit whose cooldown just ended: the next call is its one probe.
async fn probing<O: Observe>(observer: O) -> Breaker<O> {
    let breaker = breaker(observer);
    fail(&breaker).await;
    fail(&breaker).await;
    assert!(!breaker.would_admit());
    advance(SECOND).await;
    assert!(breaker.would_admit());
    breaker
}

// Pitfall 8.
#[tokio::test(start_paused = true)]
async fn each_transition_is_told_once_in_order_with_its_fields() {
    let heard = Heard::new();
    let breaker = probing(heard.clone()).await;
    succeed(&breaker).await;
    assert_eq!(breaker.state(), State::Closed);

    let events = heard.take();
    let Event::CircuitOpen {
        service,
        reason,
        endpoint,
        retry_after_ms,
    } = &events[0]
    else {
        panic!("first it opens: {events:?}");
    };
    assert_eq!((&**service, &**endpoint), ("payment", "payment-1"));
    assert_eq!(*reason, Reason::Error);
    assert!((500..=1_000).contains(retry_after_ms));
    let names: Vec<_> = events.iter().map(|event| event.kind().name).collect();
    assert_eq!(
        names,
        ["circuit_open", "circuit_half_open", "circuit_closed"]
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_rejected_call_starts() {
    let breaker = breaker(());
    fail(&breaker).await;
    fail(&breaker).await;
    let started = Cell::new(false);
    let rejected = breaker
        .call(async {
            started.set(true);
            Ok::<_, &str>(())
        })
        .await;
    let Err(Error::Rejected(rejection)) = rejected else {
        panic!("the circuit is open: {rejected:?}");
    };
    assert_eq!(&*rejection.name, "payment");
    assert!(rejection.retry_after.is_some_and(|after| after <= SECOND));
    assert!(!started.get());
}

// Pitfall 11.
#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_its_first_poll_takes_no_probe() {
    let breaker = probing(()).await;
    drop(breaker.call(pending::<Result<(), ()>>()));
    succeed(&breaker).await;
    assert_eq!(breaker.state(), State::Closed);
}

// Pitfalls 10 and 14: Polly v8 closes the circuit.
#[tokio::test(start_paused = true)]
async fn a_cancelled_probe_gives_its_slot_back_and_does_not_close_the_circuit() {
    let breaker = probing(()).await;
    let cancelled = timeout(SECOND / 10, breaker.call(pending::<Result<(), ()>>())).await;
    assert!(cancelled.is_err());
    assert_eq!(breaker.state(), State::HalfOpen);
    assert!(breaker.would_admit());
}

// Pitfall 10: Polly v8 has no lease.
#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_costs_one_lease() {
    let breaker = probing(()).await;
    let mut tasks = JoinSet::new();
    let hanging = breaker.clone();
    tasks.spawn(async move { hanging.call(pending::<Result<(), ()>>()).await });
    tokio::task::yield_now().await;
    assert!(!breaker.would_admit());
    advance(SECOND + SECOND / 10).await;
    succeed(&breaker).await;
    assert_eq!(breaker.state(), State::Closed);
}

// Pitfall 11.
#[tokio::test(start_paused = true)]
async fn a_forgotten_permit_costs_one_lease() {
    let breaker = probing(()).await;
    let _forgotten = ManuallyDrop::new(breaker.try_acquire().expect("the probe"));
    let rejected = breaker.try_acquire().expect_err("it is out");
    advance(rejected.retry_after.expect("a lease ends")).await;
    succeed(&breaker).await;
    assert_eq!(breaker.state(), State::Closed);
}

// Pitfall 10: only gobreaker counts a panic.
#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "to unwind takes an interpreter minutes")]
async fn a_call_that_panics_is_a_failure_and_names_it() {
    let heard = Heard::new();
    let breaker = probing(heard.clone()).await;
    heard.take();
    let mut tasks = JoinSet::new();
    let shared = breaker.clone();
    tasks.spawn(async move {
        let bug = async { panic!("a bug of the caller") };
        shared.call::<(), ()>(bug).await
    });
    assert!(
        tasks
            .join_next()
            .await
            .is_some_and(|joined| joined.is_err())
    );
    let events = heard.take();
    assert!(
        matches!(
            events[..],
            [
                Event::CircuitHalfOpen { .. },
                Event::CircuitOpen {
                    reason: Reason::Panic,
                    ..
                }
            ]
        ),
        "{events:?}"
    );
}

// Pitfall 10.
#[tokio::test(start_paused = true)]
async fn a_call_that_an_inner_policy_rejected_gives_the_probe_back() {
    let breaker = probing(()).await;
    let inner = breaker.rejection(Rejected {
        retry_after: Some(SECOND),
    });
    let rejected = breaker
        .call_with(
            async { Err::<(), Error<()>>(Error::Rejected(inner)) },
            Nested(ErrorsFail),
        )
        .await;
    assert!(matches!(
        rejected.map_err(Error::flatten),
        Err(Error::Rejected(_))
    ));
    assert_eq!(breaker.state(), State::HalfOpen);
    assert!(breaker.would_admit());
}

// Pitfall 15: seatbelt #506.
#[tokio::test(start_paused = true)]
async fn calls_that_are_always_cancelled_open_the_circuit() {
    let heard = Heard::new();
    let breaker = breaker(heard.clone());
    for _ in 0..2 {
        let slow = breaker.call(pending::<Result<(), ()>>());
        assert!(timeout(SECOND, slow).await.is_err());
    }
    let events = heard.take();
    assert!(
        matches!(
            events[..],
            [Event::CircuitOpen {
                reason: Reason::Abandoned,
                ..
            }]
        ),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_owned_permit_outlives_the_call_that_took_it() {
    let breaker = probing(()).await;
    let permit = breaker.try_acquire_owned().expect("the probe");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { permit.success() });
    tasks.join_all().await;
    assert_eq!(breaker.state(), State::Closed);
}

/// Asks the breaker that it observes.
#[derive(Default)]
struct Curious(Mutex<Option<Breaker<Arc<Self>>>>, Heard);

impl Curious {
    fn replace(&self, breaker: Option<Breaker<Arc<Self>>>) {
        *self.0.lock().expect("nothing panics under it") = breaker;
    }
}

impl Observe for Curious {
    fn observe(&self, event: Event) {
        let breaker = self.0.lock().expect("nothing panics under it").clone();
        if let Some(breaker) = breaker {
            let _state = breaker.state();
            drop(breaker.try_acquire());
        }
        self.1.observe(event);
    }
}

// Pitfall 18: gobreaker, sentinel-rust and tower-resilience call it under a lock.
#[tokio::test(start_paused = true)]
async fn an_observer_may_call_back_into_the_breaker() {
    let curious = Arc::new(Curious::default());
    let breaker = breaker(curious.clone());
    curious.replace(Some(breaker.clone()));
    fail(&breaker).await;
    fail(&breaker).await;
    advance(SECOND).await;
    succeed(&breaker).await;
    assert_eq!(
        curious.1.names(),
        ["circuit_open", "circuit_half_open", "circuit_closed"]
    );
    // They hold each other.
    curious.replace(None);
}

struct Panicking;

impl Observe for Panicking {
    fn observe(&self, _: Event) {
        panic!("an observer with a bug");
    }
}

// Pitfall 18.
#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "to unwind takes an interpreter minutes")]
async fn an_observer_that_panics_loses_no_state() {
    let breaker = breaker(Arc::new(Panicking));
    fail(&breaker).await;
    let permit = breaker.try_acquire().expect("closed");
    let told = catch_unwind(AssertUnwindSafe(|| permit.failure(Reason::Status)));
    assert!(told.is_err());
    assert!(matches!(breaker.state(), State::Open { .. }));
}

// Pitfall 20.
#[tokio::test(start_paused = true)]
async fn breakers_without_a_seed_do_not_share_one() {
    let mut cooldowns = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let breaker = Breaker::builder("payment")
            .config(config())
            .build()
            .expect("valid");
        fail(&breaker).await;
        fail(&breaker).await;
        if let State::Open { retry_after } = breaker.state() {
            cooldowns.insert(retry_after);
        }
    }
    assert!(cooldowns.len() > 10, "{cooldowns:?}");
}

#[tokio::test(start_paused = true)]
async fn clones_are_one_circuit() {
    let breaker = breaker(());
    let clone = breaker.clone();
    fail(&breaker).await;
    fail(&clone).await;
    assert!(!breaker.would_admit() && !clone.would_admit());
    assert_eq!(clone.counts(), Counts::default(), "of the new generation");
}

// Pitfall 19: tower-resilience waits in steps of a millisecond.
#[tokio::test(start_paused = true)]
async fn a_rejection_waits_for_nobody() {
    let breaker = breaker(());
    breaker.force_open();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut call = std::pin::pin!(breaker.call(pending::<Result<(), ()>>()));
    assert!(
        call.as_mut().poll(&mut context).is_ready(),
        "at the first poll"
    );
}

#[tokio::test(start_paused = true)]
async fn blocking_calls_are_counted_as_others_are() {
    let breaker = breaker(());
    assert_eq!(breaker.call_blocking(|| Ok::<_, &str>("paid")), Ok("paid"));
    let failed = breaker.call_blocking_with(
        || Ok::<_, &str>(503),
        crate::classify::by(|_: Result<&i32, &&str>| Outcome::Failure(Reason::Status)),
    );
    assert_eq!(failed, Ok(503), "one of two is half");
    let rejected = breaker.call_blocking(|| -> Result<(), ()> { panic!("it is open") });
    assert!(matches!(rejected, Err(Error::Rejected(_))));
}

// Pitfall 24: a panic under a lock bricks the breaker (seatbelt).
#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "to unwind takes an interpreter minutes")]
async fn a_blocking_call_that_panics_is_a_failure_and_bricks_nothing() {
    let breaker = probing(()).await;
    let work = || breaker.call_blocking(|| -> Result<(), ()> { panic!("a bug of the caller") });
    assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
    assert!(matches!(breaker.state(), State::Open { .. }));
    advance(SECOND).await;
    assert_eq!(breaker.call_blocking(|| Ok::<_, ()>("paid")), Ok("paid"));
    assert_eq!(breaker.state(), State::Closed);
    succeed(&breaker).await;
}

// Pitfall 23: recloser pins global reclamation for as long as a call lasts.
#[tokio::test(start_paused = true)]
async fn a_call_of_hours_holds_nothing_that_others_need() {
    let breaker = breaker(());
    let long = breaker.try_acquire().expect("closed");
    for _ in 0..100 {
        fail(&breaker).await;
        fail(&breaker).await;
        advance(SECOND * 3_600).await;
        succeed(&breaker).await;
        assert_eq!(breaker.state(), State::Closed);
    }
    long.failure(Reason::Timeout);
    assert_eq!(breaker.stale_total(), 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn slow_calls_are_timed_by_their_permits() {
    let heard = Heard::new();
    let breaker = Breaker::builder("payment")
        .config(config())
        .error_rate(None)
        .slow(Slow {
            after: SECOND,
            rate: 0.5,
            in_flight: false,
        })
        .observer(heard.clone())
        .build()
        .expect("valid");
    for _ in 0..2 {
        let slow = async {
            tokio::time::sleep(SECOND * 2).await;
            Ok::<_, &str>("paid")
        };
        assert_eq!(breaker.call(slow).await, Ok("paid"));
    }
    let events = heard.take();
    assert!(
        matches!(
            events[..],
            [Event::CircuitOpen {
                reason: Reason::Slow,
                ..
            }]
        ),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_asks_for_time_gets_it() {
    let breaker = breaker(());
    let asks = crate::classify::by(|_: Result<&(), &&str>| Outcome::Throttled {
        retry_after: Some(SECOND * 30),
    });
    for _ in 0..2 {
        let throttled = breaker.call_with(async { Err::<(), _>("429") }, asks).await;
        assert_eq!(throttled, Err(Error::Inner("429")));
    }
    advance(SECOND * 29).await;
    let rejected = breaker.try_acquire().expect_err("it asked for 30 s");
    assert!(rejected.retry_after >= Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn hands_on_the_breaker_are_told_to_the_observer() {
    let heard = Heard::new();
    let breaker = breaker(heard.clone());
    breaker.force_open();
    assert_eq!(
        (breaker.mode(), breaker.state()),
        (Mode::ForcedOpen, State::ForcedOpen)
    );
    let events = heard.take();
    assert!(
        matches!(
            events[..],
            [Event::CircuitOpen {
                reason: Reason::Forced,
                retry_after_ms: 0,
                ..
            }]
        ),
        "{events:?}"
    );
    advance(SECOND * 1_000).await;
    assert!(!breaker.would_admit());
    breaker.auto();
    assert_eq!(heard.names(), ["circuit_closed"]);
    breaker.shadow();
    for _ in 0..3 {
        fail(&breaker).await;
    }
    assert_eq!(breaker.shadowed_total(), 1);
    breaker.disable();
    fail(&breaker).await;
    breaker.auto();
    assert_eq!(heard.names(), ["circuit_open", "circuit_closed"]);
    breaker
        .reconfigure(&Config {
            calls_min: count(3),
            ..config()
        })
        .expect("valid");
    fail(&breaker).await;
    fail(&breaker).await;
    assert!(breaker.would_admit());
    fail(&breaker).await;
    assert!(!breaker.would_admit());
    breaker.reset();
    assert!(breaker.would_admit());
}

#[tokio::test(start_paused = true)]
async fn breakers_of_a_family_share_a_name_and_no_state() {
    let heard = Heard::new();
    let family = Breaker::builder("shop")
        .config(config())
        .observer(heard.clone())
        .seed(7)
        .family()
        .expect("valid");
    let [one, two] = ["one", "two"].map(|endpoint| family.breaker(endpoint));
    for breaker in [&one, &two] {
        fail(breaker).await;
        fail(breaker).await;
    }
    assert_ne!(one.state(), two.state(), "each draws its own jitter");
    let endpoints: Vec<_> = heard
        .take()
        .into_iter()
        .filter_map(|event| {
            let Event::CircuitOpen {
                service, endpoint, ..
            } = event
            else {
                return None;
            };
            Some((service.to_string(), endpoint.to_string()))
        })
        .collect();
    let shop = |endpoint: &str| ("shop".to_owned(), endpoint.to_owned());
    assert_eq!(endpoints, [shop("one"), shop("two")]);
}

#[test]
fn permits_are_small_and_calls_can_be_sent_to_other_threads() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    assert!(size_of::<Permit<'_>>() <= 24, "{}", size_of::<Permit<'_>>());
    assert!(size_of::<OwnedPermit>() <= 24);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let breaker = breaker(());
        drop(assert_send(breaker.call(async { Ok::<_, ()>(1) })));
    });
}
