//! seatbelt 0.11: services of `layered`, state behind a mutex. Its clock is the fast one that it
//! offers, as ours is.

use std::future::Ready;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::seatbelt::breaker::{Breaker, BreakerLayer, HalfOpenMode};
use ::seatbelt::retry::Retry;
use ::seatbelt::timeout::Timeout;
use ::seatbelt::typestates::Set;
use ::seatbelt::{RecoveryInfo, ResilienceContext};
use ::tick::Clock;
use layered::{Execute, Layer as _, Service as _, Stack as _};

use super::tower::asked;
use crate::case::{CALLS_MIN, Case, FOREVER, WINDOW};
use crate::poll::{Failure, answered, now, once};
use crate::subject::{Missing, Subject, Worker, runtime, worker, worker_on_tokio, workers};

const NAME: &str = "seatbelt";

type Answer = Result<u64, Error>;

/// Its services have one error for the call and for the rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Error {
    Failed(Failure),
    Rejected,
    Late,
}

pub(crate) const SUBJECTS: &[Subject] = &[
    Subject::new(Case::BreakerClosedSuccess, NAME, called),
    Subject::new(Case::BreakerClosedSuccessTower, NAME, called_by_tower),
    Subject::new(Case::BreakerClosedSuccess2Threads, NAME, called),
    Subject::new(Case::BreakerClosedFailure, NAME, called),
    Subject::new(Case::BreakerOpenRejection, NAME, open),
    Subject::new(Case::BreakerHalfOpenRejection, NAME, half_open),
    Subject::new(Case::PipelineSuccess, NAME, pipeline),
];

pub(crate) const MISSING: &[Missing] = &[
    Missing {
        case: Case::BreakerClosedSuccessSync,
        name: NAME,
        reason: "it has no form without a future",
    },
    Missing {
        case: Case::LimiterAcquire,
        name: NAME,
        reason: "it has no rate limit",
    },
];

fn context() -> ResilienceContext<u64, Answer> {
    let runtime = runtime();
    let _inside = runtime.enter();
    ResilienceContext::new(Clock::new_tokio().with_fast_instant(true))
}

fn recovery(answer: &Answer) -> RecoveryInfo {
    match answer {
        Ok(_) => RecoveryInfo::never(),
        Err(_) => RecoveryInfo::retry(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a rate loses nothing that matters"
)]
fn layer(
    case: Case,
    context: &ResilienceContext<u64, Answer>,
) -> BreakerLayer<u64, Answer, Set, Set> {
    Breaker::layer("payment", context)
        .recovery_with(|answer, _| recovery(answer))
        .rejected_input_error(|_, _| Error::Rejected)
        .failure_threshold(case.failure_rate() as f32)
        .min_throughput(CALLS_MIN)
        .sampling_duration(WINDOW)
        .half_open_mode(HalfOpenMode::quick())
}

fn answered_by(case: Case) -> impl Fn(u64) -> Ready<Answer> + Clone + Send + Sync {
    move |number| {
        let answer = answered(number, case.fails(number)).into_inner();
        std::future::ready(answer.map_err(Error::Failed))
    }
}

fn expected(case: Case, number: u64, answer: &Answer) -> bool {
    matches!(
        (answer, case.fails(number)),
        (Ok(_), false) | (Err(Error::Failed(_)), true)
    )
}

fn called(case: Case) -> Vec<Worker> {
    let service = layer(case, &context()).layer(Execute::new(answered_by(case)));
    workers(case, &Arc::new(service), |service| {
        worker(move |number| {
            let answer = now(service.execute(number));
            expected(case, number, &answer)
        })
    })
}

fn called_by_tower(case: Case) -> Vec<Worker> {
    let service = layer(case, &context()).layer(Execute::new(answered_by(case)));
    workers(case, &service, |mut service| {
        worker(move |number| {
            let answer = asked(&mut service, number);
            expected(case, number, &answer)
        })
    })
}

fn open(case: Case) -> Vec<Worker> {
    let failing = Execute::new(|_: u64| std::future::ready(Answer::Err(Error::Failed(Failure))));
    let layer = layer(case, &context()).break_duration(FOREVER);
    let service = layer.layer(failing);
    for number in 0..u64::from(CALLS_MIN) {
        let _failed = now(service.execute(number));
    }
    workers(case, &Arc::new(service), |service| {
        worker(move |number| now(service.execute(number)) == Err(Error::Rejected))
    })
}

/// Half-open, it lets another probe through each time the cooldown has passed. They never answer,
/// so they keep it half-open; one call in some millions is such a probe instead of a rejection.
fn half_open(case: Case) -> Vec<Worker> {
    const COOLDOWN: Duration = Duration::from_millis(500);
    let inner = Execute::new(|number| async move {
        if number >= u64::from(CALLS_MIN) {
            std::future::pending::<()>().await;
        }
        Answer::Err(Error::Failed(Failure))
    });
    let layer = layer(case, &context()).break_duration(COOLDOWN);
    let service = Arc::new(layer.layer(inner));
    for number in 0..u64::from(CALLS_MIN) {
        let _failed = now(service.execute(number));
    }
    // The first call after the cooldown makes it half-open.
    while once(pin!(service.execute(HANGS))).is_ready() {}
    workers(case, &service, |service| {
        worker(move |_| match once(pin!(service.execute(HANGS))) {
            Poll::Ready(answer) => answer == Err(Error::Rejected),
            Poll::Pending => true,
        })
    })
}

/// A call with this number never ends.
const HANGS: u64 = u64::MAX;

/// Deadline, retry, breaker, timeout: without a budget and without a bulkhead, which it lacks.
fn pipeline(case: Case) -> Vec<Worker> {
    let context = context();
    let timeout = |time| {
        Timeout::layer("timeout", &context)
            .timeout_error(|_| Error::Late)
            .timeout(time)
    };
    let retry = Retry::layer("retry", &context)
        .clone_input()
        .recovery_with(|answer: &Answer, _| recovery(answer))
        .max_retry_attempts(2);
    let service = (
        timeout(Duration::from_secs(2)),
        retry,
        layer(case, &context),
        timeout(Duration::from_millis(300)),
        Execute::new(answered_by(case)),
    )
        .into_service();
    workers(case, &Arc::new(service), |service| {
        worker_on_tokio(move |number| now(service.execute(number)).is_ok())
    })
}
