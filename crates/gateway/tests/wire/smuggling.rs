//! Requests that two readers could read differently end at the gateway.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::origins::{Action, Origin, ok};
use crate::setup::{Running, service};

/// Sends `bytes`, expects this one answer and the end of the connection.
async fn refused(gateway: &Running, bytes: &str, status: u16, reason: &str) {
    let mut client = gateway.client().await;
    client.send(bytes).await;
    let answer = client.try_answer(false).await;
    let answer = answer.unwrap_or_else(|| panic!("no answer to {bytes:?}"));
    assert_eq!(
        (answer.status, answer.reason()),
        (status, reason),
        "{bytes:?}"
    );
    assert_eq!(answer.field("connection"), Some("close"), "{bytes:?}");
    assert!(answer.text().contains(reason), "{bytes:?}");
    let rest = client.rest().await;
    assert!(
        rest.is_empty(),
        "{bytes:?} got more: {}",
        String::from_utf8_lossy(&rest)
    );
}

#[tokio::test]
async fn ambiguous_heads_are_answered_with_400_and_the_end() {
    let origin = Origin::start(|_| ok("reached")).await;
    let gateway = Running::start(service(&[origin.address]));
    let next = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: +4",
        "Content-Length: 0x4",
        "Content-Length: 4,4",
        "Content-Length : 4",
        "X: a\r\n\tfolded",
        "X: a\0b",
        "X: a\rY: b",
        "X: a\nY: b",
        "Host: b",
        "X\x01: a",
    ] {
        let bytes = format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n0\r\n\r\n{next}");
        refused(&gateway, &bytes, 400, "bad_request").await;
    }
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\nhost: a\n\n",
        "GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        refused(&gateway, head, 400, "bad_request").await;
    }
    assert_eq!(origin.seen().len(), 0, "nothing reached the endpoint");
}

#[tokio::test]
async fn what_the_gateway_does_not_do_has_its_own_status() {
    let origin = Origin::start(|_| ok("reached")).await;
    let gateway = Running::start(service(&[origin.address]));
    for (bytes, status, reason) in [
        (
            "CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n",
            405,
            "method_not_allowed",
        ),
        ("GET / HTTP/3.0\r\nhost: a\r\n\r\n", 505, "version"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            501,
            "transfer_coding",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nexpect: 200-ok\r\n\r\n",
            417,
            "expectation",
        ),
    ] {
        refused(&gateway, bytes, status, reason).await;
    }
    assert_eq!(origin.seen().len(), 0);
}

#[tokio::test]
async fn ambiguous_chunks_are_answered_with_400_and_the_end() {
    let origin = Origin::start(|_| ok("reached")).await;
    let gateway = Running::start(service(&[origin.address]));
    for body in [
        "5\nhello\n0\n\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff0\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "0\r\nhost: b\r\n\r\n",
        "0\r\ncontent-length: 3\r\n\r\n",
        "0\r\nauthorization: b\r\n\r\n",
        "0\r\nx: 1\ny: 2\r\n\r\n",
    ] {
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        refused(&gateway, &format!("{head}{body}"), 400, "bad_request").await;
    }
    assert_eq!(origin.seen().len(), 0, "no request was complete");
}

#[tokio::test]
async fn answers_in_flight_come_before_the_refusal() {
    let origin = Origin::start(|_| ok("first")).await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n")
        .await;
    assert_eq!(client.answer(false).await.text(), "first");
    let refusal = client.answer(false).await;
    assert_eq!((refusal.status, refusal.reason()), (400, "bad_request"));
    assert!(client.rest().await.is_empty());
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn heads_pass_however_they_are_cut() {
    let origin = Origin::start(|seen| ok(&seen.body.len().to_string())).await;
    let gateway = Running::start(service(&[origin.address]));
    let request = "POST /x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\n\r\n\r\nGET /y HTTP/1.1\r\nhost: a\r\n\r\n";
    for cut in 1..request.len() {
        let mut client = gateway.client().await;
        client.send(&request[..cut]).await;
        tokio::task::yield_now().await;
        client.send(&request[cut..]).await;
        assert_eq!(client.answer(false).await.text(), "3", "cut at {cut}");
        assert_eq!(client.answer(false).await.text(), "0", "cut at {cut}");
    }
}

#[tokio::test]
async fn a_refusal_behind_a_slow_answer_waits_for_it() {
    let told = Arc::new(Notify::new());
    let answer = Arc::clone(&told);
    let origin = Origin::start(move |_| {
        let slow = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow";
        Action::When(Arc::clone(&answer), slow.to_vec())
    })
    .await;
    let gateway = Running::start(service(&[origin.address]));
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    crate::setup::until("the request is in flight", || {
        gateway.status().in_flight == 1
    })
    .await;
    client.send("NONSENSE\r\n\r\n").await;
    told.notify_one();
    assert_eq!(client.answer(false).await.text(), "slow");
    assert_eq!(client.answer(false).await.status, 400);
    assert!(client.rest().await.is_empty());
}
