//! tower-resilience 0.13: tower services whose futures are boxed, state behind an asynchronous mutex.
//!
//! Its window of time keeps one record per call and looks at all of them in each call, so that its
//! cost is a matter of the load: a benchmark that calls as fast as it can would never come back from
//! ten seconds of it. It is measured with the window of calls, which is its default and its fastest.

use std::time::Duration;

use ::tower::{Service, ServiceBuilder, service_fn};
use ::tower_resilience::bulkhead::BulkheadLayer;
use ::tower_resilience::circuitbreaker::{
    CircuitBreakerConfigBuilder, CircuitBreakerError, CircuitBreakerLayer, DefaultClassifier,
};
use ::tower_resilience::ratelimiter::RateLimiterLayer;
use ::tower_resilience::retry::{RetryBudgetBuilder, RetryLayer};
use ::tower_resilience::timelimiter::TimeLimiterLayer;

use super::tower::asked;
use crate::case::{CALLS_MIN, COUNT_WINDOW, Case, FOREVER};
use crate::poll::{Failure, answered, once};
use crate::subject::{Missing, Subject, Worker, runtime, worker, worker_on_tokio, workers};

const NAME: &str = "tower-resilience";

pub(crate) const SUBJECTS: &[Subject] = &[
    Subject::new(Case::BreakerClosedSuccess, NAME, called),
    Subject::new(Case::BreakerClosedSuccessTower, NAME, called),
    Subject::new(Case::BreakerClosedSuccess2Threads, NAME, called),
    Subject::new(Case::BreakerClosedFailure, NAME, called),
    Subject::new(Case::BreakerOpenRejection, NAME, open),
    Subject::new(Case::BreakerHalfOpenRejection, NAME, half_open),
    Subject::new(Case::PipelineSuccess, NAME, pipeline),
    Subject::new(Case::LimiterAcquire, NAME, acquire),
];

pub(crate) const MISSING: &[Missing] = &[Missing {
    case: Case::BreakerClosedSuccessSync,
    name: NAME,
    reason: "it has no form without a future",
}];

fn config(case: Case) -> CircuitBreakerConfigBuilder<DefaultClassifier> {
    CircuitBreakerLayer::builder()
        .failure_rate_threshold(case.failure_rate())
        .sliding_window_size(COUNT_WINDOW)
        .minimum_number_of_calls(CALLS_MIN as usize)
        .permitted_calls_in_half_open(1)
}

fn layer(config: CircuitBreakerConfigBuilder<DefaultClassifier>) -> CircuitBreakerLayer {
    config.build().expect("a configuration that works")
}

fn called(case: Case) -> Vec<Worker> {
    let inner = service_fn(move |number| answered(number, case.fails(number)));
    let service = layer(config(case)).layer_fn(inner);
    workers(case, &service, |mut service| {
        worker(move |number| {
            matches!(
                (asked(&mut service, number), case.fails(number)),
                (Ok(_), false) | (Err(CircuitBreakerError::Inner(Failure)), true)
            )
        })
    })
}

fn open(case: Case) -> Vec<Worker> {
    let inner = service_fn(|number| answered(number, true));
    let mut service = layer(config(case).wait_duration_in_open(FOREVER)).layer_fn(inner);
    for number in 0..COUNT_WINDOW as u64 {
        let _failed = asked(&mut service, number);
    }
    workers(case, &service, rejected)
}

/// The call with this number never ends.
const HANGS: u64 = u64::MAX;

fn half_open(case: Case) -> Vec<Worker> {
    let inner = service_fn(|number| async move {
        if number == HANGS {
            std::future::pending::<()>().await;
        }
        Err::<u64, _>(Failure)
    });
    // Long enough that the probe is out before another cooldown could begin.
    let cooldown = Duration::from_millis(1);
    let mut service = layer(config(case).wait_duration_in_open(cooldown)).layer_fn(inner);
    for number in 0..COUNT_WINDOW as u64 {
        let _failed = asked(&mut service, number);
    }
    let runtime = runtime();
    let _inside = runtime.enter();
    let probe = loop {
        let ready = once(std::pin::pin!(std::future::poll_fn(
            |cx| service.poll_ready(cx)
        )));
        if !ready.is_ready() {
            continue;
        }
        let mut call = service.call(HANGS);
        if once(call.as_mut()).is_pending() {
            break call;
        }
    };
    // Never dropped: the probe stays out.
    std::mem::forget(probe);
    workers(case, &service, rejected)
}

fn rejected<S>(mut service: S) -> Worker
where
    S: Service<u64, Response = u64, Error = CircuitBreakerError<Failure>> + Send + 'static,
{
    worker_on_tokio(move |number| {
        matches!(
            asked(&mut service, number),
            Err(CircuitBreakerError::OpenCircuit)
        )
    })
}

/// Deadline, retry with budget, breaker, bulkhead, timeout.
fn pipeline(case: Case) -> Vec<Worker> {
    let timeout = |time| TimeLimiterLayer::builder().timeout_duration(time).build();
    let budget = RetryBudgetBuilder::new().token_bucket().build();
    let retry = RetryLayer::builder()
        .max_attempts(3)
        .budget(budget.expect("the default works"))
        .build();
    let bulkhead = BulkheadLayer::builder().max_concurrent_calls(256).build();
    let service = ServiceBuilder::new()
        .layer(timeout(Duration::from_secs(2)))
        .layer(retry)
        .layer(layer(config(case)))
        .layer(bulkhead.expect("a configuration that works"))
        .layer(timeout(Duration::from_millis(300)))
        .service(service_fn(|number| answered(number, false)));
    workers(case, &service, |mut service| {
        worker_on_tokio(move |number| asked(&mut service, number).is_ok())
    })
}

/// A fixed window, its default.
fn acquire(case: Case) -> Vec<Worker> {
    let limiter = RateLimiterLayer::builder()
        .limit_for_period(usize::MAX / 2)
        .refresh_period(Duration::from_secs(1))
        .build();
    let service = ServiceBuilder::new()
        .layer(limiter.expect("a configuration that works"))
        .service(service_fn(|number| answered(number, false)));
    workers(case, &service, |mut service| {
        worker_on_tokio(move |number| asked(&mut service, number).is_ok())
    })
}
