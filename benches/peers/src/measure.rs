//! Time and memory of a call.
//!
//! Prevents figures that the counting of bytes made worse: memory is counted by a program of its
//! own, with an allocator that counts, and time is taken by one without.

#![expect(clippy::disallowed_methods, reason = "what is measured is real time")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region};

use crate::subject::Worker;

/// Calls between two looks at the clock: a multiple of ten, as a case may count in tens.
const BATCH_MIN: u64 = 10;
/// A batch this long makes the clock's own cost vanish.
const BATCH_TIME: Duration = Duration::from_micros(200);
/// The part of a batch that all workers must run at the same time for it to count.
const TOGETHER: f64 = 0.5;
/// How often the time is given before the machine is said to be too busy.
const TRIES: u32 = 3;
/// Batches at the same time that make a median.
const BATCHES_ENOUGH: usize = 50;
/// Looks at the others before a worker that waits for them lets the core go: some microseconds.
const SPINS: u32 = 1_000;
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

/// Nanoseconds per call and thread: runs the workers for about so long. `None` when the machine has
/// other things to do, so that they hardly ever ran at the same time.
///
/// The workers begin each batch together, a batch counts as its slowest worker, and the result is
/// the median of the batches in which they did run at the same time: one in which the machine took
/// a thread away says nothing, and one that a worker had to itself would pass for a fast one.
#[must_use]
pub fn nanos_per_call(workers: &mut [Worker], time: Duration) -> Option<f64> {
    let calls = batch(&mut workers[0]);
    let batches = (time.as_nanos() / BATCH_TIME.as_nanos()).max(1) as usize;
    let mut together = Vec::new();
    for _ in 0..TRIES {
        together.extend(run(workers, calls, batches).iter().filter_map(Batch::nanos));
        if together.len() >= batches.min(BATCHES_ENOUGH) {
            return Some(median(&mut together) / calls as f64);
        }
    }
    None
}

/// When each worker made one batch.
struct Batch(Vec<(Instant, Instant)>);

impl Batch {
    /// How long the slowest took, if they ran at the same time.
    fn nanos(&self) -> Option<f64> {
        let began = self.0.iter().map(|(began, _)| *began);
        let ended = self.0.iter().map(|(_, ended)| *ended);
        let slowest = self.0.iter().map(|(began, ended)| *ended - *began).max()?;
        let together = ended.min()?.saturating_duration_since(began.max()?);
        (together >= slowest.mul_f64(TOGETHER)).then_some(slowest.as_nanos() as f64)
    }
}

/// The same number of batches by all workers.
fn run(workers: &mut [Worker], calls: u64, batches: usize) -> Vec<Batch> {
    let line = Line::of(workers.len());
    let line = &line;
    let mut all: Vec<Batch> = (0..batches).map(|_| Batch(Vec::new())).collect();
    thread::scope(|scope| {
        let run = |worker| scope.spawn(move || line.run(worker, calls, batches));
        let threads: Vec<_> = workers.iter_mut().map(run).collect();
        for thread in threads {
            let times = thread.join().expect("a worker found a wrong answer");
            for (batch, time) in all.iter_mut().zip(times) {
                batch.0.push(time);
            }
        }
    });
    all
}

/// Where workers wait for each other before each batch, without sleeping: who is woken begins late.
struct Line {
    workers: usize,
    arrived: AtomicUsize,
}

impl Line {
    const fn of(workers: usize) -> Self {
        Self {
            workers,
            arrived: AtomicUsize::new(0),
        }
    }

    /// When each batch began and ended.
    fn run(&self, worker: &mut Worker, calls: u64, batches: usize) -> Vec<(Instant, Instant)> {
        let _left = Left(self);
        (1..=batches)
            .map(|batch| {
                self.wait(batch);
                let began = Instant::now();
                worker(calls);
                (began, Instant::now())
            })
            .collect()
    }

    fn wait(&self, batch: usize) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        let mut spins = 0_u32;
        while self.arrived.load(Ordering::Acquire) < self.workers * batch {
            std::hint::spin_loop();
            spins += 1;
            // The other may need this core.
            if spins.is_multiple_of(SPINS) {
                thread::yield_now();
            }
        }
    }
}

/// A worker that is through, or that found a wrong answer: nobody waits for it.
struct Left<'a>(&'a Line);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.arrived.fetch_add(usize::MAX / 4, Ordering::AcqRel);
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
