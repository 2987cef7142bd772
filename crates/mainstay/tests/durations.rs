//! Durations that no configuration refuses, because none of them is wrong: how long somebody waits.
//!
//! Prevents an arithmetic on time that panics at its ends: with none at all and with all there is,
//! calls that need no waiting are answered, and calls that would have to wait are turned away or
//! wait.

use std::convert::Infallible;
use std::future::ready;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use mainstay::registry::Registry;
use mainstay::{
    Adjudicator, Breaker, Bulkhead, Deadline, RateLimiter, Retry, RetryBudget, Timeout, adjudicate,
    bulkhead, rate_limit,
};

const ENDS: [Duration; 3] = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];

const ONE: NonZeroU32 = NonZeroU32::MIN;

fn answer() -> std::future::Ready<Result<&'static str, Infallible>> {
    ready(Ok("paid"))
}

#[tokio::test(start_paused = true)]
async fn a_place_in_a_bulkhead_is_waited_for_however_long() {
    for queue_wait in ENDS {
        let bulkhead = Bulkhead::builder("payment")
            .config(bulkhead::Config {
                in_flight: ONE,
                queue: Some(ONE),
                queue_wait,
            })
            .build();
        let held = bulkhead.try_acquire().expect("it is empty");
        let waits =
            tokio::time::timeout(Duration::from_hours(1), bulkhead.acquire(Deadline::NEVER));
        assert_eq!(waits.await.is_err(), queue_wait == Duration::MAX);
        drop(held);
        assert_eq!(
            bulkhead
                .call(Deadline::NEVER, answer())
                .await
                .expect("a place"),
            "paid"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_waited_for_however_long() {
    for queue_wait in ENDS {
        let limiter = RateLimiter::builder("payment")
            .config(rate_limit::Config {
                per_period: ONE,
                period: Duration::from_hours(24),
                burst: ONE,
                queue: Some(ONE),
                queue_wait,
            })
            .build()
            .expect("no wait is wrong");
        assert_eq!(
            limiter
                .call(Deadline::NEVER, answer())
                .await
                .expect("the burst"),
            "paid"
        );
        let waits = tokio::time::timeout(Duration::from_hours(1), limiter.acquire(Deadline::NEVER));
        assert_eq!(waits.await.is_err(), queue_wait == Duration::MAX);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_is_taken_whatever_the_time_for_it() {
    for time in ENDS {
        let budget = RetryBudget::builder("payment")
            .build()
            .expect("the default");
        let retry = Retry::builder(budget)
            .total(time)
            .retry_after_max(time)
            .build();
        let answered = retry.call(async |_attempt| answer().await).await;
        assert!(answered.is_ok() || time != Duration::MAX, "{time:?}");
        let total = Timeout::total(time).call(answer()).await;
        assert_eq!(total.expect("it was there"), "paid");
        let adjudicator = Adjudicator::builder("sums")
            .config(adjudicate::Config {
                total: Some(time),
                ..adjudicate::Config::default()
            })
            .build();
        let verdict = adjudicator.call([answer(), answer(), answer()]).await;
        assert_eq!(verdict.expect("all agree").answer, "paid");
    }
}

#[tokio::test(start_paused = true)]
async fn entries_are_kept_however_long() {
    for idle in ENDS {
        let family = Breaker::builder("shop").family().expect("the default");
        let overflow = family.breaker("others");
        let make = move |host: &std::sync::Arc<str>| family.breaker(std::sync::Arc::clone(host));
        let hosts = Registry::builder(make, overflow)
            .capacity(NonZeroUsize::MIN)
            .idle(idle)
            .build();
        for host in ["a", "b", "c"] {
            tokio::time::advance(Duration::from_secs(1)).await;
            let breaker = hosts.get(&std::sync::Arc::from(host));
            assert_eq!(breaker.call(answer()).await.expect("closed"), "paid");
        }
    }
}
