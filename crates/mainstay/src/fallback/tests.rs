//! Claims about the fallback, in virtual time.

use std::future::{pending, ready};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use mainstay_core::outcome::Outcome;
use tokio::time::advance;
use tower::{ServiceBuilder, ServiceExt as _};

use super::*;
use crate::classify;
use crate::error::{Policy, Rejection, Scope};
use crate::heard::Heard;
use crate::innermost::InnermostLayer;

type Answer = Result<&'static str, Error<&'static str>>;

fn fallback<O: Observe>(in_flight: u32, observer: O) -> Fallback<O> {
    Fallback::builder("rates")
        .config(Config {
            in_flight: NonZeroU32::new(in_flight),
        })
        .observer(observer)
        .build()
}

fn silent() -> Fallback {
    fallback(10, ())
}

fn rejection(cause: Cause) -> Error<&'static str> {
    Error::Rejected(Rejection {
        policy: Policy::Breaker,
        name: "rates".into(),
        cause,
        retry_after: None,
    })
}

#[tokio::test(start_paused = true)]
async fn a_good_answer_is_handed_on_and_nothing_stands_in() {
    let answer = silent()
        .call(async { Ok::<_, &str>("fresh") }, |_| async {
            panic!("not needed")
        })
        .await;
    assert_eq!(answer, Ok("fresh"));
}

#[tokio::test(start_paused = true)]
async fn failures_rejections_and_timeouts_are_stood_in_for() {
    let timeout = Error::Timeout {
        scope: Scope::Attempt,
        after: Duration::from_secs(1),
    };
    for error in [
        Error::Inner("reset"),
        rejection(Cause::CircuitOpen),
        rejection(Cause::QueueFull),
        timeout,
        Error::BudgetExhausted("reset"),
    ] {
        let answer: Answer = silent()
            .call_nested(ready(Err(error)), |_| async { Ok("stale") })
            .await;
        assert_eq!(answer, Ok("stale"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_refusal_is_an_answer() {
    let by_word = classify::by(|result: Result<&&str, &&str>| match result {
        Ok(_) => Outcome::Success,
        Err(&"not found") => Outcome::Permanent,
        Err(_) => Outcome::Throttled { retry_after: None },
    });
    let call = |error| silent().call_with_owned(error, by_word);
    assert_eq!(call("not found").await, Err(Error::Inner("not found")));
    assert_eq!(call("too many").await, Ok("stale"));
}

impl Fallback {
    async fn call_with_owned(
        self,
        error: &'static str,
        classify: impl Classify<&'static str, &'static str>,
    ) -> Answer {
        self.call_with(ready(Err(error)), |_| async { Ok("stale") }, classify)
            .await
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_says_failure_is_stood_in_for_and_returned_if_nothing_can() {
    let by_status = classify::by(|status: Result<&u16, &&str>| match status {
        Ok(500..) | Err(_) => Outcome::Failure(Reason::Status),
        Ok(_) => Outcome::Success,
    });
    let good = silent()
        .call_with(ready(Ok(503)), |_| async { Ok(200) }, by_status)
        .await;
    assert_eq!(good, Ok(200));
    let bad = silent()
        .call_with(ready(Ok(503)), |_| async { Err("empty") }, by_status)
        .await;
    assert_eq!(bad, Ok(503));
}

// Pitfall 43: tower-resilience has no limit for it, and moves the whole load onto the substitute.
#[tokio::test(start_paused = true)]
async fn substitutes_are_limited_whatever_the_calls_and_beyond_it_the_failure_is_returned() {
    let fallback = fallback(10, ());
    let stuck = || {
        let call = fallback.call(ready(Err::<(), _>("reset")), |_| pending());
        let mut call = Box::pin(call);
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        call
    };
    let running: Vec<_> = (0..9).map(|_| stuck()).collect();
    let last = stuck();
    assert_eq!(fallback.in_flight(), 10);

    let beyond = fallback
        .call(ready(Err::<(), _>("reset")), |_| async {
            panic!("no place")
        })
        .await;
    assert_eq!(beyond, Err(Error::Inner("reset")));
    // Calls that do not fail are not limited by it.
    let good = fallback
        .call(ready(Ok::<_, &str>(())), |_| async { Ok(()) })
        .await;
    assert_eq!(good, Ok(()));

    // Dropping a call in the middle of its substitute frees the place.
    drop(last);
    assert_eq!(fallback.in_flight(), 9);
    assert_eq!(running.len(), 9);
    let next = fallback
        .call(ready(Err::<(), _>("reset")), |_| async { Ok(()) })
        .await;
    assert_eq!(next, Ok(()));
}

// Pitfall 43: tower-resilience drops the call's own error before it tries the substitute.
#[tokio::test(start_paused = true)]
async fn a_failed_fallback_reports_both_errors() {
    let answer: Answer = silent()
        .call_nested(
            ready(Err(rejection(Cause::CircuitOpen))),
            |failed| match failed {
                Err(Error::Rejected(_)) => ready(Err("no such file")),
                other => panic!("told {other:?}"),
            },
        )
        .await;
    let error = answer.expect_err("both failed");
    assert_eq!(
        error,
        Error::FallbackFailed {
            primary: Box::new(rejection(Cause::CircuitOpen)),
            fallback: "no such file"
        }
    );
    let message = error.to_string();
    assert!(message.contains("no such file"), "{message}");
    assert!(message.contains("circuit breaker of rates"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn an_episode_of_fallbacks_has_one_beginning_and_one_end() {
    let heard = Heard::new();
    let fallback = fallback(10, Arc::<Heard>::clone(&heard));
    for _ in 0..3 {
        let _answer: Answer = fallback
            .call_nested(ready(Err(rejection(Cause::NoTime))), |_| async {
                Ok("stale")
            })
            .await;
    }
    let started = Event::FallbackStarted {
        service: Arc::from("rates"),
        reason: Reason::Timeout,
    };
    assert_eq!(heard.take(), [started]);

    advance(Duration::from_secs(2)).await;
    let _answer: Answer = fallback
        .call(ready(Ok("fresh")), |_| async { Ok("stale") })
        .await;
    let ended = Event::FallbackEnded {
        service: Arc::from("rates"),
        served: 3,
    };
    assert_eq!(heard.take(), [ended]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_fallback_is_no_answer_and_begins_no_episode() {
    let heard = Heard::new();
    let fallback = fallback(10, Arc::<Heard>::clone(&heard));
    let _answer: Answer = fallback
        .call(ready(Err("reset")), |_| async { Err("no such file") })
        .await;
    assert_eq!(heard.names(), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "joined at once")]
async fn a_panicking_substitute_gives_its_place_back() {
    let fallback = fallback(1, ());
    let theirs = fallback.clone();
    let joined = tokio::spawn(async move {
        let _never: Answer = theirs
            .call(ready(Err("reset")), |_| async { panic!("on purpose") })
            .await;
    })
    .await;
    assert!(joined.is_err());
    assert_eq!(fallback.in_flight(), 0);
}

#[test]
fn the_blocking_form_does_the_same() {
    let fallback = silent();
    let good = fallback.call_blocking(|| Ok::<_, &str>("fresh"), |_| Ok("stale"));
    assert_eq!(good, Ok("fresh"));
    let stale = fallback.call_blocking(|| Err("reset"), |_| Ok("stale"));
    assert_eq!(stale, Ok("stale"));
    let both = fallback.call_blocking(|| Err::<(), _>("reset"), |_| Err("empty"));
    assert!(matches!(both, Err(Error::FallbackFailed { .. })));
    let refused = || Err(rejection(Cause::CircuitOpen));
    let stale = fallback.call_nested_blocking_with(refused, |_| Ok("stale"), ErrorsFail);
    assert_eq!(stale, Ok("stale"));
    assert_eq!(fallback.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_layer_stands_in_by_what_it_kept_of_the_request() {
    let fallback = silent();
    let service = ServiceBuilder::new()
        .layer(fallback.layer(|request: &String| {
            let length = request.len();
            move |_: Result<&usize, &Error<&str>>| ready(Ok(length))
        }))
        .layer(crate::Timeout::attempt(Duration::from_secs(1)).layer())
        .layer(InnermostLayer)
        .service_fn(|_: String| pending::<Result<usize, &str>>());
    assert_eq!(service.oneshot(String::from("four")).await, Ok(4));
    assert_eq!(fallback.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_is_dropped_in_its_substitute_frees_the_place() {
    let fallback = fallback(1, ());
    let service = ServiceBuilder::new()
        .layer(
            fallback.layer(|(): &()| |_: Result<&(), &Error<&str>>| pending::<Result<(), &str>>()),
        )
        .layer(InnermostLayer)
        .service_fn(|()| ready(Err::<(), &str>("reset")));
    {
        let mut call = pin!(service.oneshot(()));
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        assert_eq!(fallback.in_flight(), 1);
    }
    assert_eq!(fallback.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_layers_that_give_answers_stack_with_one_flat_error() {
    let faults = crate::Faults::builder("rates")
        .config(crate::fault::Config {
            hang: 1.0,
            ..crate::fault::Config::default()
        })
        .build()
        .expect("valid");
    let cache = crate::Cache::builder("rates").build().expect("valid");
    let coalesce = crate::Coalesce::builder("rates").build();
    let service = ServiceBuilder::new()
        .layer(silent().layer(|day: &u32| {
            let day = *day;
            move |_: Result<&u32, &Error<&str>>| ready(day.checked_sub(1).ok_or("no such day"))
        }))
        .layer(cache.layer(|day: &u32| Some(*day)))
        .layer(coalesce.layer(|day: &u32| Some(*day)))
        .layer(crate::Timeout::attempt(Duration::from_secs(1)).layer())
        .layer(faults.layer(|_: &u32| None, || "reset"))
        .layer(InnermostLayer)
        .service_fn(|day: u32| ready(Ok::<_, &str>(day)));
    assert_eq!(service.clone().oneshot(7).await, Ok(7));
    faults.enable();
    assert_eq!(service.clone().oneshot(7).await, Ok(7), "from the cache");
    assert_eq!(service.clone().oneshot(8).await, Ok(7), "a substitute");
    let both: Result<u32, Error<&str>> = service.oneshot(0).await;
    let Err(Error::FallbackFailed { primary, fallback }) = both else {
        panic!("{both:?}");
    };
    assert!(matches!(*primary, Error::Timeout { .. }));
    assert_eq!(fallback, "no such day");
}
