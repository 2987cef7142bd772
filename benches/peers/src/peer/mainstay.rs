//! Ours.
//!
//! Prevents nothing by itself; it is what the others are compared with, so it is written as the
//! examples of the library are.

use std::num::NonZeroU32;
use std::time::Duration;

use ::mainstay::breaker::Config;
use ::mainstay::innermost::InnermostLayer;
use ::mainstay::rate_limit::Config as RateConfig;
use ::mainstay::{Breaker, Bulkhead, Error, Pipeline, RateLimiter, Retry, RetryBudget};
use ::tower::{ServiceBuilder, service_fn};

use super::tower::asked;

use crate::case::{CALLS_MIN, Case, FOREVER, WINDOW};
use crate::poll::{Failure, answered, now};
use crate::subject::{Missing, Subject, Worker, worker, worker_on_tokio, workers};

const NAME: &str = "mainstay";

pub(crate) const SUBJECTS: &[Subject] = &[
    Subject::new(Case::BreakerClosedSuccess, NAME, called),
    Subject::new(Case::BreakerClosedSuccessSync, NAME, guarded),
    Subject::new(Case::BreakerClosedSuccess2Threads, NAME, called),
    Subject::new(Case::BreakerClosedSuccess2Breakers, NAME, called_apart),
    Subject::new(Case::BreakerClosedFailure, NAME, called),
    Subject::new(Case::BreakerOpenRejection, NAME, open),
    Subject::new(Case::BreakerOpenRejectionSync, NAME, asked_in_vain),
    Subject::new(Case::BreakerHalfOpenRejection, NAME, half_open),
    Subject::new(Case::BreakerClosedSuccessTower, NAME, layered),
    Subject::new(Case::PipelineSuccess, NAME, pipeline),
    Subject::new(Case::LimiterAcquire, NAME, acquire),
];

pub(crate) const MISSING: &[Missing] = &[];

fn config(case: Case) -> Config {
    let defaults = Config::default();
    Config {
        error_rate: Some(case.failure_rate()),
        calls_min: count(CALLS_MIN),
        // On by default, and more work than the peers do; only where nine in a row fail without
        // opening the circuit it has to be off.
        consecutive: defaults
            .consecutive
            .filter(|_| case != Case::BreakerClosedFailure),
        window: WINDOW.into(),
        probes: NonZeroU32::MIN,
        lease: FOREVER,
        ..defaults
    }
}

fn breaker(config: Config) -> Breaker {
    let breaker = Breaker::builder("payment").config(config).build();
    breaker.expect("a configuration that works")
}

/// A future, run through the breaker.
fn called(case: Case) -> Vec<Worker> {
    workers(case, &breaker(config(case)), |breaker| {
        caller(case, breaker)
    })
}

/// The same through a breaker of each worker's own.
fn called_apart(case: Case) -> Vec<Worker> {
    workers(case, &config(case), |config| caller(case, breaker(config)))
}

fn caller(case: Case, breaker: Breaker) -> Worker {
    worker(move |number| {
        let fails = case.fails(number);
        let answer = now(breaker.call(answered(number, fails)));
        matches!(
            (answer, fails),
            (Ok(_), false) | (Err(Error::Inner(Failure)), true)
        )
    })
}

/// A permit that is taken and given back.
fn guarded(case: Case) -> Vec<Worker> {
    workers(case, &breaker(config(case)), |breaker| {
        worker(move |_| {
            let Ok(permit) = breaker.try_acquire() else {
                return false;
            };
            permit.success();
            true
        })
    })
}

fn open(case: Case) -> Vec<Worker> {
    rejected(case, &opened(case))
}

/// A permit that is asked for in vain.
fn asked_in_vain(case: Case) -> Vec<Worker> {
    workers(case, &opened(case), |breaker| {
        worker(move |_| breaker.try_acquire().is_err())
    })
}

fn opened(case: Case) -> Breaker {
    let breaker = breaker(Config {
        reopen: FOREVER,
        reopen_max: FOREVER,
        ..config(case)
    });
    trip(&breaker);
    breaker
}

fn half_open(case: Case) -> Vec<Worker> {
    let breaker = breaker(Config {
        reopen: Duration::from_millis(1),
        ..config(case)
    });
    trip(&breaker);
    let probe = loop {
        if let Ok(probe) = breaker.try_acquire_owned() {
            break probe;
        }
    };
    // Never given back: the probe stays out.
    std::mem::forget(probe);
    rejected(case, &breaker)
}

fn rejected(case: Case, breaker: &Breaker) -> Vec<Worker> {
    workers(case, breaker, |breaker| {
        worker(move |number| {
            let answer = now(breaker.call(answered(number, false)));
            matches!(answer, Err(Error::Rejected(_)))
        })
    })
}

fn trip(breaker: &Breaker) {
    for number in 0..u64::from(CALLS_MIN) {
        // Once it is open, further calls are turned away: both are what is wanted.
        let _failed_or_rejected = now(breaker.call(answered(number, true)));
    }
}

/// The breaker's layer around a plain service.
fn layered(case: Case) -> Vec<Worker> {
    workers(case, &breaker(config(case)), |breaker| {
        let mut service = ServiceBuilder::new()
            .layer(breaker.layer())
            .layer(InnermostLayer)
            .service(service_fn(|number| answered(number, false)));
        worker(move |number| asked(&mut service, number).is_ok())
    })
}

/// Deadline, retry with budget, breaker, bulkhead, timeout.
fn pipeline(case: Case) -> Vec<Worker> {
    let budget = RetryBudget::builder("payment").build();
    let pipeline = Pipeline::builder("payment")
        .deadline(Duration::from_secs(2))
        .retry(Retry::builder(budget.expect("the default works")).build().expect("valid"))
        .breaker(breaker(config(case)))
        .bulkhead(Bulkhead::builder("payment").build().expect("valid"))
        .timeout(Duration::from_secs(1))
        .build()
        .expect("a configuration that works");
    workers(case, &pipeline, |pipeline| {
        worker_on_tokio(move |number| {
            now(pipeline.call(|_attempt| answered(number, false))).is_ok()
        })
    })
}

/// A limit that is never reached: one call per nanosecond, and a second's worth at once.
fn acquire(case: Case) -> Vec<Worker> {
    let limiter = RateLimiter::builder("payment")
        .config(RateConfig {
            per_period: QUOTA,
            period: Duration::from_secs(1),
            burst: QUOTA,
            ..RateConfig::default()
        })
        .build()
        .expect("a configuration that works");
    workers(case, &limiter, |limiter| {
        worker(move |_| limiter.try_acquire().is_ok())
    })
}

const QUOTA: NonZeroU32 = NonZeroU32::new(1_000_000_000).expect("not zero");

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}
