//! Ours.
//!
//! Prevents nothing by itself; it is what the others are compared with, so it is written as the
//! examples of the library are.

use std::num::NonZeroU32;
use std::time::Duration;

use ::mainstay::breaker::Config;
use ::mainstay::bulkhead::Config as BulkheadConfig;
use ::mainstay::{Breaker, Bulkhead, Error, Retry, RetryBudget, Timeout};

use crate::case::{CALLS_MIN, Case, FOREVER, WINDOW};
use crate::poll::{Failure, answered, now};
use crate::subject::{Missing, Subject, Worker, worker, worker_on_tokio, workers};

const NAME: &str = "mainstay";

pub(crate) const SUBJECTS: &[Subject] = &[
    Subject::new(Case::BreakerClosedSuccess, NAME, called),
    Subject::new(Case::BreakerClosedSuccessSync, NAME, guarded),
    Subject::new(Case::BreakerClosedSuccess2Threads, NAME, called),
    Subject::new(Case::BreakerClosedFailure, NAME, called),
    Subject::new(Case::BreakerOpenRejection, NAME, open),
    Subject::new(Case::BreakerHalfOpenRejection, NAME, half_open),
    Subject::new(Case::PipelineSuccess, NAME, pipeline),
];

pub(crate) const MISSING: &[Missing] = &[
    Missing {
        case: Case::BreakerClosedSuccessTower,
        name: NAME,
        reason: "the breaker has no layer yet",
    },
    Missing {
        case: Case::LimiterAcquire,
        name: NAME,
        reason: "there is no rate limit yet",
    },
];

fn config(case: Case) -> Config {
    let defaults = Config::default();
    Config {
        error_rate: case.failure_rate(),
        calls_min: count(CALLS_MIN),
        // On by default, and more work than the peers do; only where nine in a row fail without
        // opening the circuit it has to be off.
        consecutive: defaults
            .consecutive
            .filter(|_| case != Case::BreakerClosedFailure),
        window: WINDOW,
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
        worker(move |number| {
            let fails = case.fails(number);
            let answer = now(breaker.call(answered(number, fails)));
            matches!(
                (answer, fails),
                (Ok(_), false) | (Err(Error::Inner(Failure)), true)
            )
        })
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
    let breaker = breaker(Config {
        reopen: FOREVER,
        reopen_max: FOREVER,
        ..config(case)
    });
    trip(&breaker);
    rejected(case, &breaker)
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

/// By hand, until there is a pipeline that does it.
fn pipeline(case: Case) -> Vec<Worker> {
    let budget = RetryBudget::builder("payment").build();
    let retry = Retry::builder(budget.expect("the default works"))
        .total(Duration::from_secs(2))
        .build();
    let breaker = breaker(config(case));
    let bulkhead = Bulkhead::builder("payment")
        .config(BulkheadConfig::default())
        .build();
    let timeout = Timeout::attempt(Duration::from_millis(300));
    let policies = (retry, breaker, bulkhead, timeout);
    workers(case, &policies, |(retry, breaker, bulkhead, timeout)| {
        worker_on_tokio(move |number| {
            let answer = now(retry.call(async |attempt| {
                let timed = timeout.call(answered(number, false));
                let placed = bulkhead.call(attempt.deadline, timed);
                breaker.call(placed).await
            }));
            answer.is_ok()
        })
    })
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}
