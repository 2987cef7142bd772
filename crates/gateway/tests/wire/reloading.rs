//! A new configuration: what changes, what stays, what needs a restart.

use std::time::Duration;

use mainstay_core::outcome::Reason;
use mainstay_gateway::Rotation;
use mainstay_gateway::config::{Endpoint, Fallback};

use crate::origins::{Action, Origin, ok};
use crate::setup::{Running, breaker, count, retry, service};

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

#[tokio::test]
async fn other_limits_of_a_circuit_are_in_force_and_it_forgets_nothing() {
    let origin = Origin::start(|_| Action::Close).await;
    let mut with_breaker = service(&[origin.address]);
    with_breaker.breaker = Some(breaker(5, Duration::from_mins(1)));
    let gateway = Running::start(with_breaker);
    let mut client = gateway.client().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.status, 502);
    }
    let mut config = gateway.config.clone();
    let mut reload = |consecutive, attempt| {
        config.services[0].breaker = Some(breaker(consecutive, Duration::from_mins(1)));
        config.services[0].timeout.attempt = attempt;
        let reloaded = gateway.handle.reload(&config.services);
        reloaded.expect("the configuration is valid");
    };

    reload(3, Duration::from_secs(4));
    assert_eq!(client.get("/").await.status, 502, "the third in a row");
    assert_eq!(client.get("/").await.reason(), "circuit_open");
    assert_eq!(origin.seen().len(), 3);

    reload(9, Duration::from_secs(5));
    assert_eq!(client.get("/").await.reason(), "circuit_open");
    assert_eq!(origin.seen().len(), 3, "it is still open");
}

#[tokio::test]
async fn a_configuration_that_is_wrong_elsewhere_changes_no_circuit() {
    let origin = Origin::start(|_| Action::Close).await;
    let mut with_breaker = service(&[origin.address]);
    with_breaker.breaker = Some(breaker(2, Duration::from_mins(1)));
    let gateway = Running::start(with_breaker);
    let mut config = gateway.config.clone();
    config.services[0].breaker = Some(breaker(100, Duration::from_mins(1)));
    let mut stranger = config.services[0].clone();
    stranger.name = "stranger".into();
    config.services.push(stranger);
    assert!(gateway.handle.reload(&config.services).is_err());
    let mut client = gateway.client().await;
    for _ in 0..2 {
        assert_eq!(client.get("/").await.status, 502);
    }
    assert_eq!(client.get("/").await.reason(), "circuit_open");
}

#[tokio::test]
async fn what_was_spent_of_the_retry_budget_stays_spent() {
    let origin = Origin::start(|_| Action::Close).await;
    let mut with_retries = service(&[origin.address]);
    with_retries.retry = Some(retry(3));
    let gateway = Running::start(with_retries);
    let mut client = gateway.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 502);
    }
    let spent = gateway.status().retry_budget;
    assert!(spent < 0.99, "{spent}");
    let mut config = gateway.config.clone();
    config.services[0].retry = Some(retry(2));
    let reloaded = gateway.handle.reload(&config.services);
    reloaded.expect("the configuration is valid");
    let left = gateway.status().retry_budget;
    assert!(left < 0.99, "{left}, after {spent}");
}
