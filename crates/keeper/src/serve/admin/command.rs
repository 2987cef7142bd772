//! Commands of operators, answered as ZooKeeper's `AdminServer` does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use super::super::desk::{Desk, read};
use super::super::line::Line;
use super::super::word::{self, VERSION, bytes_below, mode, outstanding};
use super::ensemble;
use crate::process::wall_ms;
use crate::replica::Replica;
use crate::state::State;

/// A command's names, the first of them its own, and its answer.
type Command<R> = (&'static [&'static str], fn(&Desk, &R, &str) -> Value);

#[expect(
    clippy::too_many_lines,
    reason = "a table: one entry per command reads better whole"
)]
fn commands<R: Replica>() -> [Command<R>; 26] {
    [
        (&["configuration", "conf", "config"], |desk, _, _| {
            configuration(desk)
        }),
        (&["connection_stat_reset", "crst"], |desk, _, _| {
            let lines = desk.connections();
            for line in lines {
                line.tally.reset();
            }
            json!({})
        }),
        (&["connections", "cons"], |desk, _, _| connections(desk)),
        (&["dirs"], |desk, _, _| {
            let bytes = desk.settings.data_dir.as_deref().map_or(0, bytes_below);
            json!({ "datadir_size": bytes, "logdir_size": bytes })
        }),
        (&["dump"], |_, replica, _| dump(replica)),
        (&["environment", "env", "envi"], |_, _, _| {
            Value::Object(
                word::facts()
                    .map(|(key, value)| (key, value.into()))
                    .collect(),
            )
        }),
        (
            &["get_trace_mask", "gtmk"],
            |desk, _, _| json!({ "tracemask": desk.trace_mask.load(Ordering::Relaxed) }),
        ),
        (&["hash"], |_, replica, _| {
            let (zxid, digest) = read(replica.state(), |state: &State| {
                (state.zxid(), state.tree().digest())
            });
            json!({ "digests": [{ "zxid": zxid, "digest": digest.to_string() }] })
        }),
        (
            &["initial_configuration", "icfg"],
            |desk, _, _| json!({ "initial_configuration": desk.settings.initial_configuration }),
        ),
        (
            &["is_read_only", "isro"],
            |_, replica, _| json!({ "read_only": replica.standing().leader.is_none() }),
        ),
        (&["last_snapshot", "lsnp"], |_, replica, _| {
            last_snapshot(replica)
        }),
        (&["leader", "lead"], |_, replica, _| {
            ensemble::leader(replica)
        }),
        (&["monitor", "mntr"], monitor),
        // Observers have no counters of their own here.
        (&["observer_connection_stat_reset", "orst"], |_, _, _| {
            json!({})
        }),
        (&["observers", "obsr"], |_, replica, _| {
            ensemble::observers(replica)
        }),
        (&["ruok"], |_, _, _| json!({})),
        (&["server_stats", "srvr"], |desk, replica, _| {
            server_stats(desk, replica)
        }),
        (&["set_trace_mask", "stmk"], set_trace_mask),
        (&["stat_reset", "srst"], |desk, _, _| {
            desk.tally.reset();
            json!({})
        }),
        (&["stats", "stat"], |desk, replica, _| {
            merged(server_stats(desk, replica), connections(desk))
        }),
        (&["system_properties", "sysp"], |_, _, _| {
            let properties = word::facts().filter(|(key, _)| key.contains('.'));
            Value::Object(properties.map(|(key, value)| (key, value.into())).collect())
        }),
        (&["voting_view"], |_, replica, _| {
            ensemble::voting_view(replica)
        }),
        (&["watch_summary", "wchs"], |desk, _, _| {
            let counts = desk.watches().counts();
            json!({
                "num_connections": counts.watchers,
                "num_paths": counts.paths,
                "num_total_watches": counts.watches,
            })
        }),
        (&["watches", "wchc"], |desk, _, _| watches(desk)),
        (&["watches_by_path", "wchp"], |desk, _, _| {
            watches_by_path(desk)
        }),
        (&["zabstate"], |_, replica, _| ensemble::zabstate(replica)),
    ]
}

/// The answer to a command, in JSON.
pub(super) fn answer<R: Replica>(desk: &Desk, replica: &R, name: &str, query: &str) -> String {
    let commands = commands::<R>();
    let found = commands.iter().find(|(names, _)| names.contains(&name));
    let said = match found {
        Some((names, answer)) => {
            let named = json!({ "command": names.first(), "error": null });
            // An error of the command's own counts more than none.
            merged(named, answer(desk, replica, query))
        },
        None => json!({ "command": name, "error": format!("Unknown command: {name}") }),
    };
    format!("{said:#}\n")
}

/// A page with a link to every command.
pub(super) fn list() -> String {
    let names = commands::<crate::replica::Solo<super::super::Teller>>();
    let links = names.iter().filter_map(|(names, _)| names.first());
    let links = links.map(|name| format!("<a href=\"/commands/{name}\">{name}</a><br/>\n"));
    links.collect()
}

fn merged(mut one: Value, mut other: Value) -> Value {
    if let (Some(one), Some(other)) = (one.as_object_mut(), other.as_object_mut()) {
        one.append(other);
    }
    one
}

/// What the word `conf` tells, in JSON.
fn configuration(desk: &Desk) -> Value {
    let pairs = desk
        .settings
        .conf
        .lines()
        .filter_map(|line| line.split_once('='));
    let pairs = pairs.filter(|(_, value)| *value != "-1");
    let pairs = pairs.map(|(key, value)| {
        let value = value
            .parse::<i64>()
            .map_or_else(|_| value.into(), Value::from);
        (snake_case(key), value)
    });
    Value::Object(pairs.collect())
}

fn snake_case(key: &str) -> String {
    let mut snake = String::new();
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn connections(desk: &Desk) -> Value {
    let (mut plain, mut secure) = (Vec::new(), Vec::new());
    for line in desk.connections() {
        let is_secure = line.is_secure();
        let kind = if is_secure { &mut secure } else { &mut plain };
        kind.push(connection(&line));
    }
    json!({ "connections": plain, "secure_connections": secure })
}

fn connection(line: &Line) -> Value {
    let latency = line.tally.latency();
    json!({
        "remote_socket_address": line.peer.to_string(),
        "interest_ops": 1,
        "outstanding_requests": line.outbox().pending_len(),
        "packets_received": line.tally.received(),
        "packets_sent": line.tally.sent(),
        "session_id": line.session(),
        "last_operation": line.tally.last_operation(),
        "established": line.since_ms,
        "session_timeout": line.timeout_ms(),
        "last_cxid": line.tally.last_xid(),
        "min_latency": latency.min,
        "avg_latency": latency.mean,
        "max_latency": latency.max,
    })
}

fn dump<R: Replica>(replica: &R) -> Value {
    read(replica.state(), |state: &State| {
        let tree = state.tree();
        let paths: BTreeMap<String, Vec<String>> = tree
            .ephemeral_sessions()
            .map(|owner| (owner.to_string(), tree.ephemerals(owner, "")))
            .collect();
        let sessions = state.sessions().iter();
        let timeouts: BTreeMap<String, i32> = sessions
            .map(|(id, session)| (id.to_string(), session.timeout_ms))
            .collect();
        json!({ "session_id_to_timeout": timeouts, "session_id_to_ephemeral_paths": paths })
    })
}

/// The newest snapshot on the disk of this member. ZooKeeper says -1 where there is none.
fn last_snapshot<R: Replica>(replica: &R) -> Value {
    let newest = replica.newest_snapshot();
    let zxid = newest.map_or(-1, |newest| newest.zxid);
    let seconds = newest.map_or(-1, |newest| newest.time_ms / 1_000);
    json!({ "zxid": format!("{zxid:x}"), "timestamp": seconds })
}

/// What the word `mntr` tells, in JSON.
fn monitor<R: Replica>(desk: &Desk, replica: &R, _: &str) -> Value {
    let text = word::monitor_text(desk, replica);
    let pairs = text.lines().filter_map(|line| line.split_once('\t'));
    let pairs = pairs.map(|(key, value)| {
        let key = key.trim_start_matches("zk_").to_owned();
        let whole = value.parse::<u64>().map(Value::from);
        let number = whole.or_else(|_| value.parse::<f64>().map(Value::from));
        (key, number.unwrap_or_else(|_| value.into()))
    });
    Value::Object(pairs.collect::<Map<String, Value>>())
}

fn server_stats<R: Replica>(desk: &Desk, replica: &R) -> Value {
    let standing = replica.standing();
    let latency = desk.tally.latency();
    let (zxid, nodes) = read(replica.state(), |state: &State| {
        (state.zxid(), state.tree().len())
    });
    let bytes = desk.settings.data_dir.as_deref().map_or(0, bytes_below);
    json!({
        "version": VERSION,
        "read_only": standing.leader.is_none(),
        "server_stats": {
            "packets_sent": desk.tally.sent(),
            "packets_received": desk.tally.received(),
            "data_dir_size": bytes,
            "log_dir_size": bytes,
            "server_state": mode(desk, &standing),
            "last_processed_zxid": zxid,
            "outstanding_requests": outstanding(desk),
            "min_latency": latency.min,
            "avg_latency": latency.mean,
            "max_latency": latency.max,
            "num_alive_client_connections": desk.connections_len(),
            "uptime": wall_ms().saturating_sub(desk.started_ms()),
        },
        "node_count": nodes,
    })
}

fn set_trace_mask<R: Replica>(desk: &Desk, _: &R, query: &str) -> Value {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mask = pairs.find(|(key, _)| *key == "traceMask");
    match mask.map(|(_, value)| value.parse::<u64>()) {
        Some(Ok(mask)) => {
            desk.trace_mask.store(mask, Ordering::Relaxed);
            json!({ "tracemask": mask })
        },
        Some(Err(_)) => json!({ "error": "setTraceMask requires a number as traceMask" }),
        None => json!({ "error": "setTraceMask requires long traceMask argument" }),
    }
}

/// The sessions that watch, by path.
fn watched(desk: &Desk) -> BTreeMap<String, Vec<i64>> {
    let lines: BTreeMap<u64, Arc<Line>> = desk
        .connections()
        .into_iter()
        .map(|line| (line.id, line))
        .collect();
    let watches = desk.watches();
    let mut watched = BTreeMap::new();
    for (path, watchers) in watches.by_path() {
        let sessions = watchers.iter().filter_map(|watcher| lines.get(watcher));
        let sessions = sessions.map(|line| line.session()).collect();
        watched.insert(path.to_owned(), sessions);
    }
    watched
}

fn watches_by_path(desk: &Desk) -> Value {
    json!({ "path_to_session_ids": watched(desk) })
}

fn watches(desk: &Desk) -> Value {
    let mut by_session: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, sessions) in watched(desk) {
        for session in sessions {
            let paths = by_session.entry(session.to_string()).or_default();
            paths.push(path.clone());
        }
    }
    json!({ "session_id_to_watched_paths": by_session })
}
