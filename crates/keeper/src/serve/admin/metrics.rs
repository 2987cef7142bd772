//! Metrics of a member, in the text format of Prometheus.

use std::fmt::Write as _;

use super::super::desk::{Desk, read};
use super::super::word::outstanding;
use crate::process::wall_ms;
use crate::replica::{DiskStanding, Replica};
use crate::state::State;

/// The metrics of a member, with what each says.
pub const METRICS: &[(&str, &str)] = &[
    ("mainstay_keeper_connections", "Connections of clients"),
    (
        "mainstay_keeper_connection_faults_total",
        "Connections that ended by a fault",
    ),
    ("mainstay_keeper_data_bytes", "Bytes of paths and data"),
    (
        "mainstay_keeper_disk_blocked",
        "Whether the disk is full or hangs, so that nothing new is promised",
    ),
    ("mainstay_keeper_ephemerals", "Nodes that go with a session"),
    (
        "mainstay_keeper_has_leader",
        "Whether this member knows a leader that has a quorum",
    ),
    ("mainstay_keeper_is_leader", "Whether this member leads"),
    (
        "mainstay_keeper_outstanding_requests",
        "Requests that wait for their answer",
    ),
    ("mainstay_keeper_received_total", "Messages of clients"),
    ("mainstay_keeper_sent_total", "Messages to clients"),
    ("mainstay_keeper_sessions", "Sessions of the ensemble"),
    ("mainstay_keeper_term", "The present term"),
    (
        "mainstay_keeper_uptime_seconds",
        "Time since this member began to serve clients",
    ),
    ("mainstay_keeper_watches", "Watches at this member"),
    ("mainstay_keeper_znodes", "Nodes of the tree"),
    (
        "mainstay_keeper_zxid",
        "The last transaction that was applied",
    ),
];

/// All of them, as they are now.
pub(super) fn text<R: Replica>(desk: &Desk, replica: &R) -> String {
    let mut out = String::new();
    for (name, help) in METRICS {
        let kind = if name.ends_with("_total") {
            "counter"
        } else {
            "gauge"
        };
        let value = value(desk, replica, name);
        // Writing to a string does not fail.
        writeln!(
            out,
            "# HELP {name} {help}.\n# TYPE {name} {kind}\n{name} {value}"
        )
        .unwrap_or_default();
    }
    out
}

fn value<R: Replica>(desk: &Desk, replica: &R, name: &str) -> u64 {
    let state = |ask: fn(&State) -> u64| read(replica.state(), ask);
    let standing = replica.standing();
    match name {
        "mainstay_keeper_connections" => desk.connections_len() as u64,
        "mainstay_keeper_connection_faults_total" => desk.faults().0,
        "mainstay_keeper_data_bytes" => state(|state| state.tree().data_bytes()),
        "mainstay_keeper_disk_blocked" => u64::from(standing.disk != DiskStanding::Fine),
        "mainstay_keeper_ephemerals" => state(|state| state.tree().ephemerals_len() as u64),
        "mainstay_keeper_has_leader" => u64::from(standing.leader.is_some()),
        "mainstay_keeper_is_leader" => u64::from(standing.is_leader),
        "mainstay_keeper_outstanding_requests" => outstanding(desk) as u64,
        "mainstay_keeper_received_total" => desk.tally.received(),
        "mainstay_keeper_sent_total" => desk.tally.sent(),
        "mainstay_keeper_sessions" => state(|state| state.sessions().len() as u64),
        "mainstay_keeper_term" => standing.term,
        "mainstay_keeper_uptime_seconds" => {
            let uptime_ms = wall_ms().saturating_sub(desk.started_ms());
            u64::try_from(uptime_ms / 1_000).unwrap_or_default()
        },
        "mainstay_keeper_watches" => desk.watches().counts().watches as u64,
        "mainstay_keeper_znodes" => state(|state| state.tree().len() as u64),
        "mainstay_keeper_zxid" => state(|state| state.zxid().cast_unsigned()),
        _ => 0,
    }
}
