//! Claims about a drill that does not come to its end: whatever it started is gone.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};

use crate::node::{children, lives, mainstay, signal, wait_for};

/// Three replicas of the baseline; a node with its warden and three replicas.
const PROCESSES: usize = 8;

struct Drill {
    child: Child,
    processes: BTreeSet<u32>,
}

/// A drill all of whose processes run.
fn running() -> Drill {
    let child = mainstay()
        .args(["drill", "--seed", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let processes = wait_for("all processes of the drill run", || {
        let all = descendants(child.id());
        (all.len() >= PROCESSES).then_some(all)
    });
    Drill { child, processes }
}

fn descendants(pid: u32) -> BTreeSet<u32> {
    let mut all: BTreeSet<u32> = children(pid).into_iter().collect();
    for child in all.clone() {
        all.extend(descendants(child));
    }
    all
}

impl Drill {
    /// Waits for its end and that of everything it started; returns its exit code.
    fn ended(&mut self) -> Option<i32> {
        let status = wait_for("the drill ends", || {
            self.child.try_wait().expect("our child")
        });
        wait_for("every process of the drill is gone", || {
            self.processes.iter().all(|&pid| !lives(pid)).then_some(())
        });
        status.code()
    }
}

#[test]
fn kill_9_of_a_drill_leaves_no_process_behind() {
    let mut drill = running();
    signal(drill.child.id(), "KILL");
    assert_eq!(drill.ended(), None);
}

#[test]
fn ctrl_c_of_a_drill_leaves_no_process_behind_and_proves_nothing() {
    let mut drill = running();
    signal(drill.child.id(), "INT");
    assert_eq!(drill.ended(), Some(3));
}
