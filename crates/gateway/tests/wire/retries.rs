//! What is tried again, where, and how often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_gateway::config::{Retry, ServerErrors};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clients::POST;
use crate::origins::{Action, Origin, ok, status};
use crate::setup::{Running, nobody, retry, service};

fn with_retries(endpoints: &[std::net::SocketAddr], attempts: u32) -> Running {
    let mut service = service(endpoints);
    service.retry = Some(retry(attempts));
    service.timeout.attempt = Duration::from_millis(300);
    Running::start(service)
}

#[tokio::test]
async fn a_request_that_never_left_goes_elsewhere_whatever_its_method() {
    let origin = Origin::start(|_| ok("served")).await;
    let gateway = with_retries(&[nobody().await, origin.address], 3);
    let mut client = gateway.client().await;
    for _ in 0..10 {
        assert_eq!(client.ask(POST).await.text(), "served");
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 10, "each arrived once");
    assert!(seen.iter().all(|seen| seen.body == b"abc"));
}

#[tokio::test]
async fn a_post_that_may_have_arrived_is_not_sent_again() {
    for failing in [
        (|| Action::Close) as fn() -> Action,
        || Action::Hang,
        || status("503 Service Unavailable", "", "busy"),
    ] {
        let one = Origin::start(move |_| failing()).await;
        let two = Origin::start(move |_| failing()).await;
        let gateway = with_retries(&[one.address, two.address], 3);
        let answer = gateway.client().await.ask(POST).await;
        assert!(answer.status >= 500, "{}", answer.status);
        assert_eq!(one.seen().len() + two.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_key_makes_a_post_safe_to_repeat() {
    let one = Origin::start(|_| Action::Close).await;
    let two = Origin::start(|_| ok("served")).await;
    let gateway = with_retries(&[one.address, two.address], 3);
    let mut client = gateway.client().await;
    for _ in 0..6 {
        let answer = client
            .ask(
                "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\nidempotency-key: k\r\n\r\nabc",
            )
            .await;
        assert_eq!(answer.text(), "served");
    }
    assert!(
        two.seen()
            .iter()
            .all(|seen| { seen.body == b"abc" && seen.field("idempotency-key") == Some("k") })
    );
}

#[tokio::test]
async fn idempotent_requests_are_tried_on_another_endpoint() {
    for failing in [
        (|| Action::Close) as fn() -> Action,
        || Action::Hang,
        || status("502 Bad Gateway", "", ""),
        || status("503 Service Unavailable", "retry-after: 60\r\n", "busy"),
        || status("504 Gateway Timeout", "", "slow"),
        || Action::Reply(b"garbage\r\n\r\n".to_vec()),
    ] {
        let bad = Origin::start(move |_| failing()).await;
        let good = Origin::start(|_| ok("served")).await;
        let gateway = with_retries(&[bad.address, good.address], 2);
        let mut client = gateway.client().await;
        for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
            let request =
                format!("{method} / HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\nx");
            assert_eq!(client.ask(request).await.text(), "served", "{method}");
        }
        assert!(good.seen().iter().all(|seen| seen.body == b"x"));
        let status = gateway.status();
        let failures = status.endpoints[0].failures;
        assert_eq!(
            failures,
            bad.seen().len() as u64,
            "each failed attempt is charged"
        );
        assert_eq!(status.attempts, 4 + failures);
    }
}

#[tokio::test]
async fn errors_of_the_application_are_not_repeated() {
    for line in [
        "500 Internal Server Error",
        "501 Not Implemented",
        "404 Not Found",
        "429 Slow",
    ] {
        let one = Origin::start(move |_| status(line, "", "no")).await;
        let two = Origin::start(move |_| status(line, "", "no")).await;
        let gateway = with_retries(&[one.address, two.address], 3);
        let answer = gateway.client().await.get("/").await;
        assert_eq!(answer.status.to_string(), line[..3]);
        assert_eq!(one.seen().len() + two.seen().len(), 1, "{line}");
    }
}

#[tokio::test]
async fn an_answer_that_the_configuration_names_is_tried_again() {
    let failing = Origin::start(|_| status("500 Internal Server Error", "", "broken")).await;
    let well = Origin::start(|_| ok("well")).await;
    let mut service = service(&[failing.address, well.address]);
    service.retry = Some(Retry {
        on_status: ServerErrors::of(&[500]).expect("a server error"),
        ..retry(2)
    });
    let gateway = Running::start(service);
    let mut client = gateway.client().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "well");
    }
    assert!(
        !failing.seen().is_empty(),
        "the failing endpoint was never asked"
    );
}

#[tokio::test]
async fn the_last_real_answer_is_given_when_attempts_run_out() {
    let one = Origin::start(|_| status("503 Service Unavailable", "x-from: one\r\n", "busy")).await;
    let gateway = with_retries(&[one.address, nobody().await], 3);
    for _ in 0..5 {
        let answer = gateway.client().await.get("/").await;
        assert_eq!((answer.status, answer.text()), (503, "busy"));
        assert_eq!(answer.field("x-from"), Some("one"));
        assert_eq!(answer.reason(), "", "it is the endpoint's own answer");
    }
}

#[tokio::test]
async fn attempts_are_bounded_and_numbered() {
    let one = Origin::start(|_| Action::Close).await;
    let gateway = with_retries(&[one.address], 3);
    let answer = gateway.client().await.get("/").await;
    assert_eq!((answer.status, answer.reason()), (502, "upstream_reset"));
    let seen = one.seen();
    let numbers: Vec<_> = seen
        .iter()
        .map(|seen| seen.field("mainstay-attempt"))
        .collect();
    assert_eq!(numbers, [None, Some("2"), Some("3")]);
}

#[tokio::test]
async fn a_body_too_large_to_keep_is_sent_once() {
    let one = Origin::start(|_| Action::Close).await;
    let two = Origin::start(|_| Action::Close).await;
    let gateway = with_retries(&[one.address, two.address], 3);
    let body = "x".repeat(200_000);
    let answer = gateway
        .client()
        .await
        .ask(format!(
            "PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: 200000\r\n\r\n{body}"
        ))
        .await;
    assert_eq!(answer.status, 502);
    assert_eq!(one.seen().len() + two.seen().len(), 1);
}

#[tokio::test]
async fn a_chunked_body_is_replayed_byte_for_byte() {
    let bad = Origin::start(|_| Action::Close).await;
    let good = Origin::start(|_| ok("served")).await;
    let gateway = with_retries(&[bad.address, good.address], 2);
    let mut client = gateway.client().await;
    for _ in 0..6 {
        let answer = client
            .ask(
                "PUT / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n4\r\ndefg\r\n0\r\nx-sum: 1\r\n\r\n",
            )
            .await;
        assert_eq!(answer.text(), "served");
    }
    let seen = good.seen();
    assert!(
        seen.iter()
            .all(|seen| seen.body == b"abcdefg" && seen.trailers == "x-sum: 1\r\n")
    );
}

#[tokio::test]
async fn the_budget_bounds_retries_when_everything_fails() {
    let one = Origin::start(|_| Action::Close).await;
    let two = Origin::start(|_| Action::Close).await;
    let mut service = service(&[one.address, two.address]);
    let mut policy = retry(3);
    policy.budget_floor = 0;
    service.retry = Some(policy);
    let gateway = Running::start(service);
    let mut client = gateway.client().await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.status, 502);
    }
    let attempts = one.seen().len() + two.seen().len();
    assert!(
        (100..=120).contains(&attempts),
        "{attempts} attempts for 100 requests"
    );
}

#[tokio::test]
async fn timeouts_have_their_own_reasons() {
    let hanging = Origin::start(|_| Action::Hang).await;
    let mut slow = service(&[hanging.address]);
    slow.timeout.attempt = Duration::from_millis(100);
    let answer = Running::start(slow.clone()).client().await.get("/").await;
    assert_eq!((answer.status, answer.reason()), (504, "attempt_timeout"));

    slow.timeout.attempt = Duration::from_secs(5);
    slow.timeout.total = Duration::from_millis(100);
    let answer = Running::start(slow).client().await.get("/").await;
    assert_eq!((answer.status, answer.reason()), (504, "deadline"));
}

/// After so long without a request the endpoint closes.
const REST: Duration = Duration::from_millis(10);

async fn serve_and_rest(mut stream: TcpStream, counts: Arc<Mutex<BTreeMap<String, u32>>>) {
    let mut head = [0; 2048];
    while let Ok(Ok(count @ 1..)) = timeout(REST, stream.read(&mut head)).await {
        let head = String::from_utf8_lossy(&head[..count]).into_owned();
        let line = head.lines().next().unwrap_or_default().to_owned();
        *counts.lock().expect("no panics").entry(line).or_default() += 1;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        drop(stream.write_all(answer).await);
    }
}

/// An endpoint that closes connections after a short rest meets requests that come just then.
#[tokio::test]
async fn the_race_with_an_endpoint_that_closes_loses_no_get_and_doubles_no_post() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    let seen = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
    let counts = Arc::clone(&seen);
    let mut origin = JoinSet::new();
    origin.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve_and_rest(stream, Arc::clone(&counts)));
        }
    });
    let gateway = with_retries(&[address], 3);
    let mut client = gateway.client().await;
    for round in 0..100_u32 {
        let get = client.get(&format!("/get{round}")).await;
        assert_eq!(get.status, 200, "round {round}");
        tokio::time::sleep(Duration::from_micros(8_000 + u64::from(round) * 40)).await;
        let post = format!("POST /post{round} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        let post = client.ask(post).await;
        assert!(matches!(post.status, 200 | 502), "{post:?}");
        tokio::time::sleep(REST).await;
    }
    let seen = seen.lock().expect("no panics").clone();
    let doubled: Vec<_> = seen
        .iter()
        .filter(|(line, count)| line.starts_with("POST") && **count > 1)
        .collect();
    assert!(doubled.is_empty(), "{doubled:?}");
}
