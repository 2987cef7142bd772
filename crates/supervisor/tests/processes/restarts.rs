//! Replicas that end are started again, and what they left is not.

use std::time::Duration;

use mainstay_core::event::Event;
use mainstay_core::restart;
use mainstay_supervisor::{Change, Phase};
use rustix::process::Signal;

use crate::bench::{Bench, members, script, signal, until};

#[tokio::test]
async fn a_killed_replica_is_noticed_and_started_again() {
    let bench = Bench::start(vec![script("exec sleep 1000")]);
    let first = bench.ready().await;
    signal(first, Signal::KILL);

    let second = until("another process is ready", || {
        let replica = bench.replica();
        replica.pid.filter(|pid| replica.ready && *pid != first)
    })
    .await;

    let (service, replica): (std::sync::Arc<str>, std::sync::Arc<str>) =
        ("payment".into(), "payment-1".into());
    let started = |pid| Change::Started {
        service: service.clone(),
        replica: replica.clone(),
        pid,
    };
    let ready = Change::Ready {
        service: service.clone(),
        replica: replica.clone(),
    };
    let exited = Change::Exited {
        service: service.clone(),
        replica: replica.clone(),
        pid: first,
    };
    let history = [
        started(first),
        ready.clone(),
        exited,
        started(second),
        ready,
    ];
    assert_eq!(bench.changes(), history);
    assert_eq!(bench.replica().restarts, 1);
    bench.stopped().await;
}

#[tokio::test]
async fn a_crash_loop_is_named_once() {
    let mut service = script("exit 3");
    service.restart = restart::Policy {
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(4),
        ..restart::Policy::default()
    };
    let bench = Bench::start(vec![service]);
    until("it ended twice as often as a crash loop takes", || {
        (bench.replica().restarts >= 10).then_some(())
    })
    .await;

    let loops = bench.events(|event| {
        if let Event::ReplicaCrashLoop { exits, detail, .. } = event {
            Some((*exits, detail.clone()))
        } else {
            None
        }
    });
    assert_eq!(loops, [(5, "exit status: 3".to_owned())]);
    until("the status says so", || {
        (bench.replica().phase == Phase::CrashLoop).then_some(())
    })
    .await;
    bench.stopped().await;
}

#[tokio::test]
async fn what_a_replica_started_is_gone_before_it_starts_again() {
    let bench = Bench::start(vec![script(
        "sleep 1000 & sleep 1000 & echo up; exec sleep 1000",
    )]);
    let first = bench.ready().await;
    until("its children run", || {
        (members(first).len() == 3).then_some(())
    })
    .await;
    signal(first, Signal::KILL);

    until("another process runs", || {
        bench.replica().pid.filter(|pid| *pid != first)
    })
    .await;

    let left = members(first);
    assert!(left.is_empty(), "{left:?}");
    bench.stopped().await;
}

#[tokio::test]
async fn one_replica_that_ends_leaves_the_others_alone() {
    let mut service = script("exec sleep 1000");
    service.ports = vec![1, 2, 3];
    let bench = Bench::start(vec![service]);
    let pids = || {
        bench
            .handle
            .replicas()
            .into_iter()
            .map(|r| r.pid)
            .collect::<Option<Vec<_>>>()
    };
    let before = until("all run", pids).await;
    signal(before[1], Signal::KILL);

    let after = until("all run again", || {
        pids().filter(|pids| pids[1] != before[1])
    })
    .await;

    assert_eq!((before[0], before[2]), (after[0], after[2]));
    bench.stopped().await;
}
