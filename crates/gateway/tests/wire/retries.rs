//! What is tried again, where, and how often.

use std::time::Duration;

use mainstay_gateway::config::{Retry, ServerErrors};

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
