//! The log: events and the output of replicas, as lines.
//!
//! Prevents a full disk, a closed terminal or a slow reader from stopping anything: a thread of
//! its own does the writing, and what it cannot take is dropped, counted, and told later by
//! [`Event::LogDropped`].

use std::io::{self, IsTerminal, Write};
use std::sync::Weak;
use std::thread;
use std::time::Duration;

use mainstay_core::event::{Event, Severity};
use tokio::time::Instant;

use crate::observer::Hub;

mod line;
mod queue;

pub(crate) use line::Line;
pub(crate) use queue::{Next, Queue};

/// Between two reports of dropped lines, so that the reports are not what fills the log.
const DROPPED_EVERY: Duration = Duration::from_secs(10);
/// Between two tries to write to a target that does not block and is full.
const FULL_WAIT: Duration = Duration::from_millis(5);

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON document a line, for machines.
    Json,
    /// Short lines for people.
    Plain,
    /// Short lines for people, with colour.
    Colour,
}

impl Format {
    /// What suits standard error as it is now: lines for people on a terminal, JSON elsewhere;
    /// no colour where `NO_COLOR` is set or the terminal is dumb.
    pub fn for_stderr() -> Self {
        if !io::stderr().is_terminal() {
            return Self::Json;
        }
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if is_set("NO_COLOR") || dumb {
            Self::Plain
        } else {
            Self::Colour
        }
    }
}

/// Where the log goes, and what goes into it.
pub struct Log {
    target: Box<dyn Write + Send>,
    format: Format,
    threshold: Severity,
}

impl Log {
    /// A log on standard error in the format that suits it, of all that matters at least as much
    /// as `threshold`.
    pub fn stderr(threshold: Severity) -> Self {
        Self::to(Box::new(io::stderr()), Format::for_stderr(), threshold)
    }

    /// A log on `target`; each line is one `write`, so the target needs no buffer.
    pub const fn to(target: Box<dyn Write + Send>, format: Format, threshold: Severity) -> Self {
        Self {
            target,
            format,
            threshold,
        }
    }

    pub(crate) fn start(self, queue: Queue, hub: Weak<Hub>) -> io::Result<()> {
        let mut writer = Writer {
            target: self.target,
            format: self.format,
            torn: false,
            told: None,
        };
        // Not joined: a thread that hangs on its target must not keep the process from ending.
        // It ends by itself once the queue is closed and empty.
        thread::Builder::new()
            .name("mainstay-log".into())
            .spawn(move || writer.run(&queue, &hub))
            .map(drop)
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("format", &self.format)
            .field("threshold", &self.threshold)
            .finish_non_exhaustive()
    }
}

struct Writer {
    target: Box<dyn Write + Send>,
    format: Format,
    /// Whether the target ends in the middle of a line that could not be completed.
    torn: bool,
    /// When dropped lines were last reported.
    told: Option<Instant>,
}

impl Writer {
    fn run(&mut self, queue: &Queue, hub: &Weak<Hub>) {
        loop {
            match queue.next(DROPPED_EVERY) {
                Next::Line(line) => self.write_or_count(&line, queue),
                Next::Idle => {},
                Next::Closed => return,
            }
            let due = self.told.is_none_or(|at| at.elapsed() >= DROPPED_EVERY);
            if due && let Some(hub) = hub.upgrade() {
                self.tell(queue, &hub);
            }
            queue.written();
        }
    }

    fn tell(&mut self, queue: &Queue, hub: &Hub) {
        let lines = queue.take_dropped();
        if lines > 0 {
            self.told = Some(Instant::now());
            let record = hub.stamp(Event::LogDropped { lines });
            self.write_or_count(&Line::Record(record), queue);
        }
    }

    fn write_or_count(&mut self, line: &Line, queue: &Queue) {
        let mut text = line.render(self.format);
        text.push('\n');
        if self.torn {
            text.insert(0, '\n');
        }
        if !self.write(text.as_bytes()) {
            queue.drop_one();
        }
    }

    /// Writes all bytes; says whether it could.
    fn write(&mut self, mut bytes: &[u8]) -> bool {
        let whole = bytes.len();
        while !bytes.is_empty() {
            match self.target.write(bytes) {
                Ok(0) => break,
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {},
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::park_timeout(FULL_WAIT);
                },
                Err(_) => break,
            }
        }
        if bytes.is_empty() {
            self.torn = false;
        } else {
            self.torn |= bytes.len() < whole;
        }
        bytes.is_empty()
    }
}

#[cfg(test)]
mod tests;
