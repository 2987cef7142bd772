//! Metrics of the hub itself, and the text that a scrape gets.
//!
//! Prevents dashboards that guess: every event is counted by its name from the start, so that a
//! rate never begins with the first failure.

use std::sync::Arc;

use mainstay_core::event::Event;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

mod exposition;
mod heartbeat;
mod process;

use heartbeat::Heartbeats;

/// Name and meaning of each metric of this crate, for the generated reference.
pub const METRICS: &[(&str, &str)] = &[
    EVENTS,
    LOG_DROPPED,
    BUILD,
    HEARTBEAT_TIMESTAMP,
    HEARTBEAT_HEALTHY,
    PROCESS_START,
    PROCESS_CPU,
    PROCESS_MEMORY,
    PROCESS_FDS,
];

const EVENTS: (&str, &str) = ("mainstay_events_total", "Events by name");
const LOG_DROPPED: (&str, &str) = (
    "mainstay_log_dropped_lines_total",
    "Log lines dropped because the log could not be written fast enough",
);
const BUILD: (&str, &str) = (
    "mainstay_build_info",
    "Version of Mainstay and name of the node; always 1",
);
const HEARTBEAT_TIMESTAMP: (&str, &str) = (
    "mainstay_heartbeat_timestamp_seconds",
    "Wall time of the last heartbeat of a node or replica",
);
const HEARTBEAT_HEALTHY: (&str, &str) = (
    "mainstay_heartbeat_healthy",
    "Whether the last heartbeat of a node or replica said healthy: 1 or 0",
);
const PROCESS_START: (&str, &str) = (
    "mainstay_process_start_time_seconds",
    "Wall time at which the node started",
);
const PROCESS_CPU: (&str, &str) = (
    "mainstay_process_cpu_seconds_total",
    "Processor time used by the node's process, in user and system mode",
);
const PROCESS_MEMORY: (&str, &str) = (
    "mainstay_process_resident_memory_bytes",
    "Memory that the node's process occupies",
);
const PROCESS_FDS: (&str, &str) = (
    "mainstay_process_open_fds",
    "File descriptors that the node's process has open",
);

/// The dialects of the text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus text, version 0.0.4: what every scraper reads.
    Prometheus,
    /// `OpenMetrics` text, version 1.0.0: for scrapers that ask for it.
    OpenMetrics,
}

impl Exposition {
    /// The `content-type` of the text.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

type EventLabel = [(&'static str, &'static str); 1];

#[derive(Debug)]
pub(crate) struct Metrics {
    events: Family<EventLabel, Counter>,
    pub(crate) log_dropped: Counter,
    heartbeats: Heartbeats,
}

impl Metrics {
    pub(crate) fn new(node: &Arc<str>, registry: &mut Registry) -> Self {
        let metrics = Self {
            events: Family::default(),
            log_dropped: Counter::default(),
            heartbeats: Heartbeats::default(),
        };
        for kind in Event::KINDS {
            // Makes the series, at zero.
            drop(metrics.events.get_or_create(&[("event", kind.name)]));
        }
        register(registry, EVENTS, metrics.events.clone());
        register(registry, LOG_DROPPED, metrics.log_dropped.clone());
        let build = Info::new([
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("node", node.to_string()),
        ]);
        register(registry, BUILD, build);
        registry.register_collector(Box::new(metrics.heartbeats.clone()));
        registry.register_collector(Box::new(process::Process::new()));
        metrics
    }

    /// Counts an event.
    pub(crate) fn count(&self, event: &Event) {
        let label = [("event", event.kind().name)];
        self.events.get_or_create(&label).inc();
        if let Event::Heartbeat {
            node_id,
            status,
            timestamp,
        } = event
        {
            self.heartbeats.beat(node_id, *status, *timestamp);
        }
    }
}

fn register(
    registry: &mut Registry,
    (name, help): (&str, &str),
    metric: impl prometheus_client::registry::Metric,
) {
    registry.register(bare(name), help, metric);
}

/// A metric's name without the suffix that the encoder adds by the metric's type.
fn bare(name: &str) -> &str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    name.strip_suffix("_info").unwrap_or(name)
}

pub(crate) fn encode(registry: &Registry, exposition: Exposition) -> String {
    let mut openmetrics = String::with_capacity(16 * 1024);
    // Writing to a string cannot fail; a metric that cannot be encoded ends the text.
    text::encode(&mut openmetrics, registry).unwrap_or_default();
    match exposition {
        Exposition::OpenMetrics => openmetrics,
        Exposition::Prometheus => exposition::prometheus(&openmetrics),
    }
}

#[cfg(test)]
mod tests;
