//! A new configuration: what changes, what stays, what needs a restart.

use std::time::Duration;

use mainstay_core::outcome::Reason;
use mainstay_gateway::Rotation;
use mainstay_gateway::config::{Endpoint, Fallback};

use crate::origins::{Action, Origin, ok};
use crate::setup::{Running, breaker, count, service};

#[tokio::test]
async fn endpoints_and_policies_change_without_a_restart() {
    let one = Origin::start(|_| ok("one")).await;
    let two = Origin::start(|_| ok("two")).await;
    let gateway = Running::start(service(&[one.address]));
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.text(), "one");

    let mut config = gateway.config.clone();
    config.services[0].endpoints = vec![Endpoint {
        name: "b".into(),
        address: two.address,
    }];
    gateway
        .handle
        .reload(&config.services)
        .expect("the services are valid");
    assert_eq!(client.get("/").await.text(), "two");

    config.services[0].name = "stranger".into();
    let refused = gateway.handle.reload(&config.services);
    assert!(refused.is_err_and(|error| error.to_string().contains("stranger")));
}

#[tokio::test]
async fn what_an_endpoint_has_learned_stays() {
    let origin = Origin::start(|_| Action::Close).await;
    let mut with_breaker = service(&[origin.address]);
    with_breaker.breaker = Some(breaker(2, Duration::from_mins(1)));
    let gateway = Running::start(with_breaker);
    let mut client = gateway.client().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.status, 502);
    }
    let mut config = gateway.config.clone();
    config.services[0].fallback = vec![Fallback::Stale(Duration::from_secs(1))];
    gateway
        .handle
        .reload(&config.services)
        .expect("the configuration is valid");
    assert_eq!(client.get("/").await.reason(), "circuit_open");
}

#[tokio::test]
async fn a_wrong_configuration_changes_nothing() {
    let origin = Origin::start(|_| ok("one")).await;
    let gateway = Running::start(service(&[origin.address]));
    let mut config = gateway.config.clone();
    config.services[0].endpoints.clear();
    let mut wrong = breaker(1, Duration::from_secs(1));
    wrong.probes = count(1_000_000);
    config.services[0].endpoints = gateway.config.services[0].endpoints.clone();
    config.services[0].breaker = Some(wrong);
    let error = gateway
        .handle
        .reload(&config.services)
        .expect_err("there is a limit on probes");
    assert!(
        error.to_string().contains("service `pay`: breaker: probes"),
        "{error}"
    );
    assert_eq!(gateway.client().await.get("/").await.text(), "one");
}

#[tokio::test]
async fn a_dead_process_stays_out_whatever_policies_change() {
    let one = Origin::start(|_| ok("one")).await;
    let two = Origin::start(|_| ok("two")).await;
    let gateway = Running::start(service(&[one.address, two.address]));
    gateway
        .handle
        .set_endpoint("pay", "a", Rotation::Out(Reason::Exited));
    let mut config = gateway.config.clone();
    config.services[0].breaker = Some(breaker(2, Duration::from_secs(1)));
    gateway
        .handle
        .reload(&config.services)
        .expect("the configuration is valid");
    let mut client = gateway.client().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "two");
    }
}
