//! Time and memory of a call.
//!
//! Prevents figures that the counting of bytes made worse: memory is counted by a program of its
//! own, with an allocator that counts, and time is taken by one without.

#![expect(clippy::disallowed_methods, reason = "what is measured is real time")]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

use crate::subject::Worker;

/// Calls between two looks at the clock: a multiple of ten, as a case may count in tens.
const BATCH_MIN: u64 = 10;
/// A batch this long makes the clock's own cost vanish.
const BATCH_TIME: Duration = Duration::from_micros(200);
/// Calls over which bytes are averaged.
const COUNTED_CALLS: u64 = 10_000;

/// What a line of figures starts with; a line of a gap starts with `missing`.
pub const PRINTED_AS: &str = "measured";

/// Says so and ends the process where time is virtual: figures would be those of a test's clock.
pub fn refuse_virtual_time() {
    if cfg!(feature = "virtual-time") {
        eprintln!("built for tests; measure with --no-default-features");
        std::process::exit(1);
    }
}

/// Nanoseconds per call and thread: runs the workers for about so long.
#[must_use]
pub fn nanos_per_call(workers: &mut [Worker], time: Duration) -> f64 {
    let batch = batch(&mut workers[0]);
    if let [alone] = workers {
        return of_one(alone, batch, time);
    }
    let start = Barrier::new(workers.len());
    let nanos: f64 = thread::scope(|scope| {
        let run = |worker| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                of_one(worker, batch, time)
            })
        };
        let threads: Vec<_> = workers.iter_mut().map(run).collect();
        let ended = threads.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .map(|nanos| nanos.expect("a worker found a wrong answer"))
            .sum()
    });
    nanos / workers.len() as f64
}

fn of_one(worker: &mut Worker, batch: u64, time: Duration) -> f64 {
    let start = Instant::now();
    let mut calls = 0;
    loop {
        worker(batch);
        calls += batch;
        let elapsed = start.elapsed();
        if elapsed >= time {
            return elapsed.as_nanos() as f64 / calls as f64;
        }
    }
}

/// How many calls take about [`BATCH_TIME`]; warms up on the way.
fn batch(worker: &mut Worker) -> u64 {
    let mut batch = BATCH_MIN;
    loop {
        let start = Instant::now();
        worker(batch);
        if start.elapsed() >= BATCH_TIME {
            return batch;
        }
        batch *= 2;
    }
}

/// Bytes allocated per call, in a program whose allocator is [`INSTRUMENTED_SYSTEM`]. The workers
/// take turns: what is allocated does not depend on who else calls.
#[must_use]
pub fn allocated_per_call(workers: &mut [Worker]) -> f64 {
    let mut run = |calls: u64| workers.iter_mut().for_each(|worker| worker(calls));
    // What a first call sets up once is not the price of a call.
    run(BATCH_MIN * 100);
    let region = Region::new(&INSTRUMENTED_SYSTEM);
    run(COUNTED_CALLS);
    let bytes = region.change().bytes_allocated;
    let calls = COUNTED_CALLS * workers.len() as u64;
    bytes as f64 / calls as f64
}
