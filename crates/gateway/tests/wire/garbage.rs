//! Bytes that nobody would send on purpose: nothing a client or an endpoint says stops the gateway.

use std::time::Duration;

use mainstay_core::random::Random;
use mainstay_observe::Exposition;
use tokio::io::AsyncWriteExt as _;

use crate::origins::{Action, Origin, ok};
use crate::setup::{Running, service};

const SEED: u64 = 20_261_123;

/// `message` with a few bytes changed, doubled or left out.
fn mutate(message: &[u8], random: &mut Random) -> Vec<u8> {
    const BYTES: &[u8] = b"\r\n\0 :;,0f\x7f\xff\t";
    let mut mutated = message.to_vec();
    for _ in 0..=random.below(3) {
        if mutated.is_empty() {
            return mutated;
        }
        let at = usize::try_from(random.below(mutated.len() as u64)).unwrap_or_default();
        let byte = BYTES[usize::try_from(random.below(BYTES.len() as u64)).unwrap_or_default()];
        match random.below(4) {
            0 => mutated[at] = byte,
            1 => mutated.insert(at, byte),
            2 => mutated.truncate(at),
            _ => drop(mutated.remove(at)),
        }
    }
    mutated
}

#[tokio::test]
async fn clients_that_send_garbage_are_answered_or_closed() {
    println!("seed {SEED}");
    let origin = Origin::start(|_| ok("fine")).await;
    let gateway = Running::start(service(&[origin.address]));
    let mut random = Random::seeded(SEED);
    let messages = [
        &b"GET /a?b HTTP/1.1\r\nhost: a\r\nconnection: x, close\r\nx: y\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc",
        b"PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
    ];
    for round in 0..1_500 {
        let bytes = mutate(messages[round % messages.len()], &mut random);
        let mut client = gateway.client().await;
        client.send(&bytes).await;
        // Half of a request may be all there is; the end of the connection ends it.
        drop(client.stream.shutdown().await);
        client.rest().await;
    }
    assert_eq!(gateway.client().await.get("/").await.text(), "fine");
    let text = gateway.observer.encode_metrics(Exposition::Prometheus);
    assert!(
        text.contains(r#"mainstay_gateway_panics_total{service="pay"} 0"#),
        "{text}"
    );
    // What reached the endpoint was read there as a request each time, or its tests panic.
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| seen.field("host").is_some())
    );
}

#[tokio::test]
async fn endpoints_that_send_garbage_are_answered_for() {
    println!("seed {SEED}");
    let messages = [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: x\r\n\r\nabc"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    ];
    let round = std::sync::atomic::AtomicU64::new(0);
    let origin = Origin::start(move |_| {
        let round = round.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut random = Random::seeded(SEED ^ round << 8);
        let index = usize::try_from(round).unwrap_or_default() % messages.len();
        Action::Last(mutate(messages[index], &mut random))
    })
    .await;
    let mut service = service(&[origin.address]);
    service.timeout.attempt = Duration::from_millis(500);
    let gateway = Running::start(service);
    let mut answered = 0;
    for _ in 0..1_500 {
        let mut client = gateway.client().await;
        client
            .send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await;
        let answer = client.rest().await;
        // A body that breaks off at its start takes its head along: no answer, not a wrong one.
        let text = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 "),
            "{text}"
        );
        answered += usize::from(!answer.is_empty());
    }
    let text = gateway.observer.encode_metrics(Exposition::Prometheus);
    assert!(
        text.contains(r#"mainstay_gateway_panics_total{service="pay"} 0"#),
        "{text}"
    );
    assert!(answered > 1_000, "{answered} answers");
}
