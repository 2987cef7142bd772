//! The end: what is in flight is finished, nothing hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::origins::{Action, Origin, ok};
use crate::setup::{Running, service, until};

#[tokio::test]
async fn requests_in_flight_are_finished_and_idle_connections_closed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    let finish = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&finish);
    let mut origin = tokio::task::JoinSet::new();
    origin.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the gateway connects");
        let mut head = [0; 1024];
        drop(tokio::io::AsyncReadExt::read(&mut stream, &mut head).await);
        until("the test lets it answer", || told.load(Ordering::SeqCst)).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate";
        drop(tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await);
    });
    let gateway = Running::start(service(&[address]));
    let mut idle = gateway.client().await;
    let mut busy = gateway.client().await;
    busy.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("the request is in flight", || {
        gateway.status().in_flight == 1
    })
    .await;

    gateway.shutdown.cancel();
    assert!(
        idle.rest().await.is_empty(),
        "the idle connection is closed at once"
    );
    finish.store(true, Ordering::SeqCst);
    let answer = busy.answer(false).await;
    assert_eq!((answer.status, answer.text()), (200, "late"));
    assert_eq!(answer.field("connection"), Some("close"));
    let address = gateway.address;
    assert_eq!(gateway.drained().await.cut_off, 0);
    let refused = tokio::net::TcpStream::connect(address).await;
    assert!(refused.is_err(), "the port is free");
}

#[tokio::test]
async fn what_takes_longer_than_the_drain_is_cut_off_and_counted() {
    let origin = Origin::start(|_| Action::Hang).await;
    let mut slow = service(&[origin.address]);
    slow.timeout.attempt = Duration::from_mins(1);
    slow.timeout.total = Duration::from_mins(1);
    let first = Running::start(slow);
    let config = mainstay_gateway::config::Config {
        drain: Duration::from_millis(100),
        ..first.config.clone()
    };
    let gateway = Running::run(config);
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("the request is in flight", || {
        gateway.status().in_flight == 1
    })
    .await;
    gateway.shutdown.cancel();
    assert_eq!(gateway.drained().await.cut_off, 1);
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_gateway_that_is_dropped_stops() {
    let origin = Origin::start(|_| ok("hi")).await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.text(), "hi");
    drop(gateway);
    assert!(client.rest().await.is_empty());
}
