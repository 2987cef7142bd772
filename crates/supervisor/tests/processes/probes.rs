//! Startup, readiness and liveness probes with the meaning that Kubernetes gives them. The test
//! answers on the replica's port, or does not.

use std::net::TcpListener;
use std::time::Duration;

use mainstay_core::event::Event;
use mainstay_observe::probe::Probe;
use mainstay_supervisor::Phase;
use mainstay_supervisor::config::{Service, Startup};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time;

use crate::bench::{Bench, PATIENCE, port, probe, script, signal, until};

/// Frees the port of `listener`: from now on connections to it are refused.
fn silence(listener: TcpListener) {
    drop(listener);
}

fn speak(port: u16) -> TcpListener {
    TcpListener::bind(("127.0.0.1", port)).expect("the port was ours a moment ago")
}

fn kills(bench: &Bench) -> Vec<String> {
    bench.events(|event| {
        if let Event::ReplicaKilled { detail, .. } = event {
            Some(detail.clone())
        } else {
            None
        }
    })
}

#[tokio::test]
async fn a_slow_start_gets_the_time_it_needs() {
    let (number, listener) = port();
    silence(listener);
    let bench = Bench::start(vec![Service {
        ports: vec![number],
        startup: Some(Startup {
            probe: probe(1),
            within: Duration::from_mins(1),
        }),
        // Alone, it would have killed the replica after one failure.
        liveness: Some(probe(1)),
        ..script("exec sleep 1000")
    }]);
    until("a probe failed", || {
        let replica = bench.replica();
        (replica.phase == Phase::Starting && !replica.last_check.is_empty()).then_some(())
    })
    .await;

    let _answers = speak(number);
    bench.ready().await;

    assert_eq!(bench.replica().restarts, 0);
    assert_eq!(kills(&bench), [""; 0]);
    bench.stopped().await;
}

#[tokio::test]
async fn a_start_that_takes_too_long_is_killed_and_tried_again() {
    let (number, listener) = port();
    silence(listener);
    let bench = Bench::start(vec![Service {
        ports: vec![number],
        startup: Some(Startup {
            probe: probe(1),
            within: Duration::from_millis(100),
        }),
        ..script("exec sleep 1000")
    }]);
    until("it was started again", || {
        (bench.replica().restarts > 0).then_some(())
    })
    .await;

    let kills = kills(&bench);
    let sentence = "the startup probe did not succeed within 100ms: ";
    assert!(kills[0].starts_with(sentence), "{}", kills[0]);
    bench.stopped().await;
}

#[tokio::test]
async fn readiness_follows_the_probe_and_never_restarts() {
    let (number, listener) = port();
    let bench = Bench::start(vec![Service {
        ports: vec![number],
        readiness: Some(probe(2)),
        ..script("exec sleep 1000")
    }]);
    let pid = bench.ready().await;

    silence(listener);
    until("it is unready", || (!bench.replica().ready).then_some(())).await;
    assert_eq!(bench.replica().phase, Phase::Running);
    let _answers = speak(number);
    assert_eq!(bench.ready().await, pid);
    bench.stopped().await;
}

#[tokio::test]
async fn a_probe_ends_with_the_process_that_it_asked() {
    let (number, listener) = port();
    listener.set_nonblocking(true).expect("a socket of ours");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a socket of ours");
    let bench = Bench::start(vec![Service {
        ports: vec![number],
        readiness: Some(Probe {
            http_path: Some("/".into()),
            timeout: Duration::from_hours(1),
            ..probe(1)
        }),
        ..script("exec sleep 1000")
    }]);
    let (mut connection, _) = listener.accept().await.expect("the probe connects");
    let pid = bench.replica().pid.expect("it is being asked");

    signal(pid, Signal::KILL);

    // Nobody answers, but the question is taken back: no answer can count for the next process.
    let asked = until_closed(&mut connection).await;
    assert!(asked.starts_with(b"GET / HTTP/1.1"), "{asked:?}");
    bench.stopped().await;
}

async fn until_closed(connection: &mut TcpStream) -> Vec<u8> {
    let mut asked = Vec::new();
    let closed = time::timeout(PATIENCE, connection.read_to_end(&mut asked)).await;
    closed
        .expect("the probe is taken back")
        .expect("it is closed in order");
    asked
}

#[tokio::test]
async fn a_replica_that_fails_its_liveness_probe_is_started_again() {
    let (number, listener) = port();
    let bench = Bench::start(vec![Service {
        ports: vec![number],
        readiness: Some(probe(1)),
        liveness: Some(probe(2)),
        // It listens to nothing but SIGKILL, which comes after the grace period.
        grace: Duration::from_millis(50),
        ..script("trap '' TERM; while :; do sleep 1; done")
    }]);
    let pid = bench.ready().await;

    silence(listener);
    until("another process runs", || {
        bench.replica().pid.filter(|new| *new != pid)
    })
    .await;

    let kills = kills(&bench);
    assert!(
        kills[0].starts_with("the liveness probe failed: "),
        "{}",
        kills[0]
    );
    bench.handle.kill_now();
    bench.stopped().await;
}
