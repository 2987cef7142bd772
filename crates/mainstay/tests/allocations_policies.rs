//! What a call that every policy lets through allocates: nothing.
//!
//! Prevents policies that cost memory per call, one that waits for nothing least of all. The
//! breaker has tests of its own, in `allocations.rs`.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "what surrounds the tests is a test as well"
)]

use std::future::{Future, ready};
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use mainstay::rate_limit::Config as RateConfig;
use mainstay::{
    Breaker, Bulkhead, ConcurrencyLimit, Deadline, Error, Fallback, Pipeline, RateLimiter, Retry,
    RetryBudget, Throttle, Timeout,
};

const CALLS: u64 = 100;

/// What a call does that never waits.
fn now<F: Future>(future: F) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the test's futures are ready"),
    }
}

/// Makes calls; the first is not counted, for it makes what is made on first need.
fn assert_none(what: &str, mut call: impl FnMut()) {
    call();
    let allocated = measure(|| (0..CALLS).for_each(|_| call()));
    assert_eq!(allocated.count_total, 0, "{what}: {allocated:?}");
}

fn answer() -> std::future::Ready<Result<u8, Error<u8>>> {
    ready(Ok(1))
}

fn retry() -> Retry {
    let budget = RetryBudget::builder("payment").build();
    Retry::builder(budget.expect("the defaults are valid"))
        .build()
        .expect("valid")
}

#[test]
fn a_call_through_each_policy_allocates_nothing() {
    let (retry, bulkhead) = (
        retry(),
        Bulkhead::builder("payment").build().expect("valid"),
    );
    assert_none("retry", || {
        now(retry.call(async |_| Ok::<_, u8>(1))).expect("it succeeds");
    });
    assert_none("bulkhead", || {
        now(bulkhead.call(Deadline::NEVER, answer())).expect("it succeeds");
    });
    let limit = ConcurrencyLimit::builder("payment").build();
    let limit = limit.expect("the defaults are valid");
    assert_none("concurrency limit", || {
        limit.try_acquire().expect("there is room").success();
    });
    let throttle = Throttle::builder("payment").build();
    let throttle = throttle.expect("the defaults are valid");
    assert_none("client throttle", || {
        now(throttle.call(answer())).expect("it succeeds");
    });
    let timeout = Timeout::total(Duration::from_secs(1));
    assert_none("timeout", || {
        now(timeout.call(answer())).expect("it succeeds");
    });
    let fallback = Fallback::builder("payment").build();
    assert_none("fallback", || {
        now(fallback.call(answer(), |_| answer())).expect("it succeeds");
    });
}

#[test]
fn a_rate_limit_allocates_nothing_whether_it_lets_a_call_through_or_not() {
    let limiter = RateLimiter::builder("payment")
        .config(RateConfig {
            burst: NonZeroU32::MIN,
            per_period: NonZeroU32::MIN,
            period: Duration::from_hours(1),
            queue: None,
            ..RateConfig::default()
        })
        .build()
        .expect("valid");
    limiter.try_acquire().expect("the first one");
    assert_none("a refusal", || {
        limiter.try_acquire().expect_err("one an hour");
    });
    let limiter = RateLimiter::builder("payment")
        .config(RateConfig {
            burst: NonZeroU32::MIN.saturating_add(999),
            per_period: NonZeroU32::MIN.saturating_add(999),
            ..RateConfig::default()
        })
        .build()
        .expect("valid");
    assert_none("a call", || {
        limiter.try_acquire().expect("far from the limit");
    });
}

#[test]
fn a_call_through_all_policies_together_allocates_nothing() {
    let pipeline = Pipeline::builder("payment")
        .deadline(Duration::from_secs(3))
        .retry(retry())
        .breaker(Breaker::builder("payment").build().expect("valid"))
        .bulkhead(Bulkhead::builder("payment").build().expect("valid"))
        .timeout(Duration::from_secs(1))
        .build()
        .expect("valid");
    assert_none("a pipeline", || {
        now(pipeline.call(|_| ready(Ok::<_, u8>(1)))).expect("it succeeds");
    });
    assert_none("a blocking pipeline", || {
        pipeline
            .call_blocking(|_| Ok::<_, u8>(1))
            .expect("it succeeds");
    });
}
