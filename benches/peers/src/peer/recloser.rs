//! recloser 1.4: a closure, run through ring buffers behind an epoch. It has a window of calls only.

use std::sync::Arc;

use ::recloser::{Error, Recloser};

use crate::case::{COUNT_WINDOW, Case, FOREVER};
use crate::poll::{Failure, answer};
use crate::subject::{Missing, Subject, Worker, worker, workers};

const NAME: &str = "recloser";

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

#[expect(
    clippy::cast_possible_truncation,
    reason = "a rate loses nothing that matters"
)]
fn breaker(case: Case) -> Arc<Recloser> {
    let breaker = Recloser::custom()
        .error_rate(case.failure_rate() as f32)
        .closed_len(COUNT_WINDOW)
        .open_wait(FOREVER)
        .build();
    Arc::new(breaker)
}

fn called(case: Case) -> Vec<Worker> {
    workers(case, &breaker(case), |breaker| {
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

fn open(case: Case) -> Vec<Worker> {
    let breaker = breaker(case);
    // One more than the window: it does not decide when it has just become full.
    for number in 0..=COUNT_WINDOW as u64 {
        let _failed = breaker.call(|| answer(number, true));
    }
    workers(case, &breaker, |breaker| {
        worker(move |number| {
            let answer = breaker.call(|| answer(number, false));
            matches!(answer, Err(Error::Rejected))
        })
    })
}
