//! One line of the log, for machines or for people.
//!
//! Prevents a line that lies: whatever a replica prints or a peer says, it stays one line, and
//! no control character of it reaches a terminal.

use std::borrow::Cow;
use std::sync::Arc;

use mainstay_core::event::Severity;
use serde::Serialize;
use serde_json::Value;

use super::Format;
use crate::clock::Timestamp;
use crate::record::Record;

/// Bytes of a replica's line that are kept.
const REPLICA_BYTES_MAX: usize = 8 * 1024;
/// What a record counts as while it waits; records share most of what they hold.
const RECORD_BYTES: usize = 256;
/// Width of the event's name, so that fields line up.
const NAME_WIDTH: usize = 22;

#[derive(Debug)]
pub(crate) enum Line {
    Record(Arc<Record>),
    Replica(ReplicaLine),
}

/// A line that a replica printed.
#[derive(Debug, Serialize)]
pub(crate) struct ReplicaLine {
    replica: String,
    stream: &'static str,
    line: String,
    /// Bytes that were cut off.
    #[serde(skip_serializing_if = "is_zero")]
    cut_bytes: usize,
    time: Timestamp,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
const fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Line {
    pub(crate) fn replica(replica: &str, stream: &'static str, line: &[u8]) -> Self {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let kept = line.get(..REPLICA_BYTES_MAX).unwrap_or(line);
        Self::Replica(ReplicaLine {
            replica: replica.to_owned(),
            stream,
            line: String::from_utf8_lossy(kept).into_owned(),
            cut_bytes: line.len() - kept.len(),
            time: Timestamp::now(),
        })
    }

    /// About how much memory it takes.
    pub(crate) const fn bytes(&self) -> usize {
        match self {
            Self::Record(_) => RECORD_BYTES,
            Self::Replica(line) => RECORD_BYTES + line.line.len(),
        }
    }

    /// The line, without its end.
    pub(crate) fn render(&self, format: Format) -> String {
        match (self, format) {
            (Self::Record(record), Format::Json) => json(&**record),
            (Self::Replica(line), Format::Json) => json(line),
            (Self::Record(record), Format::Plain) => pretty(record, Paint::OFF),
            (Self::Replica(line), Format::Plain) => pretty_replica(line, Paint::OFF),
            (Self::Record(record), Format::Colour) => pretty(record, Paint::ON),
            (Self::Replica(line), Format::Colour) => pretty_replica(line, Paint::ON),
        }
    }
}

fn json(line: &impl Serialize) -> String {
    // Plain data with string keys always has a JSON form; the words are for a bug of ours.
    serde_json::to_string(line).unwrap_or_else(|error| format!("{{\"log_error\":\"{error}\"}}"))
}

/// `15:24:17.042 WARN  circuit_open  service=payment reason=timeout …`
fn pretty(record: &Record, paint: Paint) -> String {
    let kind = record.event.kind();
    let time = record.time.to_string();
    let mut text = String::with_capacity(160);
    paint.write(&mut text, DIM, time.get(11..23).unwrap_or(&time));
    text.push(' ');
    let (colour, word) = match record.severity {
        Severity::Debug => (DIM, "DEBUG"),
        Severity::Info => (GREEN, "INFO "),
        Severity::Warn => (YELLOW, "WARN "),
        Severity::Error => (RED, "ERROR"),
    };
    paint.write(&mut text, colour, word);
    text.push(' ');
    paint.write(&mut text, BOLD, kind.name);
    for _ in kind.name.len()..NAME_WIDTH {
        text.push(' ');
    }
    let fields = serde_json::to_value(&record.event).unwrap_or_default();
    for (name, _) in kind.fields {
        let value = match fields.get(name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) if text.is_empty() => continue,
            Some(Value::String(text)) => quoted(text),
            Some(value) => Cow::Owned(value.to_string()),
        };
        text.push(' ');
        paint.write(&mut text, DIM, &format!("{name}="));
        text.push_str(&printable(&value));
    }
    text
}

/// `payment-1 | text`
fn pretty_replica(line: &ReplicaLine, paint: Paint) -> String {
    let mut text = String::with_capacity(line.line.len() + 32);
    let sum = line.replica.bytes().map(usize::from).sum::<usize>();
    let colour = REPLICA_COLOURS
        .get(sum % REPLICA_COLOURS.len())
        .unwrap_or(&DIM);
    paint.write(&mut text, colour, &printable(&line.replica));
    paint.write(&mut text, DIM, " | ");
    text.push_str(&printable(&line.line));
    if line.cut_bytes > 0 {
        let cut = format!(" … {} bytes more", line.cut_bytes);
        paint.write(&mut text, DIM, &cut);
    }
    text
}

/// A value as it is when it is one word, else in quotes.
fn quoted(value: &str) -> Cow<'_, str> {
    if value.contains([' ', '"', '=']) {
        Cow::Owned(json(&value))
    } else {
        Cow::Borrowed(value)
    }
}

/// `text` with its control characters written out, tabs excepted.
fn printable(text: &str) -> Cow<'_, str> {
    let unprintable = |c: char| c.is_control() && c != '\t';
    if !text.contains(unprintable) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if unprintable(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const REPLICA_COLOURS: [&str; 4] = ["34", "35", "36", "94"];

/// Colours, or none.
#[derive(Clone, Copy)]
struct Paint {
    on: bool,
}

impl Paint {
    const OFF: Self = Self { on: false };
    const ON: Self = Self { on: true };

    fn write(self, text: &mut String, colour: &str, word: &str) {
        if self.on {
            text.extend(["\x1b[", colour, "m", word, "\x1b[0m"]);
        } else {
            text.push_str(word);
        }
    }
}
