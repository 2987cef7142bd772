//! Claims about what a scrape sees.

use std::collections::BTreeSet;

use mainstay_core::event::Observe;
use mainstay_core::health::Verdict;

use super::*;
use crate::Observer;

fn beating(node_id: &str, status: Verdict) -> Event {
    Event::Heartbeat {
        node_id: node_id.into(),
        status,
        timestamp: 1_634_567_890,
    }
}

/// The names of all families in a text of version 0.0.4.
fn families(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|rest| rest.split(' ').next())
        .collect()
}

#[test]
fn the_table_names_exactly_the_metrics_of_a_scrape() {
    let observer = Observer::new("n1");
    observer.observe(beating("n1", Verdict::Healthy));
    let text = observer.encode_metrics(Exposition::Prometheus);
    let documented: BTreeSet<&str> = METRICS.iter().map(|(name, _)| *name).collect();
    assert_eq!(families(&text), documented, "{text}");
}

#[test]
fn every_kind_of_event_is_counted_from_zero() {
    let observer = Observer::new("n1");
    observer.observe(Event::NodeStopped { cut_off: 0 });
    let text = observer.encode_metrics(Exposition::Prometheus);
    for kind in Event::KINDS {
        let n = u64::from(kind.name == "node_stopped");
        let sample = format!("mainstay_events_total{{event=\"{}\"}} {n}\n", kind.name);
        assert!(text.contains(&sample), "{sample}{text}");
    }
}

#[test]
fn families_are_named_like_their_samples_for_prometheus() {
    let text = Observer::new("n\"1").encode_metrics(Exposition::Prometheus);
    assert!(
        text.contains(
            "# HELP mainstay_events_total Events by name.\n# TYPE mainstay_events_total counter\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("# TYPE mainstay_build_info gauge\n"),
        "{text}"
    );
    assert!(text.contains("node=\"n\\\"1\""), "{text}");
    assert!(!text.contains("# EOF"), "{text}");
    for (at, line) in text.lines().enumerate() {
        let sample = line.split([' ', '{']).next().unwrap_or_default();
        let known = line.starts_with("# ") || families(&text).contains(sample);
        assert!(known, "line {at}: {line}");
    }
}

#[test]
fn openmetrics_is_complete_for_those_who_ask_for_it() {
    let text = Observer::new("n1").encode_metrics(Exposition::OpenMetrics);
    assert!(text.contains("# TYPE mainstay_events counter\n"), "{text}");
    assert!(text.contains("# TYPE mainstay_build info\n"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn heartbeats_are_gauges_by_node_and_bounded() {
    let observer = Observer::new("n1");
    observer.observe(beating("payment-1", Verdict::Healthy));
    observer.observe(beating("payment-2", Verdict::Unhealthy));
    for i in 0..5_000 {
        observer.observe(beating(&format!("hostile-{i}"), Verdict::Healthy));
    }
    let text = observer.encode_metrics(Exposition::Prometheus);
    for sample in [
        "mainstay_heartbeat_healthy{node_id=\"payment-1\"} 1\n",
        "mainstay_heartbeat_healthy{node_id=\"payment-2\"} 0\n",
        "mainstay_heartbeat_timestamp_seconds{node_id=\"payment-1\"} 1634567890\n",
    ] {
        assert!(text.contains(sample), "{sample}");
    }
    let series = text.matches("mainstay_heartbeat_healthy{").count();
    assert_eq!(series, 1_024);
}

#[test]
fn the_process_figures_are_plausible() {
    let text = Observer::new("n1").encode_metrics(Exposition::Prometheus);
    let value = |name: &str| -> f64 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect(name);
        line.trim().parse().expect("a number")
    };
    assert!(value("mainstay_process_resident_memory_bytes ") > 100_000.0);
    assert!(value("mainstay_process_open_fds ") >= 3.0);
    assert!(value("mainstay_process_cpu_seconds_total ") >= 0.0);
    assert!(value("mainstay_process_start_time_seconds ") > 1.6e9);
}
