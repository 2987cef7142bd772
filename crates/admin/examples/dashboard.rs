//! The dashboard with made-up services, to see and to style it: `cargo run -p mainstay-admin
//! --example dashboard`, then open the address it prints. Ctrl-C ends it.

use std::error::Error;
use std::sync::Arc;

use mainstay_admin::{Admin, Readiness};
use mainstay_core::event::{Event, Observe};
use mainstay_core::health::Verdict;
use mainstay_core::outcome::Reason;
use mainstay_observe::status::{BreakerState, EndpointStatus, ServiceStatus, StatusSource};
use mainstay_observe::{Observer, clock};
use tokio_util::sync::CancellationToken;

/// Services whose figures follow the clock.
struct MadeUp {
    started: u64,
}

impl StatusSource for MadeUp {
    fn services(&self) -> Vec<ServiceStatus> {
        let ms = clock::unix_ms().saturating_sub(self.started);
        vec![payment(ms), ledger(ms), search(ms)]
    }
}

fn payment(ms: u64) -> ServiceStatus {
    let s = ms as f64 / 1e3;
    let wave = 1.0 + 0.25 * (s / 9.0).sin() + 0.08 * (s * 1.7).sin();
    let failing = ms % 40_000 > 28_000;
    ServiceStatus {
        name: "payment".into(),
        listen: "127.0.0.1:8080".into(),
        rate: 412.0 * wave,
        success: Some(if failing { 0.962 } else { 0.999_95 }),
        p50_ms: Some(1.84),
        p99_ms: Some(if failing { 214.0 } else { 11.7 }),
        in_flight: 6,
        queued: 0,
        requests: 1_204_331 + ms * 412 / 1_000,
        attempts: 1_219_874 + ms * 415 / 1_000,
        fallbacks: 1_893,
        retry_budget: if failing { 0.14 } else { 0.93 },
        endpoints: vec![
            replica(1, Verdict::Healthy, BreakerState::Closed, ms),
            replica(2, Verdict::Unhealthy, BreakerState::Open, ms),
            replica(3, Verdict::Healthy, BreakerState::HalfOpen, ms),
        ],
    }
}

fn replica(n: u16, health: Verdict, breaker: BreakerState, ms: u64) -> EndpointStatus {
    let well = health == Verdict::Healthy;
    let check = if well {
        "200 in 0.6 ms"
    } else {
        "connection refused"
    };
    EndpointStatus {
        name: format!("payment-{n}").into(),
        address: format!("127.0.0.1:{}", 40_120 + n),
        pid: well.then_some(48_210 + u32::from(n)),
        restarts: Some(if well { 0 } else { 3 }),
        health,
        breaker,
        since_ms: ms + if well { 7_452_000 } else { 4_200 },
        last_check: check.into(),
        last_check_ms: Some(1_000 * u64::from(n)),
        in_flight: if well { 3 } else { 0 },
        attempts: 406_120 + ms * 140 / 1_000,
        retries: 5_140 + u64::from(n) * 17,
        failures: if well { 12 } else { 2_911 },
        ewma_ms: if well { 2.31 } else { 48.0 },
    }
}

fn steady(name: &str, listen: &str, ms: u64) -> ServiceStatus {
    ServiceStatus {
        name: name.into(),
        listen: listen.into(),
        rate: 38.0 + 6.0 * (ms as f64 / 5e3).cos(),
        success: Some(1.0),
        p50_ms: Some(4.2),
        p99_ms: Some(38.4),
        in_flight: 1,
        queued: 0,
        requests: 98_220 + ms * 38 / 1_000,
        attempts: 98_241 + ms * 38 / 1_000,
        fallbacks: 0,
        retry_budget: 1.0,
        endpoints: Vec::new(),
    }
}

fn ledger(ms: u64) -> ServiceStatus {
    let endpoint = |address: &str| EndpointStatus {
        name: address.into(),
        address: address.into(),
        pid: None,
        restarts: None,
        health: Verdict::Healthy,
        breaker: BreakerState::Closed,
        since_ms: 90_000_000,
        last_check: "204 in 3.9 ms".into(),
        last_check_ms: Some(412),
        in_flight: 1,
        attempts: 49_110,
        retries: 11,
        failures: 4,
        ewma_ms: 4.62,
    };
    ServiceStatus {
        endpoints: vec![endpoint("10.0.0.1:9001"), endpoint("10.0.0.2:9001")],
        ..steady("ledger", "127.0.0.1:8081", ms)
    }
}

fn search(ms: u64) -> ServiceStatus {
    let endpoint = EndpointStatus {
        name: "[fd00::17]:9200".into(),
        address: "[fd00::17]:9200".into(),
        pid: None,
        restarts: None,
        health: Verdict::Unknown,
        breaker: BreakerState::Off,
        since_ms: 12_000,
        last_check: String::new(),
        last_check_ms: None,
        in_flight: 0,
        attempts: 0,
        retries: 0,
        failures: 0,
        ewma_ms: 0.0,
    };
    ServiceStatus {
        rate: 0.0,
        success: None,
        p50_ms: None,
        p99_ms: None,
        in_flight: 0,
        requests: 0,
        attempts: 0,
        endpoints: vec![endpoint],
        ..steady("search", "127.0.0.1:8082", ms)
    }
}

fn past(observer: &Observer) {
    let payment: Arc<str> = "payment".into();
    let two: Arc<str> = "payment-2".into();
    for event in [
        Event::NodeStarted {
            version: "0.1.0".into(),
            admin: "http://127.0.0.1:9900".into(),
        },
        Event::ReplicaStarted {
            service: Arc::clone(&payment),
            replica: Arc::clone(&two),
            pid: 48_212,
            port: 40_122,
        },
        Event::ReplicaReady {
            service: Arc::clone(&payment),
            replica: Arc::clone(&two),
        },
        Event::ReplicaExited {
            service: Arc::clone(&payment),
            replica: Arc::clone(&two),
            reason: Reason::Exited,
            detail: "killed by signal 9 (SIGKILL)".into(),
        },
        Event::EndpointUnhealthy {
            service: Arc::clone(&payment),
            endpoint: Arc::clone(&two),
            reason: Reason::Exited,
            detail: "killed by signal 9 (SIGKILL)".into(),
        },
        Event::CircuitOpen {
            service: Arc::clone(&payment),
            reason: Reason::Connect,
            endpoint: Arc::clone(&two),
            retry_after_ms: 5_000,
        },
        Event::ReplicaCrashLoop {
            service: Arc::clone(&payment),
            replica: Arc::clone(&two),
            exits: 5,
            detail: "exit status 101".into(),
        },
        Event::ConfigRejected {
            path: "mainstay.toml".into(),
            detail: "service.payment.retry: unknown key `attempst`, did you mean `attempts`?"
                .into(),
        },
        Event::RetryBudgetRestored {
            service: Arc::clone(&payment),
            denied: 412,
        },
    ] {
        observer.observe(event);
    }
}

async fn present(observer: &Observer, shutdown: &CancellationToken) {
    let mut ticks = tokio::time::interval(std::time::Duration::from_secs(8));
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        observer.observe(Event::CircuitHalfOpen {
            service: "payment".into(),
            endpoint: "payment-2".into(),
        });
        observer.observe(Event::CircuitOpen {
            service: "payment".into(),
            reason: Reason::Timeout,
            endpoint: "payment-2".into(),
            retry_after_ms: 5_000,
        });
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let observer = Observer::new("n1");
    past(&observer);
    let readiness = Readiness::new();
    readiness.set_started();
    readiness.set_ready(true);
    let source = MadeUp {
        started: clock::unix_ms(),
    };
    let address = ([127, 0, 0, 1], 9_911).into();
    let admin = Admin::bind(address, observer.clone(), Arc::new(source), readiness).await?;
    #[expect(clippy::print_stdout, reason = "this is what the example is for")]
    {
        println!("http://{}", admin.address());
    }
    let shutdown = CancellationToken::new();
    tokio::join!(admin.run(shutdown.clone()), present(&observer, &shutdown));
    Ok(())
}
