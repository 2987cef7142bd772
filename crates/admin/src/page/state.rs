//! How well node, services and endpoints are, in a word, a symbol and a colour.
//!
//! Prevents a page that must be studied: the first line says what is wrong, and who cannot tell
//! red from green reads the word.

use mainstay_core::event::Severity;
use mainstay_core::health::Verdict;
use mainstay_observe::status::{BreakerState, EndpointStatus, ServiceStatus};

use crate::snapshot::Status;

/// Ordered from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Unknown,
    Good,
    Warn,
    Bad,
}

impl State {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Self::Unknown => "○",
            Self::Good => "✓",
            Self::Warn => "▲",
            Self::Bad => "✕",
        }
    }

    /// The word for a service.
    pub(super) const fn of_service_word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "ok",
            Self::Warn => "degraded",
            Self::Bad => "down",
        }
    }

    pub(super) fn of_node(status: &Status) -> Self {
        let node = if status.ready { Self::Good } else { Self::Warn };
        let services = status.services.iter().map(Self::of_service);
        services.fold(node, Self::max)
    }

    pub(super) fn of_service(service: &ServiceStatus) -> Self {
        let probed = |endpoint: &EndpointStatus| endpoint.health != Verdict::Unknown;
        match usable(service) {
            0 => Self::Bad,
            // Neither a probe nor a call says anything yet.
            _ if service.success.is_none() && !service.endpoints.iter().any(probed) => {
                Self::Unknown
            },
            n if n < service.endpoints.len() => Self::Warn,
            _ => Self::Good,
        }
    }

    pub(super) const fn of_health(health: Verdict) -> Self {
        match health {
            Verdict::Unknown => Self::Unknown,
            Verdict::Healthy => Self::Good,
            Verdict::Unhealthy => Self::Bad,
        }
    }

    pub(super) const fn of_breaker(breaker: BreakerState) -> Self {
        match breaker {
            BreakerState::Closed => Self::Good,
            BreakerState::HalfOpen => Self::Warn,
            BreakerState::Open => Self::Bad,
            BreakerState::Off => Self::Unknown,
        }
    }

    pub(super) const fn of_severity(severity: Severity) -> Self {
        match severity {
            // What goes as it should stays in the background.
            Severity::Debug | Severity::Info => Self::Unknown,
            Severity::Warn => Self::Warn,
            Severity::Error => Self::Bad,
        }
    }
}

/// Endpoints that calls can go to.
pub(super) fn usable(service: &ServiceStatus) -> usize {
    let usable = |endpoint: &&EndpointStatus| {
        endpoint.health != Verdict::Unhealthy && endpoint.breaker != BreakerState::Open
    };
    service.endpoints.iter().filter(usable).count()
}

/// One sentence about everything.
pub(super) fn headline(status: &Status) -> String {
    let mut ill: Vec<(State, &ServiceStatus)> = status
        .services
        .iter()
        .map(|service| (State::of_service(service), service))
        .filter(|(state, _)| *state > State::Good)
        .collect();
    ill.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    match ill.as_slice() {
        [] if !status.ready => "Services are well; this node takes no requests".to_owned(),
        [] => "All services are well".to_owned(),
        [(State::Bad, service)] => format!("{} has no usable endpoint", service.name),
        [(_, service)] => format!(
            "{} runs on {} of {} endpoints",
            service.name,
            usable(service),
            service.endpoints.len()
        ),
        [(_, worst), ..] => {
            let word = State::of_service(worst).of_service_word();
            let more = ill.len() - 1;
            format!("{} is {word}, and {more} more not well", worst.name)
        },
    }
}
