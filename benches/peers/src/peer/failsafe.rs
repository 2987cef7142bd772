//! failsafe 1.3: a closure, run through a state machine under a mutex.

use ::failsafe::{CircuitBreaker, Config, Error, StateMachine, backoff, failure_policy};

use crate::case::{CALLS_MIN, Case, FOREVER, WINDOW};
use crate::poll::{Failure, answer};
use crate::subject::{Missing, Subject, Worker, worker, workers};

const NAME: &str = "failsafe";

pub(crate) const SUBJECTS: &[Subject] = &[
    Subject::new(Case::BreakerClosedSuccess, NAME, called),
    Subject::new(Case::BreakerClosedSuccessSync, NAME, called),
    Subject::new(Case::BreakerClosedSuccess2Threads, NAME, called),
    Subject::new(Case::BreakerClosedFailure, NAME, called),
    Subject::new(Case::BreakerOpenRejection, NAME, open),
    Subject::new(Case::BreakerOpenRejectionSync, NAME, open),
];

pub(crate) const MISSING: &[Missing] = &[Missing {
    case: Case::BreakerHalfOpenRejection,
    name: NAME,
    reason: "half-open, it admits every call",
}];

fn called(case: Case) -> Vec<Worker> {
    let policy = failure_policy::success_rate_over_time_window(
        1.0 - case.failure_rate(),
        CALLS_MIN,
        WINDOW,
        backoff::constant(FOREVER),
    );
    let breaker = Config::new().failure_policy(policy).build();
    workers(case, &breaker, |breaker| {
        worker(move |number| {
            let fails = case.fails(number);
            let answer = breaker.call(|| answer(number, fails));
            matches!(
                (answer, fails),
                (Ok(_), false) | (Err(Error::Inner(Failure)), true)
            )
        })
    })
}

/// Opened by failures in a row: by a rate it does not open before its window is over once.
fn open(case: Case) -> Vec<Worker> {
    let policy = failure_policy::consecutive_failures(CALLS_MIN, backoff::constant(FOREVER));
    let breaker: StateMachine<_, ()> = Config::new().failure_policy(policy).build();
    for number in 0..u64::from(CALLS_MIN) {
        let _failed = breaker.call(|| answer(number, true));
    }
    workers(case, &breaker, |breaker| {
        worker(move |number| {
            let answer = breaker.call(|| answer(number, false));
            matches!(answer, Err(Error::Rejected))
        })
    })
}
