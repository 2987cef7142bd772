//! What happened, in order: a line per event, and a hash over all of them.
//!
//! Prevents a run that cannot be repeated from passing as one that can: two runs of a seed must
//! have the same hash after every thousand events, or nothing that was found can be found again.

use std::fmt::{Arguments, Write as _};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

/// Events between two checkpoints.
pub const CHECKPOINT_EVENTS: u64 = 1_000;

/// Lines that are kept for a report.
const TAIL_LINES: usize = 40;

/// What happened; clones are the same trace.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<Lines>>);

struct Lines {
    started: Instant,
    hash: Xxh3,
    events: u64,
    checkpoints: Vec<u64>,
    line: String,
    tail: std::collections::VecDeque<String>,
    file: Option<BufWriter<File>>,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace")
            .field("events", &self.lines().events)
            .finish_non_exhaustive()
    }
}

impl Trace {
    /// Nothing has happened yet. Lines go to the file at `path` as well, when there is one.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    pub fn new(path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self(Arc::new(Mutex::new(Lines {
            started: Instant::now(),
            hash: Xxh3::new(),
            events: 0,
            checkpoints: Vec::new(),
            line: String::new(),
            tail: std::collections::VecDeque::new(),
            file,
        }))))
    }

    /// Something happened.
    pub fn note(&self, what: Arguments<'_>) {
        let lines = &mut *self.lines();
        let micros = lines.started.elapsed().as_micros();
        lines.line.clear();
        // A string takes whatever is written.
        writeln!(lines.line, "{micros} {what}").ok();
        lines.hash.update(lines.line.as_bytes());
        lines.events += 1;
        if lines.events.is_multiple_of(CHECKPOINT_EVENTS) {
            lines.checkpoints.push(lines.hash.digest());
        }
        if let Some(file) = &mut lines.file {
            // A trace that cannot be written is noticed when it is read.
            file.write_all(lines.line.as_bytes()).ok();
        }
    }

    /// Something happened that a reader of a report wants to see.
    pub fn tell(&self, what: Arguments<'_>) {
        self.note(what);
        let lines = &mut *self.lines();
        if lines.tail.len() == TAIL_LINES {
            lines.tail.pop_front();
        }
        let line = lines.line.trim_end().to_owned();
        lines.tail.push_back(line);
    }

    /// The last lines that were told.
    pub fn tail(&self) -> Vec<String> {
        self.lines().tail.iter().cloned().collect()
    }

    /// How many events there were, their hash, and the hashes on the way there.
    pub fn sum(&self) -> (u64, u64, Vec<u64>) {
        let mut lines = self.lines();
        if let Some(file) = &mut lines.file {
            file.flush().ok();
        }
        (lines.events, lines.hash.digest(), lines.checkpoints.clone())
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
