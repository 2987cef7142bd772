//! Events as counters, and circuits as gauges, of the `metrics` facade.
//!
//! Prevents a dashboard that shows a circuit open and closed at once, and one of a breaker that is
//! long gone. Always holds: of the gauges of one circuit exactly one is 1, and none once it is
//! forgotten; label sets are bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_core::event::{Event, Observe};
use metrics::{Gauge, counter, describe_counter, describe_gauge, gauge};

use crate::breaker::{Breaker, State};

/// Circuits that have gauges; further ones are counted as `mainstay_circuits_untracked_total`.
/// With three series each that is what one scrape may carry.
pub const CIRCUITS_MAX: usize = 1_000;

/// The metrics with what they say.
pub const METRICS: &[(&str, &str)] = &[EVENTS, STATE, UNTRACKED];

const EVENTS: (&str, &str) = ("mainstay_events_total", "Events by kind");
const STATE: (&str, &str) = (
    "mainstay_circuit_state",
    "1 for the state that a circuit is in, 0 for the others",
);
const UNTRACKED: (&str, &str) = (
    "mainstay_circuits_untracked_total",
    "Circuits that there was no room for",
);

/// Counts each event as `mainstay_events_total{event}`, and keeps
/// `mainstay_circuit_state{service, endpoint, state}` for each circuit: 1 for the state that it is
/// in, 0 for the others.
///
/// Goes to the recorder that is installed when it is made and when a circuit is first heard of.
/// Dropping the last owner sets all its gauges to 0: the facade cannot take a series away.
///
/// ```
/// use std::sync::Arc;
/// use mainstay::{Breaker, adapter};
///
/// let metrics = Arc::new(adapter::Metrics::new());
/// let observer = Arc::<adapter::Metrics>::clone(&metrics);
/// let breaker = Breaker::builder("payment").observer(observer).build().unwrap();
/// // Shows it as closed before it ever opened.
/// metrics.watch(&breaker);
/// ```
#[derive(Debug)]
pub struct Metrics {
    circuits: Mutex<BTreeMap<Name, Gauges>>,
}

/// Service and endpoint.
type Name = (Arc<str>, Arc<str>);

struct Gauges {
    closed: Gauge,
    open: Gauge,
    half_open: Gauge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Closed,
    Open,
    HalfOpen,
    /// There is no such circuit any more.
    Nothing,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// No circuits so far.
    pub fn new() -> Self {
        describe_counter!(EVENTS.0, EVENTS.1);
        describe_gauge!(STATE.0, STATE.1);
        describe_counter!(UNTRACKED.0, UNTRACKED.1);
        Self {
            circuits: Mutex::new(BTreeMap::new()),
        }
    }

    /// Shows the circuit of `breaker` from now on; without this, it is shown from its first
    /// transition on.
    pub fn watch(&self, breaker: &Breaker<impl Observe>) {
        let shown = match breaker.state() {
            // Calls pass in the ramp, most of them, and where the breaker is off.
            State::Closed | State::Ramp { .. } | State::Disabled => Shown::Closed,
            State::Open { .. } | State::ForcedOpen => Shown::Open,
            State::HalfOpen => Shown::HalfOpen,
        };
        self.show(&Arc::from(breaker.name()), breaker.endpoint(), shown);
    }

    /// The circuit of `breaker` is gone: all its gauges are 0.
    pub fn forget(&self, breaker: &Breaker<impl Observe>) {
        let name = (Arc::from(breaker.name()), Arc::clone(breaker.endpoint()));
        let mut circuits = self.circuits();
        if let Some(gauges) = circuits.remove(&name) {
            gauges.show(Shown::Nothing);
        }
    }

    fn show(&self, service: &Arc<str>, endpoint: &Arc<str>, shown: Shown) {
        // Held while the three are set: two transitions at once must not leave two of them at 1.
        let mut circuits = self.circuits();
        let name = (Arc::clone(service), Arc::clone(endpoint));
        if let Some(gauges) = circuits.get(&name) {
            gauges.show(shown);
        } else if circuits.len() < CIRCUITS_MAX {
            let gauges = Gauges::new(service, endpoint);
            gauges.show(shown);
            circuits.insert(name, gauges);
        } else {
            counter!(UNTRACKED.0).increment(1);
        }
    }

    fn circuits(&self) -> MutexGuard<'_, BTreeMap<Name, Gauges>> {
        // A recorder that panics leaves at worst a gauge that the next transition sets again.
        self.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observe for Metrics {
    fn observe(&self, event: Event) {
        counter!(EVENTS.0, "event" => event.kind().name).increment(1);
        let shown = match event.kind().name {
            "circuit_open" => Shown::Open,
            "circuit_half_open" => Shown::HalfOpen,
            "circuit_closed" => Shown::Closed,
            _ => return,
        };
        if let Event::CircuitOpen {
            service, endpoint, ..
        }
        | Event::CircuitHalfOpen { service, endpoint }
        | Event::CircuitClosed { service, endpoint } = &event
        {
            self.show(service, endpoint, shown);
        }
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        for gauges in self.circuits().values() {
            gauges.show(Shown::Nothing);
        }
    }
}

impl Gauges {
    fn new(service: &Arc<str>, endpoint: &Arc<str>) -> Self {
        let of = |state: &'static str| {
            let (service, endpoint) = (Arc::clone(service), Arc::clone(endpoint));
            gauge!(STATE.0, "service" => service, "endpoint" => endpoint, "state" => state)
        };
        Self {
            closed: of("closed"),
            open: of("open"),
            half_open: of("half_open"),
        }
    }

    /// The one that was 1 goes first, so that a scrape in between sees none rather than two.
    fn show(&self, shown: Shown) {
        let all = [
            (Shown::Closed, &self.closed),
            (Shown::Open, &self.open),
            (Shown::HalfOpen, &self.half_open),
        ];
        for (state, gauge) in all {
            if state != shown {
                gauge.set(0.0);
            }
        }
        for (state, gauge) in all {
            if state == shown {
                gauge.set(1.0);
            }
        }
    }
}

impl std::fmt::Debug for Gauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
