//! Claims about the client throttle's handles, in virtual time.

use std::time::Duration;

use tokio::time::advance;
use tower::{ServiceBuilder, ServiceExt as _};

use super::*;
use crate::classify;
use crate::innermost::InnermostLayer;

const SEED: u64 = 7;
const BUSY: &str = "busy";

fn throttle() -> Throttle {
    let throttle = Throttle::builder("search").seed(SEED).build();
    throttle.expect("the default is valid")
}

fn by_word() -> impl Classify<(), &'static str> + Clone {
    classify::by(|result: Result<&(), &&str>| match result {
        Ok(()) => Outcome::Success,
        Err(&BUSY) => Outcome::Throttled { retry_after: None },
        Err(_) => Outcome::Failure(mainstay_core::outcome::Reason::Error),
    })
}

/// How many of a hundred calls are sent.
async fn sent(throttle: &Throttle, answer: Result<(), &'static str>) -> usize {
    let mut sent = 0;
    for _ in 0..100 {
        let result = throttle.call_with(async { answer }, by_word()).await;
        sent += usize::from(!matches!(result, Err(Error::Rejected(_))));
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_refuses_all_is_sent_little_until_it_lets_calls_in_again() {
    let throttle = throttle();
    assert_eq!(sent(&throttle, Ok(())).await, 100);
    for _ in 0..20 {
        sent(&throttle, Err(BUSY)).await;
    }
    let few = sent(&throttle, Err(BUSY)).await;
    assert!(few < 25, "{few}, seed {SEED}");
    advance(Duration::from_secs(30)).await;
    assert_eq!(sent(&throttle, Ok(())).await, 100, "the outage is over");
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_no_overload_turn_nothing_away() {
    let throttle = throttle();
    for _ in 0..10 {
        assert_eq!(sent(&throttle, Err("broken")).await, 100);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejection_names_the_throttle_and_nothing_was_started() {
    let throttle = throttle();
    while throttle.probability() < 0.9 {
        if let Ok(permit) = throttle.try_acquire_owned() {
            permit.record(Outcome::Throttled { retry_after: None });
        }
    }
    let mut started = 0;
    for _ in 0..1_000 {
        let call = async {
            started += 1;
            Ok::<_, ()>(())
        };
        if let Err(Error::Rejected(rejection)) = throttle.call(call).await {
            assert_eq!(rejection.policy, Policy::Throttle);
            assert_eq!(
                rejection.to_string(),
                "client throttle of search sheds load"
            );
        }
    }
    assert!((10..990).contains(&started), "{started}, seed {SEED}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_permit_and_an_inner_rejection_say_nothing() {
    let throttle = throttle();
    for _ in 0..100 {
        drop(throttle.try_acquire());
        let permit = throttle.try_acquire().expect("nothing is refused");
        permit.record(Outcome::Ignored);
    }
    assert_eq!(throttle.counts(), Counts::default());
}

#[test]
fn blocking_calls_count_as_well() {
    let throttle = throttle();
    let answer = throttle.call_blocking(|| Err::<(), _>(BUSY), by_word());
    assert_eq!(answer, Err(Error::Inner(BUSY)));
    let (requests, accepts) = (1, 0);
    assert_eq!(throttle.counts(), Counts { requests, accepts });
}

#[tokio::test(start_paused = true)]
async fn a_service_behind_a_layer_is_spared() {
    let throttle = throttle();
    let service = ServiceBuilder::new()
        .layer(throttle.layer().classify(by_word()))
        .layer(InnermostLayer)
        .service_fn(|()| async { Err::<(), _>(BUSY) });
    let mut spared = 0;
    for _ in 0..200 {
        let result = service.clone().oneshot(()).await;
        spared += u32::from(matches!(result, Err(Error::Rejected(_))));
    }
    assert!((100..195).contains(&spared), "{spared}, seed {SEED}");
    assert_eq!(throttle.counts().requests, 200);
}

#[test]
fn values_that_cannot_work_are_refused() {
    let config = Config {
        multiplier: f64::NAN,
        ..Config::default()
    };
    assert!(Throttle::builder("search").config(config).build().is_err());
}
