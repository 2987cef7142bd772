//! Claims about the log: what lines look like, and that no target can do harm.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use mainstay_core::event::Observe;
use mainstay_core::health::Verdict;
use mainstay_core::outcome::Reason;

use super::*;
use crate::{Exposition, Observer};

const PATIENT: Duration = Duration::from_mins(1);

/// A target that keeps what it gets and can be full like a disk.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, Option<usize>)>>);

impl Disk {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").0.clone()).expect("UTF-8")
    }

    fn room(&self, bytes: Option<usize>) {
        self.0.lock().expect("not poisoned").1 = bytes;
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().expect("not poisoned");
        let n = disk.1.map_or(bytes.len(), |room| room.min(bytes.len()));
        if n == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.0.extend_from_slice(&bytes[..n]);
        disk.1 = disk.1.map(|room| room - n);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A target whose reader takes nothing until the sender is dropped.
struct Stuck {
    entered: Sender<()>,
    released: Receiver<()>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.entered.send(()).unwrap_or_default();
        self.released.recv().unwrap_or_default();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: Format, threshold: Severity, events: impl FnOnce(&Observer)) -> String {
    let disk = Disk::default();
    let log = Log::to(Box::new(disk.clone()), format, threshold);
    let observer = Observer::with_log("n1", log).expect("a thread");
    events(&observer);
    assert!(observer.flush(PATIENT));
    disk.text()
}

fn open() -> Event {
    Event::CircuitOpen {
        service: "payment".into(),
        reason: Reason::Timeout,
        endpoint: "payment-1".into(),
        retry_after_ms: 5_000,
    }
}

#[test]
fn a_log_for_machines_has_one_json_document_a_line() {
    let text = logged(Format::Json, Severity::Info, |observer| {
        observer.observe(open());
        observer.replica_line("payment-1", "stderr", b"a \"quoted\" \x1b[31mword\r\n");
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    let format = r#"{"event":"circuit_open","service":"payment","reason":"timeout","#;
    assert!(lines[0].starts_with(format), "{text}");
    let replica: serde_json::Value = serde_json::from_str(lines[1]).expect("JSON");
    assert_eq!(replica["replica"], "payment-1");
    assert_eq!(replica["stream"], "stderr");
    assert_eq!(replica["line"], "a \"quoted\" \u{1b}[31mword");
    assert!(lines[1].starts_with(r#"{"replica":"payment-1","stream":"stderr","line":"#));
}

#[test]
fn a_log_for_people_has_short_lines_and_no_escape_of_a_replica_reaches_the_terminal() {
    let text = logged(Format::Plain, Severity::Info, |observer| {
        observer.observe(open());
        observer.observe(Event::EndpointUnhealthy {
            service: "payment".into(),
            endpoint: "payment-1".into(),
            reason: Reason::Connect,
            detail: "connection\nrefused".into(),
        });
        observer.replica_line(
            "payment-1",
            "stdout",
            b"\x1b]0;gotcha\x07 \xff ok\t\xc2\x9b",
        );
    });
    let lines: Vec<&str> = text.lines().collect();
    let fields = " WARN  circuit_open           service=payment reason=timeout endpoint=payment-1 retry_after_ms=5000";
    assert!(lines[0].ends_with(fields), "{text}");
    assert!(lines[1].ends_with("detail=connection\\nrefused"), "{text}");
    assert_eq!(
        lines[2],
        "payment-1 | \\u{1b}]0;gotcha\\u{7} \u{fffd} ok\t\\u{9b}"
    );
    assert!(!text.contains('\x1b'));
}

#[test]
fn colours_are_balanced() {
    let text = logged(Format::Colour, Severity::Info, |observer| {
        observer.observe(open());
        observer.replica_line("payment-1", "stdout", b"hello");
    });
    let resets = text.matches("\x1b[0m").count();
    assert!(resets > 0);
    assert_eq!(text.matches('\x1b').count(), 2 * resets, "{text:?}");
}

#[test]
fn what_matters_less_than_the_threshold_is_not_logged() {
    let text = logged(Format::Json, Severity::Warn, |observer| {
        observer.observe(Event::Heartbeat {
            node_id: "n1".into(),
            status: Verdict::Healthy,
            timestamp: 0,
        });
        observer.observe(Event::NodeStopped { cut_off: 0 });
        observer.observe(open());
    });
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn an_endless_line_of_a_replica_is_cut_and_says_so() {
    let text = logged(Format::Json, Severity::Info, |observer| {
        observer.replica_line("payment-1", "stdout", &vec![b'x'; 100_000]);
    });
    assert!(text.len() < 10_000);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["cut_bytes"], 100_000 - 8 * 1024);
}

#[test]
fn a_full_disk_drops_lines_which_are_told_once_there_is_room() {
    let disk = Disk::default();
    let log = Log::to(Box::new(disk.clone()), Format::Json, Severity::Info);
    let observer = Observer::with_log("n1", log).expect("a thread");
    disk.room(Some(10));
    observer.observe(open());
    assert!(observer.flush(PATIENT));
    let told = observer.recent(1, 10);
    assert_eq!(told[0].event, Event::LogDropped { lines: 1 });

    disk.room(None);
    observer.observe(open());
    assert!(observer.flush(PATIENT));
    let text = disk.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0], r#"{"event":""#, "the torn line stays apart");
    assert!(serde_json::from_str::<serde_json::Value>(lines[1]).is_ok());
    let metrics = observer.encode_metrics(Exposition::Prometheus);
    // The lost line, and the lost report of it.
    assert!(
        metrics.contains("mainstay_log_dropped_lines_total 2\n"),
        "{metrics}"
    );
}

#[test]
fn a_reader_that_hangs_blocks_nobody_and_costs_bounded_memory() {
    let (entered, is_stuck) = channel();
    let (release, released) = channel();
    let log = Log::to(
        Box::new(Stuck { entered, released }),
        Format::Json,
        Severity::Info,
    );
    let observer = Observer::with_log("n1", log).expect("a thread");
    observer.observe(open());
    is_stuck.recv().expect("the writer hangs in its target");
    for _ in 0..20_000 {
        observer.observe(open());
    }
    assert!(!observer.flush(Duration::ZERO));
    let metrics = observer.encode_metrics(Exposition::Prometheus);
    let dropped = format!("mainstay_log_dropped_lines_total {}\n", 20_000 - 8_192);
    assert!(metrics.contains(&dropped), "{metrics}");

    drop(release);
    assert!(observer.flush(PATIENT));
    let told = observer.recent(0, 1);
    assert_eq!(
        told[0].event,
        Event::LogDropped {
            lines: 20_000 - 8_192
        }
    );
}

#[test]
fn the_writer_ends_with_the_last_clone_of_the_hub_and_writes_what_it_was_given() {
    struct Ended(Disk, Sender<()>);
    impl Write for Ended {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Drop for Ended {
        fn drop(&mut self) {
            self.1.send(()).unwrap_or_default();
        }
    }
    let (sender, ended) = channel();
    let disk = Disk::default();
    let target = Box::new(Ended(disk.clone(), sender));
    let observer =
        Observer::with_log("n1", Log::to(target, Format::Json, Severity::Info)).expect("a thread");
    let clone = observer.clone();
    drop(observer);
    clone.observe(open());
    drop(clone);
    ended.recv_timeout(PATIENT).expect("the thread ended");
    assert_eq!(disk.text().lines().count(), 1);
}
