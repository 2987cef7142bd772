//! Active probes: asks each endpoint whether it is well, whether or not requests come.
//!
//! Prevents requests from finding out that an endpoint is down, and endpoints from being asked
//! once per worker: there is one loop per endpoint in the process. A tenth of jitter keeps the
//! loops out of step.

use std::sync::Arc;

use mainstay_core::random::Random;
use mainstay_observe::probe::Probe;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

use crate::service::Service;
use crate::upstream::endpoint::Endpoint;

/// How soon a new plan's endpoints are probed.
const PLAN_LOOK_EVERY: Duration = Duration::from_millis(250);

/// Probes the endpoints of `service` for ever, following its plan.
#[expect(clippy::infinite_loop, reason = "it is dropped with the gateway")]
pub(crate) async fn watch(service: Arc<Service>) {
    loop {
        let version = service.version();
        let plan = service.plan();
        let mut loops = JoinSet::new();
        if let Some(probe) = &plan.config.probe {
            for endpoint in &plan.endpoints {
                let (service, endpoint) = (Arc::clone(&service), Arc::clone(endpoint));
                loops.spawn(ask_for_ever(service, endpoint, probe.clone()));
            }
        }
        while service.version() == version {
            sleep(PLAN_LOOK_EVERY).await;
        }
    }
}

#[expect(clippy::infinite_loop, reason = "it is dropped with its plan")]
async fn ask_for_ever(service: Arc<Service>, endpoint: Arc<Endpoint>, probe: Probe) {
    let mut random = Random::seeded(u64::from(std::process::id())).fork(&endpoint.name);
    loop {
        let checked = probe.check(endpoint.address).await;
        endpoint.probed(checked.result, &checked.detail, service.clock.now());
        let tenth = probe.every / 10;
        sleep(probe.every.saturating_sub(tenth / 2) + random.up_to(tenth)).await;
    }
}
