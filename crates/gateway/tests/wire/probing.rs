//! Active probes: what they take out, and what they must not.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay_core::health::{Hysteresis, Verdict};
use mainstay_observe::probe::Probe;

use crate::origins::{Origin, ok, status};
use crate::setup::{Running, limits, service, until};

fn probe() -> Probe {
    Probe {
        http_path: Some("/healthz".into()),
        every: Duration::from_millis(20),
        timeout: Duration::from_millis(500),
        hysteresis: Hysteresis {
            rise: NonZeroU32::MIN,
            fall: NonZeroU32::MIN,
        },
    }
}

#[tokio::test]
async fn an_unhealthy_endpoint_gets_no_requests_until_it_is_well() {
    let sick = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&sick);
    let one = Origin::start(move |seen| {
        if seen.head.contains("/healthz") && told.load(Ordering::SeqCst) {
            status("503 Unavailable", "", "sick")
        } else {
            ok("one")
        }
    })
    .await;
    let two = Origin::start(|_| ok("two")).await;
    let mut service = service(&[one.address, two.address]);
    service.probe = Some(probe());
    let gateway = Running::with(service, limits(), 2);
    until("probes have decided", || {
        let endpoints = gateway.status().endpoints;
        endpoints[0].health == Verdict::Unhealthy && endpoints[1].health == Verdict::Healthy
    })
    .await;
    let mut client = gateway.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.text(), "two");
    }
    assert!(gateway.status().endpoints[0].last_check.contains("503"));

    sick.store(false, Ordering::SeqCst);
    until("it is well", || {
        gateway.status().endpoints[0].health == Verdict::Healthy
    })
    .await;
    // It gets requests again, however much faster the other one looked in the meantime.
    let mut served = false;
    for _ in 0..2_000 {
        served = client.get("/").await.text() == "one";
        if served {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(served);
}

#[tokio::test]
async fn probes_that_fail_everywhere_are_not_believed() {
    let origin = Origin::start(|seen| {
        if seen.head.contains("/healthz") {
            status("503 Unavailable", "", "sick")
        } else {
            ok("served")
        }
    })
    .await;
    let mut service = service(&[origin.address]);
    service.probe = Some(probe());
    let gateway = Running::start(service);
    until("the probe has decided", || {
        gateway.status().endpoints[0].health == Verdict::Unhealthy
    })
    .await;
    assert_eq!(gateway.client().await.get("/").await.text(), "served");
}
