//! The lines that wait for the log's writer.
//!
//! Prevents a log that cannot be written from eating memory: bounded in lines and in bytes; what
//! does not fit is dropped and counted. Whoever adds a line never waits for the writer's target.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_core::event::Severity;
use prometheus_client::metrics::counter::Counter;

use super::{Line, Log};
use crate::metrics::Metrics;
use crate::record::Record;

/// Lines that may wait.
const LINES_MAX: usize = 8_192;
/// Bytes that may wait: replicas write long lines.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Cheap to clone; all clones are one queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    threshold: Severity,
    waiting: Mutex<Waiting>,
    /// Something to do for the writer.
    filled: Condvar,
    /// Nothing waits and nothing is being written.
    drained: Condvar,
    dropped_total: Counter,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Whether the writer has a line in hand.
    writing: bool,
    closed: bool,
    /// Lines dropped and not yet reported.
    dropped: u64,
}

/// What the writer does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Write this.
    Line(Line),
    /// See whether dropped lines can be reported now.
    Idle,
    /// End.
    Closed,
}

impl Queue {
    pub(crate) fn new(log: &Log, metrics: &Metrics) -> Self {
        Self(Arc::new(Shared {
            threshold: log.threshold,
            waiting: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
            dropped_total: metrics.log_dropped.clone(),
        }))
    }

    /// Adds a record if it matters enough.
    pub(crate) fn push_record(&self, record: Arc<Record>) {
        if record.severity >= self.0.threshold {
            self.push(Line::Record(record));
        }
    }

    /// Adds a line, or drops it when the queue is full.
    pub(crate) fn push(&self, line: Line) {
        let mut waiting = self.lock();
        let bytes = line.bytes();
        if waiting.lines.len() >= LINES_MAX || waiting.bytes + bytes > BYTES_MAX {
            waiting.dropped += 1;
            drop(waiting);
            self.0.dropped_total.inc();
            return;
        }
        waiting.bytes += bytes;
        waiting.lines.push_back(line);
        drop(waiting);
        self.0.filled.notify_one();
    }

    /// Waits for work; comes back after `idle_max` while dropped lines are to be reported.
    /// [`Queue::written`] must follow before the next call.
    pub(crate) fn next(&self, idle_max: Duration) -> Next {
        let mut waiting = self.lock();
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                waiting.bytes -= line.bytes();
                waiting.writing = true;
                return Next::Line(line);
            }
            if waiting.closed {
                return Next::Closed;
            }
            if waiting.dropped == 0 {
                waiting = self
                    .0
                    .filled
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (guard, timeout) = self
                .0
                .filled
                .wait_timeout(waiting, idle_max)
                .unwrap_or_else(PoisonError::into_inner);
            waiting = guard;
            if timeout.timed_out() && waiting.lines.is_empty() && !waiting.closed {
                return Next::Idle;
            }
        }
    }

    /// The writer is done with what [`Queue::next`] gave it.
    pub(crate) fn written(&self) {
        let mut waiting = self.lock();
        waiting.writing = false;
        if waiting.lines.is_empty() {
            drop(waiting);
            self.0.drained.notify_all();
        }
    }

    /// Counts a line that could not be written.
    pub(crate) fn drop_one(&self) {
        self.lock().dropped += 1;
        self.0.dropped_total.inc();
    }

    /// How many lines were dropped since the last call.
    pub(crate) fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.lock().dropped)
    }

    /// Waits until nothing waits and nothing is being written; says whether that is so.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let (_waiting, result) = self
            .0
            .drained
            .wait_timeout_while(self.lock(), timeout, |waiting| {
                waiting.writing || !waiting.lines.is_empty()
            })
            .unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }

    /// Lets the writer end once all lines are written.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.0.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
