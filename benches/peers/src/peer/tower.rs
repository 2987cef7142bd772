//! tower 0.5: its own layers. It has no breaker, and its rate limit cannot be shared.

use std::sync::Arc;
use std::time::Duration;

use ::tower::limit::{ConcurrencyLimitLayer, RateLimitLayer};
use ::tower::retry::budget::{Budget as _, TpsBudget};
use ::tower::retry::{Policy, RetryLayer};
use ::tower::timeout::TimeoutLayer;
use ::tower::{BoxError, Service, ServiceBuilder, service_fn};

use crate::case::Case;
use crate::poll::{answered, now};
use crate::subject::{Missing, Subject, Worker, runtime, worker_on_tokio, workers};

const NAME: &str = "tower";

pub(crate) const SUBJECTS: &[Subject] = &[
    Subject::new(Case::PipelineSuccess, NAME, pipeline),
    Subject::new(Case::LimiterAcquire, NAME, acquire),
];

const REASON: &str = "it has no breaker";

pub(crate) const MISSING: &[Missing] = &[
    Missing {
        case: Case::BreakerClosedSuccess,
        name: NAME,
        reason: REASON,
    },
    Missing {
        case: Case::BreakerClosedSuccessTower,
        name: NAME,
        reason: REASON,
    },
];

/// Asks whether it is ready, calls, and takes the answer.
pub(super) fn asked<S>(service: &mut S, number: u64) -> Result<S::Response, S::Error>
where
    S: Service<u64>,
{
    now(std::future::poll_fn(|cx| service.poll_ready(cx)))?;
    now(service.call(number))
}

/// Twice at most, as the budget allows.
#[derive(Clone)]
struct Budgeted {
    budget: Arc<TpsBudget>,
    left: u32,
}

impl Policy<u64, u64, BoxError> for Budgeted {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _request: &mut u64,
        result: &mut Result<u64, BoxError>,
    ) -> Option<Self::Future> {
        if result.is_ok() {
            self.budget.deposit();
            return None;
        }
        if self.left == 0 || !self.budget.withdraw() {
            return None;
        }
        self.left -= 1;
        Some(std::future::ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

/// Deadline, retry with budget, limit of calls, timeout: without a breaker, and without backoff.
fn pipeline(case: Case) -> Vec<Worker> {
    let budgeted = Budgeted {
        budget: Arc::new(TpsBudget::default()),
        left: 2,
    };
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(2)))
        .layer(RetryLayer::new(budgeted))
        .layer(ConcurrencyLimitLayer::new(256))
        .layer(TimeoutLayer::new(Duration::from_millis(300)))
        .service(service_fn(|number| answered(number, false)));
    workers(case, &service, |mut service| {
        worker_on_tokio(move |number| asked(&mut service, number).is_ok())
    })
}

fn acquire(_: Case) -> Vec<Worker> {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(u64::MAX, Duration::from_secs(1)))
        .service(service_fn(|number| answered(number, false)));
    vec![worker_on_tokio(move |number| {
        asked(&mut service, number).is_ok()
    })]
}
