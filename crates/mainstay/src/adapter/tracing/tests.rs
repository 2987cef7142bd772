//! Claims about what a subscriber of `tracing` gets.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_core::outcome::Reason;
use tracing::field::{Field as Name, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

use super::*;

/// A subscriber that writes down what it gets: target, level, and `name=value` of each field.
#[derive(Clone, Default)]
struct Recording(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, name: &Name, value: &dyn Debug) {
        write!(self.0, " {name}={value:?}").expect("it is a string");
    }
}

impl Subscriber for Recording {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line(format!("{} {}", metadata.target(), metadata.level()));
        event.record(&mut line);
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn recorded(event: Event) -> String {
    let recording = Recording::default();
    tracing::subscriber::with_default(recording.clone(), || Tracing.observe(event));
    let lines = recording.0.lock().unwrap_or_else(PoisonError::into_inner);
    lines.join("\n")
}

#[test]
fn an_open_circuit_is_a_warning_with_its_fields() {
    let line = recorded(Event::CircuitOpen {
        service: "payment".into(),
        reason: Reason::Timeout,
        endpoint: "payment-1".into(),
        retry_after_ms: 5_000,
    });
    for part in [
        "mainstay WARN ",
        " message=A circuit opened",
        " event=\"circuit_open\"",
        " service=\"payment\"",
        " endpoint=\"payment-1\"",
        " reason=\"timeout\"",
        " retry_after_ms=5000",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(
        !line.contains("queued"),
        "no field that it does not have: {line}"
    );
}

#[test]
fn severities_are_levels() {
    let closed = Event::CircuitClosed {
        service: "payment".into(),
        endpoint: "".into(),
    };
    assert!(recorded(closed).starts_with("mainstay INFO "));
    let rejected = Event::ConfigRejected {
        path: String::new(),
        detail: String::new(),
    };
    assert!(recorded(rejected).starts_with("mainstay ERROR "));
}

#[test]
fn a_field_without_a_place_of_its_own_is_in_the_message() {
    let line = recorded(Event::ReplicaStopped {
        service: "payment".into(),
        replica: "payment-1".into(),
        killed: true,
    });
    assert!(line.contains("killed=true"), "{line}");
}
