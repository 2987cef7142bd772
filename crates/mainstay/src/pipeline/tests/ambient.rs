//! Claims about a pipeline and what is around it or inside of it.

use super::*;
use crate::deadline;
use crate::hedge::Hedge;

#[tokio::test(start_paused = true)]
async fn a_pipeline_within_a_retrys_attempt_does_not_try_again() {
    let clock = Clock::new();
    let pipeline = built(Pipeline::builder("payment").retry(retry(clock)), clock);
    let numbers = RefCell::new(Vec::new());
    let pay = async |_| {
        let call = pipeline.call(async |attempt| {
            numbers.borrow_mut().push(attempt.number);
            Err::<(), _>("reset")
        });
        call.await
    };
    let result = retry(clock)
        .call_flat(pay, classify::Nested(ErrorsFail))
        .await;
    assert_eq!(result, Err(Error::Inner("reset")));
    assert_eq!(*numbers.borrow(), [1, 2, 3], "as the outer one counts");
}

#[tokio::test(start_paused = true)]
async fn a_retry_within_a_pipelines_attempt_does_not_try_again() {
    let clock = Clock::new();
    let pipeline = built(Pipeline::builder("payment").retry(retry(clock)), clock);
    let inner = retry(clock);
    let calls = Cell::new(0);
    let result = pipeline
        .call(async |_| {
            let call = inner.call(async |_| {
                calls.set(calls.get() + 1);
                Err::<(), _>("reset")
            });
            call.await
        })
        .await;
    assert_eq!(result.map_err(Error::flatten), Err(Error::Inner("reset")));
    assert_eq!(calls.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_insists_tries_again_within_an_attempt() {
    let clock = Clock::new();
    let inner = Retry::builder(retry(clock).budget().clone())
        .clock(clock)
        .even_when_nested()
        .build()
        .expect("valid");
    let (outer, inner) = (
        built(Pipeline::builder("payment").retry(retry(clock)), clock),
        built(Pipeline::builder("payment").retry(inner), clock),
    );
    let numbers = RefCell::new(Vec::new());
    let result = outer
        .call(async |_| {
            let call = inner.call(async |attempt| {
                numbers.borrow_mut().push(attempt.number);
                Err::<(), _>("reset")
            });
            call.await
        })
        .await;
    assert!(result.is_err());
    assert_eq!(*numbers.borrow(), [1, 2, 3, 1, 2, 3, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_ends_at_the_ambient_deadline_and_tells_it_to_what_is_inside() {
    let clock = Clock::new();
    let pipeline = built(
        Pipeline::<Canonical>::builder("payment").deadline(millis(1_000)),
        clock,
    );
    let soon = Deadline::after(clock.now(), millis(100));
    let start = clock.now();
    let call = pipeline.call(async |attempt| {
        assert_eq!(attempt.deadline, soon);
        assert_eq!(deadline::current(clock), Some(soon));
        hang().await
    });
    let result = deadline::scope(clock, soon, call).await;
    let total = Error::Timeout {
        scope: Scope::Total,
        after: millis(100),
    };
    assert_eq!(result, Err(total));
    assert_eq!(clock.now().since(start), millis(100));

    let own = Deadline::after(clock.now(), millis(1_000));
    let call = pipeline.call(async |_| Ok::<_, &str>(deadline::current(clock)));
    assert_eq!(call.await, Ok(Some(own)));
    let blocking = pipeline.call_blocking(|_| Ok::<_, &str>(deadline::current(clock)));
    assert_eq!(blocking, Ok(Some(own)));
    assert_eq!(deadline::current(clock), None);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_counted_once_by_a_budget_that_several_policies_share() {
    let clock = Clock::new();
    // Half a retry per request: two requests allow one.
    let budget = RetryBudget::builder("payment")
        .config(BudgetConfig {
            ratio: 0.5,
            floor: 0,
            ..BudgetConfig::default()
        })
        .clock(clock)
        .build()
        .expect("the test's configuration is valid");
    let inner = Retry::builder(budget.clone())
        .clock(clock)
        .even_when_nested()
        .build()
        .expect("valid");
    let outer = Retry::builder(budget.clone())
        .clock(clock)
        .build()
        .expect("valid");
    let hedge = Hedge::builder(budget.clone()).clock(clock);
    let hedge = hedge.build().expect("the defaults are valid");
    let inner = built(Pipeline::builder("payment").retry(inner), clock);
    let builder = Pipeline::builder("payment").retry(outer).hedge(hedge);
    let outer = built(builder, clock);
    for _ in 0..2 {
        let call = outer.call(async |_| inner.call(async |_| Ok::<_, &str>(())).await);
        assert_eq!(call.await, Ok(()));
    }
    assert!(budget.withdraw());
    assert!(!budget.withdraw(), "two requests, not four");
}

#[tokio::test(start_paused = true)]
async fn a_call_under_a_distant_deadline_counts_its_own_limits_from_now() {
    let clock = Clock::new();
    advance(millis(7)).await;
    let far = Deadline::after(clock.now(), Duration::from_hours(1));
    let pipeline = built(
        Pipeline::<Canonical>::builder("payment").timeout(millis(1_000)),
        clock,
    );
    let call = pipeline.call(async |attempt| Ok::<_, &str>(attempt.deadline));
    let seen = deadline::scope(clock, far, call).await;
    assert_eq!(seen, Ok(Deadline::after(clock.now(), millis(1_000))));
}
