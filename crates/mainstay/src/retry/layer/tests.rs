//! Claims about retries as a layer, in virtual time.

use std::cell::Cell;
use std::future::ready;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tower::{Service, ServiceBuilder, ServiceExt as _};

use crate::innermost::InnermostLayer;
use crate::retry::{Backoff, Builder};
use crate::{Clock, Error, Outcome, Reason, Retry, RetryBudget, Timeout, classify};

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn builder(clock: Clock) -> Builder {
    let budget = RetryBudget::builder("payment").clock(clock).build();
    Retry::builder(budget.expect("valid")).seed(3)
}

/// Fails until its third call; counts how often it was made ready and called.
#[derive(Clone, Default)]
struct Flaky {
    is_ready: bool,
    readied: Arc<AtomicU32>,
    called: Arc<AtomicU32>,
}

impl Flaky {
    fn counts(&self) -> (u32, u32) {
        let count = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
        (count(&self.readied), count(&self.called))
    }
}

impl<Request> Service<Request> for Flaky {
    type Response = u32;
    type Error = &'static str;
    type Future = std::future::Ready<Result<u32, &'static str>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        // Ready at the second time of asking.
        if !std::mem::replace(&mut self.is_ready, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.readied.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        assert!(self.is_ready, "called without being asked");
        self.is_ready = false;
        let number = self.called.fetch_add(1, Ordering::Relaxed) + 1;
        ready(if number < 3 { Err("reset") } else { Ok(number) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_makes_the_service_ready_before_each_attempt() {
    let flaky = Flaky::default();
    let retry = builder(Clock::new()).build().expect("valid");
    let service = ServiceBuilder::new()
        .layer(retry.layer())
        .layer(InnermostLayer)
        .service(flaky.clone());
    assert_eq!(service.oneshot("request").await, Ok(3));
    assert_eq!(flaky.counts(), (3, 3));
}

// Pitfall 30: what cannot be sent again is sent once, and keeps its own error.
#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_copied_is_sent_once_and_keeps_its_error() {
    /// Has no copy, as a body that is read from a socket.
    #[derive(Debug)]
    struct Upload;
    let flaky = Flaky::default();
    let budget = RetryBudget::builder("payment").build().expect("valid");
    let retry = Retry::builder(budget.clone()).build().expect("valid");
    let service = ServiceBuilder::new()
        .layer(retry.layer().repeat(|_: &Upload| None))
        .layer(InnermostLayer)
        .service(flaky.clone());
    assert_eq!(service.oneshot(Upload).await, Err(Error::Inner("reset")));
    assert_eq!(flaky.counts(), (1, 1));
    assert!((budget.level() - 1.0).abs() < f64::EPSILON);
}

// Pitfall 30: a request that is used up on the way is not sent a third time.
#[tokio::test(start_paused = true)]
async fn copies_may_run_out() {
    let flaky = Flaky::default();
    let retry = builder(Clock::new()).build().expect("valid");
    let service = ServiceBuilder::new()
        .layer(retry.layer().repeat(|left: &u32| left.checked_sub(1)))
        .layer(InnermostLayer)
        .service(flaky.clone());
    assert_eq!(service.oneshot(1).await, Err(Error::Inner("reset")));
    assert_eq!(flaky.counts(), (2, 2));
}

// Pitfall 30: a classifier sees the answer, so it can tell a body that broke off.
#[tokio::test(start_paused = true)]
async fn an_answer_that_broke_off_is_visible_to_the_classifier_of_a_layer() {
    let complete = classify::by(|body: Result<&u32, &&str>| match body {
        Ok(bytes) if *bytes < 4 => Outcome::Failure(Reason::Reset),
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Failure(Reason::Error),
    });
    let flaky = Flaky::default();
    let budget = RetryBudget::builder("payment").build().expect("valid");
    let retry = Retry::builder(budget)
        .attempts(const { NonZeroU32::MIN.saturating_add(9) })
        .backoff(Backoff::IMMEDIATE)
        .build()
        .expect("valid");
    let service = ServiceBuilder::new()
        .layer(retry.layer().classify(complete))
        .layer(InnermostLayer)
        .service(flaky.clone());
    assert_eq!(service.oneshot(()).await, Ok(4));
    assert_eq!(flaky.counts(), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn layers_around_each_other_retry_once_and_keep_to_the_outer_deadline() {
    let clock = Clock::new();
    let calls = Cell::new(0);
    let level = || builder(clock).build().expect("valid").layer();
    let service = ServiceBuilder::new()
        .layer(Timeout::total(millis(5_000)).layer())
        .layer(level())
        .layer(level())
        .layer(InnermostLayer)
        .service_fn(|()| {
            calls.set(calls.get() + 1);
            let left = crate::deadline::remaining();
            async move {
                assert!(left.is_some_and(|left| left <= millis(5_000)));
                Err::<(), _>("down")
            }
        });
    assert_eq!(service.oneshot(()).await, Err(Error::Inner("down")));
    assert_eq!(calls.get(), 3);
}
