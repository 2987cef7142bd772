//! An event with its stamp: where it happened, after what, and when.
//!
//! Prevents histories that cannot be put in order: `seq` orders the events of one process, the
//! vector clock those of many nodes, and the wall time is for people.

use std::sync::Arc;

use mainstay_core::event::{Event, Severity};
use mainstay_core::vector_clock::VectorClock;
use serde::Serialize;

use crate::clock::Timestamp;

/// One event as it is kept, logged and sent.
///
/// In JSON the event's own fields come first, so that a line starts as the formats demand:
/// `{"event":"circuit_open","service":"payment","reason":"timeout",…,"severity":"warn",
/// "node":"n1","clock":{"n1":5},"seq":5,"time":"2026-11-23T15:24:17.042Z"}`.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// How much it matters.
    pub severity: Severity,
    /// The node it happened on.
    pub node: Arc<str>,
    /// What the node knew when it happened.
    pub clock: VectorClock,
    /// Its number in this process, from 1 without gaps.
    pub seq: u64,
    /// When, by the node's wall clock.
    pub time: Timestamp,
}

/// What a node knows of the events of all nodes: `{"node":"n1","clock":{"n1":5,"n2":3}}`.
#[derive(Clone, Debug, Serialize)]
pub struct ReplicationState {
    /// The node.
    pub node: Arc<str>,
    /// For each node, how many of its events are known to it.
    pub clock: VectorClock,
}

#[cfg(test)]
mod tests {
    use mainstay_core::health::Verdict;
    use mainstay_core::outcome::Reason;

    use super::*;

    fn line(event: Event) -> String {
        let node: Arc<str> = "n1".into();
        let mut clock = VectorClock::new();
        clock.tick(&node);
        let record = Record {
            severity: event.kind().severity,
            event,
            node,
            clock,
            seq: 1,
            time: Timestamp::from_unix_ms(1_634_567_890_042),
        };
        serde_json::to_string(&record).expect("a record is plain data")
    }

    #[test]
    fn a_line_starts_with_the_fields_of_its_event_and_ends_with_its_stamp() {
        let open = line(Event::CircuitOpen {
            service: "payment".into(),
            reason: Reason::Timeout,
            endpoint: "payment-1".into(),
            retry_after_ms: 5_000,
        });
        assert_eq!(
            open,
            r#"{"event":"circuit_open","service":"payment","reason":"timeout","endpoint":"payment-1","retry_after_ms":5000,"severity":"warn","node":"n1","clock":{"n1":1},"seq":1,"time":"2021-10-18T14:38:10.042Z"}"#
        );
    }

    #[test]
    fn a_heartbeat_keeps_the_three_fields_of_its_format() {
        let heartbeat = line(Event::Heartbeat {
            node_id: "n1".into(),
            status: Verdict::Healthy,
            timestamp: 1_634_567_890,
        });
        let format =
            r#"{"event":"heartbeat","node_id":"n1","status":"healthy","timestamp":1634567890,"#;
        assert!(heartbeat.starts_with(format), "{heartbeat}");
    }

    #[test]
    fn the_replication_state_has_exactly_the_fields_of_its_format() {
        let mut clock = VectorClock::new();
        clock.tick(&"n1".into());
        let state = ReplicationState {
            node: "n1".into(),
            clock,
        };
        assert_eq!(
            serde_json::to_string(&state).expect("plain data"),
            r#"{"node":"n1","clock":{"n1":1}}"#
        );
    }
}
