//! Claims about the other forms of a pipeline: other orders, own stages, blocking code.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_expert_may_choose_another_order() {
    let clock = Clock::new();
    let breaker = breaker(clock);
    // A breaker outside of the retry counts calls, not attempts.
    let pipeline = stack(Timeout::total(millis(1_000)))
        .then(breaker.clone())
        .then(retry(clock))
        .then(None::<Bulkhead>)
        .then(Timeout::attempt(millis(100)))
        .clock(clock)
        .build("payment");
    let attempts = Cell::new(0);
    let result = pipeline
        .call(async |_| {
            attempts.set(attempts.get() + 1);
            Err::<(), _>("reset")
        })
        .await;
    assert_eq!(result, Err(Error::Inner("reset")));
    assert_eq!(attempts.get(), 3);
    assert_eq!(breaker.counts().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stage_of_ones_own_sees_what_passes() {
    let clock = Clock::new();
    let pipeline = stack(retry(clock))
        .then(Counter::default())
        .clock(clock)
        .build("payment");
    let result = pipeline.call(async |_| Err::<(), _>("reset")).await;
    assert_eq!(result, Err(Error::Inner("reset")));
    let Chain { inner: counter, .. } = pipeline.stages();
    assert_eq!(counter.0.load(Ordering::Relaxed), 3);
}

/// A stage that counts attempts that failed.
#[derive(Default)]
struct Counter(AtomicU32);

impl Stage for Counter {
    async fn run<T, E, N: Next<T, E>>(&self, cx: Context<'_>, next: N) -> Ended<T, E> {
        let ended = next.run(cx).await;
        if ended.outcome.callee_worked() == Some(false) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        ended
    }
}

#[test]
fn a_blocking_call_has_the_same_stages() {
    let clock = Clock::new();
    let budget = RetryBudget::builder("payment")
        .clock(clock)
        .build()
        .expect("the defaults are valid");
    // No backoff: this is the one test that no runtime can give virtual time.
    let retry = Retry::builder(budget)
        .backoff(Backoff::IMMEDIATE)
        .clock(clock)
        .build()
        .expect("valid");
    let breaker = breaker(clock);
    let bulkhead = Bulkhead::builder("payment")
        .config(bulkhead::Config {
            in_flight: NonZeroU32::MIN,
            queue: Some(NonZeroU32::MIN),
            queue_wait: Duration::from_nanos(1),
        })
        .clock(clock)
        .build()
        .expect("valid");
    let builder = Pipeline::builder("payment")
        .retry(retry)
        .breaker(breaker.clone())
        .bulkhead(bulkhead.clone());
    let pipeline = built(builder, clock);
    let answer = pipeline.call_blocking(|attempt| match attempt.number {
        3 => Ok("paid"),
        _ => Err("reset"),
    });
    assert_eq!(answer, Ok("paid"));
    assert_eq!(breaker.counts().failed, 2);

    let held = bulkhead.try_acquire().expect("the bulkhead is empty");
    let result = pipeline.call_blocking(|_| Ok::<_, &str>("paid"));
    assert_eq!(rejection(result), (Policy::Bulkhead, Cause::QueueWait));
    assert_eq!(bulkhead.queued(), 0);
    drop(held);
}

#[test]
fn a_blocking_call_in_the_queue_is_woken_when_its_place_is_free() {
    let clock = Clock::new();
    let bulkhead = Bulkhead::builder("payment")
        .config(bulkhead::Config {
            in_flight: NonZeroU32::MIN,
            queue: Some(NonZeroU32::MIN),
            // Longer than any test runs: only being woken ends it.
            queue_wait: Duration::from_hours(1),
        })
        .clock(clock)
        .build()
        .expect("valid");
    let pipeline = built(
        Pipeline::builder("payment").bulkhead(bulkhead.clone()),
        clock,
    );
    let held = bulkhead.try_acquire().expect("the bulkhead is empty");
    let answer = std::thread::scope(|threads| {
        let waiting = threads.spawn(|| pipeline.call_blocking(|_| Ok::<_, &str>("paid")));
        while bulkhead.queued() == 0 {
            std::thread::yield_now();
        }
        drop(held);
        waiting.join().expect("it does not panic")
    });
    assert_eq!(answer, Ok("paid"));
}

#[tokio::test(start_paused = true)]
async fn the_future_is_send_when_the_call_is() {
    const fn is_send<F: Future + Send>(future: F) -> F {
        future
    }
    let clock = Clock::new();
    let builder = Pipeline::builder("payment")
        .deadline(millis(100))
        .retry(retry(clock))
        .breaker(breaker(clock))
        .bulkhead(bulkhead(clock))
        .timeout(millis(10));
    let canonical = built(builder, clock);
    let expert = stack(retry(clock))
        .then(Some(breaker(clock)))
        .then(bulkhead(clock))
        .then(Timeout::attempt(millis(10)))
        .clock(clock)
        .build("payment");
    let account = String::from("payment-1");
    let calls = Arc::new(AtomicU32::new(0));
    let call = is_send(async move {
        let borrowing = async |attempt: Attempt| {
            tokio::task::yield_now().await;
            calls.fetch_add(1, Ordering::Relaxed);
            Ok::<_, String>(format!("{account} {}", attempt.number))
        };
        let first = canonical.call(&borrowing).await;
        let second = expert.call(&borrowing).await;
        first.is_ok() && second.is_ok()
    });
    assert!(call.await);
}

#[test]
fn a_time_limit_of_zero_or_years_is_refused() {
    let built = Pipeline::<Canonical>::builder("payment")
        .deadline(Duration::ZERO)
        .build();
    let error = built.expect_err("zero never means off");
    assert_eq!(
        error.to_string(),
        "deadline is 0ns; set more than zero and at most a year"
    );
    let built = Pipeline::<Canonical>::builder("payment")
        .timeout(Duration::MAX)
        .build();
    assert_eq!(
        built.expect_err("a year is a mistake"),
        ConfigError::Limit {
            field: "timeout",
            value: Duration::MAX
        }
    );
}
