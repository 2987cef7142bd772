//! Claims about deadlines and time limits.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_deadline_covers_queue_backoff_and_attempts() {
    let clock = Clock::new();
    let bulkhead = bulkhead(clock);
    let builder = Pipeline::builder("payment")
        .deadline(millis(500))
        .retry(retry(clock))
        .bulkhead(bulkhead.clone())
        .timeout(millis(200));
    let pipeline = built(builder, clock);
    let held = bulkhead.try_acquire().expect("the bulkhead is empty");
    let start = clock.now();
    let free = async {
        sleep(millis(150)).await;
        drop(held);
    };
    let call = pipeline.call(async |_| hang().await);
    let (result, ()) = tokio::join!(call, free);
    // 150 ms in the queue, 200 ms of the first attempt, a backoff, what is left for the second.
    assert_eq!(
        result,
        Err(Error::Timeout {
            scope: Scope::Total,
            after: millis(500)
        })
    );
    assert_eq!(clock.now().since(start), millis(500));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_in_a_queue_until_its_deadline_at_most() {
    let clock = Clock::new();
    let bulkhead = bulkhead(clock);
    let builder = Pipeline::builder("payment")
        .deadline(millis(50))
        .bulkhead(bulkhead.clone());
    let pipeline = built(builder, clock);
    let _held = bulkhead.try_acquire().expect("the bulkhead is empty");
    let start = clock.now();
    let result = pipeline.call(async |_| Ok::<_, &str>("paid")).await;
    assert_eq!(rejection(result), (Policy::Bulkhead, Cause::QueueWait));
    assert_eq!(clock.now().since(start), millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_late_before_it_starts_is_never_sent() {
    let clock = Clock::new();
    let pipeline = built(Pipeline::builder("payment").retry(retry(clock)), clock);
    let terms = Terms {
        deadline: Deadline::at(clock.now()),
        ..Terms::default()
    };
    let result = pipeline
        .call_on(terms, async |_| Ok::<_, &str>("it must not run"))
        .await;
    let error = result.expect_err("there is no time");
    assert_eq!(error.was_sent(), Sent::Never);
    assert_eq!(
        rejection(Err::<(), _>(error)),
        (Policy::Deadline, Cause::NoTime)
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_attempt_is_a_failure_that_the_breaker_sees_and_the_retry_mends() {
    let clock = Clock::new();
    let breaker = breaker(clock);
    let builder = Pipeline::builder("payment")
        .retry(retry(clock))
        .breaker(breaker.clone())
        .timeout(millis(100));
    let answer = built(builder, clock)
        .call(async |attempt| {
            if attempt.number == 1 {
                hang().await?;
            }
            Ok::<_, &str>(attempt.number)
        })
        .await;
    assert_eq!(answer, Ok(2));
    assert_eq!(breaker.counts().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_hangs_opens_the_circuit_even_when_only_the_total_is_limited() {
    let clock = Clock::new();
    let breaker = breaker(clock);
    let builder = Pipeline::builder("payment")
        .deadline(millis(100))
        .breaker(breaker.clone());
    let pipeline = built(builder, clock);
    for _ in 0..5 {
        let result = pipeline.call(async |_| hang().await).await;
        assert_eq!(
            result,
            Err(Error::Timeout {
                scope: Scope::Total,
                after: millis(100)
            })
        );
    }
    assert!(matches!(breaker.state(), State::Open { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_the_same_tick_as_the_deadline_wins() {
    let clock = Clock::new();
    let pipeline = built(
        Pipeline::<Canonical>::builder("payment").timeout(millis(100)),
        clock,
    );
    let answer = pipeline
        .call(async |_| {
            sleep(millis(100)).await;
            Ok::<_, &str>("paid")
        })
        .await;
    assert_eq!(answer, Ok("paid"));
}
