//! The subjects under criterion: distributions and comparisons with the last run.
//!
//! Prevents nothing that `cargo xtask bench policies` does not; it is for whoever changes a policy
//! and wants to see whether it became faster. `cargo bench --no-default-features --bench policies`.

#![expect(clippy::disallowed_methods, reason = "what is measured is real time")]

use std::time::{Duration, Instant};

use criterion::Criterion;

/// Short, as there are many subjects; `--measurement-time` asks for more.
const MEASUREMENT_TIME: Duration = Duration::from_secs(2);
const WARM_UP_TIME: Duration = Duration::from_millis(300);

fn main() {
    peers::refuse_virtual_time();
    let mut criterion = Criterion::default()
        .measurement_time(MEASUREMENT_TIME)
        .warm_up_time(WARM_UP_TIME)
        .configure_from_args();
    for subject in peers::subjects() {
        // Criterion counts calls, and two threads have no call in common.
        if subject.case.threads() > 1 {
            continue;
        }
        let mut worker = subject.start().remove(0);
        let id = format!("{}/{}", subject.case.name(), subject.name);
        criterion.bench_function(&id, |bencher| {
            bencher.iter_custom(|calls| {
                let start = Instant::now();
                worker(calls);
                start.elapsed()
            });
        });
    }
    criterion.final_summary();
}
