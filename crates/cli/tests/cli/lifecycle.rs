//! Claims about a node's life: it serves, survives its replicas, reloads, drains, leaves nothing.

use std::collections::BTreeSet;

use crate::node::{Node, children, get, lives, mainstay, signal, wait_for, write_config};

const REPLICAS: &str = r#"
health = { http = "/healthz", every = "100ms" }
run = { command = ["{mainstay}", "payment", "--port", "{port}", "--name", "{replica}"], replicas = 3, grace = "2s" }
"#;

#[test]
fn a_killed_replica_is_not_noticed_by_users_and_comes_back() {
    let node = Node::start(REPLICAS);
    let before = node.healthy_pids(3);

    signal(before[0], "KILL");
    let after = wait_for("the replica is replaced", || {
        let (head, body) = get(&node.listen, "/accounts/7/balance");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{body}");
        let pids = node.healthy_pids(3);
        (!pids.contains(&before[0])).then_some(pids)
    });

    assert_eq!(after.len(), 3);
    assert!(node.told("replica_exited").is_some());
}

#[test]
fn sigterm_stops_everything_and_exits_with_0() {
    let mut node = Node::start(REPLICAS);
    let pids = node.healthy_pids(3);

    node.signal("TERM");

    assert_eq!(node.ended().code(), Some(0));
    assert!(
        pids.iter().all(|&pid| !lives(pid)),
        "a replica outlived the node"
    );
    assert!(node.log().contains("node_stopped"), "{}", node.log());
    assert!(
        !node.log().contains("endpoint_unhealthy"),
        "a stop is no failure: {}",
        node.log()
    );
}

#[test]
fn a_second_signal_does_not_wait_for_replicas_that_hang() {
    let hanging = "health = \"off\"\nrun = { command = [\"sh\", \"-c\", \"trap '' TERM; while :; do sleep 1; done\"], replicas = 1, grace = \"1h\" }";
    let mut node = Node::start(hanging);
    let pid = wait_for("the replica runs", || {
        node.endpoints()
            .first()
            .and_then(|endpoint| u32::try_from(endpoint["pid"].as_u64()?).ok())
    });

    node.signal("TERM");
    wait_for("the node drains", || {
        node.log().contains("node_draining").then_some(())
    });
    node.signal("TERM");

    assert_eq!(node.ended().code(), Some(0));
    assert!(!lives(pid));
}

#[test]
fn kill_9_of_the_node_leaves_no_process_behind() {
    let mut node = Node::start(REPLICAS);
    let mut pids: BTreeSet<u32> = node.healthy_pids(3).into_iter().collect();
    pids.extend(children(node.child.id()));

    node.signal("KILL");
    node.ended();

    wait_for("every child is gone", || {
        pids.iter().all(|&pid| !lives(pid)).then_some(())
    });
}

#[test]
fn a_wrong_file_on_reload_changes_nothing_and_is_told() {
    let node = Node::start(REPLICAS);
    node.healthy_pids(3);
    write_config(node.dir.path(), "endpoints = 3\n");

    node.signal("HUP");

    let event = wait_for("the rejection is told", || node.told("config_rejected"));
    assert!(
        event["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("endpoints")),
        "{event}"
    );
    let (head, _) = get(&node.listen, "/accounts/7/balance");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[test]
fn a_right_file_on_reload_takes_effect() {
    let node = Node::start(&format!("{REPLICAS}\nfallback = []"));
    let pids = node.healthy_pids(3);
    let fixed = format!("{REPLICAS}\nfallback = [{{ status = 203, text = \"later\" }}]");
    write_config(node.dir.path(), &fixed);

    node.signal("HUP");
    let event = wait_for("the reload is told", || node.told("config_reloaded"));
    assert_eq!(event["restart_needed"], "", "{event}");
    for pid in &pids {
        signal(*pid, "STOP");
    }
    let head = wait_for("the new fallback answers", || {
        let (head, _) = get(&node.listen, "/accounts/7/balance");
        head.contains(" 203 ").then_some(head)
    });
    for pid in &pids {
        signal(*pid, "CONT");
    }

    assert!(head.contains("mainstay-reason"), "{head}");
}

#[test]
fn a_closed_stderr_and_stdout_do_not_stop_the_node() {
    let node = Node::start(REPLICAS);
    node.healthy_pids(3);
    // /dev/full answers every write with "no space left".
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = write_config(dir.path(), REPLICAS);
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("Linux has it")
    };
    let mut child = mainstay()
        .arg("run")
        .arg(file)
        .stdout(full())
        .stderr(full())
        .spawn()
        .expect("it starts");
    wait_for("the node serves with a full disk", || {
        let text = std::fs::read_to_string(dir.path().join("data/node.json")).ok()?;
        let found: serde_json::Value = serde_json::from_str(&text).ok()?;
        let (head, _) = get(
            found["services"][0]["listen"].as_str()?,
            "/accounts/7/balance",
        );
        head.starts_with("HTTP/1.1 200").then_some(())
    });
    signal(child.id(), "TERM");
    let status = wait_for("it ends", || child.try_wait().expect("it is our child"));
    assert_eq!(status.code(), Some(0));
}
