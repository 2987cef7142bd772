//! Claims about the breaker as a layer.

use std::future::{Ready, ready};

use tower::{ServiceBuilder, ServiceExt as _, service_fn};
use tower_layer::Layer as _;
use tower_service::Service;

use super::*;
use crate::classify;
use crate::innermost::{Innermost, InnermostLayer};

type Answer = Ready<Result<u16, &'static str>>;

fn failing() -> Innermost<impl Service<(), Response = u16, Error = &'static str, Future = Answer>> {
    InnermostLayer.layer(service_fn(|()| ready(Err("reset"))))
}

// Pitfall 25: state in `Layer::layer` is reset per request by axum (acton-service #33).
#[tokio::test(start_paused = true)]
async fn a_layer_that_is_applied_per_request_keeps_one_state() {
    let breaker = breaker(());
    let layer = breaker.layer();
    for _ in 0..2 {
        let answer = layer.layer(failing()).oneshot(()).await;
        assert_eq!(answer, Err(Error::Inner("reset")));
    }
    let clone = layer.clone().layer(failing());
    assert!(matches!(clone.oneshot(()).await, Err(Error::Rejected(_))));
    assert!(!breaker.would_admit());
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_is_ready_and_answers_without_asking_the_service() {
    let breaker = breaker(());
    breaker.force_open();
    let mut service = ServiceBuilder::new()
        .layer(breaker.layer())
        .layer(InnermostLayer)
        .service_fn(|()| -> Answer { panic!("nobody may ask") });
    let ready = service.ready().await.expect("readiness is the service's");
    let Err(Error::Rejected(rejection)) = ready.call(()).await else {
        panic!("the circuit is open");
    };
    assert_eq!(rejection.retry_after, None, "opened by hand");
}

#[tokio::test(start_paused = true)]
async fn a_layer_classifies_answers_and_not_what_inner_policies_did() {
    let breaker = breaker(());
    let refused = breaker.rejection(Rejected { retry_after: None });
    let by_status = classify::by(|answer: Result<&u16, &&str>| match answer {
        Ok(500..) | Err(_) => Outcome::Failure(Reason::Status),
        Ok(_) => Outcome::Success,
    });
    let answers: [Result<u16, Error<&str>>; 3] = [Err(Error::Rejected(refused)), Ok(200), Ok(503)];
    for answer in answers {
        let inner = service_fn(|()| ready(answer.clone()));
        let service = breaker.layer().classify(by_status).layer(inner);
        assert_eq!(service.oneshot(()).await, answer);
    }
    // One failure of two: had the rejection been one, it would have opened with the 200.
    assert!(!breaker.would_admit());
    assert_eq!(breaker.stale_total(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_dropped_before_its_end_gives_the_probe_back() {
    let breaker = probing(()).await;
    let mut service = ServiceBuilder::new()
        .layer(breaker.layer())
        .layer(InnermostLayer)
        .service_fn(|()| pending::<Result<(), ()>>());
    let answer = service.ready().await.expect("ready").call(());
    assert!(!breaker.would_admit(), "the permit is in the future");
    drop(answer);
    assert!(breaker.would_admit());
    assert_eq!(breaker.state(), State::HalfOpen);
}

fn bug() -> Result<(), &'static str> {
    panic!("a bug of the service")
}

// Pitfall 10: a panic that a layer outside catches, so that the future is dropped in peace.
#[tokio::test(start_paused = true)]
#[cfg_attr(miri, ignore = "to unwind takes an interpreter minutes")]
async fn a_service_that_panics_is_a_failure_even_if_the_panic_is_caught() {
    let breaker = probing(()).await;
    let mut service = ServiceBuilder::new()
        .layer(breaker.layer())
        .layer(InnermostLayer)
        .service_fn(|()| async { bug() });
    let mut answer = Box::pin(service.ready().await.expect("ready").call(()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| {
        answer.as_mut().poll(&mut context).is_ready()
    }));
    assert!(polled.is_err());
    assert!(matches!(breaker.state(), State::Open { .. }));
    drop(answer);
}

// Pitfall 22: Sentinel #1638 loses the outer slot.
#[tokio::test(start_paused = true)]
async fn an_inner_circuit_that_rejects_gives_the_outer_probe_back() {
    let outer = probing(()).await;
    let inner = breaker(());
    inner.force_open();
    let service = ServiceBuilder::new()
        .layer(outer.layer())
        .layer(inner.layer())
        .layer(InnermostLayer)
        .service_fn(|()| ready(Ok::<u16, &str>(200)));
    assert!(matches!(service.oneshot(()).await, Err(Error::Rejected(_))));
    assert_eq!(outer.state(), State::HalfOpen);
    assert!(outer.would_admit());
}

#[tokio::test(start_paused = true)]
async fn a_layer_needs_no_box_and_no_clone() {
    struct Request(#[expect(dead_code, reason = "it must not be copied")] Cell<u8>);
    let breaker = breaker(());
    let local = std::rc::Rc::new(());
    let service = ServiceBuilder::new()
        .layer(breaker.layer())
        .layer(InnermostLayer)
        .service_fn(|_: Request| async {
            let _not_send = std::rc::Rc::clone(&local);
            Ok::<_, &str>(())
        });
    assert_eq!(service.oneshot(Request(Cell::new(1))).await, Ok(()));
}
