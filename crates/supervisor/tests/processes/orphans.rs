//! Replicas and what they started never outlive their supervisor, whatever ends it.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use mainstay_core::event::Event;
use rustix::process::Signal;

use crate::bench::{Bench, PROGRAM, alive, members, script, signal, until, wardens_of};

/// A supervisor in a process of its own, with two replicas that each started a child.
struct Parent {
    child: Child,
    /// Its end would stop the supervisor.
    _stdin: ChildStdin,
    groups: Vec<u32>,
    warden: u32,
}

impl Parent {
    async fn start() -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["supervise", "2", "sh", "-c", "sleep 1000 & exec sleep 1000"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program was built with this test");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let started = stdout.lines().map_while(Result::ok).filter_map(|line| {
            let pid = line.strip_prefix("Started")?.split_once("pid: ")?.1;
            pid.trim_end_matches(" }").parse().ok()
        });
        let groups: Vec<u32> = started.take(2).collect();
        for group in &groups {
            until("both replicas have children", || {
                (members(*group).len() == 2).then_some(())
            })
            .await;
        }
        let id = child.id();
        let warden = until("the warden runs", || wardens_of(id).pop()).await;
        Self {
            child,
            _stdin: stdin,
            groups,
            warden,
        }
    }

    /// Ends it without a word, and waits until nothing of it is left.
    async fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        for group in &self.groups {
            until("nothing of the group is left", || {
                members(*group).is_empty().then_some(())
            })
            .await;
        }
        until("the warden is gone", || {
            alive()
                .iter()
                .all(|seen| seen.pid != self.warden)
                .then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_supervisor_killed_with_sigkill_leaves_nothing() {
    Parent::start().await.kill().await;
}

#[tokio::test]
async fn a_supervisor_whose_warden_was_killed_before_leaves_nothing_either() {
    let mut parent = Parent::start().await;
    let id = parent.child.id();
    let first = parent.warden;
    signal(first, Signal::KILL);
    parent.warden = until("another warden runs", || {
        wardens_of(id).pop().filter(|pid| *pid != first)
    })
    .await;
    parent.kill().await;
}

#[tokio::test]
async fn without_a_warden_the_kernel_still_ends_the_replicas_themselves() {
    let mut parent = Parent::start().await;
    // A stopped warden reads nothing: only the leash is left.
    signal(parent.warden, Signal::STOP);
    parent.child.kill().expect("it is our child");
    parent.child.wait().expect("it is our child");
    for group in parent.groups.clone() {
        until("the replica is gone", || {
            members(group)
                .iter()
                .all(|seen| seen.pid != group)
                .then_some(())
        })
        .await;
        assert_eq!(
            members(group).len(),
            1,
            "its child has nobody to end it yet"
        );
    }
    signal(parent.warden, Signal::CONT);
    for group in parent.groups {
        until("the warden caught up", || {
            members(group).is_empty().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_leash_whose_supervisor_is_gone_does_not_run_the_program() {
    let output = Command::new(PROGRAM)
        .args(["exec", "1", "sh", "-c", "echo ran"])
        .stdin(Stdio::null())
        .output()
        .expect("the program was built with this test");
    assert_eq!(output.status.code(), Some(126));
    assert_eq!(output.stdout, b"");
}

#[tokio::test]
async fn a_leash_runs_nothing_before_its_supervisor_says_so() {
    let output = Command::new(PROGRAM)
        .args([
            "exec",
            &std::process::id().to_string(),
            "sh",
            "-c",
            "echo ran",
        ])
        .stdin(Stdio::null())
        .output()
        .expect("the program was built with this test");
    assert_eq!(output.status.code(), Some(126));
    assert_eq!(output.stdout, b"");
}

#[tokio::test]
async fn a_warden_that_dies_is_started_again_and_replicas_do_not_notice() {
    let bench = Bench::start(vec![script("exec sleep 1000")]);
    let pid = bench.ready().await;
    let warden = until("the warden runs", || bench.warden()).await;
    signal(warden, Signal::KILL);
    until("its end is told", || {
        (!bench.events(warden_end).is_empty()).then_some(())
    })
    .await;
    assert_eq!(bench.events(warden_end), ["signal: 9 (SIGKILL)"]);
    assert_eq!(bench.ready().await, pid);
    bench.stopped().await;
}

fn warden_end(event: &Event) -> Option<String> {
    if let Event::WardenExited { detail, .. } = event {
        Some(detail.clone())
    } else {
        None
    }
}
