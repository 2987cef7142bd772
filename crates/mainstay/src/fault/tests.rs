//! Claims about fault injection, in virtual time.

use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::time::Duration;

use tokio::time::timeout;
use tower::{ServiceBuilder, ServiceExt as _};

use super::*;
use crate::clock::Clock;
use crate::innermost::InnermostLayer;

const SECOND: Duration = Duration::from_secs(1);

fn faults(config: Config) -> Faults {
    let faults = Faults::builder("payment")
        .config(config)
        .seed(1)
        .build()
        .expect("valid");
    faults.enable();
    faults
}

fn rejected() -> Error<&'static str> {
    Error::Rejected(Rejection {
        policy: Policy::Fault,
        name: "payment".into(),
        cause: Cause::Injected,
        retry_after: None,
    })
}

/// A call that must not begin.
fn never() -> impl Future<Output = Result<u32, &'static str>> {
    poll_fn(|_| panic!("the call began"))
}

#[tokio::test(start_paused = true)]
async fn an_error_and_a_rejection_come_without_the_call_being_made() {
    let error = faults(Config {
        error: 1.0,
        ..Config::default()
    });
    let failed = error.call(never(), || "reset").await;
    assert_eq!(failed, Err(Error::Inner("reset")));

    let reject = faults(Config {
        reject: 1.0,
        ..Config::default()
    });
    let refused = reject.call(never(), || "reset").await;
    assert_eq!(refused, Err(rejected()));
    assert_eq!(rejected().was_sent(), crate::Sent::Never);
}

#[tokio::test(start_paused = true)]
async fn a_late_call_is_made_after_the_delay_and_a_hanging_one_never_ends() {
    let clock = Clock::new();
    let late = faults(Config {
        latency: 1.0,
        latency_min: SECOND * 2,
        latency_max: SECOND * 2,
        ..Config::default()
    });
    let begun = late
        .call(async { Ok::<_, &str>(clock.now()) }, || "reset")
        .await;
    assert_eq!(begun, Ok(crate::Instant::ORIGIN + SECOND * 2));

    let hang = faults(Config {
        hang: 1.0,
        ..Config::default()
    });
    let hanging = hang.call(never(), || "reset");
    assert!(timeout(SECOND * 1_000, hanging).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_answer_is_forged_and_an_error_stays_one() {
    let wrong = faults(Config {
        wrong: 1.0,
        ..Config::default()
    });
    let forge = falsify(|| "reset", |answer: u32| answer + 1);
    let lie = wrong.call(ready(Ok(41)), forge).await;
    assert_eq!(lie, Ok(42));
    let failed = wrong.call(ready(Err("real")), forge).await;
    assert_eq!(failed, Err(Error::Inner("real")));
    let unable = wrong.call(ready(Ok::<_, &str>(41)), || "reset").await;
    assert_eq!(unable, Ok(41));
}

#[tokio::test(start_paused = true)]
async fn faults_are_off_at_first_and_again_when_disabled() {
    let faults = Faults::builder("payment")
        .config(Config {
            error: 1.0,
            ..Config::default()
        })
        .build()
        .expect("valid");
    let theirs = faults.clone();
    let call = async || theirs.call(ready(Ok(1)), || "reset").await;
    assert_eq!(call().await, Ok(1));
    faults.enable();
    assert_eq!(call().await, Err(Error::Inner("reset")));
    faults.disable();
    assert_eq!(call().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn only_the_keys_in_scope_are_broken() {
    let faults = faults(Config {
        error: 1.0,
        ..Config::default()
    });
    faults.enable_for(["payment-1"]);
    let call = async |key| faults.call_for(key, ready(Ok(1)), || "reset").await;
    assert_eq!(call(Some("payment-1")).await, Err(Error::Inner("reset")));
    assert_eq!(call(Some("payment-2")).await, Ok(1));
    assert_eq!(call(None).await, Ok(1));
    faults.enable();
    assert_eq!(call(None).await, Err(Error::Inner("reset")));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_breaks_the_same_calls_whatever_is_out_of_scope() {
    let mixed = Config {
        error: 0.3,
        reject: 0.3,
        ..Config::default()
    };
    let run = async |noise: bool| {
        let faults = faults(mixed);
        faults.enable_for(["in"]);
        let mut results = Vec::new();
        for _ in 0..200 {
            assert!(!noise || faults.decide(Some("out")).is_none());
            let call = faults.call_for(Some("in"), ready(Ok(1)), || "reset");
            results.push(call.await);
        }
        results
    };
    let results = run(false).await;
    assert_eq!(results, run(true).await);
    assert!(results.contains(&Ok(1)) && results.contains(&Err(rejected())));
}

#[tokio::test(start_paused = true)]
async fn a_call_may_be_spawned() {
    let faults = faults(Config {
        wrong: 1.0,
        ..Config::default()
    });
    let mut calls = tokio::task::JoinSet::new();
    calls.spawn(async move {
        let forge = falsify(|| "reset", |_: &str| "lie");
        faults.call(ready(Ok("truth")), forge).await
    });
    assert_eq!(calls.join_all().await, [Ok("lie")]);
}

#[test]
fn the_blocking_form_does_the_same() {
    let error = faults(Config {
        error: 1.0,
        ..Config::default()
    });
    let failed = error.call_blocking(None, || -> Result<(), _> { panic!("began") }, || "reset");
    assert_eq!(failed, Err(Error::Inner("reset")));
    let wrong = faults(Config {
        wrong: 1.0,
        ..Config::default()
    });
    let forge = falsify(|| "reset", |answer: u32| answer + 1);
    assert_eq!(wrong.call_blocking(None, || Ok(41), forge), Ok(42));
}

#[tokio::test(start_paused = true)]
async fn a_layer_breaks_the_calls_in_scope_and_does_not_make_those() {
    let begun = Rc::new(Cell::new(0));
    let counted = Rc::clone(&begun);
    let faults = faults(Config {
        error: 1.0,
        ..Config::default()
    });
    faults.enable_for(["payment-1"]);
    let service = ServiceBuilder::new()
        .layer(crate::Timeout::attempt(SECOND).layer())
        .layer(faults.layer(|endpoint: &String| Some(endpoint.as_str()), || "reset"))
        .layer(InnermostLayer)
        .service_fn(move |_: String| {
            counted.set(counted.get() + 1);
            ready(Ok::<_, &str>(7))
        });
    let call = |endpoint: &str| service.clone().oneshot(endpoint.to_owned());
    assert_eq!(call("payment-1").await, Err(Error::Inner("reset")));
    assert_eq!(call("payment-2").await, Ok(7));
    assert_eq!(begun.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hang_is_what_a_timeout_layer_is_tried_with() {
    let faults = faults(Config {
        hang: 1.0,
        ..Config::default()
    });
    let service = ServiceBuilder::new()
        .layer(crate::Timeout::attempt(SECOND).layer())
        .layer(faults.layer(|(): &()| None, || "reset"))
        .layer(InnermostLayer)
        .service_fn(|()| pending::<Result<(), &str>>());
    let ended = service.oneshot(()).await;
    assert!(matches!(ended, Err(Error::Timeout { .. })));
}
