//! A stop reaches every replica in every state, and leaves nothing.

use std::path::Path;
use std::time::Duration;

use mainstay_core::restart;
use mainstay_supervisor::config::{Service, Startup};
use mainstay_supervisor::{Phase, Stopped};
use rustix::process::Signal;

use crate::bench::{Bench, alive, members, port, probe, script, signal, until};

const DEAF: &str = "trap '' TERM; sleep 1000 & echo armed; while :; do sleep 1; done";

#[tokio::test]
async fn a_replica_that_listens_ends_by_itself() {
    let text = "trap 'echo farewell; exit 0' TERM; echo armed; while :; do sleep 0.01; done";
    let bench = Bench::start(vec![script(text)]);
    let pid = bench.ready().await;
    bench.logged("armed").await;
    bench.stop();
    // The last words are in the log, although they came just before the end.
    bench.logged("farewell").await;
    assert_eq!(bench.stopped().await, Stopped::default());
    assert!(members(pid).is_empty());
}

#[tokio::test]
async fn a_replica_that_ignores_sigterm_is_killed_after_the_grace_period() {
    let bench = Bench::start(vec![Service {
        grace: Duration::from_millis(100),
        ..script(DEAF)
    }]);
    let pid = bench.ready().await;
    bench.logged("armed").await;
    assert_eq!(bench.stopped().await, Stopped { killed: 1, left: 0 });
    assert!(members(pid).is_empty());
}

#[tokio::test]
async fn a_second_request_does_not_wait_for_the_grace_period() {
    let bench = Bench::start(vec![Service {
        grace: Duration::from_hours(1),
        ..script(DEAF)
    }]);
    let pid = bench.ready().await;
    bench.logged("armed").await;
    bench.stop();
    until("it is asked to stop", || {
        (bench.replica().phase == Phase::Stopping).then_some(())
    })
    .await;
    bench.handle.kill_now();
    assert_eq!(bench.stopped().await, Stopped { killed: 1, left: 0 });
    assert!(members(pid).is_empty());
}

#[tokio::test]
async fn a_stopped_process_is_woken_to_hear_that_it_has_to_end() {
    let bench = Bench::start(vec![script(
        "trap 'exit 0' TERM; echo armed; while :; do sleep 0.01; done",
    )]);
    let pid = bench.ready().await;
    bench.logged("armed").await;
    signal(pid, Signal::STOP);
    until("it is stopped", || {
        alive()
            .iter()
            .find(|s| s.pid == pid && s.state == 'T')
            .map(|_| ())
    })
    .await;
    assert_eq!(bench.stopped().await, Stopped::default());
}

#[tokio::test]
async fn a_replica_that_waits_for_its_restart_stops_at_once() {
    let hour = Duration::from_hours(1);
    let bench = Bench::start(vec![Service {
        restart: restart::Policy {
            delay_min: hour,
            delay_max: hour,
            ..restart::Policy::default()
        },
        ..script("exit 1")
    }]);
    until("it ended", || {
        let replica = bench.replica();
        (replica.phase == Phase::Waiting && bench.changes().len() >= 3).then_some(())
    })
    .await;
    assert_eq!(bench.stopped().await, Stopped::default());
}

#[tokio::test]
async fn a_replica_that_never_comes_up_stops_all_the_same() {
    let (number, listener) = port();
    drop(listener);
    let bench = Bench::start(vec![Service {
        ports: vec![number],
        startup: Some(Startup {
            probe: probe(1),
            within: Duration::from_hours(1),
        }),
        ..script("exec sleep 1000")
    }]);
    until("it starts", || {
        (bench.replica().phase == Phase::Starting).then_some(())
    })
    .await;
    assert_eq!(bench.stopped().await, Stopped::default());
}

#[tokio::test]
async fn a_stop_right_after_the_start_leaves_nothing() {
    let mut service = script("exec sleep 1000");
    service.ports = vec![1, 2, 3, 4];
    let bench = Bench::start(vec![service]);
    let handle = bench.handle.clone();
    assert_eq!(bench.stopped().await, Stopped::default());
    assert!(
        handle
            .replicas()
            .iter()
            .all(|r| r.pid.is_none() && r.phase == Phase::Stopped)
    );
}

#[tokio::test]
async fn a_supervisor_that_is_dropped_takes_its_replicas_along() {
    let bench = Bench::start(vec![script("sleep 1000 & exec sleep 1000")]);
    let pid = bench.ready().await;
    until("its child runs", || (members(pid).len() == 2).then_some(())).await;
    bench.abort().await;
    until("nothing is left", || members(pid).is_empty().then_some(())).await;
    let reaped = || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(());
    until("not even a zombie is left", reaped).await;
}

#[tokio::test]
async fn a_supervisor_without_services_runs_until_it_is_stopped() {
    let bench = Bench::start(Vec::new());
    assert_eq!(bench.handle.replicas(), []);
    assert_eq!(bench.stopped().await, Stopped::default());
}
