//! Durations at their ends: as short and as long as a policy takes them.
//!
//! Prevents an arithmetic on time that panics there: calls that need no waiting are answered, and
//! calls that would have to wait are turned away or wait.

use std::convert::Infallible;
use std::future::ready;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use mainstay::registry::Registry;
use mainstay::{
    Adjudicator, Breaker, Bulkhead, Deadline, Outcome, RateLimiter, Retry, RetryBudget, Timeout,
    adjudicate, bulkhead, classify, rate_limit, timeout,
};

/// Of what may be nothing at all.
const ENDS: [Duration; 3] = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
/// Of what may be as long as anybody likes, but not nothing.
const WAITS: [Duration; 2] = [Duration::from_nanos(1), Duration::MAX];
/// Of limits of a whole call.
const TOTALS: [Duration; 2] = [Duration::from_millis(1), timeout::LIMIT_MAX];

const ONE: NonZeroU32 = NonZeroU32::MIN;

fn answer() -> std::future::Ready<Result<&'static str, Infallible>> {
    ready(Ok("paid"))
}

#[tokio::test(start_paused = true)]
async fn a_place_in_a_bulkhead_is_waited_for_however_long() {
    for queue_wait in WAITS {
        let bulkhead = Bulkhead::builder("payment")
            .config(bulkhead::Config {
                in_flight: ONE,
                queue: Some(ONE),
                queue_wait,
            })
            .build()
            .expect("valid");
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
    for queue_wait in WAITS {
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
        let total = Timeout::total(time).call(answer()).await;
        assert_eq!(total.expect("it was there"), "paid");
    }
    for total in TOTALS {
        let budget = RetryBudget::builder("payment").build().expect("valid");
        let retry = Retry::builder(budget).total(total).build().expect("valid");
        let answered = retry.call(async |_attempt| answer().await).await;
        assert_eq!(answered.expect("it was there"), "paid");
        let adjudicator = Adjudicator::builder("sums")
            .config(adjudicate::Config {
                total: Some(total),
                ..adjudicate::Config::default()
            })
            .build()
            .expect("valid");
        let verdict = adjudicator.call([answer(), answer(), answer()]).await;
        assert_eq!(verdict.expect("all agree").answer, "paid");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wish_of_the_callee_is_waited_for_up_to_its_cap_however_long() {
    for cap in ENDS {
        let budget = RetryBudget::builder("payment").build().expect("valid");
        let retry = Retry::builder(budget)
            .retry_after_max(cap)
            .build()
            .expect("valid");
        let mut attempts = 0;
        let busy = classify::by(|_: Result<&(), &&str>| Outcome::Throttled {
            retry_after: Some(Duration::from_secs(1)),
        });
        let answered = retry.call_with(
            async |_attempt| {
                attempts += 1;
                Err("busy")
            },
            busy,
        );
        assert!(answered.await.is_err());
        assert_eq!(attempts > 1, cap == Duration::MAX, "{cap:?}");
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
