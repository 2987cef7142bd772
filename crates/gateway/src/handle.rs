//! Steering a running gateway, and asking how it is.
//!
//! Prevents requests to a dead process: [`Handle::set_endpoint`] is one atomic store, and the
//! next request on any worker obeys it.

use std::sync::{Arc, Mutex, PoisonError};

use mainstay_observe::Observer;
use mainstay_observe::status::{ServiceStatus, StatusSource};

use crate::clock::Clock;
use crate::config;
use crate::service::{Plan, Service};
use crate::upstream::endpoint::Rotation;

/// Why a new configuration is not in force; the old one still is.
#[derive(Debug, thiserror::Error)]
#[error("service `{service}`: {reason}")]
pub struct ReloadError {
    /// The service.
    pub service: Arc<str>,
    /// What is wrong with it.
    pub reason: String,
}

/// A running gateway, from outside. All clones are the same gateway's.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    services: Vec<Arc<Service>>,
    clock: Clock,
    reloading: Mutex<()>,
    observer: Observer,
}

impl Handle {
    pub(crate) fn new(services: Vec<Arc<Service>>, clock: Clock, observer: Observer) -> Self {
        Self(Arc::new(Inner {
            services,
            clock,
            reloading: Mutex::new(()),
            observer,
        }))
    }

    pub(crate) fn shared(&self) -> &[Arc<Service>] {
        &self.0.services
    }

    /// Takes an endpoint in or out of rotation, by the names of the configuration. Returns
    /// whether there is such an endpoint. At once and without waiting: may be called from
    /// anywhere.
    pub fn set_endpoint(&self, service: &str, endpoint: &str, rotation: Rotation) -> bool {
        let known = self.0.services.iter().find(|one| *one.name == *service);
        known.is_some_and(|known| known.rotate(endpoint, rotation))
    }

    /// Puts policies, endpoints and fallbacks of `services` in force, all of them or none. What
    /// unchanged endpoints have learned stays. Addresses are bound at start, and so are services:
    /// a changed `listen` has no effect.
    ///
    /// # Errors
    ///
    /// [`ReloadError`] when a policy cannot work, or a service is not one of this gateway's;
    /// nothing has changed then.
    pub fn reload(&self, services: &[config::Service]) -> Result<(), ReloadError> {
        let _one_at_a_time = self
            .0
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let plans = services.iter().map(|wanted| self.plan(wanted));
        for (service, plan) in plans.collect::<Result<Vec<_>, _>>()? {
            service.replace(plan);
        }
        Ok(())
    }

    fn plan(&self, wanted: &config::Service) -> Result<(&Service, Plan), ReloadError> {
        let refused = |reason| ReloadError {
            service: Arc::clone(&wanted.name),
            reason,
        };
        let service = self.0.services.iter().find(|one| one.name == wanted.name);
        let service = service.ok_or_else(|| refused("it was not there at start".to_owned()))?;
        let plan = Plan::new(
            wanted,
            Some(&service.plan()),
            service.tallies.len(),
            self.0.clock,
            &self.0.observer,
        );
        Ok((service, plan.map_err(refused)?))
    }
}

impl StatusSource for Handle {
    fn services(&self) -> Vec<ServiceStatus> {
        self.0
            .services
            .iter()
            .map(|service| service.status())
            .collect()
    }
}
