//! Counts the instructions of [`CALLS`] calls per subject, under valgrind: the same on a busy machine.
//!
//! Prevents a regression that hides in the noise of a shared machine. Needs `gungraun-runner` of the
//! version in `Cargo.lock`; `cargo xtask bench policies --instructions` installs it.
#![expect(missing_docs, reason = "what the macros make cannot be documented")]

use gungraun::{library_benchmark, library_benchmark_group, main};
use peers::{Case, Worker};

/// Divide what is printed by this.
const CALLS: u64 = 100;

/// Builds a subject's one worker and lets it make its first calls, which set up what is set up once.
fn ready((case, name): (Case, &str)) -> Worker {
    let of = |subject: &peers::Subject| subject.case == case && subject.name == name;
    let subject = peers::subjects().into_iter().find(of);
    let subject = subject.unwrap_or_else(|| panic!("{name} has no {}", case.name()));
    let mut worker = subject.start().remove(0);
    worker(CALLS);
    worker
}

#[library_benchmark(setup = ready)]
#[bench::mainstay((Case::BreakerClosedSuccess, "mainstay"))]
#[bench::tower_resilience((Case::BreakerClosedSuccess, "tower-resilience"))]
#[bench::seatbelt((Case::BreakerClosedSuccess, "seatbelt"))]
#[bench::failsafe((Case::BreakerClosedSuccess, "failsafe"))]
#[bench::recloser((Case::BreakerClosedSuccess, "recloser"))]
fn breaker_closed_success(mut worker: Worker) {
    worker(CALLS);
}

#[library_benchmark(setup = ready)]
#[bench::mainstay((Case::BreakerClosedSuccessSync, "mainstay"))]
#[bench::failsafe((Case::BreakerClosedSuccessSync, "failsafe"))]
#[bench::recloser((Case::BreakerClosedSuccessSync, "recloser"))]
fn breaker_closed_success_sync(mut worker: Worker) {
    worker(CALLS);
}

#[library_benchmark(setup = ready)]
#[bench::mainstay((Case::BreakerClosedSuccessTower, "mainstay"))]
#[bench::tower_resilience((Case::BreakerClosedSuccessTower, "tower-resilience"))]
#[bench::seatbelt((Case::BreakerClosedSuccessTower, "seatbelt"))]
fn breaker_closed_success_tower(mut worker: Worker) {
    worker(CALLS);
}

#[library_benchmark(setup = ready)]
#[bench::mainstay((Case::BreakerClosedFailure, "mainstay"))]
#[bench::tower_resilience((Case::BreakerClosedFailure, "tower-resilience"))]
#[bench::seatbelt((Case::BreakerClosedFailure, "seatbelt"))]
#[bench::failsafe((Case::BreakerClosedFailure, "failsafe"))]
#[bench::recloser((Case::BreakerClosedFailure, "recloser"))]
fn breaker_closed_failure(mut worker: Worker) {
    worker(CALLS);
}

#[library_benchmark(setup = ready)]
#[bench::mainstay((Case::BreakerOpenRejection, "mainstay"))]
#[bench::tower_resilience((Case::BreakerOpenRejection, "tower-resilience"))]
#[bench::seatbelt((Case::BreakerOpenRejection, "seatbelt"))]
#[bench::failsafe((Case::BreakerOpenRejection, "failsafe"))]
#[bench::recloser((Case::BreakerOpenRejection, "recloser"))]
fn breaker_open_rejection(mut worker: Worker) {
    worker(CALLS);
}

#[library_benchmark(setup = ready)]
#[bench::mainstay((Case::BreakerOpenRejectionSync, "mainstay"))]
#[bench::failsafe((Case::BreakerOpenRejectionSync, "failsafe"))]
#[bench::recloser((Case::BreakerOpenRejectionSync, "recloser"))]
fn breaker_open_rejection_sync(mut worker: Worker) {
    worker(CALLS);
}

#[library_benchmark(setup = ready)]
#[bench::mainstay((Case::BreakerHalfOpenRejection, "mainstay"))]
#[bench::tower_resilience((Case::BreakerHalfOpenRejection, "tower-resilience"))]
#[bench::seatbelt((Case::BreakerHalfOpenRejection, "seatbelt"))]
fn breaker_half_open_rejection(mut worker: Worker) {
    worker(CALLS);
}

#[library_benchmark(setup = ready)]
#[bench::mainstay((Case::PipelineSuccess, "mainstay"))]
#[bench::tower_resilience((Case::PipelineSuccess, "tower-resilience"))]
#[bench::seatbelt((Case::PipelineSuccess, "seatbelt"))]
#[bench::tower((Case::PipelineSuccess, "tower"))]
fn pipeline_success(mut worker: Worker) {
    worker(CALLS);
}

#[library_benchmark(setup = ready)]
#[bench::mainstay((Case::LimiterAcquire, "mainstay"))]
#[bench::tower_resilience((Case::LimiterAcquire, "tower-resilience"))]
#[bench::governor((Case::LimiterAcquire, "governor"))]
#[bench::tower((Case::LimiterAcquire, "tower"))]
fn limiter_acquire(mut worker: Worker) {
    worker(CALLS);
}

library_benchmark_group!(
    name = policies;
    benchmarks = breaker_closed_success, breaker_closed_success_sync, breaker_closed_success_tower, breaker_closed_failure, breaker_open_rejection, breaker_open_rejection_sync, breaker_half_open_rejection, pipeline_success, limiter_acquire
);

main!(library_benchmark_groups = policies);
