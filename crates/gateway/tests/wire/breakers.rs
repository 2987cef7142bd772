//! Circuits, rotation and the bulkhead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay_core::breaker::{SLOW_MIN, Slow};
use mainstay_core::outcome::Reason;
use mainstay_gateway::Rotation;
use mainstay_observe::status::BreakerState;

use crate::clients::POST;
use crate::origins::{Action, Origin, ok, status};
use crate::setup::{Running, breaker, bulkhead, count, nobody, retry, service, until};

#[tokio::test]
async fn a_dead_endpoint_of_two_soon_gets_no_requests() {
    let alive = Origin::start(|_| ok("served")).await;
    let mut service = service(&[nobody().await, alive.address]);
    service.breaker = Some(breaker(3, Duration::from_mins(1)));
    service.retry = Some(retry(2));
    let gateway = Running::with(service, crate::setup::limits(), 2);
    for _ in 0..100 {
        assert_eq!(gateway.client().await.get("/").await.text(), "served");
    }
    let status = gateway.status();
    assert!(
        status.endpoints[0].attempts <= 3,
        "{} attempts",
        status.endpoints[0].attempts
    );
}

#[tokio::test]
async fn an_open_circuit_answers_at_once_and_closes_after_a_good_probe() {
    let sick = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&sick);
    let origin = Origin::start(move |_| {
        if told.load(Ordering::SeqCst) {
            status("500 Internal Server Error", "", "sick")
        } else {
            ok("well")
        }
    })
    .await;
    let mut service = service(&[origin.address]);
    service.breaker = Some(breaker(5, Duration::from_millis(400)));
    let gateway = Running::start(service);
    let mut client = gateway.client().await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.status, 500);
    }
    let rejected = client.get("/").await;
    assert_eq!((rejected.status, rejected.reason()), (503, "circuit_open"));
    assert_eq!(rejected.field("retry-after"), Some("1"));
    assert!(rejected.text().contains(r#""service":"pay""#));
    assert_eq!(origin.seen().len(), 5);
    assert_eq!(gateway.status().endpoints[0].breaker, BreakerState::Open);

    sick.store(false, Ordering::SeqCst);
    let mut answers = Vec::new();
    while answers.last() != Some(&200) {
        answers.push(client.get("/").await.status);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(gateway.status().endpoints[0].breaker, BreakerState::Closed);
    assert_eq!(
        origin.seen().len(),
        6,
        "the probe was the first request to get through"
    );
}

#[tokio::test]
async fn a_probe_whose_client_leaves_gives_its_place_back() {
    let hanging = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&hanging);
    let origin = Origin::start(move |seen| {
        if seen.head.contains("/fail") {
            Action::Close
        } else if told.load(Ordering::SeqCst) {
            Action::Hang
        } else {
            ok("well")
        }
    })
    .await;
    let mut service = service(&[origin.address]);
    service.breaker = Some(breaker(1, Duration::from_millis(50)));
    service.timeout.attempt = Duration::from_secs(30);
    service.timeout.total = Duration::from_secs(30);
    let gateway = Running::start(service);
    assert_eq!(gateway.client().await.get("/fail").await.status, 502);

    hanging.store(true, Ordering::SeqCst);
    until("the cooldown is over", || {
        gateway.status().endpoints[0].since_ms > 60
    })
    .await;
    let mut leaving = gateway.client().await;
    leaving.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("the probe is out", || origin.seen().len() == 2).await;
    assert_eq!(
        gateway.client().await.get("/").await.reason(),
        "circuit_open"
    );
    drop(leaving);
    until("the probe is gone", || {
        gateway.status().endpoints[0].in_flight == 0
    })
    .await;

    hanging.store(false, Ordering::SeqCst);
    assert_eq!(gateway.client().await.get("/").await.text(), "well");
}

#[tokio::test]
async fn an_endpoint_out_of_rotation_does_not_get_the_next_request() {
    let one = Origin::start(|_| ok("one")).await;
    let two = Origin::start(|_| ok("two")).await;
    let gateway = Running::start(service(&[one.address, two.address]));
    let mut client = gateway.client().await;
    for _ in 0..20 {
        assert!(
            gateway
                .handle
                .set_endpoint("pay", "a", Rotation::Out(Reason::Exited))
        );
        assert_eq!(client.get("/").await.text(), "two");
        gateway.handle.set_endpoint("pay", "a", Rotation::In);
        gateway
            .handle
            .set_endpoint("pay", "b", Rotation::Out(Reason::Exited));
        assert_eq!(client.get("/").await.text(), "one");
        gateway.handle.set_endpoint("pay", "b", Rotation::In);
    }
    gateway
        .handle
        .set_endpoint("pay", "a", Rotation::Out(Reason::Exited));
    gateway
        .handle
        .set_endpoint("pay", "b", Rotation::Out(Reason::Exited));
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.reason()), (503, "no_endpoint"));
    assert!(
        !gateway
            .handle
            .set_endpoint("pay", "z", Rotation::Out(Reason::Exited))
    );
    assert!(
        !gateway
            .handle
            .set_endpoint("nope", "a", Rotation::Out(Reason::Exited))
    );
}

#[tokio::test]
async fn a_supervised_endpoint_gets_no_request_before_its_supervisor_says_so() {
    let origin = Origin::start(|_| ok("one")).await;
    let mut service = service(&[origin.address]);
    service.supervised = true;
    let gateway = Running::start(service);
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.reason(), "no_endpoint");

    gateway.handle.set_endpoint("pay", "a", Rotation::In);

    assert_eq!(client.get("/").await.text(), "one");
}

#[tokio::test]
async fn a_request_waits_for_the_only_replica_while_it_is_restarted() {
    let origin = Origin::start(|_| ok("back")).await;
    let mut service = service(&[origin.address]);
    service.supervised = true;
    service.timeout.endpoint = Duration::from_mins(1);
    service.timeout.total = Duration::from_mins(1);
    let gateway = Running::start(service);
    let mut client = gateway.client().await;
    gateway.handle.set_endpoint("pay", "a", Rotation::In);
    gateway
        .handle
        .set_endpoint("pay", "a", Rotation::Out(Reason::Exited));
    client.send(POST).await;
    until("the request waits", || gateway.status().in_flight == 1).await;

    gateway.handle.set_endpoint("pay", "a", Rotation::Starting);
    gateway.handle.set_endpoint("pay", "a", Rotation::In);

    assert_eq!(client.answer(false).await.text(), "back");
}

#[tokio::test]
async fn nobody_waits_for_a_process_that_ended_before_it_was_ready() {
    let mut service = service(&[nobody().await]);
    service.supervised = true;
    service.timeout.endpoint = Duration::from_mins(1);
    service.timeout.total = Duration::from_mins(1);
    let gateway = Running::start(service);
    gateway.handle.set_endpoint("pay", "a", Rotation::Starting);
    let mut client = gateway.client().await;
    client.send(POST).await;
    until("the request waits", || gateway.status().in_flight == 1).await;

    gateway
        .handle
        .set_endpoint("pay", "a", Rotation::Out(Reason::Exited));

    assert_eq!(client.answer(false).await.reason(), "no_endpoint");
}

#[tokio::test]
async fn a_new_process_starts_with_a_closed_circuit() {
    let failing = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&failing);
    let origin = Origin::start(move |_| {
        if told.load(Ordering::SeqCst) {
            Action::Close
        } else {
            ok("well")
        }
    })
    .await;
    let mut service = service(&[origin.address]);
    service.breaker = Some(breaker(1, Duration::from_hours(1)));
    let gateway = Running::start(service);
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(client.get("/").await.reason(), "circuit_open");

    failing.store(false, Ordering::SeqCst);
    gateway
        .handle
        .set_endpoint("pay", "a", Rotation::Out(Reason::Exited));
    gateway.handle.set_endpoint("pay", "a", Rotation::In);

    assert_eq!(client.get("/").await.text(), "well");
}

/// An origin that closes every connection until `failing` is over.
async fn ill_while(failing: &Arc<AtomicBool>) -> Origin {
    let told = Arc::clone(failing);
    Origin::start(move |_| {
        if told.load(Ordering::SeqCst) {
            Action::Close
        } else {
            ok("back")
        }
    })
    .await
}

#[tokio::test]
async fn an_endpoint_that_may_be_probed_is_probed_with_a_request_that_can_be_tried_again() {
    let failing = Arc::new(AtomicBool::new(true));
    let ill = ill_while(&failing).await;
    let well = Origin::start(|_| ok("well")).await;
    let mut service = service(&[ill.address, well.address]);
    service.breaker = Some(breaker(1, Duration::from_millis(50)));
    service.retry = Some(retry(2));
    let gateway = Running::start(service);
    let mut client = gateway.client().await;
    while gateway.status().endpoints[0].breaker == BreakerState::Closed {
        assert_eq!(client.get("/").await.text(), "well");
    }
    until("the cooldown is over", || {
        gateway.status().endpoints[0].since_ms > 60
    })
    .await;

    let before = ill.seen().len();
    for _ in 0..20 {
        assert_eq!(client.ask(POST).await.text(), "well");
    }
    assert_eq!(ill.seen().len(), before, "a POST was spent on a probe");

    failing.store(false, Ordering::SeqCst);
    until("the endpoint is back", || {
        gateway.status().endpoints[0].since_ms > 60
    })
    .await;
    let mut answers = 0;
    while gateway.status().endpoints[0].breaker != BreakerState::Closed {
        client.get("/").await;
        answers += 1;
        assert!(answers < 100, "nobody probes");
    }
}

#[tokio::test]
async fn a_full_bulkhead_queues_and_then_rejects() {
    let release = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&release);
    let origin = Origin::start(move |seen| {
        if seen.head.contains("/slow") && !told.load(Ordering::SeqCst) {
            Action::Hang
        } else {
            ok("served")
        }
    })
    .await;
    let mut service = service(&[origin.address]);
    service.bulkhead = Some(bulkhead(1, 1, Duration::from_secs(20)));
    let gateway = Running::start(service);
    let mut holding = gateway.client().await;
    holding.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until("the place is taken", || origin.seen().len() == 1).await;
    let mut waiting = gateway.client().await;
    waiting
        .send("GET /waiting HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    until("the queue is full", || gateway.status().queued == 1).await;
    let rejected = gateway.client().await.get("/").await;
    assert_eq!((rejected.status, rejected.reason()), (503, "bulkhead_full"));
    assert!(rejected.field("retry-after").is_some());

    drop(holding);
    assert_eq!(waiting.answer(false).await.text(), "served");
    assert_eq!(gateway.client().await.get("/").await.text(), "served");
}

#[tokio::test]
async fn an_open_circuit_stays_open_for_as_long_as_the_endpoint_asked() {
    let origin =
        Origin::start(|_| status("503 Service Unavailable", "Retry-After: 9\r\n", "busy")).await;
    let mut service = service(&[origin.address]);
    let mut breaker = breaker(2, Duration::from_millis(1));
    breaker.reopen_max = Duration::from_secs(30);
    service.breaker = Some(breaker);
    let gateway = Running::start(service);
    let mut client = gateway.client().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.status, 503);
    }
    let rejected = client.get("/").await;
    assert_eq!(rejected.reason(), "circuit_open", "not a probe after 1 ms");
    let left: u64 = rejected
        .field("retry-after")
        .and_then(|left| left.parse().ok())
        .expect("it says when to come back");
    assert!((2..=10).contains(&left), "{left} s");
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test]
async fn an_endpoint_that_answers_too_late_opens_its_circuit() {
    let origin = Origin::start(|_| ok("late")).await;
    let mut service = service(&[origin.address]);
    let mut breaker = breaker(100, Duration::from_mins(1));
    breaker.calls_min = count(3);
    breaker.slow = Some(Slow {
        // No answer comes so fast.
        after: SLOW_MIN,
        rate: 0.5,
        in_flight: false,
    });
    service.breaker = Some(breaker);
    let gateway = Running::start(service);
    let mut client = gateway.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(client.get("/").await.reason(), "circuit_open");
}

#[tokio::test]
async fn a_ramp_is_felt_by_its_endpoint_and_by_no_client_while_another_is_well() {
    let failing = Arc::new(AtomicBool::new(true));
    let ill = ill_while(&failing).await;
    let well = Origin::start(|_| ok("well")).await;
    let mut service = service(&[ill.address, well.address]);
    let mut breaker = breaker(1, Duration::from_millis(1));
    breaker.ramp = Some(Duration::from_hours(1));
    service.breaker = Some(breaker);
    service.retry = Some(retry(3));
    let gateway = Running::start(service);
    let mut client = gateway.client().await;
    while gateway.status().endpoints[0].breaker == BreakerState::Closed {
        assert_eq!(client.get("/").await.status, 200);
    }
    failing.store(false, Ordering::SeqCst);
    while gateway.status().endpoints[0].breaker != BreakerState::Closed {
        assert_eq!(client.get("/").await.status, 200);
    }
    let before = ill.seen().len();
    for _ in 0..200 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let calls = ill.seen().len() - before;
    assert!(calls < 80, "{calls} of 200 calls, at a tenth of its share");
}
