//! Clients that send too much, too slowly, or never read.

use std::time::Duration;

use mainstay_gateway::config::Limits;

use crate::clients::Client;
use crate::origins::{Action, Origin, ok};
use crate::setup::{Running, limits, service, until};

fn small() -> Limits {
    Limits {
        connections_max: 4,
        head_bytes_max: 16 * 1024,
        headers_max: 20,
        head_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
    }
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused() {
    let origin = Origin::start(|_| ok("reached")).await;
    let gateway = Running::with(service(&[origin.address]), small(), 1);
    let head = |fields: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    let large = format!("x: {}\r\n", "a".repeat(20_000));
    for (bytes, status, reason) in [
        (head(&large), 431, "head_too_large"),
        (head(&"x: y\r\n".repeat(20)), 431, "too_many_headers"),
        (
            format!("GET /{}", "a".repeat(30_000)),
            414,
            "target_too_long",
        ),
    ] {
        let mut client = gateway.client().await;
        // The gateway may close before all of it is written.
        drop(tokio::io::AsyncWriteExt::write_all(&mut client.stream, bytes.as_bytes()).await);
        let answer = client.answer(false).await;
        assert_eq!((answer.status, answer.reason()), (status, reason));
    }
    let mut client = gateway.client().await;
    let fits = head(&format!("x: {}\r\n", "a".repeat(15_000)));
    assert_eq!(client.ask(fits).await.status, 200);
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_run_out_of_time() {
    let origin = Origin::start(|_| ok("reached")).await;
    let gateway = Running::with(service(&[origin.address]), small(), 1);
    let mut slow = gateway.client().await;
    slow.send("GET / HTTP/1.1\r\nho").await;
    let answer = slow.answer(false).await;
    assert_eq!((answer.status, answer.reason()), (408, "head_timeout"));
    assert!(slow.rest().await.is_empty());

    let mut slow = gateway.client().await;
    slow.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc")
        .await;
    let answer = slow.answer(false).await;
    assert_eq!((answer.status, answer.reason()), (408, "body_timeout"));
    assert!(slow.rest().await.is_empty());
    assert_eq!(
        gateway.status().endpoints[0].failures,
        0,
        "it is not the endpoint's failure"
    );
}

#[tokio::test]
async fn idle_connections_are_closed_without_a_word() {
    let origin = Origin::start(|_| ok("hi")).await;
    let gateway = Running::with(service(&[origin.address]), small(), 1);
    let mut fresh = gateway.client().await;
    assert!(fresh.rest().await.is_empty());
    let mut used = gateway.client().await;
    assert_eq!(used.get("/").await.text(), "hi");
    let since = tokio::time::Instant::now();
    assert!(used.rest().await.is_empty());
    // Well before the next timer of any other kind.
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "{:?}",
        since.elapsed()
    );
}

#[tokio::test]
async fn a_slow_endpoint_does_not_make_the_client_late() {
    let origin = Origin::start(|_| {
        std::thread::park_timeout(Duration::from_millis(700));
        ok("late")
    })
    .await;
    let gateway = Running::with(service(&[origin.address]), small(), 1);
    assert_eq!(gateway.client().await.get("/").await.text(), "late");
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_place() {
    let origin = Origin::start(|_| ok("hi")).await;
    let limits = Limits {
        connections_max: 2,
        ..limits()
    };
    let gateway = Running::with(service(&[origin.address]), limits, 1);
    let mut first = gateway.client().await;
    let mut second = gateway.client().await;
    assert_eq!(first.get("/").await.text(), "hi");
    assert_eq!(second.get("/").await.text(), "hi");
    let mut third = gateway.client().await;
    third.send("GET /third HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(first.get("/").await.text(), "hi");
    let third_seen = || {
        origin
            .seen()
            .iter()
            .any(|seen| seen.head.contains("/third"))
    };
    assert!(!third_seen());
    drop(second);
    assert_eq!(third.answer(false).await.text(), "hi");
    assert!(third_seen());
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off() {
    let huge = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
        64 << 20,
        "x".repeat(64 << 20)
    );
    let origin = Origin::start(move |_| Action::Last(huge.clone().into())).await;
    let gateway = Running::with(service(&[origin.address]), small(), 1);
    let mut client = Client::connect(gateway.address).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("the answer is under way", || gateway.status().requests == 1).await;
    until("the request is over", || gateway.status().in_flight == 0).await;
    let got = client.rest().await.len();
    assert!(got < 64 << 20, "{got} bytes fit into the sockets");
}

#[tokio::test]
async fn slow_bodies_are_not_the_endpoints_failure() {
    let origin = Origin::start(|seen| ok(&format!("{} bytes", seen.body.len()))).await;
    let mut service = service(&[origin.address]);
    service.timeout.attempt = Duration::from_millis(150);
    service.timeout.total = Duration::from_millis(900);
    let gateway = Running::start(service);
    // Slower than an attempt may take, but done within the total.
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n")
        .await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.send("x").await;
    }
    assert_eq!(client.answer(false).await.text(), "4 bytes");
    // Never done.
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab")
        .await;
    let answer = client.answer(false).await;
    assert_eq!((answer.status, answer.reason()), (408, "body_timeout"));
    assert!(client.rest().await.is_empty());
    assert_eq!(gateway.status().endpoints[0].failures, 0);
}
